package sender

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

var testKey = wire.Key{ID: "web-1", Secret: []byte("correct horse battery staple")}

// A sender whose clock is wrong heeds the time that a refusal tells, also when
// a clock is set while it runs.
func TestWrongClockIsCorrected(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: []Peer{Host("web-1")}, Key: testKey}
	c := play(t, s, func(c *collector) {
		c.set(func() { c.clock = 20 * 365 * 24 * time.Hour })
		time.Sleep(time.Minute)
		c.set(func() { c.clock = -time.Hour })
		time.Sleep(time.Minute)
	})
	refused, before := 0, received{}
	for _, b := range c.beats {
		off := time.UnixMilli(b.SentMS).Sub(b.at)
		if off == 0 || off > 0 && b.at.Sub(c.beats[0].at) > time.Minute {
			refused++
			before = b
			continue
		}
		require.Less(t, b.at.Sub(before.at), time.Minute+10*time.Second)
	}
	require.Equal(t, 2, refused, "one of each clock")
	require.Len(t, c.dials, 1, "that costs no connection")
}

// Who is refused for another reason does not try for ever.
func TestCorrectionIsTriedOnce(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: []Peer{Host("web-1")}, Key: testKey}
	c := play(t, s, func(c *collector) {
		c.set(func() { c.rejects = "not you" })
		time.Sleep(time.Minute)
	})
	require.LessOrEqual(t, len(c.beats), 1+6+3)
}

func TestOnceCorrectsItsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{key: &testKey, clock: -24 * time.Hour}
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{Host("web-1")}, Key: testKey, Dial: c.dial}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, s.Once(ctx))
		require.Len(t, c.beats, 2)

		x := s.Check(ctx, s.Servers[0])
		require.NoError(t, x.Err)
		require.InDelta(t, float64(-24*time.Hour), float64(x.Ahead), float64(time.Second))
		c.wg.Wait()
	})
}

func TestWrongKeyIsNamed(t *testing.T) {
	s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{Host("web-1")}, Key: wire.Key{ID: "web-1", Secret: []byte("short")}}
	require.ErrorContains(t, s.Validate(), `the secret of key "web-1" has 5 bytes`)
	s.Key = wire.Key{Secret: testKey.Secret}
	require.ErrorContains(t, s.Validate(), "key id")
}
