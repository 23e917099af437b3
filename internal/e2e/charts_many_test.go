//go:build linux

package e2e

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts/grafana"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

var (
	manyHosts = flag.Int("hosts", 30, "of how many hosts TestChartsOfManyHosts tells, each with two peers; at least 10")
	manyHours = flag.Int("hours", 2, "of how many hours it tells")
)

// How a few of many hosts end, an hour before the end of what is told; all others live.
var endings = map[int]struct{ state, alive, dead, reason int }{
	1: {state: 3, dead: 1, reason: 2}, 3: {state: 3, dead: 1, reason: 5}, 5: {state: 4, reason: 9}, 7: {state: 2, alive: 1, reason: 2},
}

// The dashboard of a whole fleet can be read, and its queries are answered soon enough. With
// -v it says how soon:
//
//	go test ./internal/e2e -run TestChartsOfManyHosts -v -hosts 200 -hours 6 -pictures DIR
func TestChartsOfManyHosts(t *testing.T) {
	t.Parallel()
	to := time.Now().Truncate(time.Second)
	span := time.Duration(*manyHours) * time.Hour
	v := grafana.View{From: to.Add(-span), To: to, Step: max(span/360, 30*time.Second), Variables: map[string]string{"source": ".*", "service": ".*"}}
	db := tellMany(t, *manyHosts, v.From, to)
	for _, p := range charts.Panels() {
		queries := []string{p.Few()}
		for _, c := range p.Columns {
			queries = append(queries, c.PromQL)
		}
		at := v.From
		if p.Kind == charts.Stat || p.Kind == charts.Table {
			at = to
		}
		for _, query := range queries {
			if query != "" {
				begin := time.Now()
				lines := db.promQL(v.PromQL(query), at, to, v.Step)
				t.Logf("%6d ms for %3d lines of %s", time.Since(begin).Milliseconds(), len(lines), p.Title)
			}
		}
	}
	d := grafana.Ask(t, charts.Dashboard(charts.Prometheus, false), db.url, v)
	shown := d.Show(t)
	count := func(title string) string { return shown[title].Values[0].Text }
	all := *manyHosts * 2
	require.Equal(t, []string{"4", "2", "2", fmt.Sprint(all - 6)}, []string{count("Dead"), count("Suspect"), count("Left"), count("Alive")})
	require.Len(t, shown["Who is down, since when, why"].Rows, 4)
	require.Len(t, shown["Each peer in the time shown"].Rows, all)
	require.LessOrEqual(t, len(shown["State of each peer"].Series), 100)
	names := make(map[string]bool)
	for _, s := range shown["State of each peer"].Series {
		names[s.Name] = true
	}
	for _, dead := range []string{"web-001 app", "web-001 host", "web-003 app", "web-003 host"} {
		require.True(t, names[dead], "%s is one of those that are shown", dead)
	}
	require.LessOrEqual(t, len(shown["Round trip"].Series), 10)
	if *picturesDir != "" {
		d.Picture(t, filepath.Join(*picturesDir, "many.png"))
	}
}

// tellMany returns a Prometheus that has heard of many hosts for a while.
func tellMany(t *testing.T, hosts int, from, to time.Time) *server {
	t.Helper()
	dir := t.TempDir()
	file, data := filepath.Join(dir, "samples"), filepath.Join(dir, "data")
	writeMany(t, file, hosts, from, to)
	said, err := exec.Command(foreign(t, "promtool"), "tsdb", "create-blocks-from", "openmetrics", file, data).CombinedOutput()
	require.NoError(t, err, "%s", said)
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, nil, 0o600))
	address := testkit.FreeAddress(t)
	return serve(t, address, "/-/ready", "prometheus", "--config.file="+config, "--storage.tsdb.path="+data,
		"--web.listen-address="+address, "--web.console.libraries="+dir, "--web.console.templates="+dir)
}

// writeMany writes samples in the form of OpenMetrics, one each 15 s.
func writeMany(t *testing.T, file string, hosts int, from, to time.Time) {
	t.Helper()
	f, err := os.Create(file)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	died := to.Add(-time.Hour)
	// tell writes a metric of each peer; value returns false where there is none.
	tell := func(metric, labels string, value func(host int, at time.Time) (float64, bool)) {
		fmt.Fprintf(w, "# TYPE %s unknown\n", metric)
		for host := range hosts {
			for _, service := range []string{"host", "app"} {
				series := fmt.Sprintf("%s{source=\"web-%03d\",service=%q,host=\"c1\"%s}", metric, host, service, labels)
				for at := from; !at.After(to); at = at.Add(15 * time.Second) {
					if n, ok := value(host, at); ok {
						fmt.Fprintf(w, "%s %g %d\n", series, n, at.Unix())
					}
				}
			}
		}
	}
	over := func(host int, at time.Time) bool { _, ended := endings[host]; return ended && !at.Before(died) }
	of := func(alive float64, ended func(host int) int) func(int, time.Time) (float64, bool) {
		return func(host int, at time.Time) (float64, bool) {
			if over(host, at) {
				return float64(ended(host)), true
			}
			return alive, true
		}
	}
	tell("heartbeat_peer_alive", "", of(1, func(host int) int { return endings[host].alive }))
	tell("heartbeat_peer_dead", "", of(0, func(host int) int { return endings[host].dead }))
	tell("heartbeat_peer_state_code", "", of(1, func(host int) int { return endings[host].state }))
	tell("heartbeat_peer_reason_code", "", of(1, func(host int) int { return endings[host].reason }))
	tell("heartbeat_peer_deaths_total", "", of(0, func(host int) int { return endings[host].dead }))
	for _, zero := range []string{"restarts_total", "mistakes_total", "flapping", "lost_total"} {
		tell("heartbeat_peer_"+zero, "", of(0, func(int) int { return 0 }))
	}
	tell("heartbeat_peer_since_timestamp_seconds", "", of(float64(from.Unix()), func(int) int { return int(died.Unix()) }))
	growing := func(host int, at time.Time) float64 {
		if over(host, at) {
			at = died
		}
		return at.Sub(from).Seconds()
	}
	tell("heartbeat_peer_beats_total", "", func(host int, at time.Time) (float64, bool) { return growing(host, at) / 10, true })
	tell("heartbeat_peer_dead_seconds_total", "", func(host int, at time.Time) (float64, bool) {
		return float64(endings[host].dead) * (at.Sub(from).Seconds() - growing(host, at)), true
	})
	tell("heartbeat_peer_age_seconds", "", func(host int, at time.Time) (float64, bool) {
		return 5 + float64(host%10)/3 + float64(at.Unix()%7), true
	})
	tell("heartbeat_peer_dead_after_seconds", "", of(35, func(int) int { return 35 }))
	tell("heartbeat_rtt_seconds", `,ip="10.0.0.1",pid="4711"`, func(host int, at time.Time) (float64, bool) {
		return 0.001*float64(1+host%5) + float64(at.Unix()%11)/1e4, !over(host, at)
	})
	tell("heartbeat_skew_seconds", `,ip="10.0.0.1",pid="4711"`, func(host int, at time.Time) (float64, bool) { return 0.002 * float64(host%3), !over(host, at) })
	for field, value := range map[string]func(at time.Time) float64{
		"since_timestamp_seconds": func(time.Time) float64 { return float64(died.Unix()) },
		"down_seconds":            func(at time.Time) float64 { return at.Sub(died).Seconds() },
	} {
		tell("heartbeat_down_"+field, `,ip="10.0.0.1",pid="4711",state="dead",reason="silence"`, func(host int, at time.Time) (float64, bool) {
			return value(at), endings[host].dead == 1 && over(host, at)
		})
	}
	fmt.Fprint(w, "# TYPE heartbeat_collector_isolated unknown\n")
	for at := from; !at.After(to); at = at.Add(15 * time.Second) {
		fmt.Fprintf(w, "heartbeat_collector_isolated{host=\"c1\"} 0 %d\n", at.Unix())
	}
	fmt.Fprint(w, "# EOF\n")
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
}
