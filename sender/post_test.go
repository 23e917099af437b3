package sender

import (
	"context"
	"errors"
	"net"
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
	alive := len(words) - tellings
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
	require.Equal(t, []string{"leaving", "leaving", "leaving"}, words[len(words)-tellings:])
	require.Equal(t, 2*tellPause, at[len(at)-1].Sub(at[len(at)-tellings]))
	require.EqualValues(t, 60_000, m.beats[len(m.beats)-1].BackInMS)
}

// So is a death, which then goes on to be said with every beat, while a planned
// end is not.
func TestEndsInDatagrams(t *testing.T) {
	s := &Sender{Interval: 10 * time.Second, Peers: []Peer{Host("web-1"), {Host: "web-1", Service: "shop"}, {Host: "web-1", Service: "job"}}}
	m := playPost(t, s, func(*mailbox) {
		time.Sleep(15 * time.Second)
		require.NoError(t, s.Tell(Peer{Host: "web-1", Service: "shop", Status: wire.StatusDead}))
		require.NoError(t, s.Tell(Peer{Host: "web-1", Service: "job", Status: wire.StatusLeaving}))
		time.Sleep(30 * time.Second)
	})
	words, at := m.statuses("shop")
	first := len(words) - 6 // three at once, three with beats
	require.Equal(t, strings.Repeat("dead ", 6), strings.Join(words[first:], " ")+" ")
	require.Equal(t, 2*tellPause, at[first+2].Sub(at[first]))
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
		require.Len(t, m.beats, 1+tellings)
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
	for range 4 {
		p.Tags = append(p.Tags, wire.Label{Key: string(rune('a' + len(p.Tags))), Value: strings.Repeat("x", wire.MaxLabelValue)})
	}
	s := &Sender{Servers: []string{"udp://hb:7878"}, Peers: []Peer{p}}
	require.NoError(t, s.Validate())
	s.Peers[0].Tags = append(s.Peers[0].Tags, wire.Label{Key: "z", Value: strings.Repeat("x", 100)})
	require.ErrorContains(t, s.Validate(), "give it fewer tags")
	require.ErrorContains(t, s.Tell(s.Peers[0]), "give it fewer tags")
	s.Servers[0] = "tcp://hb:7878"
	require.NoError(t, s.Validate())
}
