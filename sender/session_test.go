package sender

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// slow connections take their time for every write.
type slow struct {
	net.Conn
	takes time.Duration
}

func (s slow) Write(b []byte) (int, error) {
	time.Sleep(s.takes)
	return s.Conn.Write(b)
}

func TestSlowWritesDoNotShiftTheSchedule(t *testing.T) {
	const interval = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		c := new(collector)
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: interval, Peers: fleet()[2:]}
		s.Dial = dialing(c, 1, func(conn net.Conn) net.Conn { return slow{conn, 300 * time.Millisecond} })
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		require.NoError(t, s.Run(ctx))
		c.cut()
		c.wg.Wait()
		for i := 3; i < len(c.beats)-1; i++ { // the first two may fall together
			require.Equal(t, interval, c.beats[i].at.Sub(c.beats[i-1].at))
		}
	})
}

// Once it has been heard again, a sender is as quick as before.
func TestPausesStartOverAfterAnAcknowledgement(t *testing.T) {
	play(t, &Sender{Interval: time.Minute}, func(c *collector) {
		c.set(func() { c.refuses = true })
		c.cut()
		time.Sleep(time.Hour)
		c.set(func() { c.refuses = false })
		time.Sleep(5 * time.Minute)
		before := 0
		c.set(func() { before = len(c.dials) })
		c.cut()
		time.Sleep(2*minPause + time.Second)
		c.set(func() { require.Len(t, c.dials, before+1) })
	})
}

// No herd is to be feared of one whose collector is there and does not answer.
func TestUnansweredBeatLeadsToADialAtOnce(t *testing.T) {
	c := play(t, &Sender{Interval: 10 * time.Second}, func(c *collector) {
		time.Sleep(time.Minute)
		c.set(func() { c.deaf, c.beats = 1, nil })
		time.Sleep(30 * time.Second)
	})
	require.Equal(t, c.beats[0].at.Add(5*time.Second), c.dials[1])
}

// An acknowledgement of nothing that was said proves nothing.
func TestStrangeAcknowledgementConnectsNobody(t *testing.T) {
	var said []string
	s := &Sender{Interval: 10 * time.Second, Infof: func(f string, _ ...any) { said = append(said, f) }}
	play(t, s, func(c *collector) {
		c.set(func() { c.acks = func(int64) int64 { return 4711 } })
		c.cut()
		synctest.Wait()
		said = nil
		time.Sleep(10 * time.Minute)
	})
	require.NotContains(t, strings.Join(said, "\n"), "connected")
}

// An acknowledgement is for all that was sent before.
func TestAcknowledgementIsForAllBefore(t *testing.T) {
	l := newSession(&Sender{Interval: 10 * time.Second}, "tcp://hb:7878", "life", 1)
	l.beatFor(fleet())
	link := new(link)
	l.proven = link
	for _, seq := range []int64{1, 2, 3} {
		link.expect(batch{seq: seq, at: time.Now(), versions: []reportVersion{{report: int(seq - 1), version: 1}}})
	}
	heard, _ := link.answered(2)
	require.Equal(t, []reportVersion{{0, 1}, {1, 1}}, heard)
	require.Len(t, link.unanswered, 1, "and the last one is waited for")
	heard, _ = link.answered(2)
	require.Nil(t, heard, "once")
	for range 2 * maxUnanswered {
		link.expect(batch{seq: 4})
	}
	require.Len(t, link.unanswered, maxUnanswered)
}
