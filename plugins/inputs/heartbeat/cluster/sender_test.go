package cluster

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A sender beats for one peer, over a path of its own to each collector. It is one process
// after another.
type sender struct {
	w        *world
	id       liveness.ID
	addr     netip.Addr
	paths    []*path // that it beats over; of those to other collectors there is none
	watched  bool
	dated    bool // its beats say when they were sent
	boot     int
	interval time.Duration

	process liveness.Process
	life    string
	lives   int
	began   time.Duration // the process
	state   senderState
	since   time.Duration // state
	fins    bool          // when it ended its connections were closed
	broken  time.Duration // when a path of it was broken last
	promise time.Duration // when it has said last that it will be back
}

type senderState int

const (
	beats  senderState = iota
	hangs              // it says nothing, its connections stand
	killed             // it has ended without a word
	said               // it has said that it ends
	back               // likewise, and that it will be back
)

func (s senderState) String() string {
	return [...]string{"beats", "hangs", "was killed", "said its end", "said it will be back"}[s]
}

// hostIsBack reports whether the host of s has said of late that it will be back: what is
// silent meanwhile was announced.
func (w *world) hostIsBack(s *sender) bool {
	for _, other := range w.senders {
		if other.id.Source == s.id.Source && other.id.Service == liveness.HostService && other.promise > 0 && w.now-other.promise < 25*time.Second {
			return true
		}
	}
	return false
}

// A path leads from a sender to a collector.
type path struct {
	s       *sender
	to      *collector
	conn    liveness.ConnID
	life    int // of the collector, to which conn is
	seq     int64
	slow    time.Duration
	state   lineState
	waiting []func()
	last    time.Duration
	epoch   int
}

// allowed returns how long s may be silent.
func (s *sender) allowed() time.Duration {
	return max(s.interval+s.margin(), liveness.MinSilence)
}

func (s *sender) margin() time.Duration { return s.interval * 5 / 2 }

// begin starts another process of s.
func (s *sender) begin(boot bool) {
	w := s.w
	if w.processes++; boot {
		s.boot++
	}
	s.lives++
	s.process = liveness.Process{Boot: fmt.Sprint("boot", s.boot), PID: 100 + w.processes, Start: w.now + time.Minute}
	s.life = fmt.Sprintf("%s-%s-%d", s.id.Source, s.id.Service, s.lives) // of a sender of its own
	s.set(beats)
	s.began = w.now
	for _, p := range s.paths {
		p.seq = 0
		p.connect()
	}
}

func (s *sender) set(state senderState) {
	s.w.tracef("%s (%s) %s", s.id, s.life, state)
	s.state, s.since, s.fins = state, s.w.now, false
}

func (p *path) connect() {
	p.s.w.conns++
	p.conn, p.life = liveness.ConnID(p.s.w.conns), p.to.life
}

// run beats over p for ever, when s does.
func (p *path) run() {
	var again func()
	again = func() {
		if p.s.state == beats {
			p.beat(liveness.Beat{})
		}
		p.s.w.after(p.s.interval, again)
	}
	p.s.w.after(p.s.w.between(0, p.s.interval), again)
}

// beat sends a beat, of which what it says of the end is given.
func (p *path) beat(b liveness.Beat) {
	s := p.s
	if p.life != p.to.life && p.state == lineOpen {
		p.connect() // that collector has ended, and its connections with it
	}
	p.seq++
	b.ID, b.Addr, b.Process, b.Watched, b.Conn = s.id, s.addr, s.process, s.watched, p.conn
	b.Run, b.Seq, b.Interval, b.Margin = fmt.Sprintf("%s.%d", s.life, p.to.number+1), p.seq, s.interval, s.margin()
	if s.dated {
		b.SentMS = began.Add(s.w.now).UnixMilli()
	}
	life := p.life
	p.carry(func() {
		if p.to.life != life || !p.to.up {
			return
		}
		fate := p.to.observe(&b)
		s.w.oracle.heard(p.to, s, &b, fate)
	})
}

// carry lets something arrive over p.
func (p *path) carry(do func()) {
	w := p.s.w
	switch p.state {
	case lineCut:
		return
	case lineHeld:
		p.waiting = append(p.waiting, do)
		return
	case lineOpen:
	}
	epoch, life := p.epoch, p.to.life
	p.last = max(p.last, w.now+w.between(time.Millisecond, p.slow))
	w.at(p.last, func() {
		switch {
		case epoch != p.epoch || life != p.to.life:
		case p.state == lineHeld:
			p.waiting = append(p.waiting, do)
		case p.state == lineOpen:
			p.to.arrive(do)
		}
	})
}

// breakFor breaks p for a while.
func (p *path) breakFor(d time.Duration, state lineState) {
	w := p.s.w
	if p.state != lineOpen {
		return
	}
	w.tracef("path %s > %s: %s for %v", p.s.id, p.to.name, state, d)
	p.state = state
	w.after(d, func() { p.heal() })
}

func (p *path) heal() {
	w := p.s.w
	if p.state == lineOpen {
		return
	}
	w.tracef("path %s > %s: open", p.s.id, p.to.name)
	p.s.broken = w.now
	was := p.state
	p.state = lineOpen
	for _, do := range p.waiting {
		p.carry(do)
	}
	p.waiting = nil
	if was == lineCut && w.oneIn(2) && p.s.state == beats { // it had given up the connection, and dials anew
		p.hangUp([]liveness.End{liveness.Reset, liveness.GivenUp, liveness.EndedByUs}[w.rnd.IntN(3)])
	}
}

// hangUp ends the connection of p, which the sender replaces with its next beat.
func (p *path) hangUp(end liveness.End) {
	conn, life := p.conn, p.life
	p.carry(func() {
		if p.to.life == life && p.to.up {
			p.s.w.tracef("%s sees the connection of %s end: %d", p.to.name, p.s.id, end)
			p.s.w.oracle.ended(p.to, p.s, end)
			p.to.connEnded(conn, end, p.s)
		}
	})
	p.connect()
}

// kill ends the process of s. Its kernel closes its connections, if it lives on.
func (s *sender) kill(host bool) {
	if s.state != beats && s.state != hangs {
		return
	}
	s.set(killed)
	if s.fins = !host; host {
		return
	}
	for _, p := range s.paths {
		p.hangUp(liveness.Closed)
	}
}

// say ends s with a last word over the paths given.
func (s *sender) say(b liveness.Beat, paths []*path) {
	if s.state != beats {
		return
	}
	state := said
	if b.BackIn > 0 {
		state, s.promise = back, s.w.now
	}
	s.w.tracef("%s says status %d, back in %v, over %d paths", s.id, b.Status, b.BackIn, len(paths))
	s.set(state)
	for _, p := range s.paths {
		for _, chosen := range paths {
			if p == chosen {
				p.beat(b)
			}
		}
		p.hangUp(liveness.Closed)
	}
	s.fins = true
}

// hang lets s say nothing for a while.
func (s *sender) hang(d time.Duration) {
	if s.state != beats {
		return
	}
	s.set(hangs)
	lives := s.lives
	s.w.after(d, func() {
		if s.lives == lives && s.state == hangs {
			s.set(beats)
		}
	})
}
