//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A told story is one in which everything happens that charts should show, and
// the databases that have heard it from a real Telegraf.
type toldStory struct {
	t         testing.TB
	from      time.Time
	known     time.Time // from then on all were
	collector *collector
	influx    *server
	prom      *server
	victoria  *server
}

// tellCharts tells the story. At its end these are alive: web-1/nginx, web-4/back,
// web-6/shop, web-7/loop, web-8/moved, 10.0.0.5/4711, and slow-1/job, which is
// suspect. web-2/shop, db-1/host and db-1/app are dead, web-5/polite has left and
// gone-1/old is forgotten.
func tellCharts(t testing.TB) *toldStory {
	t.Helper()
	s := startDatabases(t)
	address := s.collector.address
	sender := func(host, service string) *testkit.Process { return startSender(t, address, host, service) }

	sender("web-1", "nginx")
	shop, back, loop := sender("web-2", "shop"), sender("web-4", "back"), sender("web-7", "loop")
	polite, restarted, old := sender("web-5", "polite"), sender("web-6", "shop"), sender("gone-1", "old")
	host := s.watch("db-1", "app")
	naive, moved := s.naive(), s.moving("web-8", "moved")
	s.suspect("slow-1", "job")
	s.untilAll("all to be known", `heartbeat_peer_beats_total{service="shop"} > 1`, 2)
	s.untilAll("all to be known", "heartbeat_peer_alive == 1", 12)
	s.known = time.Now()

	for range 4 {
		s.restart(&restarted, "web-6", "shop")
	}
	for range 2 { // dead, alive, dead, alive
		s.die(loop, "web-7")
		loop = sender("web-7", "loop")
		s.untilAll("a life", `heartbeat_peer_alive{source="web-7"} == 1`, 1)
	}
	polite.Signal(syscall.SIGTERM)
	require.Zero(t, polite.Exit())
	s.die(back, "web-4")
	sender("web-4", "back")

	s.restartCollector()
	now := time.Now()
	beats := s.prom.promQL(`heartbeat_peer_beats_total{source="web-2"}`, now, now, 0)[0].latest("value")
	s.untilAll("some beats over the new connection", fmt.Sprintf(`heartbeat_peer_beats_total{source="web-2"} > %f`, beats+4), 1)
	moved.on("10.0.0.9")
	naive.beat()
	shop.Kill()
	host.Kill()
	s.die(old, "gone-1")
	s.untilAll("the deaths", `heartbeat_peer_dead{source=~"web-2|db-1"} == 1`, 3)
	s.untilAll("one to be forgotten", `heartbeat_peer_reason_code{source="gone-1"} offset 6s == 16`, 1) // for longer than a step
	moved.on("10.0.0.10")
	naive.beat()
	s.untilAll("the last beats", `heartbeat_peer_beats_total{source="10.0.0.5"} == 3`, 1)
	pause(2 * time.Second) // all samples of that are where they are asked for
	return s
}

func startDatabases(t testing.TB) *toldStory {
	t.Helper()
	s := &toldStory{t: t, from: time.Now(), influx: startInfluxDB(t)}
	exposed := testkit.FreeAddress(t)
	// However long the story takes, nobody is silent for too long, and no death of web-6 is told, which
	// is restarted.
	options := writeOptions(t, "tcp://"+testkit.FreeAddress(t), alone, `disconnect_grace = "2s"`, `dead_after = "1h"`, `state_file = "`+filepath.Join(t.TempDir(), "state")+`"`,
		"[[inputs.heartbeat.rule]]", `host = "slow-*"`, `disconnect_grace = "1h"`,
		"[[inputs.heartbeat.rule]]", `host = "gone-*"`, `forget_dead_after = "20s"`,
		"[[inputs.heartbeat.rule]]", `host = "web-6"`, `disconnect_grace = "1h"`)
	s.collector = startStockWith(t, options, func(c *conf) {
		c.replace(`interval = "10s"`, `interval = "1s"`)
		c.uncomment("[[outputs.influxdb]]")
		c.replace("http://127.0.0.1:8086", s.influx.url)
		c.uncomment("[[outputs.prometheus_client]]")
		c.replace(`listen = ":9273"`, fmt.Sprintf("listen = %q", exposed))
	})
	s.prom, s.victoria = startPrometheus(t, changed(t, "heartbeat.rules.yml", everySecond), "", exposed), startVictoriaMetrics(t, foreign(t, "victoria-metrics"), exposed)
	return s
}

// untilAll waits until each database that is scraped gives so many series, and
// lets a second go by in which InfluxDB hears of it.
func (s *toldStory) untilAll(what, query string, count int) {
	s.t.Helper()
	for _, db := range []*server{s.prom, s.victoria} {
		s.collector.Until(what, func() bool {
			now := time.Now()
			return len(db.promQL(query, now, now, 0)) == count
		})
	}
}

// die kills a sender and waits until every database has its death, and the rules have seen it.
func (s *toldStory) die(p *testkit.Process, host string) {
	s.t.Helper()
	p.Kill()
	s.untilAll("a death", fmt.Sprintf("heartbeat_peer_dead{source=%q} == 1", host), 1)
	s.collector.Until("a death that the rules have seen", func() bool {
		now := time.Now()
		return len(s.prom.promQL(fmt.Sprintf("heartbeat:dead_since{source=%q}", host), now, now, 0)) == 1
	})
}

// restart kills a sender and starts it again at once.
func (s *toldStory) restart(p **testkit.Process, host, service string) {
	s.t.Helper()
	(*p).Kill()
	*p = startSender(s.t, s.collector.address, host, service)
	s.untilAll("the next life", fmt.Sprintf(`heartbeat_peer_last_pid{source=%q} == %d`, host, (*p).PID()), 1)
}

// restartCollector ends what Telegraf has started, which starts it again.
func (s *toldStory) restartCollector() {
	s.t.Helper()
	started := s.collector.listeners()
	require.Len(s.t, started, 1)
	require.NoError(s.t, syscall.Kill(started[0], syscall.SIGTERM))
	s.collector.Until("the next collector", func() bool { return len(s.collector.listeners()) == 2 })
}

// watch starts a sender that speaks for its host and a service there.
func (s *toldStory) watch(host, service string) *testkit.Process {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "heartbeat-sender.toml")
	text := fmt.Sprintf("server = \"tcp://%s\"\nhost = %q\ninterval = \"1s\"\n[[watch]]\nservice = %q\npid = %d\n", s.collector.address, host, service, sleeper(s.t).PID())
	require.NoError(s.t, os.WriteFile(file, []byte(text), 0o600))
	return testkit.StartProgram(s.t, "heartbeat-sender", "run", "-config", file)
}

// suspect lets a service beat twice and lose its connection.
func (s *toldStory) suspect(host, service string) {
	s.t.Helper()
	c := dial(s.t, s.collector.address)
	for seq := range 2 {
		c.beat(map[string]any{"host": host, "service": service, "pid": 77, "run": "r", "seq": 1 + seq, "interval_ms": 3_600_000, "status": "degraded"})
		pause(200 * time.Millisecond)
	}
	require.NoError(s.t, c.Close())
}

// A naiveClient is that of the article.
type naiveClient struct {
	*toldStory
	conn *client
}

func (s *toldStory) naive() *naiveClient {
	n := &naiveClient{toldStory: s}
	n.beat()
	return n
}

// beat sends a beat, over another connection if the collector has ended the
// one before.
func (n *naiveClient) beat() {
	n.conn = dial(n.t, n.collector.address)
	n.conn.send(`{"ip": "10.0.0.5", "status": "alive", "pid": 4711}`)
}

// A movingPeer changes its address.
type movingPeer struct {
	*toldStory
	host, service string
	seq           int
}

func (s *toldStory) moving(host, service string) *movingPeer {
	m := &movingPeer{s, host, service, 0}
	m.on("10.0.0.8")
	return m
}

func (m *movingPeer) on(ip string) {
	m.t.Helper()
	m.seq++
	dial(m.t, m.collector.address).beat(map[string]any{
		"host": m.host, "service": m.service, "pid": 88, "ip": ip, "run": "r", "seq": m.seq, "interval_ms": 3_600_000,
		"rtt_us": 1500, "sent_ms": time.Now().UnixMilli(), "status": "fail",
	})
}
