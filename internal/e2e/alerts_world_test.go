//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A duty is what stands between collectors and the person who is called at night:
// Prometheus, or vmalert beside VictoriaMetrics, with the rules of this project, and
// Alertmanager with the sample.
type duty struct {
	t      testing.TB
	prom   *server // that keeps the series
	alerts *server // Alertmanager
	inbox  *inbox
}

// startDuty starts one with Prometheus, which looks at collectors at these addresses.
func startDuty(t testing.TB, collectors ...string) *duty {
	t.Helper()
	return startDutyWith(t, hasty, collectors...)
}

// startDutyWith is startDuty with rules that are changed in this way.
func startDutyWith(t testing.TB, rules func(string) string, collectors ...string) *duty {
	t.Helper()
	d := &duty{t: t, inbox: openInbox(t)}
	d.alerts = startAlertmanager(t, d.inbox)
	d.prom = startPrometheus(t, changed(t, "heartbeat.rules.yml", rules), strings.TrimPrefix(d.alerts.url, "http://"), collectors...)
	return d
}

// changed returns the path of a copy of a file in deploy/prometheus, which has been changed.
func changed(t testing.TB, name string, change func(string) string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", name))
	require.NoError(t, err)
	by := change(string(text))
	require.NotEqual(t, string(text), by)
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(by), 0o600))
	return file
}

// everySecond lets rules be asked as often.
func everySecond(text string) string {
	return strings.ReplaceAll(text, "interval: 10s", "interval: 1s")
}

// hasty is for a copy in which a minute takes three seconds, so that nobody waits for a test.
// Hours are left: they have to be long. Seconds are those of Alertmanager: a message waits long
// enough for a slow machine to get all of a group together.
func hasty(text string) string {
	minutes := regexp.MustCompile(`(\[|for: |group_interval: )([0-9]+)m\b`)
	quick := minutes.ReplaceAllStringFunc(text, func(found string) string {
		parts := minutes.FindStringSubmatch(found)
		count, _ := strconv.Atoi(parts[2]) // it is made of digits
		return parts[1] + strconv.Itoa(3*count) + "s"
	})
	return everySecond(strings.ReplaceAll(quick, "group_wait: 30s", "group_wait: 12s"))
}

func startAlertmanager(t testing.TB, in *inbox) *server {
	t.Helper()
	address, file := testkit.FreeAddress(t), changed(t, "alertmanager.yml", hasty)
	dir := filepath.Dir(file)
	hook := filepath.Join(dir, "slack-webhook-url")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	messages, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "heartbeat.tmpl"))
	require.NoError(t, err)
	for name, text := range map[string]string{
		file: strings.ReplaceAll(string(text), "/etc/prometheus/slack-webhook-url", hook),
		hook: in.url, filepath.Join(dir, "heartbeat.tmpl"): string(messages),
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	return serve(t, address, "/-/ready", built(t, "alertmanager-v0.28.1", "alertmanager"), "--config.file="+file, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--cluster.listen-address=")
}

// startVmalert starts vmalert and VictoriaMetrics of the same version.
func startVmalert(t testing.TB, victoria, vmalert, option, collector string) *duty {
	t.Helper()
	d := &duty{t: t, inbox: openInbox(t)}
	d.alerts = startAlertmanager(t, d.inbox)
	d.prom = startVictoriaMetrics(t, victoria, collector)
	address := testkit.FreeAddress(t)
	serve(t, address, "/health", vmalert, "-rule="+changed(t, "heartbeat.rules.yml", hasty), "-httpListenAddr="+address,
		"-datasource.url="+d.prom.url, "-remoteWrite.url="+d.prom.url, "-remoteRead.url="+d.prom.url,
		"-notifier.url="+d.alerts.url, option)
	return d
}

// untilSeries waits until the query gives so many series.
func (d *duty) untilSeries(count int, query string) {
	d.t.Helper()
	d.prom.Until(fmt.Sprintf("%d of %s", count, query), func() bool {
		now := time.Now()
		return len(d.prom.promQL(query, now, now, 0)) == count
	})
}

// waves returns the wave of each dead host, by name.
func (d *duty) waves() map[string]float64 {
	d.t.Helper()
	now, waves := time.Now(), make(map[string]float64)
	for _, l := range d.prom.promQL("heartbeat:death_wave", now, now, 0) {
		waves[l.labels["source"]] = l.latest("value")
	}
	return waves
}

// untilTold waits for so many messages in all, and returns them as channel and title.
func (d *duty) untilTold(count int) []string {
	d.t.Helper()
	var titles []string
	d.alerts.Until(fmt.Sprintf("message %d", count), func() bool {
		titles = nil
		for _, m := range d.inbox.all() {
			titles = append(titles, m.channel+" "+m.title)
		}
		return len(titles) >= count
	})
	return titles
}

// An alert is one that Alertmanager has.
type alert struct {
	Labels, Annotations map[string]string
	Status              struct{ State string }
}

func (d *duty) allAlerts() []alert {
	var all []alert
	d.alerts.get("/api/v2/alerts", nil, &all)
	return all
}

// suppressed reports whether there is an alert of that name that nobody is told of.
func (d *duty) suppressed(name string) bool {
	return slices.ContainsFunc(d.allAlerts(), func(a alert) bool {
		return a.Labels["alertname"] == name && a.Status.State == "suppressed"
	})
}

// says reports whether there is an alert with this summary.
func (d *duty) says(summary string) bool {
	return slices.ContainsFunc(d.allAlerts(), func(a alert) bool { return a.Annotations["summary"] == summary })
}

// A message is what a person gets.
type message struct{ channel, title, text string }

// An inbox takes messages as Slack does.
type inbox struct {
	url      string
	mu       sync.Mutex
	messages []message
}

func openInbox(t testing.TB) *inbox {
	in := &inbox{}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var posted struct {
			Channel     string
			Attachments []struct{ Title, Text string }
		}
		if err := json.NewDecoder(r.Body).Decode(&posted); err != nil {
			t.Errorf("reading what Alertmanager posts: %v", err)
			return
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		for _, a := range posted.Attachments {
			in.messages = append(in.messages, message{posted.Channel, a.Title, a.Text})
		}
		fmt.Fprint(w, "ok") // without it the message is sent again
	}))
	t.Cleanup(hook.Close)
	in.url = hook.URL
	return in
}

func (in *inbox) all() []message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]message(nil), in.messages...)
}

// A toldPeer is a peer as a collector tells of it.
type toldPeer struct {
	source, service, site string
	state                 liveness.State
	reason                liveness.Reason
	since                 time.Time
	deaths                int
	flapping              bool
}

// An exporter tells what a collector would, in the form of outputs.prometheus_client.
type exporter struct {
	url   string
	host  string
	mu    sync.Mutex
	away  bool
	own   map[string]int // heartbeat_collector
	peers []*toldPeer
}

func startExporter(t testing.TB, host string) *exporter {
	e := &exporter{host: host, own: map[string]int{"isolated": 0, "state_saved": 1, "stall_seconds_total": 0}}
	target := httptest.NewServer(e)
	t.Cleanup(target.Close)
	e.url = strings.TrimPrefix(target.URL, "http://")
	return e
}

func (e *exporter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for field, value := range e.own {
		fmt.Fprintf(w, "heartbeat_collector_%s{host=%q} %d\n", field, e.host, value)
	}
	for _, p := range e.peers {
		whose := fmt.Sprintf("host=%q,source=%q,service=%q", e.host, p.source, p.service)
		if p.site != "" {
			whose += fmt.Sprintf(",site=%q", p.site)
		}
		since := float64(p.since.UnixMilli()) / 1e3
		for field, value := range map[string]float64{
			"alive": one(p.state == liveness.Alive || p.state == liveness.Suspect), "dead": one(p.state == liveness.Dead),
			"state_code": float64(p.state), "reason_code": float64(p.reason), "since_timestamp_seconds": since,
			"flapping": one(p.flapping), "deaths_total": float64(p.deaths), "conflicts_total": 0,
		} {
			fmt.Fprintf(w, "heartbeat_peer_%s{%s} %.3f\n", field, whose, value)
		}
		if p.state == liveness.Dead {
			fmt.Fprintf(w, "heartbeat_down_since_timestamp_seconds{%s,state=\"dead\",reason=%q,pid=\"0\"} %.3f\n", whose, p.reason, since)
		}
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// change changes what is told, at one time.
func (e *exporter) change(how func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	how()
}

// add adds a peer that is alive.
func (e *exporter) add(source, service, site string) *toldPeer {
	p := &toldPeer{source: source, service: service, site: site, state: liveness.Alive, reason: liveness.ReasonBeat, since: time.Now().Add(-time.Hour)}
	e.change(func() { e.peers = append(e.peers, p) })
	return p
}

// addRack adds so many hosts with a service each, and returns the hosts.
func (e *exporter) addRack(count int) []*toldPeer {
	var hosts []*toldPeer
	for i := range count {
		name := fmt.Sprintf("web-%02d", i+1)
		hosts = append(hosts, e.add(name, "host", "fra"))
		e.add(name, "shop", "fra")
	}
	return hosts
}

// die lets hosts or services die, and with a host what runs there; the first at
// that time, the others a fifth of a second after each other.
func (e *exporter) die(at time.Time, reason liveness.Reason, dying ...*toldPeer) {
	e.change(func() {
		for i, p := range dying {
			p.turn(liveness.Dead, reason, at.Add(time.Duration(i)*time.Second/5))
			for _, other := range e.peers {
				if p.service == "host" && other.source == p.source && other.state != liveness.Dead {
					other.turn(liveness.Dead, liveness.ReasonHost, p.since)
				}
			}
		}
	})
}

// revive lets all live who are dead.
func (e *exporter) revive() {
	e.change(func() {
		for _, p := range e.peers {
			if p.state == liveness.Dead {
				p.turn(liveness.Alive, liveness.ReasonBeat, time.Now())
			}
		}
	})
}

func (p *toldPeer) turn(state liveness.State, reason liveness.Reason, since time.Time) {
	p.state, p.reason, p.since = state, reason, since
	if state == liveness.Dead {
		p.deaths++
	}
}
