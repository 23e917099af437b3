package sender

import (
	"cmp"
	"context"
	"net"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// fleet returns two watched services and their host.
func fleet() []Peer {
	return []Peer{
		{Host: "web-1", Service: "nginx", PID: 812, Watched: true},
		{Host: "web-1", Service: "redis", PID: 900, Watched: true},
		Host("web-1"),
	}
}

// about returns the beats about a service, or about the host.
func (c *collector) about(service string) (beats []received) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.beats {
		if b.Service == service {
			beats = append(beats, b)
		}
	}
	return beats
}

func last(beats []received) *received { return &beats[len(beats)-1] }

func TestAllPeersBeatTogetherAndOneAnswerIsEnough(t *testing.T) {
	c := play(t, &Sender{Interval: 10 * time.Second, Peers: fleet()}, func(*collector) { time.Sleep(time.Minute) })
	require.Len(t, c.dials, 1)
	for i, service := range []string{"nginx", "redis", ""} {
		beats := c.about(service)
		require.InDelta(t, 8, len(beats), 1)
		for j, b := range beats {
			require.EqualValues(t, j+1, b.Seq, "each counts for itself")
			require.Equal(t, c.beats[0].Run, b.Run)
			require.Equal(t, c.beats[3*j].at, b.at)
			require.Equal(t, i == 2 || b.Leaving(), b.Ack, "the last one asks, and each end")
		}
		require.True(t, last(beats).Leaving())
	}
}

func TestWhatIsToldIsSaidAtOnce(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: fleet()}
	play(t, s, func(c *collector) {
		time.Sleep(15 * time.Second)
		before := len(c.about("redis"))
		nginx := s.Peers[0]
		nginx.PID = 4711
		require.NoError(t, s.Update(nginx))
		synctest.Wait()
		now := last(c.about("nginx"))
		require.Equal(t, time.Now(), now.at)
		require.EqualValues(t, 4711, now.PID)
		require.Len(t, c.about("redis"), before, "there is nothing new about it")
		time.Sleep(10 * time.Second)
		require.EqualValues(t, 4711, last(c.about("nginx")).PID, "and from then on")
		require.EqualValues(t, 900, last(c.about("redis")).PID)
	})
	require.Error(t, s.Update(Peer{Host: "a b"}))
}

// A death is told with every beat, as a collector may have been away. A
// planned end is told until it was heard: it is no longer anybody's business.
func TestDeathIsRepeatedAndPlannedEndIsNot(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: fleet()}
	nginx, redis := fleet()[0], fleet()[1]
	nginx.Status, nginx.Exit = wire.StatusDead, Exit{Signal: "SIGKILL"}
	redis.Status, redis.Exit = "LEAVING", Exit{HasCode: true}
	c := play(t, s, func(c *collector) {
		time.Sleep(15 * time.Second)
		c.set(func() { c.silent = true })
		require.NoError(t, s.Update(nginx))
		require.NoError(t, s.Update(redis))
		time.Sleep(time.Minute)
		c.set(func() { c.silent = false })
		time.Sleep(time.Minute)
	})
	count := func(beats []received, status string) int {
		return len(slices.DeleteFunc(beats, func(b received) bool { return b.Status != status }))
	}
	require.Greater(t, count(c.about("nginx"), wire.StatusDead), 11, "every interval, and over each new link")
	require.Equal(t, "SIGKILL", last(c.about("nginx")).Signal)
	require.False(t, last(c.about("nginx")).HasExitCode)
	left := c.about("redis")
	require.True(t, last(left).HasExitCode)
	require.Greater(t, count(left, wire.StatusLeaving), 5, "until it was heard")
	require.Less(t, last(left).at.Sub(c.beats[0].at), 95*time.Second, "not after that")
	require.Zero(t, count(c.about("nginx"), wire.StatusLeaving), "our goodbye revives nobody")
	require.True(t, last(c.about("")).Leaving())
}

func TestSilentPeerIsNotSpokenOf(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: fleet(), BackIn: time.Minute}
	s.Peers[0].Silent = true // may come back
	s.Peers[1].Silent, s.Peers[1].PID = true, 0
	c := play(t, s, func(c *collector) {
		time.Sleep(time.Minute)
		require.Empty(t, c.about("nginx"))
	})
	require.True(t, last(c.about("nginx")).Leaving(), "it is part of the goodbye")
	require.EqualValues(t, 60_000, last(c.about("nginx")).BackInMS)
	require.Empty(t, c.about("redis"), "of one that never ran there is nothing to say")
}

func TestPlannedEndKeepsItsOwnPromise(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: fleet(), BackIn: time.Minute}
	s.Peers[0].Status = wire.StatusLeaving
	c := play(t, s, func(*collector) { time.Sleep(time.Minute) })
	require.Len(t, c.about("nginx"), 1)
	require.Zero(t, c.about("nginx")[0].BackInMS)
	require.EqualValues(t, 60_000, last(c.about("redis")).BackInMS)
}

// What was told before Run holds, and what is new is added.
func TestTellBeforeRun(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: fleet()}
	nginx := fleet()[0]
	nginx.PID = 4711
	require.NoError(t, s.Update(nginx))
	require.NoError(t, s.Update(Peer{Host: "web-1", Service: "cron"}))
	c := play(t, s, func(*collector) { time.Sleep(15 * time.Second) })
	require.EqualValues(t, 4711, c.about("nginx")[0].PID)
	require.NotEmpty(t, c.about("cron"))
}

// Whoever is in a hurry waits for no answer, and for a connection a second.
func TestHurry(t *testing.T) {
	const job = "backup"
	for name, tt := range map[string]struct {
		meets *collector
		takes time.Duration // of each dial
		runs  time.Duration // before the end
		waits time.Duration // after it
		told  bool
	}{
		"answered":                {runs: time.Minute, told: true},
		"ended at once":           {told: true},
		"not answered":            {meets: &collector{silent: true}, runs: time.Minute, waits: successTime, told: true},
		"refused":                 {meets: &collector{refuses: true}, runs: time.Minute},
		"refused, ended at once":  {meets: &collector{refuses: true}},
		"slow to connect":         {takes: 600 * time.Millisecond, waits: 600 * time.Millisecond, told: true},
		"black hole":              {takes: time.Hour, waits: fastTime},
		"black hole, half a dial": {takes: time.Hour, runs: 2500 * time.Millisecond, waits: fastTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cmp.Or(tt.meets, new(collector))
				s := &Sender{
					Servers: []string{"tcp://hb:1"}, Interval: 10 * time.Second, Hurry: true,
					Peers: []Peer{{Host: "web-1", Service: job, PID: 1, Watched: true}},
				}
				s.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					select {
					case <-time.After(tt.takes):
						return c.dial(ctx, network, address)
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- s.Run(ctx) }()
				time.Sleep(tt.runs)
				end := s.Peers[0]
				end.Status, end.Exit, end.BackIn = wire.StatusLeaving, Exit{HasCode: true}, time.Hour
				require.NoError(t, s.Update(end))
				stop()
				begin := time.Now()
				require.NoError(t, <-done)
				require.Equal(t, tt.waits, time.Since(begin))
				c.cut()
				c.wg.Wait()
				told := len(c.beats) > 0 && last(c.beats).Leaving() && last(c.beats).HasExitCode && last(c.beats).BackInMS == 3_600_000
				require.Equal(t, tt.told, told)
			})
		})
	}
}

func TestTurningTellsWhetherBeatsGoOn(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second}
	turning := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return s.Responsive(ctx)
	}
	require.False(t, turning(), "nothing runs")
	play(t, s, func(c *collector) {
		for range 10 {
			time.Sleep(7 * time.Second)
			require.True(t, turning())
		}
		c.set(func() { c.refuses = true })
		c.cut()
		time.Sleep(time.Minute)
		require.True(t, turning(), "a collector that is away is no reason to restart us")
	})
	require.False(t, turning(), "it has ended")
}

// A loop that hangs is found: here a write is stuck that has no deadline.
func TestTurningFindsALoopThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		near, far := net.Pipe()
		s := &Sender{Servers: []string{"tcp://hb:1"}, Interval: time.Second, Peers: []Peer{{Host: "web-1"}}}
		s.Dial = func(context.Context, string, string) (net.Conn, error) { return stuckConn{near, stuck}, nil }
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(5 * time.Second)
		soon, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.False(t, s.Responsive(soon))
		far.Close()
		close(stuck)
		stop()
		require.NoError(t, <-done)
	})
}

type stuckConn struct {
	net.Conn
	until chan struct{}
}

func (c stuckConn) Write(b []byte) (int, error) {
	<-c.until
	return c.Conn.Write(b)
}

// Reconnecting leaves nothing behind.
func TestManyReconnectsLeaveNothing(t *testing.T) {
	const times = 10_000
	s := &Sender{Interval: time.Second}
	goroutines := 0
	c := play(t, s, func(c *collector) {
		goroutines = runtime.NumGoroutine()
		for range times {
			c.set(func() { c.conn[len(c.conn)-1].Close() })
			time.Sleep(1500 * time.Millisecond)
		}
		c.set(func() { require.Equal(t, 1, c.conns) })
		require.InDelta(t, goroutines, runtime.NumGoroutine(), 2)
	})
	require.GreaterOrEqual(t, len(c.dials), times)
	require.Zero(t, c.conns)
}

// A collector that comes back after a minute is not run over by the thousand
// that wait for it, and each finds it within an interval.
func TestHerdComesBackSpread(t *testing.T) {
	const senders, interval, away = 1000, 10 * time.Second, time.Minute
	lost := time.Now()
	perSecond := make(map[time.Duration]int)
	for range senders {
		l := newSession(&Sender{Interval: interval}, "tcp://hb:7878", "life", 1)
		l.dialAt = lost.Add(-time.Hour)
		now := lost.Add(l.untilDial(lost, lost)) // refused until the collector is back
		for now.Before(lost.Add(away)) {
			l.dialAt = now
			now = now.Add(l.untilDial(now, now))
		}
		after := now.Sub(lost.Add(away))
		require.LessOrEqual(t, after, interval)
		perSecond[after/time.Second]++
	}
	for second, n := range perSecond {
		require.LessOrEqual(t, n, senders/4, "in second %d", second)
	}
	require.Greater(t, len(perSecond), 5)
}
