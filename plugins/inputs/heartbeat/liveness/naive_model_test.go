package liveness

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A model judges like the tracker, but checks every peer at every tick and searches where the
// tracker keeps an index.
type model struct {
	opts  Options
	clock time.Duration // verdict clock at the last tick
	last  time.Duration // at time of the last tick
	tick  int
	peers map[ID]*modelPeer
}

type modelPeer struct {
	state    State
	reason   Reason
	interval time.Duration
	heard    time.Duration
	lost     time.Duration // deadline after the end of its connection
	changed  time.Duration
	window   time.Duration
	due      int
	pid      uint32
	conn     ConnID
	connFrom time.Duration
	long     bool
}

func (m *model) now(at time.Duration) time.Duration {
	return m.clock + min(at-m.last, 2*TickInterval)
}

func (m *model) observe(at time.Duration, b *Beat) Fate {
	now := m.now(at)
	p := m.peers[b.ID]
	if p == nil && b.Status == SaysLeaving {
		return UnknownPeer
	}
	if p == nil {
		if len(m.peers) >= m.opts.MaxPeers {
			return Full
		}
		p = &modelPeer{pid: b.Process.PID}
		m.peers[b.ID] = p
	}
	p.heard = now
	if p.window <= now {
		p.window = 0
	}
	if b.Conn != p.conn {
		p.conn, p.connFrom, p.long = b.Conn, at, false
	} else if b.Conn != 0 && at-p.connFrom >= longConn {
		p.long = true
	}
	if p.pid != 0 && b.Process.PID != 0 && p.pid != b.Process.PID {
		p.window = 0
	}
	if b.Process.PID != 0 {
		p.pid = b.Process.PID
	}
	switch b.Status {
	case SaysAlive:
		p.interval, p.lost = b.Interval, never
		m.set(p, Alive, ReasonBeat, now)
	case SaysLeaving:
		if b.BackIn > 0 {
			p.window = max(p.window, now+b.BackIn)
		}
		m.leave(b.ID, p, now)
	case SaysDead:
		if p.state != Dead {
			m.fail(b.ID, p, ReasonExited, now)
		}
		if p.state == Dead {
			p.reason = ReasonExited
		}
	}
	return Accepted
}

// leave makes p leave and, if p is a dead host, its dead services too.
func (m *model) leave(id ID, p *modelPeer, now time.Duration) {
	retired := p.state == Dead && id.Service == HostService
	m.set(p, Left, ReasonLeaving, now)
	for other, dead := range m.peers {
		if retired && other.Source == id.Source && dead.state == Dead {
			dead.window = p.window
			m.set(dead, Left, ReasonHost, now)
		}
	}
}

func (*model) set(p *modelPeer, state State, reason Reason, now time.Duration) {
	if p.state == state {
		return
	}
	p.state, p.reason, p.changed = state, reason, now
}

func (m *model) fail(id ID, p *modelPeer, reason Reason, now time.Duration) {
	window := p.window
	if host := m.peers[ID{Source: id.Source, Service: HostService}]; host != nil {
		window = max(window, host.window)
	}
	if window > now {
		p.window = window
		m.set(p, Left, ReasonLeaving, now)
		return
	}
	m.set(p, Dead, reason, now)
}

func (m *model) step(at time.Duration) {
	m.clock = m.now(at)
	m.last = at
	m.tick++
	for _, hosts := range []bool{true, false} {
		for id, p := range m.peers {
			if (id.Service == HostService) == hosts {
				m.judge(id, p)
			}
		}
	}
}

func (m *model) judge(id ID, p *modelPeer) {
	silence := m.opts.silence(p.interval, 0, nil, 0).atLeast(MinSilence, p.interval)
	if p.state == Alive && m.clock >= p.heard+silence.Suspect {
		m.set(p, Suspect, ReasonSilence, m.clock)
	}
	if host := m.peers[ID{Source: id.Source, Service: HostService}]; p.state == Left && p.window > 0 && m.clock >= p.window && host != nil {
		p.window = max(p.window, host.window)
	}
	past := p.state == Suspect && m.clock >= min(p.heard+silence.Dead, p.lost) ||
		p.state == Left && p.window > 0 && m.clock >= p.window
	if past {
		if again := p.due == m.tick-1; again && p.state == Suspect {
			m.fail(id, p, p.reason, m.clock)
		} else if again {
			p.window = 0
			m.set(p, Dead, ReasonOverdue, m.clock)
		}
		p.due = m.tick
		return
	}
	since := max(p.changed, p.heard)
	switch {
	case p.state == Left && p.window == 0 && m.clock >= since+m.opts.ForgetLeft:
		delete(m.peers, id)
	case p.state == Dead && m.clock >= since+max(m.opts.ForgetDead, 3*p.interval):
		delete(m.peers, id)
	}
}

func (m *model) gone(conn ConnID, now time.Duration) {
	for _, p := range m.peers {
		if p.conn == conn {
			p.conn = 0
			if p.long && (p.state == Alive || p.state == Suspect) {
				m.set(p, Suspect, ReasonConnClosed, now)
				p.reason = ReasonConnClosed
				p.lost = min(p.lost, now+m.opts.Grace)
			}
		}
	}
}

func TestTrackerAgreesWithNaiveModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			compareWithModel(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func compareWithModel(t *testing.T, rnd *rand.Rand) {
	opts := Options{
		Terms: Terms{
			DeadAfter: 20 * time.Second, Margin: MarginOf(1 + rnd.IntN(3)), Grace: time.Duration(rnd.IntN(10)) * time.Second,
			ForgetDead: time.Minute,
		},
		MinSilence: MinSilence, ForgetLeft: 30 * time.Second,
		MaxPeers: 6 + rnd.IntN(10), MaxBeatsPerSecond: 0,
	}
	r := newRig(t, func(o *Options) { *o = opts })
	told := make(map[ID]State) // the state according to the transitions
	r.fixed = true
	r.checked, r.hook = true, func(_ Fate, transitions []Transition) { listen(told, transitions) }
	reference := &model{opts: opts, tick: 1, peers: make(map[ID]*modelPeer)}
	var at time.Duration
	for step := range 6000 {
		switch draw := rnd.IntN(100); {
		case draw < 70:
			at += TickInterval
			if rnd.IntN(200) == 0 {
				at += time.Duration(rnd.IntN(60)) * time.Second // a stall
			}
			r.now = epoch.Add(at)
			r.tick()
			reference.step(at)
		case draw < 97:
			b := randomBeat(rnd)
			r.now = epoch.Add(at)
			out := r.observe(*b)
			require.Equal(t, reference.observe(at, b), out.Fate, "step %d", step)
		default:
			conn := ConnID(1 + rnd.IntN(12))
			r.now = epoch.Add(at)
			r.ended(conn, Closed)
			reference.gone(conn, reference.now(at))
		}
		at += time.Duration(rnd.IntN(30)) * time.Millisecond
		agree(t, step, r.tracker, reference, told)
	}
}

func listen(told map[ID]State, transitions []Transition) {
	for _, tr := range transitions {
		if tr.Event != Changed {
			continue
		}
		told[tr.ID] = tr.State
		if tr.Reason == ReasonReplaced || tr.Reason == ReasonForgotten {
			delete(told, tr.ID)
		}
	}
}

func agree(t *testing.T, step int, tracker *Tracker, reference *model, told map[ID]State) {
	t.Helper()
	var counts [len(States)]int
	for id, want := range reference.peers {
		counts[want.state]++
		p := tracker.lookUp(id)
		switch heard, ok := told[id]; {
		case p == nil:
			t.Fatalf("step %d: %v is not known", step, id)
		case p.state != want.state || p.reason != want.reason:
			t.Fatalf("step %d: %v is %v %v, should be %v %v", step, id, p.state, p.reason, want.state, want.reason)
		case tracker.order[p.index] != p:
			t.Fatalf("step %d: %v is not where it should be", step, id)
		case ok && heard != want.state: // a replaced peer that stays alive is reported as restarted
			t.Fatalf("step %d: %v is %v, reported was %v", step, id, want.state, heard)
		}
	}
	if tracker.Len() != len(reference.peers) || counts != tracker.counts {
		t.Fatalf("step %d: %d peers %v, should be %d %v", step, tracker.Len(), tracker.counts, len(reference.peers), counts)
	}
}

func randomBeat(rnd *rand.Rand) *Beat {
	host := fmt.Sprintf("h%d", rnd.IntN(3))
	b := &Beat{Status: SaysAlive}
	switch rnd.IntN(4) {
	case 0:
		b.ID = ID{Source: host, Service: HostService}
	case 1:
		pid := uint32(1 + rnd.IntN(6))
		b.ID = ID{Source: host, Service: fmt.Sprint("p", pid)}
		b.Process.PID = pid
		b.Conn = ConnID(pid) + 6*ConnID(host[1]%2) // a few share connections
	default:
		b.ID = ID{Source: host, Service: fmt.Sprintf("s%d", rnd.IntN(2))}
		b.Interval = time.Duration(rnd.IntN(4)) * 5 * time.Second
	}
	switch rnd.IntN(12) {
	case 0:
		b.Status = SaysLeaving
		b.BackIn = time.Duration(rnd.IntN(3)) * 20 * time.Second
	case 1:
		b.Status = SaysDead
	}
	return b
}
