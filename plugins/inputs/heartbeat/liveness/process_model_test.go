package liveness

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A drama is a peer whose processes begin, beat, lose connections and end in random order.
// These rules must be true of them:
//
//   - While a process is alive that has beaten within its own allowed silence, the peer has
//     not ended, even if other processes end.
//   - When all processes have ended or have been silent for too long, the peer has ended.
//   - A failure that a beat reports is reported and counted once, with its exit code.
//   - The peer has left if the last end was a goodbye; otherwise it is dead.
//   - The peer is dead when its window ends and it is not back.
//   - After a clean restart or a crash of the collector the same rules apply: a living process
//     has one interval more to beat, or two after a crash.
type drama struct {
	*rig
	rnd      *rand.Rand
	id       ID
	actors   []*player
	pid      uint32
	conns    ConnID
	deaths   uint64
	promised time.Duration // with the latest goodbye
	window   time.Duration // end of its promised window, on the verdict clock; 0 for none
	journal  *scribe
	begun    int // serial number of the latest report when the latest process began
	log      []string
}

// A player is one process and its sender.
type player struct {
	beat    Beat
	paths   []way // empty if its beats are datagrams
	next    time.Duration
	heardV  time.Duration
	allowed time.Duration // silence
	bonus   time.Duration // how much longer its silence may be, because the collector was restarted
	spoke   int           // serial number of its last beat
	lostV   time.Duration // when its end was observed; 0 if it was not
	cut     bool          // it is alive, but its beats no longer arrive
	ended   bool
}

type way struct {
	conn ConnID
	seq  int64
	from time.Duration // first beat over conn
	long bool
}

const serviceName = "job"

func newDrama(t *testing.T, seed uint64) *drama {
	p := &drama{rnd: rand.New(rand.NewPCG(seed, 15)), id: ID{Source: "h", Service: serviceName}, journal: &scribe{make(map[ID]*noted)}}
	p.rig = newRig(t, func(o *Options) { o.IsolationPercent, o.MaxBeatsPerSecond = 0, 0 })
	p.fixed = true
	p.checked = true
	return p
}

// at returns the time of the drama, since the epoch.
func (p *drama) at() time.Duration { return p.now.Sub(epoch) }

func (p *drama) failf(format string, args ...any) {
	p.t.Helper()
	for _, line := range p.log[max(0, len(p.log)-40):] {
		p.t.Log(line)
	}
	p.t.Fatalf("%v: %s", p.at(), fmt.Sprintf(format, args...))
}

func (p *drama) notef(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf("%v ", p.at())+fmt.Sprintf(format, args...))
}

// begin makes another process beat: for itself or through a watcher, over connections or in
// datagrams, with its own interval.
func (p *drama) begin() {
	p.pid++
	every := time.Duration(1+p.rnd.IntN(8)) * time.Second
	a := &player{next: p.at(), beat: Beat{
		ID: p.id, Interval: every, Run: fmt.Sprint("L", p.pid), Watched: p.rnd.IntN(2) == 0,
		Process: Process{Boot: "b", PID: p.pid, Start: time.Duration(p.pid) * time.Minute},
	}}
	for range p.rnd.IntN(3) {
		p.conns++
		a.paths = append(a.paths, way{conn: p.conns, from: p.at()})
	}
	p.actors = append(p.actors, a)
	p.window = 0 // the peer is back
	p.begun = len(p.log)
	p.notef("%d begins, every %v, watched %v, paths %v", p.pid, every, a.beat.Watched, a.paths)
	p.speak(a)
}

// speak makes a send a beat over all its paths.
func (p *drama) speak(a *player) {
	a.next = p.at() + a.beat.Interval
	if a.cut {
		return
	}
	for i := range max(1, len(a.paths)) {
		p.say(a, i, SaysAlive)
	}
}

func (p *drama) say(a *player, way int, status Status) []Transition {
	b := a.beat
	b.Status, b.Run = status, fmt.Sprintf("%s.%d", b.Run, way)
	if len(a.paths) > 0 {
		one := &a.paths[way]
		one.seq++
		one.from = min(one.from, p.at())
		one.long = one.long || p.at()-one.from >= longConn
		b.Conn, b.Seq = one.conn, one.seq
	}
	b.HasExitCode, b.ExitCode = status != SaysAlive, int64(status-SaysLeaving)*int64(b.Process.PID)
	if status == SaysLeaving {
		b.BackIn = time.Duration(p.rnd.IntN(3)) * 5 * time.Second
	}
	p.promised = b.BackIn
	out := p.observe(b)
	if out.Fate != Accepted {
		p.failf("a beat of %d is %d", b.Process.PID, out.Fate)
	}
	a.spoke, a.lostV, a.bonus = len(p.log), 0, 0
	p.notef("%d says %d over %d", b.Process.PID, status, b.Conn)
	a.heardV, a.allowed = p.tracker.verdict(p.now), out.Silence.Dead
	return out.Transitions
}

// flap ends one connection of a, which reconnects at its next beat.
func (p *drama) flap(a *player) {
	if len(a.paths) == 0 {
		return
	}
	one := &a.paths[p.rnd.IntN(len(a.paths))]
	p.notef("connection %d of %d flaps", one.conn, a.beat.Process.PID)
	p.rig.ended(one.conn, End(p.rnd.IntN(4)))
	p.conns++
	*one = way{conn: p.conns, seq: one.seq, from: p.at()}
	p.speak(a)
}

// fail ends a without a report: the connections of a are closed.
func (p *drama) fail(a *player) {
	a.ended = true
	p.notef("%d is killed", a.beat.Process.PID)
	for _, way := range a.paths {
		p.rig.ended(way.conn, Closed)
	}
	if slices.ContainsFunc(a.paths, func(one way) bool { return one.long }) && !a.beat.Watched {
		a.lostV = p.tracker.verdict(p.now)
	}
}

// report ends a with a report that it failed or finished.
func (p *drama) report(a *player, status Status) {
	others := p.living(a)
	v, _ := viewOf(p.tracker, p.id, p.now)
	over, deaths := v.State.over(), v.Deaths
	told := p.say(a, 0, status)
	a.ended, a.allowed = true, 0
	pid, code := a.beat.Process.PID, int64(status-SaysLeaving)*int64(a.beat.Process.PID)
	for _, way := range a.paths {
		p.rig.ended(way.conn, Closed)
	}
	v, _ = viewOf(p.tracker, p.id, p.now)
	switch {
	case len(others) > 0:
		i := slices.IndexFunc(told, func(tr Transition) bool { return tr.Event == Ended })
		if i < 0 || told[i].Ending.PID != pid || told[i].Ending.ExitCode != code {
			p.failf("the end of %d beside %d is told as %+v", pid, others[0].beat.Process.PID, told)
		}
	case v.State != map[Status]State{SaysDead: Dead, SaysLeaving: Left}[status]:
		if !p.uncertain(a) && !p.announced() {
			p.failf("after the end of %d, the last, it is %v %v", pid, v.State, v.Reason)
		}
	case v.ExitCode != code:
		p.failf("the exit code of the last is %d", v.ExitCode)
	case status == SaysLeaving && p.promised > 0:
		p.window = max(p.window, p.tracker.verdict(p.now)+p.promised)
	}
	if status == SaysDead && v.Deaths != deaths+1 && !over && !p.announced() {
		p.failf("deaths were %d and are %d", deaths, v.Deaths)
	}
}

// announced reports whether an end is not a death now, because the peer has promised to be
// back.
func (p *drama) announced() bool { return p.window > p.tracker.verdict(p.now) }

// retire sends a goodbye for the peer by hand, while any of its processes may be alive.
func (p *drama) retire() {
	p.notef("somebody says goodbye")
	p.observe(Beat{ID: p.id, Status: SaysLeaving, Run: fmt.Sprint("hand", p.at())})
	v, known := viewOf(p.tracker, p.id, p.now)
	if known && v.State != Left {
		p.failf("it was retired, and is %v %v", v.State, v.Reason)
	}
	for _, a := range p.actors {
		a.allowed, a.bonus = 0, 0
		for i := range a.paths { // if the process continues, its next beat counts as its first
			a.paths[i].from, a.paths[i].long = never, false
		}
	}
}

// restart makes another collector continue from the records of this one or, after a crash,
// from its journal.
func (p *drama) restart() {
	crash := p.rnd.IntN(2) == 0
	before, saved := p.tracker, p.now
	listened := before.verdict(saved)
	down := time.Duration(p.rnd.IntN(20)) * TickInterval
	p.notef("the collector is restarted, crash %v", crash)
	records := make([]Record, before.Len())
	for i := range records {
		records[i] = before.Record(i, saved)
		if crash {
			was := p.journal.last[records[i].ID]
			records[i] = was.record.After(listened-was.at, 0)
		}
	}
	p.replace(records, down)
	clear(p.journal.last)
	for i := range p.tracker.Len() {
		r := p.tracker.RunningRecord(i, p.now)
		p.journal.last[r.ID] = &noted{r, p.tracker.Listened(p.now)}
	}
	if p.window > 0 {
		p.window = max(p.window-listened, 1)
	}
	for _, a := range p.actors {
		a.heardV -= listened
		a.bonus += 2 * a.beat.Interval
		if a.lostV != 0 {
			a.lostV -= listened
		}
		for i := range a.paths {
			p.conns++
			a.paths[i] = way{conn: p.conns, seq: a.paths[i].seq, from: p.at()}
		}
	}
}

// living returns the other processes that are known to be alive: they have beaten after the
// latest process began, have a connection, or are watched.
func (p *drama) living(but *player) []*player {
	verdict := p.tracker.verdict(p.now)
	var all []*player
	for _, a := range p.actors {
		known := a.spoke >= p.begun || len(a.paths) > 0 && a.bonus == 0 || a.beat.Watched
		if a != but && !a.ended && verdict < a.heardV+a.allowed && known {
			all = append(all, a)
		}
	}
	return all
}

// uncertain reports whether another process may still count as alive, because it was killed
// and its allowed silence is not over.
func (p *drama) uncertain(but *player) bool {
	verdict := p.tracker.verdict(p.now) - 3*TickInterval
	return slices.ContainsFunc(p.actors, func(a *player) bool { return a != but && p.deadline(a) > verdict })
}

// deadline returns when a is reported dead at the latest if it sends nothing more.
func (p *drama) deadline(a *player) time.Duration {
	if a.lostV != 0 {
		return min(a.heardV+a.allowed, a.lostV+p.tracker.opts.Grace) + a.bonus
	}
	return a.heardV + a.allowed + a.bonus
}

// check compares the reports of the tracker with the truth.
func (p *drama) check() {
	v, known := viewOf(p.tracker, p.id, p.now)
	if !known {
		return
	}
	p.deaths = v.Deaths
	if living := p.living(nil); len(living) > 0 && v.State.over() {
		p.failf("%d lives, but it is %v %v", living[0].beat.Process.PID, v.State, v.Reason)
	}
	latest := time.Duration(0)
	for _, a := range p.actors {
		latest = max(latest, p.deadline(a))
	}
	if p.tracker.tickV > latest+3*TickInterval && !v.State.over() {
		p.failf("no process lives, but it is %v %v", v.State, v.Reason)
	}
	if v.State == Left && p.window > 0 && p.tracker.tickV > p.window+3*TickInterval {
		p.failf("it has promised to be back, and is %v", v.Reason)
	}
	if v.State == Dead || p.window <= p.tracker.tickV {
		p.window = 0
	}
	if v.State.over() {
		p.actors = slices.DeleteFunc(p.actors, func(a *player) bool { return a.ended && p.tracker.tickV > p.deadline(a) })
	}
}

func (p *drama) step() {
	p.now = p.now.Add(TickInterval)
	p.tick()
	for _, a := range p.actors {
		if !a.ended && p.at() >= a.next {
			p.speak(a)
		}
	}
	p.act()
	p.check()
	p.journal.write(p.tracker, p.now)
}

// act sometimes makes a random event happen.
func (p *drama) act() {
	running := slices.DeleteFunc(slices.Clone(p.actors), func(a *player) bool { return a.ended })
	switch p.rnd.IntN(4000) {
	case 0:
		p.restart()
		return
	case 1:
		p.retire()
		return
	}
	draw := p.rnd.IntN(400)
	if draw == 0 && len(running) < 3 || len(running) == 0 && draw < 3 {
		p.begin()
		return
	}
	if draw > 8 || len(running) == 0 {
		return
	}
	a := running[p.rnd.IntN(len(running))]
	switch draw {
	case 1, 2, 3:
		p.flap(a)
	case 4:
		p.fail(a)
	case 5, 6:
		if !a.cut {
			p.report(a, SaysDead)
		}
	case 7:
		if !a.cut {
			p.report(a, SaysLeaving)
		}
	case 8:
		p.notef("%d is cut off", a.beat.Process.PID)
		a.cut, a.ended = true, true
	}
}

// TestNoProcessSpeaksForAnother plays a million steps.
func TestNoProcessSpeaksForAnother(t *testing.T) {
	t.Parallel()
	const plays, steps = 200, 5000
	for part := range uint64(10) {
		t.Run(strconv.FormatUint(part, 10), func(t *testing.T) {
			t.Parallel()
			deaths := uint64(0)
			for seed := part * plays / 10; seed < (part+1)*plays/10; seed++ {
				p := newDrama(t, seed)
				for range steps {
					p.step()
				}
				deaths += p.deaths
			}
			require.Greater(t, deaths, uint64(plays), "some do die")
		})
	}
}
