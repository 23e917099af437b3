//go:build unix

package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/parsers/influx"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// long makes tests larger rather than skipping them: where everything must
// run, a skipped test is a failure.
var long = flag.Bool("long", false, "run the storms at full length: a quarter of an hour, 5,000 senders, a million connections")

// size returns the size of a test: that of every day, or the full one.
func size[T any](everyDay, full T) T {
	if *long {
		return full
	}
	return everyDay
}

// pause lets time pass where what is tested is that nothing comes.
func pause(d time.Duration) { <-time.After(d) }

// A post is a port with a state file, at which one collector relieves another.
type post struct {
	t       testing.TB
	address string // host:port
	dir     string // of the state file alone
	state   string
	config  string
	program string             // in bin
	lives   []*testkit.Process // all collectors so far
}

func newPost(t testing.TB, more ...string) *post {
	t.Helper()
	p := &post{t: t, address: testkit.FreeAddress(t), dir: t.TempDir(), program: "telegraf-heartbeat"}
	p.state = filepath.Join(p.dir, "heartbeat.state")
	options := append([]string{fmt.Sprintf("state_file = %q", p.state), `emit_beats = "none"`}, more...)
	p.config = writeOptions(t, "tcp://"+p.address, options...)
	return p
}

// relieve starts a collector and returns when it listens. A command before it
// has to become the collector in the end.
func (p *post) relieve(command ...string) *testkit.Process {
	p.t.Helper()
	command = append(command, testkit.Program(p.t, p.program), "-config", p.config)
	c := testkit.Start(p.t, p.program, exec.Command(command[0], command[1:]...))
	p.lives = append(p.lives, c)
	require.Equal(p.t, p.address, listens(c))
	return c
}

func (p *post) now() *testkit.Process { return last(p.lives) }

// stop ends the collector as systemd does.
func (p *post) stop() {
	p.t.Helper()
	p.now().Signal(syscall.SIGTERM)
	require.Zero(p.t, p.now().Exit())
}

// events returns what was told to have happened, in all lives.
func (p *post) events(where ...string) []telegraf.Metric {
	p.t.Helper()
	var all []telegraf.Metric
	for _, c := range p.lives {
		for _, m := range parse(p.t, c.Stdout.With("heartbeat_event,")) {
			if tagged(m, where...) {
				all = append(all, m)
			}
		}
	}
	return all
}

// states returns in which states a peer was told to be, and for which reason.
func (p *post) states(source, service string) []string {
	p.t.Helper()
	var states []string
	for _, m := range p.events("source", source, "service", service) {
		state, _ := m.GetTag("state")
		reason, _ := m.GetTag("reason")
		states = append(states, state+" "+reason)
	}
	return states
}

// requireNoDeath tells that nobody was told dead, and how near it was.
func (p *post) requireNoDeath() {
	p.t.Helper()
	p.t.Logf("%d lives: %d suspects, %d deaths, isolated %d times", len(p.lives),
		len(p.events("state", "suspect")), len(p.events("state", "dead")), len(p.events("reason", "isolated", "state", "on")))
	require.Empty(p.t, p.events("state", "dead"))
}

// look gathers, and returns what is told of the peers once n were told of.
func (p *post) look(n int) map[string]telegraf.Metric {
	p.t.Helper()
	c := p.now()
	before := len(c.Stdout.With("heartbeat_peer,"))
	c.Say("\n")
	var peers map[string]telegraf.Metric
	c.Until(fmt.Sprintf("a look at %d peers", n), func() bool {
		lines := c.Stdout.With("heartbeat_peer,")
		if len(lines) < before+n {
			return false
		}
		peers = byPeer(parse(p.t, lines[before:]))
		return len(peers) >= n
	})
	require.Len(p.t, peers, n)
	return peers
}

// untilAll waits until n peers are alive, and this collector has heard each of them.
func (p *post) untilAll(n int) map[string]telegraf.Metric {
	p.t.Helper()
	c, all := p.now(), fmt.Sprintf("heartbeat_collector,state=alive peers=%di", n)
	c.Until(fmt.Sprintf("%d peers to be alive", n), func() bool {
		c.Say("\n")
		pause(500 * time.Millisecond) // a look at many peers is long
		return c.Stdout.Says(all)
	})
	var peers map[string]telegraf.Metric
	started := p.startedAt()
	c.Until(fmt.Sprintf("%d peers to be heard", n), func() bool {
		peers = p.look(n)
		for _, m := range peers {
			if heardAt(p.t, m).Before(started) {
				return false
			}
		}
		return total(p.t, peers, "alive") == int64(n)
	})
	return peers
}

// startedAt returns when the collector began to listen.
func (p *post) startedAt() time.Time {
	p.t.Helper()
	for _, m := range parse(p.t, p.now().Stdout.With("heartbeat_event,")) {
		if tagged(m, "reason", "started") {
			return m.Time()
		}
	}
	p.t.Fatal("the collector has not told that it was started")
	return time.Time{}
}

// heardAt returns when a peer was heard last.
func heardAt(t testing.TB, m telegraf.Metric) time.Time {
	t.Helper()
	value, _ := m.GetField("age_seconds")
	age, ok := value.(float64)
	require.True(t, ok, "age_seconds is %T in %v", value, m)
	return m.Time().Add(-time.Duration(age * float64(time.Second)))
}

// byPeer returns the last metric of each peer.
func byPeer(metrics []telegraf.Metric) map[string]telegraf.Metric {
	peers := make(map[string]telegraf.Metric)
	for _, m := range metrics {
		source, _ := m.GetTag("source")
		service, _ := m.GetTag("service")
		peers[source+"/"+service] = m
	}
	return peers
}

// total adds up a field.
func total(t testing.TB, peers map[string]telegraf.Metric, field string) int64 {
	t.Helper()
	sum := int64(0)
	for _, m := range peers {
		sum += number(t, m, field)
	}
	return sum
}

func parse(t testing.TB, lines []string) []telegraf.Metric {
	t.Helper()
	parser := influx.Parser{}
	require.NoError(t, parser.Init())
	metrics, err := parser.Parse([]byte(strings.Join(lines, "\n")))
	require.NoError(t, err)
	return metrics
}

// saved waits until the collector saves into file, from now on.
func saved(c *testkit.Process, file string) {
	c.T.Helper()
	before, err := os.Stat(file)
	if !os.IsNotExist(err) {
		require.NoError(c.T, err)
	}
	c.Until("it to save "+file, func() bool {
		now, err := os.Stat(file)
		return err == nil && (before == nil || !os.SameFile(before, now))
	})
}
