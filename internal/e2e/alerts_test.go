//go:build linux

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// The stories of docs/charts.md, from collectors to what a person reads: each has exactly the
// messages that are written here. A story of which something is no message ends with a death
// that is one: any message of before would have come with it.

func TestAlertsOneDies(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	c.add("web-1", "host", "fra")
	shop := c.add("web-2", "shop", "fra")
	d := startDuty(t, c.url)
	d.untilSeries(2, "heartbeat_peer_alive == 1")
	c.die(time.Now(), liveness.ReasonConnClosed, shop)
	d.untilTold(1)
	c.revive()
	require.Equal(t, []string{
		"#on-call shop on web-2 died: conn_closed",
		"#on-call Over: shop on web-2 died, and is back",
	}, d.untilTold(2))
	require.Regexp(t, `^- shop on web-2 died: conn_closed \(\w{3} \d\d:\d\d:\d\d UTC\)
The service ended, or was silent for too long, and did not die with its host.
What to do: https://github.com/telegraf-heartbeat/telegraf-heartbeat/blob/main/docs/charts.md#heartbeatservicedead
Dashboard: https://grafana.example.com/d/heartbeat-prometheus\?var-source=web-2
All alerts: http://\S+$`, d.inbox.all()[0].text)
}

// The same with a real collector and a real sender.
func TestAlertsOneDiesForReal(t *testing.T) {
	t.Parallel()
	exposed := testkit.FreeAddress(t)
	collector := startStockWith(t, writeOptions(t, anyPort, `disconnect_grace = "2s"`, alone), func(c *conf) {
		c.replace(`interval = "10s"`, `interval = "1s"`)
		c.uncomment("[[outputs.prometheus_client]]")
		c.replace(`listen = ":9273"`, fmt.Sprintf("listen = %q", exposed))
	})
	d := startDuty(t, exposed)
	sender := startSender(t, collector.address, "web-1", "nginx")
	d.untilSeries(1, "heartbeat_peer_alive == 1")
	sender.Kill()
	d.untilTold(1)
	startSender(t, collector.address, "web-1", "nginx")
	told := d.untilTold(2)
	require.Len(t, told, 2)
	require.Regexp(t, "^#on-call nginx on web-1 died: conn_(closed|reset)$", told[0])
	require.Regexp(t, "^#on-call Over: nginx on web-1 died.*, and is back$", told[1])
}

func TestAlertsARackDies(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	rack, front, start := c.addRack(50), c.add("web-50", "front", "fra"), time.Now().Add(-time.Minute)
	d := startDuty(t, c.url)
	d.untilSeries(101, "heartbeat_peer_alive == 1")
	c.die(start, liveness.ReasonConnClosed, front) // before its host is known to be dead
	rackDies(d, c, start, rack)
	// The services of those hosts died with them, but for the one that was dead before.
	require.Equal(t, []string{"#on-call 51 peers died at site fra"}, d.untilTold(1))
	text := d.inbox.all()[0].text
	require.Regexp(t, `^The first ten of 51:\n(- host web-(0\d|10) died: unreachable \(.*\)\n){10}All collectors`, text)
	require.Contains(t, text, "\nDashboard: https://grafana.example.com/d/heartbeat-prometheus\n")
	c.revive()
	require.Equal(t, []string{"#on-call 51 peers died at site fra", "#on-call Over: 51 peers died at site fra"}, d.untilTold(2))
}

// rackDies lets a rack die within ten seconds, of which Prometheus sees the second half later.
func rackDies(d *duty, c *exporter, start time.Time, rack []*toldPeer) {
	d.t.Helper()
	half := len(rack) / 2
	c.die(start, liveness.ReasonUnreachable, rack[:half]...)
	d.untilSeries(half, `heartbeat:death_wave{service="host"}`)
	c.die(start.Add(5*time.Second), liveness.ReasonUnreachable, rack[half:]...)
	d.untilSeries(len(rack), `heartbeat:death_wave{service="host"}`)
}

func TestAlertsARackDiesAndAnotherHostLater(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	rack, other, start := c.addRack(50), c.add("db-1", "host", "fra"), time.Now().Add(-time.Minute)
	d := startDuty(t, c.url)
	d.untilSeries(101, "heartbeat_peer_alive == 1")
	rackDies(d, c, start, rack)
	c.die(start.Add(50*time.Second), liveness.ReasonSilence, other)
	require.ElementsMatch(t, rackAndOther, d.untilTold(2)) // whichever is first
	c.revive()
	require.ElementsMatch(t, []string{"#on-call Over: 50 peers died at site fra", "#on-call Over: host db-1 died, and is back"}, d.untilTold(4)[2:])
	require.Len(t, d.inbox.all(), 4)
}

// With its router a whole site is silent. What dies elsewhere meanwhile, or where no site is
// named, is told as ever.
func TestAlertsASiteDiesWithItsRouter(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	rack, router, start := c.addRack(10), c.add("router-1", "host", "fra"), time.Now().Add(-time.Minute)
	elsewhere, nowhere, alone := c.add("db-1", "host", "ams"), c.add("db-2", "host", ""), c.add("router-2", "host", "")
	d := startDuty(t, c.url)
	d.untilSeries(24, "heartbeat_peer_alive == 1")
	c.die(start, liveness.ReasonUnreachable, append(rack, router)...)
	c.die(start.Add(5*time.Second), liveness.ReasonSilence, elsewhere, nowhere, alone)
	require.ElementsMatch(t, []string{
		"#on-call host router-1 died: unreachable", "#on-call host db-1 died: silence", "#on-call 2 peers died",
	}, d.untilTold(3))
	c.revive()
	require.ElementsMatch(t, []string{ // the first one names all that was silent
		"#on-call Over: 11 peers died at site fra", "#on-call Over: host db-1 died, and is back", "#on-call Over: 2 peers died",
	}, d.untilTold(6)[3:])
}

var rackAndOther = []string{"#on-call 50 peers died at site fra", "#on-call host db-1 died: silence"}

func TestAlertsARackFlaps(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	rack := c.addRack(10)
	d := startDuty(t, c.url)
	d.untilSeries(20, "heartbeat_peer_alive == 1")
	for range 3 {
		c.die(time.Now(), liveness.ReasonSilence, rack...)
		d.untilSeries(10, "heartbeat:dead_since")
		c.revive()
		d.untilSeries(0, "heartbeat:dead_since")
		c.change(func() {
			for _, host := range rack {
				host.flapping = true
			}
		})
	}
	d.untilTold(1)
	d.alerts.Until("the alerts of flapping", func() bool { return d.suppressed("HeartbeatFlapping") })
	d.untilSeries(0, "max_over_time(heartbeat_peer_dead[15s]) == 1")
	c.change(func() { rack[0].deaths++ })
	d.alerts.Until("the alert of a death that no sample has", func() bool { return d.suppressed("HeartbeatDiedBriefly") })
	c.change(func() {
		for _, host := range rack {
			host.flapping = false
		}
	})
	require.Equal(t, []string{"#on-call 10 peers died at site fra", "#on-call Over: 10 peers died at site fra"}, d.untilTold(2))
}

func TestAlertsPlannedStops(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	left, finished, away, last := c.add("web-1", "host", ""), c.add("web-2", "job", ""), c.add("web-3", "host", ""), c.add("web-4", "shop", "")
	d := startDuty(t, c.url)
	d.untilSeries(4, "heartbeat_peer_alive == 1")
	c.change(func() {
		left.turn(liveness.Left, liveness.ReasonLeaving, time.Now())
		finished.turn(liveness.Left, liveness.ReasonFinished, time.Now())
		away.turn(liveness.Left, liveness.ReasonLeaving, time.Now()) // and has said when it is back
	})
	d.untilSeries(3, "heartbeat_peer_state_code == 4")
	c.change(func() { away.turn(liveness.Alive, liveness.ReasonBeat, time.Now()) })
	d.untilSeries(2, "heartbeat_peer_alive == 1")
	c.die(time.Now(), liveness.ReasonExited, last)
	require.Equal(t, []string{"#on-call shop on web-4 died: exited"}, d.untilTold(1))
}

// A run fails beside a living one, or a service is dead for less than a sample, three times.
func TestAlertsADeathThatNoSampleHas(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	job := c.add("web-1", "job", "fra")
	d := startDuty(t, c.url)
	d.untilSeries(1, "heartbeat_peer_deaths_total offset 2s")
	c.change(func() { job.deaths, job.flapping = job.deaths+3, true })
	d.alerts.Until("the alert of flapping", func() bool { return d.suppressed("HeartbeatFlapping") })
	require.Equal(t, []string{
		"#monitoring job on web-1 died briefly, or one of its runs failed",
		"#monitoring Over: job on web-1 died briefly, or one of its runs failed",
	}, d.untilTold(2))
}

// A dead peer is one message, although the collector is away for a moment and knows less
// afterwards.
func TestAlertsACollectorIsRestarted(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	dead, held, last := c.add("web-1", "host", ""), c.add("web-2", "host", ""), c.add("web-3", "host", "")
	d := startDuty(t, c.url)
	d.untilSeries(3, "heartbeat_peer_alive == 1")
	c.die(time.Now().Add(-time.Hour), liveness.ReasonUnreachable, dead)
	require.Equal(t, []string{"#on-call host web-1 died: unreachable"}, d.untilTold(1))
	c.change(func() { c.away = true })
	d.untilSeries(0, "heartbeat_peer_alive")
	c.change(func() {
		c.away = false
		held.turn(liveness.Unknown, liveness.ReasonRestored, time.Now())
	})
	d.untilSeries(1, "heartbeat_peer_reason_code == 14")
	c.die(time.Now(), liveness.ReasonHung, last)
	require.Equal(t, []string{"#on-call host web-1 died: unreachable", "#on-call host web-3 died: hung"}, d.untilTold(2))
}

// Prometheus is restarted: the dead keep their alert, which is not sent again.
func TestAlertsPrometheusIsRestarted(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	first, second, last := c.add("web-1", "host", ""), c.add("web-2", "host", ""), c.add("web-3", "host", "")
	d := startDutyWith(t, everySecond, c.url) // three minutes have to be long
	d.untilSeries(3, "heartbeat_peer_alive == 1")
	c.die(time.Now().Add(-time.Hour), liveness.ReasonUnreachable, first)
	d.untilSeries(1, "heartbeat:death_wave")
	c.die(time.Now().Add(-time.Minute), liveness.ReasonUnreachable, second)
	d.untilTold(2)
	kept := d.waves()
	d.prom.Signal(syscall.SIGTERM)
	require.Zero(t, d.prom.Exit())
	pause(5 * time.Second) // that is how long it is away
	d.prom = serve(t, strings.TrimPrefix(d.prom.url, "http://"), "/-/ready", "prometheus", d.prom.Cmd.Args[1:]...)
	d.untilSeries(2, fmt.Sprintf("timestamp(heartbeat:death_wave) > %d", time.Now().Unix()))
	require.Equal(t, kept, d.waves())
	c.die(time.Now(), liveness.ReasonHung, last)
	require.ElementsMatch(t, []string{
		"#on-call host web-1 died: unreachable", "#on-call host web-2 died: unreachable", "#on-call host web-3 died: hung",
	}, d.untilTold(3))
}

func TestAlertsACollectorIsCutOff(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	held := c.add("web-1", "host", "")
	d := startDuty(t, c.url)
	d.untilSeries(1, "heartbeat_peer_alive == 1")
	c.change(func() {
		c.own["isolated"] = 1
		held.turn(liveness.Unknown, liveness.ReasonIsolated, time.Now())
	})
	d.untilTold(1)
	c.change(func() {
		c.own["isolated"] = 0
		held.turn(liveness.Alive, liveness.ReasonBeat, time.Now())
	})
	require.Equal(t, []string{
		"#on-call collector c1 is cut off from its hosts", "#on-call Over: collector c1 is cut off from its hosts",
	}, d.untilTold(2))
}

// The only collector is gone, for longer than a restart takes. That ends no alert of a death
// that was before, so it is not sent again.
func TestAlertsACollectorIsGone(t *testing.T) {
	t.Parallel()
	c := startExporter(t, "c1")
	dead := c.add("web-1", "host", "")
	d := startDuty(t, c.url)
	d.untilSeries(1, "heartbeat_peer_alive == 1")
	c.die(time.Now().Add(-time.Hour), liveness.ReasonUnreachable, dead)
	d.untilTold(1)
	c.change(func() { c.away = true })
	d.untilTold(2)
	d.untilSeries(0, "last_over_time(heartbeat_peer_dead[10s])")
	d.untilSeries(1, "heartbeat:death_wave")
	c.change(func() { c.away = false })
	require.Equal(t, []string{
		"#on-call host web-1 died: unreachable", "#on-call no collector reports anything", "#on-call Over: no collector reports anything",
	}, d.untilTold(3))
}

// One of two is gone: that is one message, and the other one is believed.
func TestAlertsTwoCollectors(t *testing.T) {
	t.Parallel()
	c1, c2 := startExporter(t, "c1"), startExporter(t, "c2")
	c1.own["mates"], c2.own["mates"] = 1, 1
	cut, last := c1.add("web-1", "host", ""), c1.add("web-2", "host", "")
	c2.add("web-1", "host", "")
	also := c2.add("web-2", "host", "")
	d := startDuty(t, c1.url, c2.url)
	d.untilSeries(4, "heartbeat_peer_alive == 1")
	c1.die(time.Now(), liveness.ReasonSilence, cut) // c2 hears it
	d.untilSeries(1, "heartbeat_peer_dead == 1")
	c1.revive()
	c2.change(func() { c2.away = true })
	c1.change(func() { c1.own["mates"] = 0 })
	require.Equal(t, []string{"#on-call collector c2 no longer reports anything"}, d.untilTold(1))
	d.alerts.Until("the alert of c1", func() bool { return d.suppressed("HeartbeatMatesLost") })
	c2.change(func() { c2.away = false })
	c1.change(func() { c1.own["mates"] = 1 })
	d.untilTold(2)
	c1.die(time.Now(), liveness.ReasonSilence, last)
	c2.die(time.Now(), liveness.ReasonSilence, also)
	require.Equal(t, []string{
		"#on-call collector c2 no longer reports anything", "#on-call Over: collector c2 no longer reports anything", "#on-call host web-2 died: silence",
	}, d.untilTold(3))
}

// The same rules, kept by vmalert in VictoriaMetrics. What is kept for the first time is
// found there some seconds later, so a message may be sent before its reason is known.
func TestAlertsOfVmalert(t *testing.T) {
	t.Parallel()
	for name, programs := range map[string]struct{ victoria, vmalert, option string }{
		"1.79":  {foreign(t, "victoria-metrics"), foreign(t, "vmalert"), "-remoteWrite.flushInterval=200ms"},
		"1.151": {built(t, newVictoria, "victoria-metrics"), built(t, newVictoria, "vmalert"), "-rule.evalDelay=0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startExporter(t, "c1")
			rack, other, start := c.addRack(50), c.add("db-1", "host", "fra"), time.Now().Add(-time.Minute)
			d := startVmalert(t, programs.victoria, programs.vmalert, programs.option, c.url)
			d.untilSeries(101, "heartbeat_peer_alive == 1")
			c.die(start, liveness.ReasonUnreachable, rack...)
			d.untilSeries(50, "heartbeat:death_wave")
			c.die(start.Add(50*time.Second), liveness.ReasonSilence, other)
			var deaths []string
			d.alerts.Until("both messages", func() bool {
				deaths = nil
				for _, m := range d.inbox.all() {
					if strings.Contains(m.title, "died") {
						deaths = append(deaths, m.channel+" "+strings.TrimSuffix(m.title, ": silence"))
					}
				}
				return len(deaths) >= 2
			})
			require.ElementsMatch(t, []string{"#on-call 50 peers died at site fra", "#on-call host db-1 died"}, deaths)
			d.alerts.Until("the reason", func() bool { return d.says("host db-1 died: silence") })
		})
	}
}

// What the rules say is specified beside them, in promtool's form, and vmalert
// reads them too. The sample is one that Alertmanager takes.
func TestRulesOfAlertsAreThoseThatAreSpecified(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "deploy", "prometheus")
	for _, c := range [][]string{
		{"promtool", "test", "rules", filepath.Join(dir, "heartbeat.rules.test.yml"), filepath.Join(dir, "heartbeat.weekend.test.yml")},
		{"promtool", "check", "rules", filepath.Join(dir, "heartbeat.rules.yml")},
		{"vmalert", "-dryRun", "-rule=" + filepath.Join(dir, "heartbeat.rules.yml")},
		{built(t, newVictoria, "vmalert"), "-dryRun", "-rule=" + filepath.Join(dir, "heartbeat.rules.yml")},
		{"amtool", "check-config", filepath.Join(dir, "alertmanager.yml")},
	} {
		said, err := exec.Command(foreign(t, c[0]), c[1:]...).CombinedOutput()
		require.NoError(t, err, "%s:\n%s", c, said)
	}
}
