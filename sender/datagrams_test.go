package sender

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A mailbox takes datagrams in virtual time and answers none.
type mailbox struct {
	mu      sync.Mutex
	beats   []received
	dials   int
	open    int
	refuses bool // says so, like a host where nobody listens
}

func (m *mailbox) dial(_ context.Context, network, _ string) (net.Conn, error) {
	if network != "udp" {
		return nil, errors.New("this is a mailbox")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dials++
	m.open++
	near, far := net.Pipe()
	return &mailSocket{Conn: near, far: far, box: m, number: m.dials}, nil
}

// A mailSocket is a socket that sends to a mailbox.
type mailSocket struct {
	net.Conn
	far    net.Conn
	box    *mailbox
	number int
}

func (p *mailSocket) Write(payload []byte) (int, error) {
	beat, err := wire.Decode(payload)
	if err != nil {
		panic(err)
	}
	p.box.mu.Lock()
	defer p.box.mu.Unlock()
	if len(payload) > maxDatagram || beat.Ack {
		panic("this is no datagram of ours")
	}
	p.box.beats = append(p.box.beats, received{Beat: *beat, at: time.Now(), conn: p.number})
	return len(payload), nil
}

func (p *mailSocket) Read(b []byte) (int, error) {
	p.box.mu.Lock()
	refuses := p.box.refuses
	p.box.mu.Unlock()
	if refuses {
		return 0, errRefused
	}
	return p.Conn.Read(b)
}

func (p *mailSocket) Close() error {
	p.box.mu.Lock()
	defer p.box.mu.Unlock()
	p.box.open--
	return errors.Join(p.far.Close(), p.Conn.Close())
}

// post runs a sender to a mailbox while the story is told.
func playPost(t *testing.T, s *Sender, story func(m *mailbox)) *mailbox {
	m := &mailbox{}
	s.Servers, s.Dial = []string{"udp://hb:7878"}, m.dial
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		story(m)
		stop()
		require.NoError(t, <-ended)
	})
	require.Zero(t, m.open)
	return m
}

// statuses returns what was said of a service, and when.
func (m *mailbox) statuses(service string) (words []string, at []time.Time) {
	for _, b := range m.beats {
		if b.Service == service {
			words, at = append(words, b.Status), append(at, b.at)
		}
	}
	return words, at
}

// In datagrams beats come as over a connection; each has its own number, and
// nobody is asked for an answer.
func TestDatagramsOnSchedule(t *testing.T) {
	m := playPost(t, &Sender{Interval: 10 * time.Second, Peers: []Peer{Host("web-1")}}, func(*mailbox) { time.Sleep(10 * time.Minute) })
	words, at := m.statuses("")
	alive := len(words) - endRepeats
	require.InDelta(t, 61, alive, 1)
	for i := 2; i < alive; i++ {
		require.Equal(t, 10*time.Second, at[i].Sub(at[i-1]))
	}
	for i, b := range m.beats {
		require.EqualValues(t, i+1, b.Seq)
	}
	require.InDelta(t, 30, m.dials, 1, "the name is resolved anew every two intervals")
}

// A goodbye may be lost: it is sent three times, as fast as two packets may be
// lost together.
func TestGoodbyeInDatagramsIsSaidThreeTimes(t *testing.T) {
	m := playPost(t, &Sender{Interval: 10 * time.Second, Peers: []Peer{Host("web-1")}, BackIn: time.Minute}, func(*mailbox) { time.Sleep(time.Second) })
	words, at := m.statuses("")
	require.Equal(t, []string{"leaving", "leaving", "leaving"}, words[len(words)-endRepeats:])
	require.Equal(t, 2*repeatPause, at[len(at)-1].Sub(at[len(at)-endRepeats]))
	require.EqualValues(t, 60_000, m.beats[len(m.beats)-1].BackInMS)
}

// So is a death, which then goes on to be said with every beat, while a planned
// end is not.
func TestEndsInDatagrams(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: []Peer{Host("web-1"), {Host: "web-1", Service: "shop"}, {Host: "web-1", Service: "job"}}}
	m := playPost(t, s, func(*mailbox) {
		time.Sleep(15 * time.Second)
		require.NoError(t, s.Update(Peer{Host: "web-1", Service: "shop", Status: wire.StatusDead}))
		require.NoError(t, s.Update(Peer{Host: "web-1", Service: "job", Status: wire.StatusLeaving}))
		time.Sleep(30 * time.Second)
	})
	words, at := m.statuses("shop")
	first := slices.Index(words, wire.StatusDead)
	after := words[first:]
	require.Equal(t, slices.Repeat([]string{wire.StatusDead}, len(after)), after)
	require.InDelta(t, 6, len(after), 1, "three at once, of which one may be a beat that was due, and one with each beat")
	require.LessOrEqual(t, at[first+endRepeats-1].Sub(at[first]), 2*repeatPause)
	words, _ = m.statuses("job")
	require.Equal(t, []string{"alive", "leaving", "leaving", "leaving"}, words[len(words)-4:])
}

func TestOnceInDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mailbox{}
		s := &Sender{Servers: []string{"udp://hb:7878"}, Peers: []Peer{Host("web-1")}, Dial: m.dial}
		require.NoError(t, s.Once(t.Context()))
		require.Len(t, m.beats, 1)
		require.NoError(t, s.Leave(t.Context()))
		require.Len(t, m.beats, 1+endRepeats)
		x := s.Check(t.Context(), s.Servers[0])
		require.NoError(t, x.Err)
		require.Empty(t, x.Answers)
		require.True(t, m.beats[len(m.beats)-1].Check)

		m.refuses = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, s.Once(ctx), "sending to udp://hb:7878 failed: connection refused")
		require.Zero(t, m.open)
	})
}

// What would not fit is refused before anything is sent.
func TestDatagramsHaveRoom(t *testing.T) {
	p := Host("web-1")
	p.Boot = strings.Repeat("b", 36) // as on Linux; elsewhere there is none
	for range 4 {
		p.Tags = append(p.Tags, Tag{Key: string(rune('a' + len(p.Tags))), Value: strings.Repeat("x", wire.MaxLabelValue)})
	}
	s := &Sender{Servers: []string{"udp://hb:7878"}, Peers: []Peer{p}}
	require.NoError(t, s.Validate())
	s.Peers[0].Tags = append(s.Peers[0].Tags, Tag{Key: "z", Value: strings.Repeat("x", 100)})
	require.ErrorContains(t, s.Validate(), "use fewer tags")
	require.ErrorContains(t, s.Update(s.Peers[0]), "use fewer tags")
	s.Servers[0] = "tcp://hb:7878"
	require.NoError(t, s.Validate())
}

// postWorld is a world with a collector at two addresses.
func postWorld() (*world, *collector) {
	c := new(collector)
	return &world{servers: []nameServer{{}}, zone: []string{home, home2}, homes: map[string]*collector{home: c, home2: c}}, c
}

// Each address gets every beat, in a run of its own and one life: no beat is a
// repetition of another one.
func TestDatagramsGoToEachAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := postWorld()
		s := &Sender{Servers: []string{"udp://hb:7878", "tcp://hb:7878"}, Interval: 10 * time.Second, Peers: []Peer{{Host: "web-1"}}}
		w.serve(s)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		time.AfterFunc(5*time.Minute, func() { w.set(func() { w.zone = []string{newHome, home2, home} }) })
		require.NoError(t, s.Run(ctx))
		c.cut()
		c.wg.Wait()
		seqs := make(map[string]int64)
		for _, b := range c.beats {
			seqs[b.Run]++
			require.Equal(t, seqs[b.Run], b.Seq, "%s", b.Run)
			require.Equal(t, lifeOf(c.beats[0].Run), lifeOf(b.Run))
		}
		require.Len(t, seqs, 3, "two addresses and a connection")
	})
}

// An address that takes the place of another one is told everything, and goes on
// counting.
func TestNewAddressIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := postWorld()
		w.zone = []string{"192.0.2.101"}
		s := &Sender{Servers: []string{"udp://hb:7878"}, Interval: time.Hour, Peers: []Peer{{Host: "web-1"}}}
		w.serve(s)
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Hour)
		defer stop()
		time.AfterFunc(90*time.Minute, func() { w.set(func() { w.zone = []string{home} }) })
		require.NoError(t, s.Run(ctx))
		require.NotEmpty(t, c.beats)
		require.Greater(t, c.beats[0].Seq, int64(1))
		require.Less(t, c.beats[0].at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), 150*time.Minute+time.Second)
	})
}

// What the network says of the last beat does not cost the next one.
func TestRefusalOfTheLastDatagramCostsOnlyThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := postWorld()
		w.zone = []string{home}
		s := &Sender{Servers: []string{"udp://hb:7878"}, Interval: 2 * time.Second, Peers: []Peer{{Host: "web-1"}}}
		w.serve(s)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		for restart := range 90 { // each takes one beat; sockets are opened anew every two
			at := 10*time.Second + time.Duration(restart)*6*time.Second
			time.AfterFunc(at, func() { c.set(func() { c.refuses = true }) })
			time.AfterFunc(at+2*time.Second, func() { c.set(func() { c.refuses = false }) })
		}
		require.NoError(t, s.Run(ctx))
		for i := range c.beats[1:] {
			require.LessOrEqual(t, c.beats[i+1].at.Sub(c.beats[i].at), 4*time.Second)
		}
	})
}

// A sender that cannot resolve the name when it starts, because its host just
// boots, does not wait for the next beat.
func TestNameIsResolvedSoonAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := postWorld()
		w.servers[0].fails = true
		s := &Sender{Servers: []string{"udp://hb:7878"}, Interval: 24 * time.Hour, Peers: []Peer{{Host: "web-1"}}}
		w.serve(s)
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		defer stop()
		time.AfterFunc(time.Minute, func() { w.set(func() { w.servers[0].fails = false }) })
		begin := time.Now()
		require.NoError(t, s.Run(ctx))
		require.False(t, c.beats[0].Leaving())
		require.LessOrEqual(t, c.beats[0].at.Sub(begin), time.Minute+tryTime)
	})
}

// A reader that has stopped, behind a unix socket, blocks every write. No end
// waits for it.
func TestBlockedDatagramsHoldUpNoEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		hurry bool
		exit  Exit
		limit time.Duration
	}{
		"a stop":             {false, Exit{}, goodbyeTime},
		"a job that failed":  {true, Exit{HasCode: true, Code: 1}, fastTime},
		"a job that has won": {true, Exit{HasCode: true}, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			for range 50 { // what select takes first is chance
				synctest.Test(t, func(t *testing.T) {
					s := &Sender{Servers: []string{"unixgram:///run/hb.sock"}, Interval: MinInterval, Peers: []Peer{{Host: "web-1", Service: "job"}}, Hurry: tt.hurry}
					var open []net.Conn
					s.Dial = func(context.Context, string, string) (net.Conn, error) {
						near, far := net.Pipe() // nobody reads from it
						open = append(open, far)
						return near, nil
					}
					ctx, stop := context.WithCancel(t.Context())
					done := make(chan error)
					go func() { done <- s.Run(ctx) }()
					time.Sleep(time.Minute + 300*time.Millisecond)
					if tt.exit.HasCode {
						end := s.Peers[0]
						end.Exit, end.Status = tt.exit, wire.StatusLeaving
						require.NoError(t, s.Update(end))
					}
					begin := time.Now()
					stop()
					require.NoError(t, <-done)
					require.LessOrEqual(t, time.Since(begin), tt.limit)
					for _, far := range open {
						far.Close()
					}
				})
			}
		})
	}
}
