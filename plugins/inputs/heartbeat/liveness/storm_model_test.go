package liveness

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// TestInvariantsHoldWhateverHappens makes random calls to a tracker, including restarts of its
// collector, and checks after each step that the tracker is still consistent with itself and
// with its reports.
func TestInvariantsHoldWhateverHappens(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			newStorm(t, seed).rage(2000)
		})
	}
}

// A storm is a tracker and the source of random calls to it.
type storm struct {
	*rig
	rnd     *rand.Rand
	step    int
	doing   string
	reach   int // how many of ten hosts beat
	told    map[ID]State
	patient map[ID]time.Duration        // on the verdict clock: the earliest time at which each peer may be dead
	closed  map[ID]bool                 // peers whose connection has ended since
	due     map[ID]int                  // for how many ticks each peer has been past its deadline
	ids     map[ID]map[int64]Transition // the events of each peer, by ID
}

func newStorm(t *testing.T, seed uint64) *storm {
	rnd := rand.New(rand.NewPCG(seed, 7))
	s := &storm{
		rnd: rnd, reach: 10,
		told: make(map[ID]State), patient: make(map[ID]time.Duration), closed: make(map[ID]bool), due: make(map[ID]int),
		ids: make(map[ID]map[int64]Transition),
	}
	s.rig = newRig(t, func(o *Options) {
		o.DeadAfter, o.ForgetDead, o.ForgetLeft = 20*time.Second, 40*time.Second, 15*time.Second
		o.Margin = MarginOf(1 + rnd.IntN(3))
		o.Grace = time.Duration(rnd.IntN(5)) * time.Second
		o.IsolationHold = 10 * time.Second
		o.MaxPeers = 20 + rnd.IntN(60)
		if rnd.IntN(4) == 0 {
			o.IsolationPercent = 0
		}
		o.Ask = func(conn ConnID) (Path, netip.Addr) { return Path(conn % 3), addrOf(conn) }
	})
	s.fixed = rnd.IntN(2) == 0
	s.checked, s.hook = true, func(_ Fate, transitions []Transition) { s.listen(transitions) }
	return s
}

func (s *storm) rage(steps int) {
	for s.step = range steps {
		s.doing = "tick"
		s.now = s.now.Add(TickInterval)
		if s.rnd.IntN(200) == 0 {
			s.now = s.now.Add(time.Duration(s.rnd.IntN(20)) * time.Second) // a stall
		}
		s.tick()
		s.check()
		s.noneOverdue()
		for range s.rnd.IntN(5) {
			s.now = s.now.Add(time.Duration(s.rnd.IntN(20)) * time.Millisecond)
			s.something()
			s.check()
		}
	}
}

func (s *storm) something() {
	switch draw := s.rnd.IntN(1000); {
	case draw < 930:
		s.beat()
	case draw < 980:
		conn, end := ConnID(1+s.rnd.IntN(24)), End(s.rnd.IntN(4))
		s.doing = fmt.Sprint("end ", end, " of connection ", conn)
		for _, p := range s.tracker.conns.of(conn) {
			s.closed[p.id()] = true
		}
		s.endedFrom(conn, end, addrOf(conn%3))
	case draw < 990:
		s.reach = s.rnd.IntN(11)
	case draw < 995:
		s.expect()
	default:
		s.restart()
	}
}

func (s *storm) beat() {
	b := s.draw()
	if int(b.Conn)%10 >= s.reach {
		return // the beat is lost
	}
	s.doing = fmt.Sprintf("beat %+v", *b)
	out := s.observe(*b)
	if out.Fate <= Limited && b.Status == SaysAlive {
		b.ID = s.tracker.lookUp(b.ID).id() // successive short connections are one peer
		s.patient[b.ID] = s.tracker.verdict(s.now) + out.Silence.Dead
		delete(s.closed, b.ID)
	} else if out.Fate <= Limited {
		delete(s.patient, b.ID) // one process may have ended while another continues
	}
}

func (s *storm) draw() *Beat {
	n := s.rnd.IntN(14)
	b := &Beat{
		ID: ID{Source: fmt.Sprint("h", n)}, Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(n + s.rnd.IntN(2))}),
		Conn: ConnID(1 + n), Interval: time.Duration(s.rnd.IntN(2)*(1+n%4)) * time.Second,
		Run: fmt.Sprint("r", n), Seq: int64(s.step), Watched: s.rnd.IntN(2) == 0,
	}
	switch s.rnd.IntN(5) {
	case 0, 1:
		b.ID.Service = HostService
	case 2:
		b.ID.PID = uint32(1 + s.rnd.IntN(3))
		b.Process.PID = b.ID.PID
	default:
		b.ID.Service = fmt.Sprint("s", s.rnd.IntN(2))
		b.Process.PID = uint32(s.rnd.IntN(20) / 19)
	}
	switch s.rnd.IntN(12) {
	case 0:
		b.Run, b.Seq = "", 0
	case 1:
		b.Run = fmt.Sprint("x", s.rnd.IntN(3))
	case 2:
		b.Process.Boot = fmt.Sprint("b", s.rnd.IntN(2))
	case 3:
		b.Conn = ConnID(15 + s.rnd.IntN(10))
	case 4:
		b.Labels = []Label{{"site", strconv.Itoa(s.rnd.IntN(2))}}
	}
	switch s.rnd.IntN(30) {
	case 0:
		b.Status, b.BackIn = SaysLeaving, time.Duration(s.rnd.IntN(3))*10*time.Second
	case 1:
		b.Status = SaysDead
	}
	return b
}

func (s *storm) expect() {
	all := make([]Expected, s.rnd.IntN(6))
	for i := range all {
		n := s.rnd.IntN(16)
		all[i] = Expected{
			Source:  []string{fmt.Sprint("h", n), fmt.Sprint("10.0.0.", n)}[s.rnd.IntN(2)],
			Service: []string{"", "", HostService, "s0", "s7"}[s.rnd.IntN(5)],
		}
	}
	s.doing = fmt.Sprint("expect ", all)
	s.rig.expect(all...)
}

// restart makes another collector continue. Restored states are not reported.
func (s *storm) restart() {
	s.doing = "restart"
	old := s.tracker.verdict(s.now)
	s.rig.restart(time.Duration(s.rnd.IntN(2)*s.rnd.IntN(20)) * time.Second)
	clear(s.told)
	clear(s.due)
	for _, p := range s.tracker.order {
		s.told[p.id()] = p.state
	}
	for id := range s.patient {
		s.patient[id] -= old
	}
}

func (s *storm) listen(transitions []Transition) {
	for _, tr := range transitions {
		s.checkID(tr)
		if tr.Event != Changed {
			continue
		}
		s.told[tr.ID] = tr.State
		if tr.Reason == ReasonReplaced || tr.Reason == ReasonForgotten {
			delete(s.told, tr.ID)
		}
		if tr.State == Dead && tr.Reason >= ReasonSilence && tr.Reason <= ReasonConnReset && !s.closed[tr.ID] {
			if v := s.tracker.verdict(s.now); v < s.patient[tr.ID] {
				s.failf("%v dead (%v) at %v, was promised %v", tr.ID, tr.Reason, v, s.patient[tr.ID])
			}
		}
	}
}

// checkID checks that no two events of a peer have the same ID, until the peer is forgotten.
func (s *storm) checkID(tr Transition) {
	s.t.Helper()
	if s.ids[tr.ID] == nil {
		s.ids[tr.ID] = make(map[int64]Transition)
	}
	if before, known := s.ids[tr.ID][tr.EventID]; known || tr.EventID < 0 || tr.EventID >= 1<<53 {
		s.failf("event %d is %+v, before it was %+v", tr.EventID, tr, before)
	}
	s.ids[tr.ID][tr.EventID] = tr
	if tr.Reason == ReasonForgotten || tr.Reason == ReasonReplaced {
		delete(s.ids, tr.ID)
	}
}

func (s *storm) failf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("step %d, %s: %s", s.step, s.doing, fmt.Sprintf(format, args...))
}

// check checks that the last reported states are the states in the tracker.
func (s *storm) check() {
	s.t.Helper()
	for _, p := range s.tracker.order {
		said, yes := s.told[p.id()]
		switch {
		case yes && said != p.state && !p.unreported:
			s.failf("%v is %v, told was %v", p.id(), p.state, said)
		case !yes && p.state != Unknown && !p.unreported && p.reported != p.state:
			s.failf("%v is %v, nothing was told", p.id(), p.state)
		}
	}
}

// noneOverdue checks that no deadline has passed without a report at the second tick, except
// for peers whose verdicts are held back or that are judged with their host.
func (s *storm) noneOverdue() {
	s.t.Helper()
	t := s.tracker
	for _, p := range t.order {
		if p.state == Unknown && p.reason == ReasonHost && p.host.own.state != Unknown {
			s.failf("%v is held with its host, which is %v", p.id(), p.host.own.state)
		}
		if !s.isDue(p) {
			delete(s.due, p.id())
			continue
		}
		if s.due[p.id()]++; s.due[p.id()] > 2 {
			s.failf("%v is still %v (%v), %v past its deadline, wakes in %v, %s",
				p.id(), p.state, p.reason, t.tickV-p.deadV, t.wake[p.index]-t.tickV, s.hostOf(p))
		}
	}
}

func (s *storm) isDue(p *peer) bool {
	t := s.tracker
	switch {
	case p.state == Left && p.windowV > 0:
		return t.tickV >= p.promiseV()
	case p.expected && p.state == Unknown:
		return t.tickV >= p.deadlineV()
	case p.state == Alive, p.state == Suspect, p.state == Unknown && p.reason == ReasonRestored:
		return t.tickV >= p.deadlineV() && !p.waits() && !t.isolation.on
	}
	return false
}

func (s *storm) hostOf(p *peer) string {
	own := p.host.own
	if own == nil || own == p {
		return "without a host"
	}
	return fmt.Sprintf("its host is %v (%v), follows %v, heard %v after it, deadline in %v",
		own.state, own.reason, p.follows(), own.lastHeard()-p.lastHeard(), own.deadV-s.tracker.tickV)
}
