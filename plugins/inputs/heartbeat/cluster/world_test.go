package cluster

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// A world is some collectors, the network between them, and senders that beat to them, in
// virtual time. It is one goroutine that takes one event after another, so that a seed
// tells all that happens in it.
type world struct {
	now    time.Duration // since it began
	rnd    *rand.Rand
	plan   plan
	agenda agenda
	count  uint64 // of events put on the agenda

	collectors []*collector
	lines      [][]*line // from, to; nil for oneself
	senders    []*sender
	conns      uint64
	processes  uint32

	oracle *oracle
	trace  []string
	traced bool
}

// An event is something that happens at a time.
type event struct {
	at    time.Duration
	count uint64
	do    func()
}

type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].count < a[j].count
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(e any)   { *a = append(*a, e.(event)) }
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	(*a)[last] = event{}
	*a = (*a)[:last]
	return e
}

// after has something done after a while.
func (w *world) after(d time.Duration, do func()) { w.at(w.now+max(d, 0), do) }

func (w *world) at(at time.Duration, do func()) {
	w.count++
	heap.Push(&w.agenda, event{at, w.count, do})
}

// pass lets all happen until a time.
func (w *world) pass(until time.Duration) {
	for len(w.agenda) > 0 && w.agenda[0].at <= until && w.oracle.wrong == "" {
		e := heap.Pop(&w.agenda).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

// between draws a duration.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rnd.Int64N(int64(most-least)+1))
}

// oneOf reports true once in n times.
func (w *world) oneIn(n int) bool { return w.rnd.IntN(n) == 0 }

// tracef notes what happens, for the one who reads of a failure.
func (w *world) tracef(format string, args ...any) {
	if w.traced {
		w.trace = append(w.trace, fmt.Sprintf("%8.3f  ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// began is what the wall clocks show when a world begins, and monoBegan what the
// monotonic one does.
var (
	began     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	began1885 = uint64(began.Sub(time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC)) / time.Second)
	reading   = time.Now()
)

const monoBegan = time.Hour

// instant returns a reading of both clocks of a machine: of the one that only goes on, and
// of the one that may be set. No exported function makes such a time; the test beside it
// checks that it is what it should be.
func instant(mono, wall time.Duration) time.Time {
	t := reading
	parts := (*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(&t)) //nolint:gosec // G103: a test needs what no function offers
	seconds, rest := wall/time.Second, wall%time.Second
	if rest < 0 {
		seconds, rest = seconds-1, rest+time.Second
	}
	parts.wall = 1<<63 | (began1885+uint64(seconds))<<30 | uint64(rest)
	parts.ext = int64(monoBegan + mono)
	return t
}

// A line carries messages from one collector to another, in order.
type line struct {
	w         *world
	from, to  *collector
	state     lineState
	lossy     bool
	openSince time.Duration
	slow      time.Duration // the most that a message is underway
	waiting   [][]byte
	joined    [2]int        // the lives of both ends in which there was a connection
	last      time.Duration // when the last one arrives
	informed  time.Duration // when the latest message was sent that has arrived
	epoch     int           // grows when what is underway is lost
}

type lineState int

const (
	lineOpen lineState = iota
	lineCut            // what is sent is lost
	lineHeld           // what is sent arrives when the line is open again
)

func (s lineState) String() string { return [...]string{"open", "cut", "held"}[s] }

func (l *line) send(message []byte) {
	if l.w.traced {
		h, body, err := verifyMessage([]byte("secret"), message)
		theirs := h.to == 0 || l.to.circle != nil && h.to == l.to.circle.start
		if err == nil && h.kind != kindPresence && theirs {
			l.w.tracef("    %s > %s: %s", l.from.name, l.to.name, l.w.inWords(h.kind, body))
		}
	}
	back := l.w.lines[l.to.number][l.from.number]
	lives := [2]int{l.from.life, l.to.life}
	if l.state == lineOpen && back.state == lineOpen {
		l.joined = lives
	}
	switch {
	case l.state == lineCut, l.lossy && l.w.oneIn(20), l.joined != lives:
	case l.state == lineHeld:
		l.waiting = append(l.waiting, message)
	default:
		l.carry(message)
	}
}

func (l *line) carry(message []byte) {
	w, sent, epoch, life := l.w, l.w.now, l.epoch, l.to.life
	l.last = max(l.last, w.now+w.between(time.Millisecond, l.slow))
	w.at(l.last, func() {
		if epoch != l.epoch || life != l.to.life || l.state != lineOpen && w.now > l.openSince {
			if epoch == l.epoch && life == l.to.life && l.state == lineHeld {
				l.waiting = append(l.waiting, message)
			}
			return
		}
		if l.to.reads {
			return
		}
		l.to.arrive(func() {
			l.informed = max(l.informed, sent)
			l.to.receive(message)
		})
	})
}

// set changes the state of a line.
func (l *line) set(state lineState) {
	if l.state == state {
		return
	}
	l.w.tracef("line %s > %s: %s", l.from.name, l.to.name, state)
	l.state = state
	l.w.oracle.disturb()
	if state != lineOpen {
		l.openSince = l.w.now // it was until now
		return
	}
	l.openSince = l.w.now
	waiting := l.waiting
	l.waiting = nil
	for _, message := range waiting {
		l.carry(message)
	}
}

// drop loses what is underway or waits.
func (l *line) drop() {
	l.waiting = nil
	l.epoch++
}

func (l *line) open() bool { return l.state == lineOpen && !l.lossy }

// lossy reports whether a line between two collectors loses messages.
func (w *world) lossy() bool {
	for _, from := range w.lines {
		if slices.ContainsFunc(from, func(l *line) bool { return l != nil && l.lossy }) {
			return true
		}
	}
	return false
}

// linked returns since when two collectors could talk to each other without trouble, or
// false if they cannot.
func (w *world) linked(a, b *collector) (since time.Duration, yes bool) {
	if !a.listens() || !b.listens() {
		return 0, false
	}
	since = max(a.steady, b.steady)
	if a == b {
		return since, true
	}
	there, back := w.lines[a.number][b.number], w.lines[b.number][a.number]
	if !there.open() || !back.open() {
		return 0, false
	}
	return max(since, there.openSince, back.openSince), true
}

// joined reports whether two collectors can talk, be it through a third one.
func (w *world) joined(a, b *collector) bool {
	_, yes := w.linked(a, b)
	for _, c := range w.collectors {
		_, there := w.linked(a, c)
		_, back := w.linked(c, b)
		yes = yes || there && back
	}
	return yes
}

// hears reports whether a has received something of late that b has sent.
func (w *world) hears(a, b *collector) bool {
	return a == b || w.now-w.lines[b.number][a.number].informed < presenceValid+presencePause
}

// settled reports whether two collectors could talk for so long.
func (w *world) settled(a, b *collector, d time.Duration) bool {
	since, yes := w.linked(a, b)
	return yes && w.now-since >= d
}

// inWords returns what a message says.
func (w *world) inWords(k kind, body []byte) string {
	r := &reader{rest: body}
	name := func(hash uint64) string {
		for _, s := range w.senders {
			if s.id.Hash() == hash {
				return s.id.String()
			}
		}
		return "?"
	}
	words := func() string {
		all := make([]string, 0, 8)
		for _, word := range r.words() {
			all = append(all, fmt.Sprintf("%s %s %s heard %t age %v suspect %v dead %v window %v deaths %d process %x events %x connected %t", name(word.ID),
				word.State, word.Reason, word.Heard, word.Age, word.Suspect, word.Dead, word.Window, word.Deaths, word.Process, word.Events, word.Connected))
		}
		return " " + strings.Join(all, "; ")
	}
	names := func() string {
		all := make([]string, 0, 8)
		for _, hash := range r.hashes() {
			all = append(all, name(hash))
		}
		return " " + strings.Join(all, " ")
	}
	switch k {
	case kindQuestion:
		return fmt.Sprint("question ", r.uint32(), names())
	case kindAnswer:
		return fmt.Sprint("answer ", r.uint32(), words())
	case kindWords:
		return "words" + words()
	case kindWant:
		return "want" + names()
	case kindReported:
		all := make([]string, 0, 8)
		for _, t := range r.reported() {
			all = append(all, fmt.Sprintf("%d (%v ago)", t.EventID%100000, t.Ago))
		}
		return "told " + strings.Join(all, ", ")
	case kindBye:
		return "bye"
	}
	return string(body)
}
