package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A collector is what the sender meets, in memory and in virtual time.
type collector struct {
	mu      sync.Mutex
	dials   []time.Time
	dialed  []string
	beats   []received
	conns   int          // open
	closed  map[int]bool // connections that have ended
	refuses bool
	silent  bool
	deaf    int                   // up to this number it answers no connection
	slow    map[int]time.Duration // how long these dials take, cancelled or not
	rejects string                // text of the error that it answers

	tls *tls.Config // of tls://

	key   *Key          // who does not sign with it is refused,
	clock time.Duration // and who says another time than this one is ahead of ours
	id    string        // and, if this is set, who names neither it
	names []string      // nor one of these
	row   map[int]int   // refusals of that in a row, by connection: eight end it

	unwanted string // service whose beats are refused
	acks     func(seq int64) int64
	conn     []net.Conn
	wg       sync.WaitGroup
}

type received struct {
	wire.Beat
	at   time.Time
	conn int // number of the connection
}

var errRefused = errors.New("connection refused")

func (c *collector) dial(_ context.Context, _, address string) (net.Conn, error) {
	c.mu.Lock()
	c.dials = append(c.dials, time.Now())
	c.dialed = append(c.dialed, address)
	takes := c.slow[len(c.dials)]
	c.mu.Unlock()
	time.Sleep(takes)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuses {
		return nil, fmt.Errorf("%w (from port %d)", errRefused, len(c.dials))
	}
	near, far := net.Pipe()
	c.conn = append(c.conn, far)
	c.conns++
	number := len(c.conn)
	if c.tls != nil {
		c.wg.Go(func() { c.serve(tls.Server(far, c.tls), number) })
		return near, nil
	}
	c.wg.Go(func() { c.serve(far, number) })
	return near, nil
}

func (c *collector) serve(conn net.Conn, number int) {
	defer conn.Close()
	answers := make(chan *wire.Answer, 1000) // a pipe has no room of its own
	defer close(answers)
	c.wg.Go(func() { // ends when serve does
		for answer := range answers {
			conn.Write(wire.AppendFrame(nil, wire.AppendAnswer(nil, answer))) //nolint:errcheck // it may be gone
		}
	})
	reader := wire.NewReader(conn, wire.DefaultMaxFrame)
	for {
		payload, err := reader.Next()
		if err != nil {
			c.set(func() {
				c.conns--
				if c.closed == nil {
					c.closed = make(map[int]bool)
				}
				c.closed[number] = true
			})
			return
		}
		beat, err := wire.Decode(c.open(payload))
		if err != nil {
			panic(err)
		}
		if answer := c.take(beat, number); answer != nil {
			answers <- answer
		}
	}
}

func (c *collector) take(beat *wire.Beat, number int) *wire.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beats = append(c.beats, received{Beat: *beat, at: time.Now(), conn: number})
	there := time.Now().Add(c.clock)
	switch {
	case c.silent, number <= c.deaf:
		return nil
	case c.key != nil && there.Sub(time.UnixMilli(beat.SentMS)).Abs() > time.Minute:
		return &wire.Answer{Error: "sent_ms: too far off", NowMS: there.UnixMilli()}
	case c.id != "" && beat.To != c.id && !slices.Contains(c.names, beat.To):
		return c.refuse(number, there)
	case c.unwanted != "" && beat.Service == c.unwanted:
		return &wire.Answer{Error: "not this one"}
	case !beat.Ack && c.rejects == "":
		return nil
	case c.rejects != "":
		return &wire.Answer{Error: c.rejects, NowMS: there.UnixMilli()}
	case c.acks != nil:
		return &wire.Answer{Seq: c.acks(beat.Seq), ID: "web-1/host"}
	}
	return &wire.Answer{Seq: beat.Seq, NowMS: time.Now().UnixMilli(), DeadAfterMS: beat.IntervalMS * 7 / 2, ID: "web-1/host", Collector: c.id}
}

// refuse is what one says who is another collector.
func (c *collector) refuse(number int, there time.Time) *wire.Answer {
	if c.row == nil {
		c.row = make(map[int]int)
	}
	if c.row[number]++; c.row[number] == 8 {
		c.conn[number-1].Close()
	}
	return &wire.Answer{Error: "to: this is another collector", NowMS: there.UnixMilli(), Collector: c.id}
}

// open returns what was signed.
func (c *collector) open(payload []byte) []byte {
	if c.key == nil {
		return payload
	}
	signed, err := wire.OpenSigned(payload)
	if err != nil || signed == nil || string(signed.KeyID) != c.key.ID || !signed.By(c.key.Secret) {
		panic(fmt.Sprintf("%q is not signed: %v", payload, err))
	}
	return signed.Object
}

func (c *collector) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *collector) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conn {
		conn.Close()
	}
}

// play runs a sender against a collector in virtual time until story returns.
func play(t *testing.T, s *Sender, story func(c *collector)) *collector {
	c := new(collector)
	playWith(t, c, s, func() { story(c) })
	return c
}

// playWith does so against a collector of which something is special.
func playWith(t *testing.T, c *collector, s *Sender, story func()) {
	if s.Key.isSet() {
		c.key = &s.Key
	}
	synctest.Test(t, func(t *testing.T) {
		if s.Servers == nil {
			s.Servers = []string{"tcp://hb:7878"}
		}
		if s.Peers == nil {
			s.Peers = []Peer{{Host: "web-1"}}
		}
		s.Dial = c.dial
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		var wg sync.WaitGroup
		wg.Go(func() { done <- s.Run(ctx) })
		synctest.Wait()
		story()
		stop()
		require.NoError(t, <-done)
		wg.Wait()
		c.cut()
		c.wg.Wait()
	})
}

func TestFirstBeatAtOnceThenEveryInterval(t *testing.T) {
	c := play(t, &Sender{Interval: 10 * time.Second}, func(c *collector) {
		c.set(func() { require.Len(t, c.beats, 1) })
		time.Sleep(time.Hour)
	})
	require.Len(t, c.dials, 1)
	require.InDelta(t, 362, len(c.beats), 1, "one at once, one every ten seconds, a goodbye")
	phase := c.beats[1].at.Sub(c.beats[0].at)
	require.LessOrEqual(t, phase, 10*time.Second)
	for i, b := range c.beats[:len(c.beats)-1] {
		require.EqualValues(t, i+1, b.Seq)
		require.Equal(t, c.beats[0].Run, b.Run)
		require.EqualValues(t, 10000, b.IntervalMS)
		require.True(t, b.Ack)
		require.Equal(t, b.at.UnixMilli(), b.SentMS)
		if i > 1 {
			require.Equal(t, 10*time.Second, b.at.Sub(c.beats[i-1].at), "on an absolute schedule")
		}
	}
	last := c.beats[len(c.beats)-1]
	require.True(t, last.Leaving())
}

func TestSecondBeatSpreadsAFleet(t *testing.T) {
	phases := make(map[time.Duration]bool)
	for range 20 {
		c := play(t, &Sender{Interval: 10 * time.Second}, func(*collector) { time.Sleep(15 * time.Second) })
		phases[c.beats[1].at.Sub(c.beats[0].at)] = true
	}
	require.Greater(t, len(phases), 15)
}

func TestGoodbyeCarriesThePromise(t *testing.T) {
	c := play(t, &Sender{Interval: 10 * time.Second, BackIn: 15 * time.Minute}, func(*collector) { time.Sleep(15 * time.Second) })
	last := c.beats[len(c.beats)-1]
	require.True(t, last.Leaving())
	require.EqualValues(t, 900_000, last.BackInMS)
	require.Zero(t, c.conns)
}

// A goodbye that is not answered is repeated for two seconds, each time with
// a number of its own, and then given up.
func TestGoodbyeIsRepeatedUntilAnswered(t *testing.T) {
	var said []string
	s := &Sender{Interval: 10 * time.Second, Warnf: func(f string, a ...any) { said = append(said, fmt.Sprintf(f, a...)) }}
	var asked time.Time
	c := play(t, s, func(c *collector) {
		c.set(func() { c.silent = true })
		asked = time.Now()
	})
	goodbyes := 0
	for _, b := range c.beats {
		if b.Leaving() {
			goodbyes++
			require.LessOrEqual(t, b.at.Sub(asked), goodbyeTime)
		}
	}
	require.GreaterOrEqual(t, goodbyes, 2)
	require.Contains(t, said[len(said)-1], "goodbye was not delivered")
}

// An unanswered beat makes the sender dial anew. The old connection is closed
// when the new one has answered, not before: a slow collector sees no end.
func TestUnansweredBeatLeadsToAnotherConnection(t *testing.T) {
	c := play(t, &Sender{Interval: 10 * time.Second}, func(c *collector) {
		time.Sleep(time.Minute)
		c.set(func() { c.silent = true })
		time.Sleep(time.Minute)
		c.set(func() {
			require.False(t, c.closed[1], "the proven one stays")
			require.Greater(t, len(c.dials), 2, "and others are tried beside it")
			require.LessOrEqual(t, c.conns, 2)
			c.silent = false
		})
		time.Sleep(30 * time.Second)
		c.set(func() {
			require.True(t, c.closed[1])
			require.Equal(t, 1, c.conns)
		})
	})
	require.NotEqual(t, 1, c.beats[len(c.beats)-1].conn)
}

func TestPatienceIsTwoSecondsOrHalfAnInterval(t *testing.T) {
	for interval, patience := range map[time.Duration]time.Duration{4 * time.Second: 2 * time.Second, 20 * time.Second: 10 * time.Second} {
		c := play(t, &Sender{Interval: interval}, func(c *collector) {
			time.Sleep(3 * interval)
			c.set(func() { c.silent = true })
			time.Sleep(3*interval + patience)
			c.set(func() { c.silent = false })
		})
		require.GreaterOrEqual(t, len(c.dials), 2)
		unanswered := c.dials[1].Add(-patience)
		require.GreaterOrEqual(t, unanswered.Sub(c.dials[0]), 3*interval-time.Second)
	}
}

// The pauses between dials are random, double from one second to the
// interval, and never let two dials fall into one second.
func TestPausesBetweenDials(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, 10 * time.Second, time.Hour} {
		var attempts []time.Time
		play(t, &Sender{Interval: interval}, func(c *collector) {
			c.set(func() { c.refuses = true })
			c.cut()
			time.Sleep(time.Hour)
			c.set(func() { attempts = c.dials })
		})
		most := min(max(interval, time.Second), time.Minute)
		var longest, sum time.Duration
		for i := 8; i < len(attempts); i++ { // when the pauses have grown
			pause := attempts[i].Sub(attempts[i-1])
			require.GreaterOrEqual(t, pause, time.Second)
			require.LessOrEqual(t, pause, most)
			longest, sum = max(longest, pause), sum+pause
		}
		require.LessOrEqual(t, longest, most)
		if interval > time.Second {
			require.InDelta(t, most.Seconds()/2, sum.Seconds()/float64(len(attempts)-8), most.Seconds()/5, "full jitter")
		}
	}
}

// Beats that are not acknowledged do not shorten the pauses: a collector that
// closes every connection at once is dialled less and less.
func TestPausesStartOverOnlyAfterAnAcknowledgement(t *testing.T) {
	c := play(t, &Sender{Interval: 10 * time.Second}, func(c *collector) {
		c.set(func() { c.silent = true })
		for range 600 {
			time.Sleep(time.Second)
			c.cut()
		}
		c.set(func() { require.Less(t, len(c.dials), 200) })
	})
	require.Greater(t, len(c.dials), 60)
}

func TestLostConnectionIsReplacedAtOnce(t *testing.T) {
	c := play(t, &Sender{Interval: 10 * time.Second}, func(c *collector) {
		time.Sleep(25 * time.Second)
		c.cut()
		time.Sleep(2 * time.Second)
		c.set(func() {
			require.Len(t, c.dials, 2)
			require.Equal(t, 2, c.beats[len(c.beats)-1].conn, "and a beat says so")
		})
	})
	require.Equal(t, c.beats[0].Run, c.beats[len(c.beats)-1].Run)
}

// Acknowledgements of beats never sent, or sent long ago, prove nothing.
func TestWrongAcknowledgementIsNone(t *testing.T) {
	for name, acks := range map[string]func(int64) int64{
		"too high": func(seq int64) int64 { return seq + 1 },
		"zero":     func(int64) int64 { return 0 },
	} {
		c := play(t, &Sender{Interval: 10 * time.Second}, func(c *collector) {
			time.Sleep(15 * time.Second)
			c.set(func() { c.acks = acks })
			time.Sleep(5 * time.Minute)
		})
		require.Greater(t, len(c.dials), 10, name)
	}
}

func TestServerThatTalksNonsenseIsLeft(t *testing.T) {
	for _, nonsense := range []string{"Welcome to the server!", strings.Repeat("\x00", 100), "\x00\x01\x00\x00", "{}", strings.Repeat(`{"a":1}`, 1000)} {
		synctest.Test(t, func(t *testing.T) {
			var dials int
			var wg sync.WaitGroup
			s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: 10 * time.Second, Peers: []Peer{{Host: "web-1"}}}
			s.Dial = func(context.Context, string, string) (net.Conn, error) {
				dials++
				near, far := net.Pipe()
				wg.Go(func() {
					defer far.Close()
					far.Read(make([]byte, 512))                    //nolint:errcheck // whatever
					far.Write([]byte(nonsense))                    //nolint:errcheck // it hangs up
					far.SetReadDeadline(time.Now().Add(time.Hour)) //nolint:errcheck // a pipe
					far.Read(make([]byte, 512))                    //nolint:errcheck // whatever
				})
				return near, nil
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			begin := time.Now()
			require.NoError(t, s.Run(ctx))
			require.LessOrEqual(t, dials, 65)
			require.Greater(t, dials, 5)
			require.Less(t, time.Since(begin), 63*time.Second)
			wg.Wait()
		})
	}
}

func TestSeveralServersDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad, hung := new(collector), &collector{refuses: true}, &collector{silent: true}
		s := &Sender{Servers: []string{"tcp://hung:1", "tcp://bad:1", "tcp://good:1"}, Interval: 10 * time.Second, Peers: []Peer{{Host: "web-1"}}}
		s.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return map[string]*collector{"good:1": good, "bad:1": bad, "hung:1": hung}[address].dial(ctx, network, address)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		require.NoError(t, s.Run(ctx))
		require.NoError(t, s.Once(t.Context()), "one is enough")
		for _, c := range []*collector{good, hung} {
			c.cut()
			c.wg.Wait()
		}
		require.InDelta(t, 9, len(good.beats), 1)
		require.Len(t, good.dials, 2)
		require.NotEqual(t, good.beats[0].Run, hung.beats[0].Run, "each counts for itself")
		require.Equal(t, lifeOf(good.beats[0].Run), lifeOf(hung.beats[0].Run), "in one life")
		require.NotEqual(t, lifeOf(good.beats[0].Run), lifeOf(last(good.beats).Run), "which ended before Once")
	})
}

func TestOnceIsDeliveredOrNot(t *testing.T) {
	for _, c := range []struct {
		name    string
		meets   *collector
		want    string
		refused bool
		after   time.Duration
	}{
		{"acknowledged", &collector{}, "", false, 0},
		{"refused by the system", &collector{refuses: true}, "connecting to tcp://hb:7878 failed: connection refused", false, 3 * time.Second},
		{
			"not answered", &collector{silent: true}, "waiting for the answer from tcp://hb:7878 failed: context deadline exceeded; " +
				"the beat was sent, and counts if the collector is just starting", false, 3 * time.Second,
		},
		{"refused by the collector", &collector{rejects: "no\nroom"}, `tcp://hb:7878 refused the beat: "no\\nroom"`, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{Host("web-1")}, Dial: c.meets.dial, Interval: time.Minute}
				ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
				defer stop()
				begin := time.Now()
				err := s.Once(ctx)
				require.Equal(t, c.after, time.Since(begin))
				c.meets.cut()
				c.meets.wg.Wait()
				var refused *RefusedError
				require.Equal(t, c.refused, errors.As(err, &refused))
				if c.want == "" {
					require.NoError(t, err)
					require.EqualValues(t, 60000, c.meets.beats[0].IntervalMS)
					require.True(t, c.meets.beats[0].Watched)
					return
				}
				require.ErrorContains(t, err, c.want)
			})
		})
	}
}

// That time is over says nothing if there was a reason before.
func TestOnceTellsWhyNotOnlyThatTimeIsOver(t *testing.T) {
	for name, tt := range map[string]struct {
		refusals int32 // before nothing comes back any more
		want     string
	}{
		"refused, then lost": {2, "connecting to tcp://hb:7878 failed: connection refused"},
		"always lost":        {0, "connecting to tcp://hb:7878 failed: enough"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var dials atomic.Int32
			s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{Host("web-1")}}
			s.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				if dials.Add(1) <= tt.refusals { // a second dial may start beside the first
					return nil, errRefused
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}
			ctx, stop := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("enough"))
			defer stop()
			require.EqualError(t, s.Once(ctx), tt.want, name)
		})
	}
}

func TestEveryOnceIsARunOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(collector)
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{Host("web-1")}, Dial: c.dial}
		runs := make(map[string]bool)
		for range 10 {
			require.NoError(t, s.Once(t.Context()))
		}
		c.cut()
		c.wg.Wait()
		for _, b := range c.beats {
			runs[b.Run] = true
			require.EqualValues(t, 1, b.Seq)
			require.Zero(t, b.IntervalMS, "not declared")
		}
		require.Len(t, runs, 10)
	})
}

func TestRoundTripIsToldWithTheNextBeat(t *testing.T) {
	c := play(t, &Sender{Interval: time.Second}, func(*collector) { time.Sleep(5 * time.Second) })
	require.Zero(t, c.beats[0].RTTMicros)
	require.Zero(t, c.beats[2].RTTMicros, "a pipe in virtual time takes none")
	l := newSession(&Sender{Interval: time.Second}, "tcp://hb:7878", "life", 1)
	l.beatFor([]Peer{{Host: "web-1"}})
	l.rtt = 812 * time.Microsecond
	beats := l.compose(due, &link{local: netip.MustParseAddr("192.0.2.7")})
	require.EqualValues(t, 812, beats[0].RTTMicros)
	require.Equal(t, "192.0.2.7", beats[0].IP.String(), "the local address of the connection")
}

func TestSleepIsNotMadeUpFor(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 1000 {
		interval := 1 + rand.N(time.Minute)
		now := start.Add(rand.N(time.Hour))
		next := nextTime(start, interval, now)
		require.True(t, next.After(now) && !next.After(now.Add(interval)))
		require.Zero(t, next.Sub(start)%interval)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for want, s := range map[string]*Sender{
		"no server":                            {},
		`"hb:7878" lacks a scheme`:             {Servers: []string{"hb:7878"}},
		`has scheme "http"`:                    {Servers: []string{"http://hb:7878"}},
		`"unix://" names no file`:              {Servers: []string{"unix://"}},
		`"tcp://hb" is not a host and port`:    {Servers: []string{"tcp://hb"}},
		`"tcp://:7878" is not a host and port`: {Servers: []string{"tcp://:7878"}},
		`"tcp://hb:7878/" is no`:               {Servers: []string{"tcp://hb:7878/"}},
		`"tcp://hb:99999" is no`:               {Servers: []string{"tcp://hb:99999"}},
		`"tcp://hb:0" is no`:                   {Servers: []string{"tcp://hb:0"}},
		"give each its own":                    {Servers: []string{"tcp://a:1,tcp://b:1"}},
		"no peer to beat for":                  {Servers: []string{"tcp://hb:1"}},
		"listed twice":                         {Servers: []string{"tcp://hb:1"}, Peers: []Peer{{Host: "a"}, {Host: "A"}}},
		"interval 1ms is not between":          {Servers: []string{"tcp://hb:1"}, Interval: time.Millisecond},
		"interval 9600h0m0.001s is":            {Servers: []string{"tcp://hb:1"}, Interval: MaxInterval + time.Millisecond},
		"back-in -1s is not between":           {Servers: []string{"tcp://hb:1"}, BackIn: -time.Second},
		"back-in 9600h0m0.001s is":             {Servers: []string{"tcp://hb:1"}, BackIn: MaxBackIn + time.Millisecond},
		"grace_ms: 34560000001":                {Servers: []string{"tcp://hb:1"}, Peers: []Peer{{Host: "a", Grace: MaxInterval + time.Millisecond}}},
		"host:":                                {Servers: []string{"tcp://hb:1"}, Peers: []Peer{{Host: "a b"}}},
		"status:":                              {Servers: []string{"tcp://hb:1"}, Peers: []Peer{{Host: "a", Status: "down"}}},
	} {
		require.ErrorContains(t, s.Validate(), want)
		require.Error(t, s.Run(t.Context()))
		require.Error(t, s.Once(t.Context()))
		require.Error(t, s.Leave(t.Context()))
	}
	s := &Sender{Servers: []string{"tcp://hb:1"}, Peers: []Peer{Host("a")}}
	require.ErrorContains(t, s.Run(t.Context()), "interval is missing")
}

// Jobs of once a year, with a month of patience.
func TestLongestTimesArrive(t *testing.T) {
	s := &Sender{Interval: MaxInterval, BackIn: MaxBackIn}
	c := play(t, s, func(*collector) { time.Sleep(2 * MaxInterval) })
	beats := c.beats
	require.GreaterOrEqual(t, len(beats), 3)
	require.Less(t, beats[1].at.Sub(beats[0].at), MaxInterval, "the second is spread")
	require.Equal(t, MaxInterval, beats[2].at.Sub(beats[1].at))
	require.Equal(t, int64(wire.MaxIntervalMS), beats[0].IntervalMS)
	last := beats[len(beats)-1]
	require.True(t, last.Leaving())
	require.Equal(t, int64(wire.MaxBackInMS), last.BackInMS)
}

func TestLogIsNotFilled(t *testing.T) {
	lines := 0
	s := &Sender{Interval: time.Second, Warnf: func(string, ...any) { lines++ }}
	play(t, s, func(c *collector) {
		c.set(func() { c.refuses = true })
		c.cut()
		time.Sleep(time.Hour)
	})
	require.InDelta(t, 62, lines, 4, "about once a minute")
}

func TestSelfIsThisProcess(t *testing.T) {
	self := Self("web-1", "shop")
	require.NotZero(t, self.PID)
	require.False(t, self.Watched)
	require.Equal(t, self, Self("web-1", "shop"))
	require.Equal(t, self.Boot, Host("web-1").Boot)
}

// The patience for an answer leaves room to find another way before the
// silence that the collector allows is over.
func TestPatienceFitsIntoTheAllowedSilence(t *testing.T) {
	for _, c := range []struct{ interval, deadAfter, want time.Duration }{
		{10 * time.Second, 0, 5 * time.Second},
		{10 * time.Second, 35 * time.Second, 5 * time.Second},
		{time.Second, 3500 * time.Millisecond, 833333333},
		{100 * time.Millisecond, 2 * time.Second, 633333333},
		{500 * time.Millisecond, 2 * time.Second, 500 * time.Millisecond},
		{24 * time.Hour, 25 * time.Hour, 20 * time.Minute},
		{24 * time.Hour, 36 * time.Hour, 20 * time.Minute}, // with a grace of its own
		{MaxInterval, 0, 20 * time.Minute},
		{MaxInterval, MaxInterval, 20 * time.Minute},
		{10 * time.Second, time.Second, 5 * time.Second}, // nothing fits
	} {
		l := newSession(&Sender{Interval: c.interval}, "tcp://hb:7878", "life", 1)
		l.deadAfter = c.deadAfter
		require.Equal(t, c.want, l.patience(), "%+v", c)
	}
}

// A SYN that is lost is not waited for where silence is short.
func TestSecondTryWhereSilenceIsShort(t *testing.T) {
	const slow = 3 * time.Second
	c := play(t, &Sender{Interval: time.Second}, func(c *collector) {
		time.Sleep(10 * time.Second)
		c.set(func() { c.deaf, c.slow = 1, map[int]time.Duration{2: slow} })
		time.Sleep(time.Minute)
		c.set(func() {
			require.Len(t, c.dials, 3)
			require.Equal(t, secondTry, c.dials[2].Sub(c.dials[1]))
			require.Equal(t, map[int]bool{1: true, 3: true}, c.closed, "the old one and the slower one")
		})
	})
	first := slices.IndexFunc(c.beats, func(b received) bool { return b.conn == 2 })
	require.Equal(t, c.dials[2], c.beats[first].at, "a beat over the faster one, at once")
}

func TestNoSecondTryForAHerdOrWhereSilenceIsLong(t *testing.T) {
	for name, tt := range map[string]struct {
		interval time.Duration
		fault    func(*collector)
	}{
		"collector hung up":  {time.Second, (*collector).cut},
		"interval is longer": {10 * time.Second, func(c *collector) { c.set(func() { c.deaf = 1 }) }},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, &Sender{Interval: tt.interval}, func(c *collector) {
				time.Sleep(3 * tt.interval)
				c.set(func() { c.slow = map[int]time.Duration{2: 3 * time.Second} })
				tt.fault(c)
				time.Sleep(time.Minute)
				c.set(func() {
					require.Len(t, c.dials, 2)
					require.Equal(t, 1, c.conns)
				})
			})
		})
	}
}

// An error is an answer: the link before is not needed any more.
func TestRefusedBeatProvesTheLink(t *testing.T) {
	play(t, &Sender{Interval: 10 * time.Second}, func(c *collector) {
		time.Sleep(time.Minute)
		c.set(func() { c.silent = true })
		time.Sleep(time.Minute)
		c.set(func() { c.silent, c.rejects = false, "no room" })
		time.Sleep(time.Minute)
		c.set(func() {
			require.True(t, c.closed[1])
			require.Equal(t, 1, c.conns)
		})
	})
}

func TestConstantsAreThoseOfTheProtocol(t *testing.T) {
	require.Equal(t, int64(wire.MinIntervalMS), MinInterval.Milliseconds())
	require.Equal(t, int64(wire.MaxIntervalMS), MaxInterval.Milliseconds())
	require.Equal(t, int64(wire.MaxBackInMS), MaxBackIn.Milliseconds())
	require.Equal(t, []string{wire.StatusAlive, wire.StatusLeaving, wire.StatusDead}, []string{StatusAlive, StatusLeaving, StatusDead})
}

// Check is for the servers of its Sender, and names any other one.
func TestCheckNamesAServerThatIsNotOneOfServers(t *testing.T) {
	s := Sender{Servers: []string{"tcp://127.0.0.1:7878"}, Peers: []Peer{Host("web-1")}}
	for _, server := range []string{"nonsense", "tcp://127.0.0.1:7879", ""} {
		require.EqualError(t, s.Check(t.Context(), server).Err, fmt.Sprintf("server %q is not one of Servers", server))
	}
}
