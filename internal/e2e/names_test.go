//go:build unix

package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/influxdata/telegraf"
	"github.com/stretchr/testify/require"
)

// ourNames are the names of measurements, tags and fields that the plugin has
// or has reserved, and what makes one of them behind the name of a
// measurement: "heartbeat" with "peer_dead" is heartbeat_peer_dead.
var ourNames = strings.Fields(`
	heartbeat heartbeat_peer heartbeat_down heartbeat_event heartbeat_collector heartbeat_listener
	host ip pid source service address state previous reason kind alias
	status seq interval_seconds gap_seconds jitter_seconds lost rtt_seconds skew_seconds
	alive dead state_code reason_code status_code since_timestamp_seconds age_seconds dead_after_seconds
	flapping last_pid beats_total lost_total restarts_total deaths_total dead_seconds_total mistakes_total
	conflicts_total down_seconds exit_code lasted_seconds id
	isolated stall_seconds_total state_file_age_seconds refused_total unnamed_total coalesced_total peers
	connections bytes_total
	peer_dead peer_alive peer_state_code peer_deaths_total heartbeat_peer_dead heartbeat_peer_alive
	down_down_seconds event_lasted_seconds collector_isolated collector_peers listener_connections
	x x_dead time timestamp measurement name value gauge counter bucket le quantile
`)

// Whatever a sender calls its free fields and labels, it changes nothing but
// its own fields, which all begin with x_. Its twin beats the same without
// them, and must look the same.
func TestFreeNamesTouchNothingOfOurs(t *testing.T) {
	t.Parallel()
	c := startStock(t, func(c *conf) {
		c.uncomment("[[outputs.prometheus_client]]")
		c.replace(`listen = ":9273"`, `listen = "127.0.0.1:0"`)
		// The sample exports what is worth it only; this takes everything.
		c.text += "\n[[outputs.prometheus_client]]\n  alias = \"everything\"\n  listen = \"127.0.0.1:0\"\n"
	})
	client := dial(t, c.address)
	beat := func(source string, seq int64) map[string]any {
		return map[string]any{
			"host": source, "service": "shop", "ip": "10.0.0.9", "pid": 7, "run": "r", "seq": seq, "interval_ms": 3600000,
		}
	}
	client.beat(beat("victim", 1))
	end := beat("victim", 2)
	end["status"] = "dead"
	client.beat(end)

	sent := make(map[int64]map[string]any) // what arrived as x_, by seq
	seq := int64(0)
	for _, value := range []struct {
		sent, written any
		suffix        string
	}{{0, 0.0, ""}, {0.5, 0.5, ""}, {false, 0.0, ""}, {"alive", "alive", "_text"}} {
		for names := range slices.Chunk(ourNames, 32) {
			seq++
			fields, labels := make(map[string]any), make(map[string]any)
			sent[seq] = make(map[string]any)
			for _, name := range names {
				fields[name], labels[name] = value.sent, "forged"
				sent[seq]["x_"+name+value.suffix] = value.written
			}
			client.beat(beat("twin", seq))
			forger := beat("forger", seq)
			forger["fields"], forger["tags"] = fields, labels
			client.beat(forger)
		}
	}
	require.LessOrEqual(t, seq, int64(20), "more beats at once than make metrics")
	c.until("a look at both after their last beat", func() bool {
		return told(c, "twin", "beats_total") == seq && told(c, "forger", "beats_total") == seq
	})

	require.Equal(t, sent, freeFields(t, c))
	require.Equal(t, looks(c, "twin"), looks(c, "forger"))
	deaths := c.metrics("heartbeat_peer", "source", "victim", "service", "shop")
	require.Len(t, series(deaths), 1)
	require.Equal(t, []string{"alive", "dead"}, c.events("victim"))
	for _, m := range deaths[1:] {
		require.EqualValues(t, 1, number(t, m, "dead"))
	}

	pages := scrape(c, fmt.Sprintf(`source="forger"} %d`, seq))
	require.Contains(t, pages[0]+pages[1], "heartbeat_x_peer_dead{", "the attack was not exported")
	for _, page := range pages {
		require.Equal(t, []string{"1"}, samples(page, "heartbeat_peer_dead", "victim"))
		require.Equal(t, []string{"0"}, samples(page, "heartbeat_peer_dead", "forger"))
		require.Equal(t, []string{"0"}, samples(page, "heartbeat_peer_dead", "twin"))
		require.Equal(t, []string{"1"}, samples(page, "heartbeat_peer_alive", "forger"))
	}
	require.Empty(t, c.stderr.with(" E! "))
}

// freeFields returns the fields that begin with x_, by seq. Nobody but the
// forger has any, and nothing of that name is a tag.
func freeFields(t *testing.T, c *collector) map[int64]map[string]any {
	found := make(map[int64]map[string]any)
	for _, m := range c.metrics("") {
		for _, tag := range m.TagList() {
			require.NotContains(t, tag.Key, "x_")
			require.NotEqual(t, "forged", tag.Value, "%v", m)
		}
		for _, field := range m.FieldList() {
			if !strings.HasPrefix(field.Key, "x_") {
				continue
			}
			require.Equal(t, "heartbeat", m.Name())
			require.True(t, tagged(m, "source", "forger"))
			seq := number(t, m, "seq")
			if found[seq] == nil {
				found[seq] = make(map[string]any)
			}
			found[seq][field.Key] = field.Value
		}
	}
	return found
}

// looks returns what there is of a source: all of its metrics, but only the
// last heartbeat_peer, without its name, its ids, its x_ fields and what is measured.
func looks(c *collector, source string) []string {
	var all []string
	for _, measurement := range []string{"heartbeat", "heartbeat_event", "heartbeat_down"} {
		for _, m := range c.metrics(measurement, "source", source) {
			all = append(all, look(m))
		}
	}
	return append(all, look(last(c.metrics("heartbeat_peer", "source", source))))
}

func look(m telegraf.Metric) string {
	fields := make(map[string]any)
	for _, field := range m.FieldList() {
		if strings.HasPrefix(field.Key, "x_") {
			continue
		}
		fields[field.Key] = field.Value
		switch _, ok := field.Value.(float64); {
		case ok:
			fields[field.Key] = "measured"
		case field.Key == "id":
			fields[field.Key] = "its own"
		}
	}
	tags := m.Tags()
	delete(tags, "source")
	return fmt.Sprintf("%s %v %v", m.Name(), tags, fields) // maps are printed sorted
}

var exported = regexp.MustCompile(`Listening on (http://\S+)`)

// scrape returns the pages of both outputs, once they have text in the
// heartbeat_peer_beats_total.
func scrape(c *collector, text string) []string {
	c.t.Helper()
	urls := make(map[string]bool)
	for _, line := range c.stderr.all() {
		if match := exported.FindStringSubmatch(line); match != nil {
			urls[match[1]] = true
		}
	}
	require.Len(c.t, urls, 2)
	pages := make([]string, 0, len(urls))
	for _, url := range slices.Sorted(maps.Keys(urls)) {
		var page string
		c.until("the last beat at "+url, func() bool {
			page = get(c.t, url)
			return slices.ContainsFunc(strings.Split(page, "\n"), func(line string) bool {
				return strings.HasPrefix(line, "heartbeat_peer_beats_total{") && strings.Contains(line, `service="shop",`) && strings.Contains(line, text)
			})
		})
		pages = append(pages, page)
	}
	return pages
}

func get(t testing.TB, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(content)
}

// samples returns the values that a page has of a metric of a source.
func samples(page, name, source string) []string {
	var values []string
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, fmt.Sprintf(`source=%q`, source)) {
			values = append(values, last(strings.Fields(line)))
		}
	}
	return values
}
