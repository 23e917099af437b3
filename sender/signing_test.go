package sender

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var testKey = Key{ID: "web-1", Secret: []byte("correct horse battery staple")}

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
		require.InDelta(t, float64(-24*time.Hour), float64(x.ClockAhead), float64(time.Second))
		c.wg.Wait()
	})
}

func TestWrongKeyIsNamed(t *testing.T) {
	s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{Host("web-1")}, Key: Key{ID: "web-1", Secret: []byte("short")}}
	require.ErrorContains(t, s.Validate(), `the secret of key "web-1" has 5 bytes`)
	s.Key = Key{Secret: testKey.Secret}
	require.ErrorContains(t, s.Validate(), "key id")
}

// A signed beat names its collector: first as the URL does, and then by the id
// that the collector tells.
func TestSignedBeatsNameTheirCollector(t *testing.T) {
	for name, tt := range map[string]struct {
		names   []string
		refused int
	}{
		"name is known":   {[]string{"hb"}, 0},
		"name is unknown": {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Sender{Interval: 10 * time.Second, Peers: fleet(), Key: testKey}
			c := &collector{id: "id-1", names: tt.names}
			playWith(t, c, s, func() { time.Sleep(time.Minute) })
			require.Equal(t, "hb", c.beats[0].To)
			require.Len(t, c.dials, 1, "that costs no connection")
			for _, b := range c.beats[1+tt.refused:] {
				require.Contains(t, append(tt.names, "id-1"), b.To)
			}
			require.Equal(t, "id-1", last(c.beats).To)
			require.Equal(t, c.beats[0].at, c.about("nginx")[0].at, "the others follow at once")
		})
	}
}

// A collector that was set up anew has another id. That is heeded, and said.
func TestAnotherCollectorIsNamed(t *testing.T) {
	var said []string
	s := &Sender{Interval: 10 * time.Second, Peers: []Peer{Host("web-1")}, Key: testKey}
	s.Warnf = func(f string, a ...any) { said = append(said, fmt.Sprintf(f, a...)) }
	c := play(t, s, func(c *collector) {
		c.set(func() { c.id = "id-1" })
		time.Sleep(time.Minute)
		c.set(func() { c.id = "id-2" })
		time.Sleep(time.Minute)
	})
	require.Equal(t, "id-2", last(c.beats).To)
	require.Equal(t, []string{`the collector at tcp://hb:7878 is a different one: its id is "id-2", it was "id-1"`}, said)
	for i, b := range c.beats[1:] {
		require.Less(t, b.at.Sub(c.beats[i].at), 11*time.Second)
	}
}

// One exchange corrects both, in any order, over one connection.
func TestClockAndCollectorAreCorrectedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{key: &testKey, clock: time.Hour, id: "id-1"}
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{Host("web-1")}, Key: testKey, Dial: c.dial}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, s.Once(ctx))
		c.cut()
		c.wg.Wait()
		require.LessOrEqual(t, len(c.beats), 3)
		require.Len(t, c.dials, 1)
	})
}

// A collector hangs up after eight refusals, and its answers may be lost.
func TestManyRefusedPeersAreDelivered(t *testing.T) {
	var peers []Peer
	for i := range 50 {
		peers = append(peers, Peer{Host: "web-1", Service: fmt.Sprintf("s%d", i), Watched: true})
	}
	synctest.Test(t, func(t *testing.T) {
		c := &collector{key: &testKey, id: "id-1"}
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: 10 * time.Second, Peers: peers, Key: testKey, Dial: c.dial}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		require.NoError(t, s.Run(ctx))
		c.set(func() { require.Len(t, c.dials, 1) })
		require.NotEmpty(t, c.about("s0"))
		once, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		require.NoError(t, s.Once(once))
		c.cut()
		c.wg.Wait()
		require.Len(t, c.dials, 4, "all at once, the first alone, the others")
	})
}

// What is not signed names nobody, and a datagram is for the host of the URL.
func TestWhoIsNamedWithoutAnAnswer(t *testing.T) {
	c := play(t, &Sender{Interval: 10 * time.Second}, func(c *collector) {
		c.set(func() { c.acks = func(seq int64) int64 { return seq } })
		time.Sleep(time.Minute)
	})
	require.Empty(t, last(c.beats).To)
	for url, to := range map[string]string{
		"udp://Hb.Example.com.:7878": "hb.example.com", "udp://[2001:DB8::1]:7878": "2001:db8::1", "unixgram:///run/hb.sock": "",
	} {
		require.Equal(t, to, newSession(&Sender{}, url, "life", 1).recipient.to, url)
	}
}

// A refusal that has nothing to do with the clock is not tried again, and check
// does not blame the clock.
func TestClockThatIsRightIsNotBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{key: &testKey, rejects: "key is unknown"}
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{Host("web-1")}, Key: testKey, Dial: c.dial}
		x := s.Check(t.Context(), s.Servers[0])
		c.cut()
		c.wg.Wait()
		require.Error(t, x.Err)
		require.Zero(t, x.ClockAhead)
		require.Len(t, c.beats, 1)
	})
}
