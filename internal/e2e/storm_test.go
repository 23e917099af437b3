//go:build unix

package e2e

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/stretchr/testify/require"
)

// silence is W of a sender with that interval and the default missed_beats.
func silence(interval time.Duration) time.Duration { return 7 * interval / 2 }

// alone turns isolation off, which would hold back the false deaths of many.
const alone = "isolation_ratio = 0"

func TestStoppedCollectorKillsNobody(t *testing.T) {
	t.Parallel()
	const interval = 2 * time.Second
	senders := size(200, 1000)
	for _, isolation := range size([]string{alone}, []string{alone, "isolation_ratio = 0.3"}) {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, isolation)
			c := p.relieve()
			startFleet(t, p.address, senders, interval)
			p.untilAll(senders)
			// Twice over the same connection: so that its end means something.
			c.until("everybody to beat twice", func() bool { return least(t, p.look(senders), "beats_total") >= 2 })

			c.signal(syscall.SIGSTOP)
			pause(2 * silence(interval))
			c.signal(syscall.SIGCONT)
			pause(size(3*silence(interval)/2, 4*silence(interval)))
			p.requireNoDeath()
			peers := p.untilAll(senders)
			require.Zero(t, total(t, peers, "deaths_total")+total(t, peers, "restarts_total"))
			t.Logf("%d senders: %d beats, %d lost", senders, total(t, peers, "beats_total"), total(t, peers, "lost_total"))
		})
	}
}

// A machine that sleeps has all of its processes stopped, and the collector may
// be the first to go on: nothing of what it has missed waits to be read.
func TestMachineThatSleptKillsNobody(t *testing.T) {
	t.Parallel()
	const interval = 2 * time.Second
	p := newPost(t)
	c := p.relieve()
	s := start(t, "heartbeat-sender", "run", "-config", os.DevNull, "-server", "tcp://"+p.address,
		"-interval", interval.String(), "-host", "web-1", "-service", "shop")
	before := total(t, p.untilAll(1), "beats_total")
	c.signal(syscall.SIGSTOP)
	s.signal(syscall.SIGSTOP)
	pause(2 * silence(interval))
	c.signal(syscall.SIGCONT)
	pause(time.Second)
	s.signal(syscall.SIGCONT)
	c.until("it to beat again", func() bool { return total(t, p.look(1), "beats_total") > before })
	p.requireNoDeath()
}

// least returns the lowest value of a field.
func least(t testing.TB, peers map[string]telegraf.Metric, field string) int64 {
	t.Helper()
	lowest := int64(-1)
	for _, m := range peers {
		if n := number(t, m, field); lowest < 0 || n < lowest {
			lowest = n
		}
	}
	return lowest
}

func TestCollectorThatIsKilledAgainAndAgainKillsNobody(t *testing.T) {
	t.Parallel()
	const interval = 2 * time.Second
	senders, kills := size(200, 1000), size(10, 100)
	for _, isolation := range size([]string{alone}, []string{alone, "isolation_ratio = 0.3"}) {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, isolation)
			p.relieve()
			startFleet(t, p.address, senders, interval)
			first := p.untilAll(senders)
			p.untilKept(p.now(), senders)
			var middle map[string]telegraf.Metric
			for kill := range kills {
				p.now().kill()
				p.relieve()
				pause(interval) // everybody finds it within this time
				if kill == kills/2 {
					middle = p.look(senders)
				}
			}
			atEnd := p.untilAll(senders)
			p.requireNoDeath()
			require.Zero(t, total(t, atEnd, "deaths_total")+total(t, atEnd, "restarts_total")+total(t, atEnd, "conflicts_total"))
			for peer := range atEnd {
				require.Contains(t, middle, peer)
				// What was not saved yet is lost with a collector, but not what the first had saved.
				before := number(t, first[peer], "beats_total")
				require.LessOrEqual(t, before, number(t, middle[peer], "beats_total"), peer)
				require.Less(t, before, number(t, atEnd[peer], "beats_total"), peer)
			}
			t.Logf("%d kills under %d senders: %d, %d and at last %d beats counted, %d lost", kills, senders,
				total(t, first, "beats_total"), total(t, middle, "beats_total"), total(t, atEnd, "beats_total"), total(t, atEnd, "lost_total"))
		})
	}
}

// Not in parallel: what else runs here would starve too.
func TestStarvedCollectorKillsNobody(t *testing.T) {
	senders, interval := size(1000, 5000), size(2*time.Second, 5*time.Second)
	p := newPost(t, alone)
	p.relieve()
	startFleet(t, p.address, senders, interval)
	peers := p.untilAll(senders)
	before := total(t, peers, "beats_total")

	const loops = 4
	for range loops {
		loop := newProcess(t, "busy loop", exec.Command("sh", "-c", "while :; do :; done"))
		loop.start()
	}
	pause(size(3*silence(interval)/2, time.Minute))
	p.requireNoDeath()
	peers = p.look(senders)
	require.Zero(t, total(t, peers, "deaths_total"))
	require.Less(t, before, total(t, peers, "beats_total"))
	t.Logf("%d senders beside %d busy loops: %d beats, %d lost", senders, loops,
		total(t, peers, "beats_total")-before, total(t, peers, "lost_total"))
}
