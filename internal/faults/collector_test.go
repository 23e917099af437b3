//go:build linux

package faults

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/parsers/influx"
	"github.com/stretchr/testify/require"
)

// A collector is telegraf-heartbeat as Telegraf's inputs.execd would run it.
type collector struct {
	*process
	parser influx.Parser
	taken  int // lines of stdout that are in the rest
	events map[string][]event
	beats  map[string][]time.Time
	open   int64 // connections
	openAt time.Time
}

// An event is a line of heartbeat_event, when it came out.
type event struct {
	state, reason string
	at            time.Time
}

func (e event) String() string { return e.state + " " + e.reason }

// startCollector starts a collector with defaults, but for the given options.
func (n *network) startCollector(options ...string) *collector {
	n.t.Helper()
	lines := append([]string{`service_addresses = ["tcp://:` + port + `"]`, `state_file = "none"`}, options...)
	file := filepath.Join(n.t.TempDir(), "heartbeat.conf")
	text := "[[inputs.heartbeat]]\n" + strings.Join(lines, "\n") + "\n"
	require.NoError(n.t, os.WriteFile(file, []byte(text), 0o600))

	command := n.collector.command(program(n.t, "telegraf-heartbeat"), "-config", file, "-interval", "1s")
	c := &collector{
		process: start(n.t, "collector", command),
		events:  make(map[string][]event), beats: make(map[string][]time.Time),
	}
	require.NoError(n.t, c.parser.Init())
	until(n.t, "the collector to listen", func() bool { return c.stderr.says("Listening on") || !c.running() })
	require.True(n.t, c.running(), "the collector has ended")
	return c
}

// read takes in what the collector has told since the last time.
func (c *collector) read() {
	c.t.Helper()
	for _, line := range c.stdout.from(c.taken) {
		c.taken++
		metrics, err := c.parser.Parse([]byte(line.text))
		require.NoError(c.t, err, line.text)
		for _, m := range metrics {
			c.take(m, line.at)
		}
	}
}

func (c *collector) take(m telegraf.Metric, at time.Time) {
	switch m.Name() {
	case "heartbeat_event":
		state, _ := m.GetTag("state")
		reason, _ := m.GetTag("reason")
		c.events[peerOf(m)] = append(c.events[peerOf(m)], event{state, reason, at})
	case "heartbeat":
		c.beats[peerOf(m)] = append(c.beats[peerOf(m)], m.Time())
	case "heartbeat_listener":
		if open, ok := m.GetField("connections"); ok {
			c.open, c.openAt = open.(int64), at
		}
	}
}

// peerOf returns who a metric is about: source/service, or source/pid of
// those who name no service.
func peerOf(m telegraf.Metric) string {
	source, _ := m.GetTag("source")
	if service, ok := m.GetTag("service"); ok {
		return source + "/" + service
	}
	pid, _ := m.GetTag("pid")
	return source + "/" + pid
}

// told returns what was told of a peer.
func (c *collector) told(peer string) []event {
	c.t.Helper()
	c.read()
	return c.events[peer]
}

// heard returns when the collector got the beats of a peer.
func (c *collector) heard(peer string) []time.Time {
	c.t.Helper()
	c.read()
	return c.beats[peer]
}

// connections returns how many were open when that was told last.
func (c *collector) connections() int64 {
	c.t.Helper()
	c.read()
	return c.open
}

// know waits until the connections of peers are long ones: two beats at least
// 100 ms apart. Then the answer to the last beat is given time to be read,
// because a connection that ends with unread data is reset.
func (c *collector) know(peers ...string) {
	c.t.Helper()
	for _, peer := range peers {
		until(c.t, "two beats of "+peer, func() bool {
			beats := c.heard(peer)
			return len(beats) > 1 && beats[len(beats)-1].Sub(beats[0]) > 100*time.Millisecond
		})
	}
	pause(500 * time.Millisecond)
}

// hear waits for one more beat of a peer.
func (c *collector) hear(peer string) {
	c.t.Helper()
	before := len(c.heard(peer))
	until(c.t, "a beat of "+peer, func() bool { return len(c.heard(peer)) > before })
}

// pause lets a fault last.
func pause(d time.Duration) { <-time.After(d) }
