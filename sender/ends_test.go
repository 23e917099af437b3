package sender

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

func TestSenderRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(collector)
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: 10 * time.Second, Peers: fleet(), Dial: c.dial}
		for range 2 {
			c.set(func() { c.beats = nil })
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			require.NoError(t, s.Run(ctx))
			stop()
			beats := c.about("nginx")
			require.InDelta(t, 8, len(beats), 1)
			require.False(t, beats[0].Leaving())
			require.True(t, last(beats).Leaving())
		}
		c.cut()
		c.wg.Wait()
	})
}

// What a watcher sees while the goodbye is under way does not take it back.
func TestGoodbyeIsNotTakenBack(t *testing.T) {
	var w reports
	w.begin(fleet())
	w.sayGoodbye(time.Minute)
	nginx := fleet()[0]
	nginx.PID = 4711
	w.update(nginx)
	redis := fleet()[1]
	redis.Status = wire.StatusDead
	w.update(redis)
	all, _ := w.snapshot()
	require.True(t, all[0].peer.leaving())
	require.Equal(t, time.Minute, all[0].peer.BackIn)
	require.Equal(t, wire.StatusDead, all[1].peer.Status, "that is news")
}

// An end that the collector refuses is not one that it has heard of.
func TestRefusedEndIsRepeated(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: fleet()}
	c := play(t, s, func(c *collector) {
		time.Sleep(15 * time.Second)
		c.set(func() { c.unwanted = "nginx" })
		nginx := fleet()[0]
		nginx.Status = wire.StatusLeaving
		require.NoError(t, s.Update(nginx))
		time.Sleep(time.Minute)
		c.set(func() { c.unwanted, c.beats = "", nil })
		time.Sleep(time.Minute)
		require.Len(t, c.about("nginx"), 1, "and once it is wanted, once is enough")
	})
	require.Len(t, c.dials, 1)
}

// A link over which an end is not answered is given up after two seconds,
// however long the interval is.
func TestEndIsToldFastOverAnotherLink(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Second, time.Hour} {
		s := &Sender{Interval: interval, Peers: fleet()}
		play(t, s, func(c *collector) {
			time.Sleep(3 * interval)
			c.set(func() { c.deaf = 1 })
			nginx := fleet()[0]
			nginx.Status = wire.StatusDead
			told := time.Now()
			require.NoError(t, s.Update(nginx))
			time.Sleep(usualPatience + minPause)
			beat := last(c.about("nginx"))
			require.Equal(t, wire.StatusDead, beat.Status)
			require.Equal(t, 2, beat.conn)
			require.LessOrEqual(t, beat.at.Sub(told), usualPatience+minPause)
		})
	}
}

// fragile connections can be made to break.
type fragile struct {
	net.Conn
	breaks *atomic.Bool // a write is lost, and reading says so
}

func (f fragile) Write(b []byte) (int, error) {
	if f.breaks.Load() {
		f.SetReadDeadline(time.Now())
		return len(b), nil
	}
	return f.Conn.Write(b)
}

func (f fragile) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if err != nil && f.breaks.Load() {
		err = syscall.ECONNRESET
	}
	return n, err
}

// dialing returns how to dial if change makes a connection of that number
// another one.
func dialing(c *collector, number int, change func(net.Conn) net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := c.dial(ctx, network, address)
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.conn) == number && err == nil {
			conn = change(conn)
		}
		return conn, err
	}
}

// Where the collector was restarted the link is gone, and only a write shows
// that. In a hurry too the last word is said again.
func TestLastWordOverALinkThatIsGone(t *testing.T) {
	for _, hurry := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, breaks := new(collector), new(atomic.Bool)
			s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: 10 * time.Second, Peers: fleet()[:1], Hurry: hurry}
			s.Dial = dialing(c, 1, func(conn net.Conn) net.Conn { return fragile{conn, breaks} })
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- s.Run(ctx) }()
			time.Sleep(11 * time.Second)
			breaks.Store(true)
			stop()
			require.NoError(t, <-done)
			c.cut()
			c.wg.Wait()
			require.True(t, last(c.beats).Leaving())
			require.Equal(t, 2, last(c.beats).conn)
		})
	}
}

type refusing struct{ net.Conn }

func (refusing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// When the link breaks that was tried beside a silent one, another is tried.
func TestTriedLinkThatBreaksIsReplaced(t *testing.T) {
	c := new(collector)
	s := &Sender{Interval: time.Hour, Peers: fleet()}
	s.Servers = []string{"tcp://hb:7878"}
	synctest.Test(t, func(t *testing.T) {
		s.Dial = dialing(c, 2, func(conn net.Conn) net.Conn { return refusing{conn} })
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(3 * time.Hour)
		c.set(func() { c.deaf = 1 })
		nginx := fleet()[0]
		nginx.Status = wire.StatusDead
		require.NoError(t, s.Update(nginx))
		time.Sleep(usualPatience + 3*minPause)
		require.Equal(t, 3, last(c.about("nginx")).conn)
		stop()
		require.NoError(t, <-done)
		c.cut()
		c.wg.Wait()
	})
}

// A write that is stuck does not hold up the end for long.
func TestStuckWriteDoesNotHoldUpTheEnd(t *testing.T) {
	for _, hurry := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := new(collector)
			near, far := net.Pipe() // nobody reads from it
			s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: 10 * time.Second, Peers: fleet()[:1], Hurry: hurry}
			s.Dial = dialing(c, 1, func(net.Conn) net.Conn { return near })
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- s.Run(ctx) }()
			synctest.Wait()
			stop()
			begin := time.Now()
			require.NoError(t, <-done)
			require.LessOrEqual(t, time.Since(begin), goodbyeTime)
			if hurry {
				require.LessOrEqual(t, time.Since(begin), fastTime)
			}
			c.set(func() { require.NotEmpty(t, c.beats) })
			far.Close()
			c.cut()
			c.wg.Wait()
		})
	}
}

func TestNothingToSayIsNoDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(collector)
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: fleet()[:1], Dial: c.dial}
		s.Peers[0].Silent = true
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
		defer stop()
		require.ErrorIs(t, s.Once(ctx), errNothingDue)
		c.cut()
		c.wg.Wait()
	})
}

func TestCheckRecordsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(collector)
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: time.Minute, Peers: fleet(), Dial: c.dial}
		x := s.Check(t.Context(), s.Servers[0])
		require.NoError(t, x.Err)
		require.Len(t, x.Answers, 3)
		for _, b := range c.beats {
			require.True(t, b.Check)
			require.EqualValues(t, 60_000, b.IntervalMS)
		}
		c.set(func() { c.unwanted = "redis" })
		x = s.Check(t.Context(), s.Servers[0])
		var refused *RefusedError
		require.ErrorAs(t, x.Err, &refused)
		require.Len(t, x.Answers, 3, "all are heard of")
		c.cut()
		c.wg.Wait()
	})
}

// halfClosed counts how often a connection was closed for writing.
type halfClosed struct {
	net.Conn
	times *atomic.Int32
}

func (h halfClosed) CloseWrite() error {
	h.times.Add(1)
	return nil
}

// Whoever does not wait for an answer says that nothing more comes. Whoever may
// have to repeat it does not.
func TestHurriedEndClosesOneHalf(t *testing.T) {
	for hurry, times := range map[bool]int32{true: 1, false: 0} {
		synctest.Test(t, func(t *testing.T) {
			c, closed := new(collector), new(atomic.Int32)
			s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: 10 * time.Second, Peers: fleet()[:1], Hurry: hurry}
			s.Dial = dialing(c, 1, func(conn net.Conn) net.Conn { return halfClosed{conn, closed} })
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			require.NoError(t, s.Run(ctx))
			c.cut()
			c.wg.Wait()
			require.Equal(t, times, closed.Load())
			require.True(t, last(c.beats).Leaving())
		})
	}
}

// onWrite calls before ahead of each write.
type onWrite struct {
	net.Conn
	before func()
}

func (o onWrite) Write(b []byte) (int, error) {
	o.before()
	return o.Conn.Write(b)
}

// The sender may be stopped while it writes. A write that would succeed then is
// not cut off: it may be the end itself, and another connection takes time.
func TestEndSparesAWriteThatSucceeds(t *testing.T) {
	for _, hurry := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := new(collector)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var ends atomic.Bool
			s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: 10 * time.Second, Peers: fleet()[:1], Hurry: hurry}
			s.Dial = dialing(c, 1, func(conn net.Conn) net.Conn {
				return onWrite{conn, func() {
					if ends.CompareAndSwap(true, false) {
						stop()
						synctest.Wait() // until everybody knows
					}
				}}
			})
			done := make(chan error)
			go func() { done <- s.Run(ctx) }()
			time.Sleep(time.Minute)
			ends.Store(true)
			end := s.Peers[0]
			end.Status, end.Exit = StatusLeaving, Exit{HasCode: true}
			require.NoError(t, s.Update(end))
			require.NoError(t, <-done)
			c.cut()
			c.wg.Wait()
			require.Len(t, c.dials, 1)
			require.True(t, last(c.beats).Leaving())
		})
	}
}
