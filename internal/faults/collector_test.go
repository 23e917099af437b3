//go:build linux

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/parsers/influx"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A collector is telegraf-heartbeat as Telegraf's inputs.execd would run it, or
// a Telegraf.
type collector struct {
	*process
	n      *network
	name   string
	in     namespace
	run    []string      // program and arguments
	config string        // file
	state  string        // file
	ahead  time.Duration // its clock
	parser influx.Parser
	taken  int // lines of stdout that are in the rest
	events map[string][]event
	beats  map[string][]time.Time
	peers  map[string]telegraf.Metric // the last of each
	kinds  map[string]telegraf.Metric // likewise, of heartbeat_collector
	itself telegraf.Metric            // likewise, what it says of itself
	open   int64                      // connections
	openAt time.Time
}

// An event is a line of heartbeat_event, when it came out.
type event struct {
	state, reason string
	at            time.Time
	id            int64 // 0 if there is none
	stamp         time.Time
}

func (e event) String() string { return e.state + " " + e.reason }

// startCollector starts a collector with defaults, but for the given options.
func (n *network) startCollector(options ...string) *collector {
	n.t.Helper()
	return n.startCollectorAs(nil, options...)
}

// startCollectorAs starts it by a command.
func (n *network) startCollectorAs(command []string, options ...string) *collector {
	n.t.Helper()
	c := n.newCollector("collector", n.collector)
	c.run = []string{testkit.Program(n.t, "telegraf-heartbeat"), "-config", c.config, "-interval", "1s"}
	lines := append([]string{
		"[[inputs.heartbeat]]",
		`service_addresses = ["tcp://:` + port + `", "udp://:` + port + `"]`,
		fmt.Sprintf("state_file = %q", c.state),
	}, options...)
	require.NoError(n.t, os.WriteFile(c.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	c.begin(command...)
	c.listens()
	return c
}

// newCollector is one that has yet to be configured and started.
func (n *network) newCollector(name string, in namespace) *collector {
	n.t.Helper()
	c := &collector{
		n: n, name: name, in: in,
		config: filepath.Join(n.t.TempDir(), "heartbeat.conf"), state: filepath.Join(n.t.TempDir(), "heartbeat.state"),
		events: make(map[string][]event), beats: make(map[string][]time.Time), peers: make(map[string]telegraf.Metric),
		kinds: make(map[string]telegraf.Metric),
	}
	require.NoError(n.t, c.parser.Init())
	return c
}

// begin starts the collector, or another one in its place.
func (c *collector) begin(command ...string) {
	c.n.t.Helper()
	c.n.diary.note("%s# %s", c.name, strings.Join(append(command, filepath.Base(c.run[0])), " "))
	c.process, c.taken = c.n.start(c.name, c.in.command(append(command, c.run...)...)), 0
}

// listens waits until the collector does.
func (c *collector) listens() {
	c.T.Helper()
	testkit.Until(c.T, "the collector to listen", func() bool { return c.Stderr.Says("Listening on udp") || !c.Running() })
	require.True(c.T, c.Running(), "the collector has ended")
}

// end is what the collector told until its end.
func (c *collector) end() {
	c.T.Helper()
	c.kill()
	c.read()
}

// read takes in what the collector has told since the last time.
func (c *collector) read() {
	c.T.Helper()
	for _, line := range c.Stdout.From(c.taken) {
		c.taken++
		metrics, err := c.parser.Parse([]byte(line.Text))
		require.NoError(c.T, err, line.Text)
		for _, m := range metrics {
			c.take(m, line.At)
		}
	}
}

func (c *collector) take(m telegraf.Metric, at time.Time) {
	switch m.Name() {
	case "heartbeat_event":
		c.events[peerOf(m)] = append(c.events[peerOf(m)], c.event(m, at))
	case "heartbeat_peer":
		c.peers[peerOf(m)] = m
	case "heartbeat":
		c.beats[peerOf(m)] = append(c.beats[peerOf(m)], m.Time())
	case "heartbeat_collector":
		if kind := tag(m, "kind"); kind != "" {
			c.kinds[kind] = m
		} else if !m.HasTag("state") {
			c.itself = m
		}
	case "heartbeat_listener":
		if open, ok := m.GetField("connections"); ok && strings.HasPrefix(tag(m, "address"), "tcp") {
			c.open, c.openAt = open.(int64), at
		}
	}
}

func (c *collector) event(m telegraf.Metric, at time.Time) event {
	e := event{state: tag(m, "state"), reason: tag(m, "reason"), at: at, stamp: m.Time().Add(-c.ahead)}
	if id, ok := m.GetField("id"); ok {
		e.id, _ = id.(int64)
	}
	return e
}

func tag(m telegraf.Metric, key string) string {
	value, _ := m.GetTag(key)
	return value
}

const itself = "/" // what peerOf returns for the collector

// peerOf returns who a metric is about: source/service, or source/pid of
// those who name no service.
func peerOf(m telegraf.Metric) string {
	if m.HasTag("service") {
		return tag(m, "source") + "/" + tag(m, "service")
	}
	return tag(m, "source") + "/" + tag(m, "pid")
}

// told returns what was told of a peer.
func (c *collector) told(peer string) []event {
	c.T.Helper()
	c.read()
	return c.events[peer]
}

// heard returns when the collector got the beats of a peer.
func (c *collector) heard(peer string) []time.Time {
	c.T.Helper()
	c.read()
	return c.beats[peer]
}

// counted returns a counter of a peer.
func (c *collector) counted(peer, field string) int64 {
	c.T.Helper()
	c.read()
	m, ok := c.peers[peer]
	return c.number(m, ok, field)
}

// ofKind returns how many beats of a kind there were that make no metric.
func (c *collector) ofKind(kind string) int64 {
	c.T.Helper()
	c.read()
	m, ok := c.kinds[kind]
	return c.number(m, ok, "beats_total")
}

// number returns a field of m, or 0 if that was not told yet.
func (c *collector) number(m telegraf.Metric, told bool, field string) int64 {
	c.T.Helper()
	if !told {
		return 0
	}
	value, _ := m.GetField(field)
	n, ok := value.(int64)
	require.True(c.T, ok, "%s is %T", field, value)
	return n
}

// connections returns how many were open when that was told last.
func (c *collector) connections() int64 {
	c.T.Helper()
	c.read()
	return c.open
}

// know waits until the connections of peers are long ones: two beats at least
// 100 ms apart. Then the answer to the last beat is given time to be read,
// because a connection that ends with unread data is reset.
func (c *collector) know(peers ...string) {
	c.T.Helper()
	for _, peer := range peers {
		testkit.Until(c.T, "two beats of "+peer, func() bool {
			beats := c.heard(peer)
			return len(beats) > 1 && beats[len(beats)-1].Sub(beats[0]) > 100*time.Millisecond
		})
	}
	pause(500 * time.Millisecond)
}

// hear waits for one more beat of a peer.
func (c *collector) hear(peer string) {
	c.T.Helper()
	before := len(c.heard(peer))
	testkit.Until(c.T, "a beat of "+peer, func() bool { return len(c.heard(peer)) > before })
}

// pause lets a fault last.
func pause(d time.Duration) { <-time.After(d) }
