//go:build linux

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

const (
	massWarmUp = 2 * massCycle // connections before what a collector has is noted
	massQuick  = 200           // at once, of strangers that do not wait
	massSlow   = 2_000         // at once, of those that do
	massPeers  = 2_000         // that strangers speak for, by turns: memory is that of connections, not of peers
	massHonest = 10            // senders beside them

	massTimeout = 5 * time.Second // 'read_timeout', far more than whoever sends or closes at once takes

	// massMemory is by how many KiB a collector may have grown: garbage between two
	// collections, and what Go has not given back yet, differ by a few MiB from one time
	// to another. A leak of 200 B a connection is more.
	massMemory = 8 << 10
	// massThreads is how many threads more it may have: Go ends none, and begins one
	// when all that it has wait for the system.
	massThreads = 8
)

// racingProgram is the collector with the race detector, whose own memory is never given
// back.
const racingProgram = "telegraf-heartbeat-race"

// Masses that connect, say something or nothing, and end in every way leave nothing
// behind: no descriptor, goroutine, thread or memory. Each of them is counted as what it
// was, and the honest senders beside them are not even suspected.
func TestMassesLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	needDescriptors(t, 10_000)
	for _, program := range massPrograms {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			before := newMasses(t, program)
			before.call(massWarmUp)
			before.untilAllEnded()
			goroutines := before.dump()

			m := newMasses(t, program)
			m.call(massWarmUp)
			m.untilAllEnded()
			had := m.measure()
			m.callBesideHonest(size(50_000, 1_000_000))
			m.untilAllEnded()
			m.requireNoMore(had)
			m.requireAllCounted()
			m.requireToldOnce()
			after := m.dump()
			t.Logf("goroutines: %d, before %d", after, goroutines)
			require.LessOrEqual(t, after, goroutines+keptWorkers, "goroutines")
			require.Empty(t, m.now().Stderr.With("DATA RACE"))
		})
	}
}

func TestSharesOfStrangersAddUp(t *testing.T) {
	sum := 0
	for i := range manners {
		sum += manners[i].share
	}
	require.Equal(t, massCycle, sum)
}

// Masses are strangers of a collector.
type masses struct {
	*post
	t       *testing.T
	secure  string // host:port of its TLS
	trust   *tls.Config
	called  int              // so many connections
	expects map[string]int64 // by reason
	beats   [massPeers]peerBeats
	read    int // lines of what the collector has told that gather needs no more
}

// peerBeats are what strangers have beaten for a peer.
type peerBeats struct{ certain, perhaps atomic.Int64 }

func newMasses(t *testing.T, program string) *masses {
	t.Helper()
	p := newPost(t)
	p.program = program
	s := &site{t: t, dir: t.TempDir()}
	s.certify()
	options := `[[inputs.heartbeat]]
service_addresses = ["tcp://PLAIN", "tls://127.0.0.1:0"]
state_file = "STATE"
tls_cert = "DIR/collector.pem"
tls_key = "DIR/collector.key"
emit_beats = "none"
max_beats_per_second = 0
read_timeout = "TIMEOUT"
keep_alive_idle = "10s"
keep_alive_interval = "1s"
`
	p.config = s.write("heartbeat.conf", strings.NewReplacer("PLAIN", p.address, "STATE", p.state, "DIR", s.dir, "TIMEOUT", massTimeout.String()).Replace(options))
	// Collected after every fifth of what is in use: so a few Gathers force a collection.
	c := p.relieve("env", "GOGC=20")
	const listensSecurely = "Listening on tls://"
	c.Until("it to listen for TLS", func() bool { return c.Stderr.Says(listensSecurely) })
	_, secure, _ := strings.Cut(last(c.Stderr.With(listensSecurely)), listensSecurely)
	authority, err := os.ReadFile(filepath.Join(s.dir, "authority.pem"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(authority))
	return &masses{
		post: p, t: t, secure: secure, trust: &tls.Config{RootCAs: roots, ServerName: "collector", MinVersion: tls.VersionTLS13},
		expects: make(map[string]int64),
	}
}

// call has n more strangers connect, and returns when all have ended.
func (m *masses) call(n int) {
	m.t.Helper()
	var next atomic.Int64
	next.Store(int64(m.called))
	m.called += n
	var quick, slow sync.WaitGroup
	var failed atomic.Int64
	room := make(chan struct{}, massSlow)
	visit := func(c *stranger) {
		if err := c.call(); err != nil && failed.Add(1) <= 10 {
			m.t.Errorf("stranger %d, %s: %v", c.number, c.manner.name, err)
		}
	}
	for range massQuick {
		quick.Go(func() { // ends with the last stranger
			for i := int(next.Add(1)) - 1; i < m.called; i = int(next.Add(1)) - 1 {
				c := m.stranger(i)
				if !c.manner.waits {
					visit(c)
					continue
				}
				room <- struct{}{}
				slow.Go(func() { // ends when the collector closes the connection
					defer func() { <-room }()
					visit(c)
				})
			}
		})
	}
	quick.Wait()
	slow.Wait()
	for i := m.called - n; i < m.called; i++ {
		if manner := mannerOf(i); manner.reason != "" {
			m.expects[manner.scheme()+" "+manner.reason]++
		}
	}
}

// callBesideHonest is call, while honest senders beat.
func (m *masses) callBesideHonest(n int) {
	m.t.Run("beside honest senders", func(t *testing.T) {
		startFleet(t, m.address, massHonest, probeInterval)
		m.untilHonest()
		m.call(n)
	})
}

// gather returns what the collector tells of its listeners now, and of its peers. In a
// Gather the peers come before the collector and the listeners after it, so what comes
// between the collectors of two is complete.
func (m *masses) gather() (listeners, peers []telegraf.Metric) {
	m.t.Helper()
	c := m.now()
	m.read += len(c.Stdout.From(m.read))
	var at []int
	for gathers := range 2 {
		c.Say("\n")
		c.Until("a Gather", func() bool {
			at = collectorsIn(c.Stdout.From(m.read))
			return len(at) > gathers
		})
	}
	var lines []string
	for _, line := range c.Stdout.From(m.read)[at[0]:at[1]] {
		lines = append(lines, line.Text)
	}
	for _, metric := range parse(m.t, lines) {
		switch metric.Name() {
		case "heartbeat_listener":
			listeners = append(listeners, metric)
		case "heartbeat_peer":
			peers = append(peers, metric)
		}
	}
	return listeners, peers
}

// collectorsIn returns at which lines a Gather tells of the collector.
func collectorsIn(lines []testkit.Line) (at []int) {
	for i, line := range lines {
		if strings.HasPrefix(line.Text, "heartbeat_collector,state=unknown ") {
			at = append(at, i)
		}
	}
	return at
}

// untilAllEnded waits until no connection is open at the collector.
func (m *masses) untilAllEnded() {
	m.t.Helper()
	m.now().Until("the end of all connections", func() bool {
		listeners, _ := m.gather()
		open := int64(0)
		for _, l := range listeners {
			if l.HasField("connections") {
				open += number(m.t, l, "connections")
			}
		}
		return open == 0
	})
}

// untilHonest waits until all honest senders are told alive.
func (m *masses) untilHonest() {
	m.t.Helper()
	m.now().Until("honest senders to be alive", func() bool {
		alive := 0
		for _, e := range m.events("state", "alive") {
			if isHonest(e) {
				alive++
			}
		}
		return alive == massHonest
	})
}

func isHonest(m telegraf.Metric) bool {
	source, _ := m.GetTag("source")
	return strings.HasPrefix(source, "fleet-")
}

// Possessions are what a process has.
type possessions struct{ descriptors, threads, memory int }

func (m *masses) measure() possessions {
	m.t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", m.now().PID()))
	require.NoError(m.t, err)
	return possessions{openDescriptors(m.t, m.now()), len(tasks), residentKiB(m.t, m.now())}
}

// requireNoMore requires that the collector has what it had before.
func (m *masses) requireNoMore(had possessions) {
	m.t.Helper()
	has := m.measure()
	m.now().Until(fmt.Sprintf("%d KiB to become %d", has.memory, had.memory+massMemory), func() bool {
		m.gather()
		has = m.measure()
		return m.program == racingProgram || has.memory <= had.memory+massMemory
	})
	m.t.Logf("after %d connections: %+v, before: %+v", m.called, has, had)
	require.LessOrEqual(m.t, has.descriptors, had.descriptors, "descriptors")
	require.LessOrEqual(m.t, has.threads, had.threads+massThreads, "threads")
}

// requireAllCounted requires that each stranger was counted as what it was: as beats, or
// by the reason for which it was refused.
func (m *masses) requireAllCounted() {
	m.t.Helper()
	listeners, peers := m.gather()
	refused, beats := make(map[string]int64), int64(0)
	for _, l := range listeners {
		if reason, ok := l.GetTag("reason"); !ok {
			beats += number(m.t, l, "beats_total")
		} else if n := number(m.t, l, "refused_total"); n > 0 {
			address, _ := l.GetTag("address")
			scheme, _, _ := strings.Cut(address, "://")
			refused[scheme+" "+reason] = n
		}
	}
	require.Equal(m.t, m.expects, refused)
	for _, peer := range byPeer(peers) {
		source, _ := peer.GetTag("source")
		n := number(m.t, peer, "beats_total")
		beats -= n
		var i int
		if _, err := fmt.Sscanf(source, massPeer, &i); err != nil {
			continue // of an honest sender, or of one that is deaf
		}
		certain := m.beats[i].certain.Load()
		require.GreaterOrEqual(m.t, n, certain, source)
		require.LessOrEqual(m.t, n, certain+m.beats[i].perhaps.Load(), source)
	}
	require.Zero(m.t, beats, "beats of a listener that are not those of a peer")
	m.t.Logf("refused: %v", refused)
}

// requireToldOnce requires that each peer was told alive once, and no honest one told
// anything else.
func (m *masses) requireToldOnce() {
	m.t.Helper()
	alive := make(map[string]int)
	for _, e := range m.events() {
		source, _ := e.GetTag("source")
		state, _ := e.GetTag("state")
		switch {
		case source == "":
		case state == "alive":
			alive[source]++
		default:
			require.False(m.t, isHonest(e) && state != "left", "%v", e)
		}
	}
	_, peers := m.gather()
	for name := range byPeer(peers) {
		source, _, _ := strings.Cut(name, "/")
		require.Equal(m.t, 1, alive[source], source)
	}
	for i := range m.beats {
		if m.beats[i].certain.Load() > 0 {
			require.Equal(m.t, 1, alive[fmt.Sprintf(massPeer, i)], massPeer, i)
		}
	}
}
