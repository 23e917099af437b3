//go:build unix

package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// One ends while a collector is there and one while there is none: of that
// one nobody sees the connection end.
func TestRestartedCollectorTellsADeathOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range size(
		[]restarts{{every: 2 * time.Second, times: 10}},
		[]restarts{{every: 2 * time.Second, times: 60}, {every: 10 * time.Second, times: 12}},
	) {
		t.Run(fmt.Sprint("every ", tt.every), func(t *testing.T) {
			t.Parallel()
			tt.run(t)
		})
	}
}

// restarts are how often and how many times at least a collector is restarted.
type restarts struct {
	every time.Duration
	times int
}

func (r restarts) run(t *testing.T) {
	const alive, all = 20, 22
	p := newPost(t)
	p.relieve()
	startFleet(t, p.address, alive, 2*time.Second)
	seen := startSender(t, p.address, "web-1", "seen")
	unseen := startSender(t, p.address, "web-2", "unseen")
	p.untilAll(all)

	told := 0 // in which life the second death was
	for i := 0; i < r.times || told == 0 || len(p.lives) < told+2; i++ {
		require.Less(t, i, 4*r.times, "restarts without the deaths being told: %v and %v",
			p.states("web-1", "seen"), p.states("web-2", "unseen"))
		p.stop()
		if i == r.times/2 {
			unseen.Kill()
		}
		p.relieve()
		pause(r.every / 2)
		if i == r.times/2 {
			seen.Kill()
		}
		pause(r.every / 2)
		if told == 0 && len(p.events("state", "dead")) >= 2 {
			told = len(p.lives)
		}
	}

	t.Logf("ended in life %d, told until life %d of %d: %v and %v", r.times/2+2, told, len(p.lives),
		p.states("web-1", "seen"), p.states("web-2", "unseen"))
	require.Len(t, p.events("state", "dead", "source", "web-1"), 1)
	require.Len(t, p.events("state", "dead", "source", "web-2"), 1)
	require.Len(t, p.events("state", "dead"), 2)
	peers := p.look(all)
	require.EqualValues(t, 2, total(t, peers, "dead"))
	require.EqualValues(t, 2, total(t, peers, "deaths_total"))
	require.Zero(t, total(t, peers, "mistakes_total"))
	for i := range alive {
		require.EqualValues(t, 1, number(t, peers[fmt.Sprintf("fleet-%04d/shop", i)], "alive"))
	}
}

func TestReloadTellsNothingOfWhoIsDead(t *testing.T) {
	t.Parallel()
	p := newPost(t, `disconnect_grace = "1s"`)
	p.relieve()
	killed := startSender(t, p.address, "web-1", "killed")
	client := dial(t, p.address)
	exited := map[string]any{"host": "web-2", "service": "exited", "pid": 7, "run": "r", "seq": 1, "interval_ms": 3600000}
	client.beat(exited)
	const peers = 2
	p.untilAll(peers)
	exited["status"], exited["exit_code"], exited["seq"] = "dead", 3, 2
	client.beat(exited)
	p.now().Until("three beats of the one that is killed", func() bool { return number(t, p.look(peers)["web-1/killed"], "beats_total") >= 3 })
	killed.Kill()
	p.now().Until("both deaths", func() bool { return len(p.events("state", "dead")) == peers })

	// What does not change while somebody is dead.
	constant := func(metrics map[string]telegraf.Metric, fields ...string) []string {
		var rows []string
		for _, peer := range []string{"web-1/killed", "web-2/exited"} {
			row := []any{metrics[peer].Tags()}
			for _, field := range fields {
				value, _ := metrics[peer].GetField(field)
				row = append(row, field, value)
			}
			rows = append(rows, fmt.Sprintln(row...))
		}
		return rows
	}
	kept := func() []string {
		known := p.look(peers)
		rows := constant(known, "state_code", "reason_code", "since_timestamp_seconds", "beats_total", "deaths_total", "last_pid")
		p.now().Until("a look at who is down", func() bool {
			return len(byPeer(parse(t, p.now().Stdout.With("heartbeat_down,")))) == peers
		})
		down := byPeer(parse(t, p.now().Stdout.With("heartbeat_down,")))
		return append(rows, constant(down, "since_timestamp_seconds", "exit_code")...)
	}
	before, rows := len(p.events()), kept()
	const reloads = 3
	for range reloads {
		p.stop()
		p.relieve()
		require.Equal(t, rows, kept())
	}
	require.Len(t, p.events(), before+reloads)
	require.Len(t, p.events("reason", "started"), 1+reloads)
	t.Log(rows)
}

// A collector that was away for long is not run over when it comes back: its
// senders return over the whole interval.
func TestHerdComesBackSpread(t *testing.T) {
	t.Parallel()
	const interval = 10 * time.Second
	senders, away := size(200, 1000), size(10*time.Second, time.Minute)
	p := newPost(t, alone)
	p.relieve()
	var mu sync.Mutex
	var connected []time.Time
	startFleet(t, p.address, senders, interval, func(s *sender.Sender) {
		s.Infof = func(string, ...any) {
			mu.Lock()
			defer mu.Unlock()
			connected = append(connected, time.Now())
		}
	})
	p.untilAll(senders)
	p.now().Kill()
	mu.Lock()
	connected = nil
	mu.Unlock()
	pause(away)
	p.relieve()
	back := time.Now()
	pause(silence(interval))
	p.requireNoDeath()
	p.untilAll(senders)

	mu.Lock()
	defer mu.Unlock()
	require.Len(t, connected, senders, "each once")
	perSecond := make(map[int]int)
	for _, at := range connected {
		perSecond[int(at.Sub(back)/time.Second)]++
	}
	t.Logf("%d senders came back in seconds %v", senders, perSecond)
	for second, n := range perSecond {
		require.LessOrEqual(t, n, size(senders/2, senders/4), "in second %d", second)
	}
}
