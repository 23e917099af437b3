// This file processes ticks. A tick applies the changes that time alone causes: silent peers
// become suspect and then dead, promises end, and ended peers are forgotten. A tick checks
// only the peers whose wake time has come. So a change of a deadline must also set the wake
// time (rewake).

package liveness

import (
	"net/netip"
	"slices"
	"time"
)

// Tick advances the verdict clock and returns what the passing of time has changed. A peer is
// declared dead at the second tick in a row that finds it past its deadline. Between the two
// ticks, the caller processes the beats that had already arrived at the first.
func (t *Tracker) Tick(now time.Time) []Transition {
	t.out = t.out[:0]
	t.work(everything) // finish the previous tick
	t.beginTick(now)
	t.work(everything)
	return t.out
}

// TickPart is Tick in parts, so that other methods can be called in between. It checks n peers
// and reports whether more are left. If so, call it again with the same now.
func (t *Tracker) TickPart(now time.Time, n int) (transitions []Transition, more bool) {
	t.out = t.out[:0]
	if !t.ticking() {
		t.beginTick(now)
	}
	more = t.work(n)
	return t.out, more
}

// A portion is part of the work of a tick that can be interrupted and continued. It does at
// most n units of work, each of which takes about as long as checking one peer, and returns how
// many units it did. Fewer than n means that the work is finished.
type portion func(n int) int

const (
	// everything is more units than any work needs.
	everything = 1 << 27
	// perUnit is how many hosts can be compared, or peers skipped, in one unit.
	perUnit = 8
	// A change that affects at most atOnce peers is applied to them at once. If it affects
	// more, the tick does the work, in portions.
	atOnce = 1000
)

// each returns a portion that visits the elements of a list, inUnit of them per unit of work.
// Elements removed meanwhile are visited too; elements added are not.
func each[T any](all []T, inUnit int, visit func(T)) portion {
	next := 0
	return func(n int) int {
		some := all[next:min(next+n*inUnit, len(all))]
		for _, x := range some {
			visit(x)
		}
		next += len(some)
		return len(some) / inUnit
	}
}

// phases are the steps of a tick, in order. A phase is short itself, and schedules longer work
// with next.
var phases = [...]func(t *Tracker, now time.Time){
	(*Tracker).forgetEnds,
	(*Tracker).reportDelayed,
	(*Tracker).checkOrphans,
	(*Tracker).finishChores,
	(*Tracker).updateIsolation,
	(*Tracker).checkDue,
}

// work does n units of the remaining work of a tick, and reports whether more remains.
func (t *Tracker) work(n int) (more bool) {
	for left := n; t.ticking(); {
		switch {
		case len(t.steps) == 0:
			t.phase++
			phases[t.phase-1](t, t.tickNow)
		case left == 0:
			return true
		default:
			work := t.steps[0]
			t.steps = t.steps[1:]
			took := work(left)
			if took == left {
				t.next(work)
			}
			left -= took
		}
	}
	return false
}

// ticking reports whether a tick is unfinished.
func (t *Tracker) ticking() bool { return len(t.steps) > 0 || t.phase < len(phases) }

// next schedules portions to run right after the current one, which must be a phase or a
// portion made by once.
func (t *Tracker) next(steps ...portion) { t.steps = slices.Insert(t.steps, 0, steps...) }

// once returns a portion that calls do, which must be short.
func once(do func()) portion {
	return func(int) int {
		do()
		return 0
	}
}

// sequence returns a portion that does other portions one after another. It creates each
// portion just before that portion begins.
func sequence(steps ...func() portion) portion {
	var work portion
	return func(n int) int {
		left := n
		for left > 0 && (work != nil || len(steps) > 0) {
			if work == nil {
				work, steps = steps[0](), steps[1:]
			}
			took := work(left)
			if took < left {
				work = nil
			}
			left -= took
		}
		return n - left
	}
}

// A chore is work on the services of a host, to be done by a later tick.
type chore struct {
	host *host
	kind choreKind
}

type choreKind uint8

const (
	updating    choreKind = iota // they follow their host
	retiring                     // they follow their host, and the goodbye of the dead host applies to them too
	waking                       // they are checked, because the host has beaten
	closing                      // their windows end, because the host will not come back
	withdrawing                  // their promises are withdrawn together with the promise of the host
)

// withServices visits the services of a host, whose own peer is own: at once if they are few,
// otherwise in the current tick or the next. Chores of one kind are merged into one, even if
// the host has changed meanwhile. A service that has beaten since then is left out.
func (t *Tracker) withServices(own *peer, kind choreKind, now time.Time, visit func(*peer, time.Time)) {
	if len(own.host.peers) <= atOnce {
		for _, p := range own.host.peers {
			if p != own {
				visit(p, now)
			}
		}
		return
	}
	what := chore{own.host, kind}
	_, known := t.left[what]
	if t.left[what] = now.Sub(t.epoch); known {
		return
	}
	var walk portion
	t.chores = append(t.chores, func(n int) int {
		if walk == nil {
			walk = each(slices.Clone(own.host.peers), 1, func(p *peer) {
				follows := kind != updating && kind != retiring || p.lastHeard() <= t.left[what]
				if p != own && p.index >= 0 && follows {
					visit(p, t.tickNow)
				}
			})
		}
		took := walk(n)
		if took < n {
			delete(t.left, what)
		}
		return took
	})
}

// finishChores schedules the chores for this tick.
func (t *Tracker) finishChores(time.Time) {
	if len(t.chores) > 0 {
		t.next(t.doChores)
	}
}

// doChores is the portion that does the chores.
func (t *Tracker) doChores(n int) int {
	left := n
	for left > 0 && len(t.chores) > 0 {
		took := t.chores[0](left)
		if took < left {
			t.chores = t.chores[1:]
		}
		left -= took
	}
	return n - left
}

func (t *Tracker) beginTick(now time.Time) {
	at, before, wall := now.Sub(t.epoch), t.tick, time.Unix(0, t.tickWall)
	step := max(at-t.tick, 0)
	lost := t.notListened(now)
	if lost > 0 {
		t.teachFrom = max(t.teachFrom, at+min(lost, afterStall))
		t.stall, t.stallEnd = lost, at
	}
	t.stalled += max(step-maxTick, 0)
	t.tickV += min(step, maxTick)
	t.tick, t.tickWall = at, now.UnixNano()
	t.ticks++
	t.tickNow, t.phase = now, 0
	if lost > aroundAway {
		t.next(each(slices.Clone(t.order), 1, func(p *peer) { t.missStalled(p, wall, now, before) }))
	} else if wall.Sub(now) > aroundAway {
		t.next(each(slices.Clone(t.order), 1, func(p *peer) { t.setBack(p, now) }))
	}
}

// notListened returns how long the collector has not listened since the last tick. The result
// is not positive if it has listened. It uses the wall clock too, because on Linux the
// monotonic clock stops while the machine is suspended.
func (t *Tracker) notListened(now time.Time) time.Duration {
	return max(now.Sub(t.epoch)-t.tick, time.Duration(now.UnixNano()-t.tickWall)) - maxTick
}

// An unreportedEnding is an ending to be reported at the next tick. A peer has at most one for
// each of its remembered processes, so that no peer floods the outputs.
type unreportedEnding struct {
	peer   *peer
	ending Ending
}

// reportDelayed reports the changes of peers that send too much. It runs only once a tick, so
// that no such peer floods the outputs.
func (t *Tracker) reportDelayed(now time.Time) {
	if len(t.endings)+len(t.unreported) == 0 {
		return
	}
	endings, untold := t.endings, t.unreported
	t.endings, t.unreported = nil, nil
	t.next(
		each(endings, 1, func(e unreportedEnding) {
			e.peer.editPast().unreportedEnds = 0
			if e.peer.index >= 0 {
				t.emit(e.peer, Transition{Event: Ended, Previous: e.peer.state, Ending: e.ending}, now)
			}
		}),
		each(untold, 1, func(p *peer) {
			p.unreported = false
			t.announce(p, p.stateReportedSince(), now)
		}),
	)
}

// checkDue checks every peer that is due to be checked, hosts before the services that may
// follow them. Most ticks come before the earliest wake time and scan no peers.
func (t *Tracker) checkDue(now time.Time) {
	if t.tickV < t.earliest {
		return
	}
	t.findDue()
	look := func(hosts bool) portion {
		return each(t.due, 1, func(p *peer) {
			if p.index >= 0 && (p.host.own == p) == hosts {
				t.judgePeer(p, now)
			}
		})
	}
	t.next(look(true), t.doChores, look(false), once(func() { t.due = nil }))
}

// findDue finds every peer that is due to be checked.
func (t *Tracker) findDue() {
	count := 0
	for _, wake := range t.wake {
		if wake <= t.tickV {
			count++
		}
	}
	t.earliest, t.due = never, slices.Grow(t.due, count) // growing step by step to a million is slow
	for i := len(t.order) - 1; i >= 0; i-- {
		if t.wake[i] <= t.tickV {
			t.due = append(t.due, t.order[i])
		} else {
			t.earliest = min(t.earliest, t.wake[i])
		}
	}
}

// judgePeer applies to p the changes that time alone causes.
func (t *Tracker) judgePeer(p *peer, now time.Time) {
	switch {
	case p.state == Left && p.windowV > 0:
		t.judgePromise(p, now)
	case t.tickV >= p.forgetV(&t.opts):
		if t.forget(p, now) {
			return
		}
	case !p.state.over() && p.waits():
		t.wakeWithHost(p)
		return
	default:
		t.judgeFormers(p, now)
		t.judgeSilence(p, now)
	}
	t.rewake(p)
}

// judgePromise handles a peer that has ended: it checks whether p is back as it promised.
func (t *Tracker) judgePromise(p *peer, now time.Time) {
	if p.due != nil && p.terms.Schedule == nil { // it had a schedule when it finished
		p.closeWindow()
		return
	}
	if p.waitsForSchedule() { // its schedule follows the wall clock
		if left := p.terms.until(p.due.At, t.wall(t.tickV)).Dead; left > 0 {
			p.setWindow(t.tickV+left, p.windowBy)
		}
	}
	p.setWindow(p.promiseV(), p.windowBy)
	if t.tickV < p.windowV {
		return // its host has extended the window
	}
	if p.foreign() {
		t.awaitWord(p, now)
		return
	}
	confirmed := t.confirmedDead(p, p.windowV)
	if !t.secondTick(p) || t.postpone(p) || !confirmed {
		return
	}
	dropped := p.dropped()
	p.closeWindow()
	switch {
	case dropped, p.terms.Ephemeral:
	case p.terms.Hours != nil && t.restartOffHours(p, now):
		t.become(p, Unknown, ReasonOffHours, now)
	default:
		t.become(p, Dead, ReasonOverdue, now)
	}
}

// Within this many intervals, a sender names every service that it watches. If the host has
// beaten for that long and its sender has not named a service, that service is no longer
// watched.
const rounds = 3

// dropped reports whether p, which is not back, is no longer watched: the next run of its
// sender has beaten for the host for long enough without naming p.
func (p *peer) dropped() bool {
	s, ok := p.successor()
	return ok && s.heardV-s.sinceV >= rounds*p.host.own.span()
}

// postpone postpones the end of the window of p, once, while it is uncertain whether p is still
// watched. The delay is at most the time that was promised.
func (t *Tracker) postpone(p *peer) bool {
	s, ok := p.successor()
	own := p.host.own
	if !ok || p.postponed || p.dropped() || own.state != Alive {
		return false
	}
	until := min(s.sinceV+(rounds+1)*own.span(), 2*p.windowV-p.heardV)
	if until <= t.tickV {
		return false
	}
	past := p.editPast()
	past.postponed, past.windowV, p.changed = true, until, true
	return true
}

// successor returns the run of a sender that now beats for the host of p, if an earlier run
// made the promise of p and beat for the host too.
func (p *peer) successor() (speaker, bool) {
	own := p.host.own
	if own == nil || own == p || p.windowBy == "" || !p.shared {
		return speaker{}, false
	}
	for _, s := range p.host.speakers {
		if s.life != "" && s.life != p.windowBy && s.sinceV > p.heardV {
			return s, true
		}
	}
	return speaker{}, false
}

// promiseV returns the verdict time at which the maintenance window of p ends: its own or its
// host's, whichever is later.
func (p *peer) promiseV() time.Duration {
	window := p.windowV
	if own := p.host.own; own != nil {
		window = max(window, own.windowV)
	}
	return window
}

// forget removes p, unless the operator expects it.
func (t *Tracker) forget(p *peer, now time.Time) bool {
	if t.lastExpected(p) {
		p.editPast().sinceV = t.tickV // check again after the same time
		return false
	}
	t.become(p, Unknown, ReasonForgotten, now)
	t.remove(p)
	return true
}

// judgeFormers reports the end of each process of p that has been silent for too long, if
// another process is alive.
func (t *Tracker) judgeFormers(p *peer, now time.Time) {
	if e := p.elsewhere; e != nil && (e.foreign || t.tickV < e.deadlineV()) {
		return // mates receive beats of at least one process, but this collector does not know which
	}
	if p.state.over() || t.holdsBack(p) || t.tickV < p.nextEndV() || t.tickV >= p.deadlineV() {
		return
	}
	if p.terms.Hours != nil && t.delayEnds(p, now) {
		return
	}
	for _, o := range p.formers {
		if o.lives() && t.tickV >= o.deadV+TickInterval {
			if o.beatsOn { // a process that has not beaten since was replaced
				t.reportEnding(p, &o.process, o.evidence, nil, now)
			}
			t.endFormer(p, o, o.evidence)
			p.changed = true
		}
	}
	if t.tickV >= p.deadV+TickInterval {
		t.inquire(p, t.tickV)
		t.reportEnding(p, &p.process, p.evidence, nil, now)
		t.promote(p, p.evidence)
	}
}

// delayEnds reports whether p is not expected at this hour. If so, the processes that have
// been silent for too long are checked again when p is expected.
func (t *Tracker) delayEnds(p *peer, now time.Time) bool {
	span := p.terms.Hours.At(now)
	for o := range p.processes {
		if !span.Within && t.tickV >= o.deadV {
			o.deadV = t.tickV + span.Until.Sub(now)
		}
	}
	return !span.Within
}

// nextEndV returns one tick after the earliest deadline of the living processes of p, if there
// are several.
func (p *peer) nextEndV() time.Duration {
	next := never
	for o := range p.living {
		next = min(next, o.deadV, p.deadV)
	}
	if next == never {
		return never
	}
	return next + TickInterval
}

// judgeSilence judges p, which is expected to beat, by its silence.
func (t *Tracker) judgeSilence(p *peer, now time.Time) {
	if p.foreign() || t.judgeJobs(p, now) {
		return
	}
	if t.followWallClock(p); t.noteOffHours(p, t.tickV, now) {
		return
	}
	t.askEarly(p)
	switch {
	case p.state == Alive && t.tickV >= p.suspicionV():
		if t.confirmedSilent(p) {
			t.inquire(p, t.tickV)
			t.suspect(p, now)
		}
	case p.reason == ReasonRestored && t.tickV >= p.suspicionV(), p.state == Suspect && t.tickV < p.deadlineV():
		t.countSilent(p, t.tickV) // it was already suspect when an earlier collector stopped
	}
	if t.pastDeadline(p) {
		t.judgeDeath(p, now)
	}
}

// pastDeadline reports whether p is past its deadline and is not judged together with its
// host.
func (t *Tracker) pastDeadline(p *peer) bool {
	open := p.state == Suspect || p.state == Unknown && p.reason != ReasonIsolated && p.reason != ReasonHost
	return open && t.tickV >= p.deadlineV()
}

// judgeDeath decides whether p, which is past its deadline, is dead.
func (t *Tracker) judgeDeath(p *peer, now time.Time) {
	confirmed, again := t.confirmedDead(p, p.deadlineV()), t.secondTick(p)
	if again && !confirmed {
		return
	}
	proved := p.provesNetwork()
	t.inquire(p, t.tickV)
	switch {
	case !again:
		if proved && !p.provesNetwork() {
			t.countSilent(p, t.tickV)
		}
	case p.expected:
		t.become(p, Dead, ReasonNeverSeen, now)
	case t.holdsBack(p):
		t.hold(p, now)
	default:
		t.end(p, p.evidence, now)
	}
}

// secondTick reports whether the tick before this one found p past its deadline too.
func (t *Tracker) secondTick(p *peer) bool {
	past := p.editPast()
	again := past.dueTick == t.ticks-1
	past.dueTick = t.ticks
	return again
}

// end notes that p has ended without a goodbye. Within a window of p or its host, the end was
// announced: p has left.
func (t *Tracker) end(p *peer, reason Reason, now time.Time) {
	for o := range p.living { // all living processes end with p
		t.endFormer(p, o, o.evidence)
	}
	if window := p.promiseV(); window > t.verdict(now) {
		p.setWindow(window, p.windowBy)
		t.become(p, Left, ReasonLeaving, now)
		return
	}
	if goodbye, ok := p.doubtfulGoodbye(); ok && reason.inferred() {
		t.become(p, Left, goodbye, now)
		return
	}
	if p.terms.Ephemeral && reason.inferred() {
		t.become(p, Left, reason, now)
		return
	}
	t.become(p, Dead, reason, now)
}

// A Path is the state of the remote side of a connection, as the kernel reports it.
type Path uint8

// The values of Path.
const (
	PathUnknown  Path = iota
	PathAnswers       // its kernel has answered since the last beat
	PathIsSilent      // it was probed and did not answer
)

// inquire asks the kernel about the connections of p, which is silent. If all of them have
// ended, the kernel knows nothing about p.
func (t *Tracker) inquire(p *peer, verdict time.Duration) {
	path, from, asked := t.askKernel(&p.process)
	if !asked {
		return
	}
	evidence := [...]Reason{PathUnknown: ReasonSilence, PathAnswers: ReasonHung, PathIsSilent: ReasonUnreachable}[path]
	t.noteLoss(p, &p.process, evidence, from, verdict)
}

// askKernel returns the best state of any long connection of o that the kernel reports, and
// the address of that connection. Carriers are left out, because they prove nothing about o.
func (t *Tracker) askKernel(o *process) (best Path, from netip.Addr, asked bool) {
	if t.opts.Ask == nil {
		return PathUnknown, netip.Addr{}, false
	}
	for l := range o.connections {
		if _, carries := t.carriers[carrier{conn: l.conn}]; carries || !l.long {
			continue
		}
		asked = true
		switch path, addr := t.opts.Ask(l.conn); path {
		case PathAnswers:
			return path, addr, true
		case PathIsSilent:
			best, from = path, addr
		case PathUnknown:
		}
	}
	return best, from, asked
}

// wakeWithHost sets when to check p, which waits for its host: at the deadline of p, and after
// that when the host beats or reaches its own deadline.
func (t *Tracker) wakeWithHost(p *peer) {
	wake := p.deadlineV()
	if wake <= t.tickV {
		wake = max(p.host.own.deadV, t.tickV+TickInterval)
		p.host.waitedFor = true
	}
	t.wakeAt(p, wake)
}

// rewake sets when p is checked again.
func (t *Tracker) rewake(p *peer) {
	wake := p.wakeV(&t.opts)
	if p.unknown(ReasonOffHours) {
		wake = min(wake, t.tickV+offHoursCheck)
	}
	t.wakeAt(p, wake)
}

// offHoursCheck is how often a peer that is not expected at this hour is checked for the start of
// its hours: the verdict clock may fall behind the wall clock.
const offHoursCheck = 10 * time.Minute

func (t *Tracker) wakeAt(p *peer, verdict time.Duration) {
	if p.changed {
		t.touch(p)
	}
	t.wake[p.index] = verdict
	t.earliest = min(t.earliest, verdict)
}

// wakeV returns the time at which time alone may change the state of p. A peer whose verdict is
// held back is not checked: the hold ends for all peers at once.
func (p *peer) wakeV(o *Options) time.Duration {
	switch {
	case p.foreign():
		return p.foreignWakeV(o)
	case o.Mates && p.state == Alive && p.unasked():
		return min(p.askV(), p.suspicionV(), p.nextEndV(), p.nextOverrunV())
	case o.Mates && p.state == Suspect && p.unasked():
		return min(p.askV(), p.deadlineV(), p.nextEndV(), p.nextOverrunV())
	case p.state == Alive, p.reason == ReasonRestored && !p.host.silent(), p.reason == ReasonOffHours:
		return min(p.suspicionV(), p.nextEndV(), p.nextOverrunV())
	case p.state == Suspect, p.expected && p.state == Unknown, p.reason == ReasonRestored:
		return min(p.deadlineV(), p.nextEndV(), p.nextOverrunV())
	case p.state == Left && p.windowV > 0:
		return p.windowV
	}
	return p.forgetV(o)
}

// foreignWakeV is wakeV for a peer that mates judge.
func (p *peer) foreignWakeV(o *Options) time.Duration {
	if p.state == Left && p.windowV > 0 {
		return p.windowV
	}
	return p.forgetV(o)
}

// forgetV returns the time at which a peer that has ended is forgotten, or never. A peer with a
// pending promise is kept. A dead peer is kept for at least three of its intervals, so that a
// daily job is still known when it should have run again.
func (p *peer) forgetV(o *Options) time.Duration {
	var keep time.Duration
	switch {
	case p.state == Left && p.windowV == 0:
		keep = o.ForgetLeft
	case p.state == Dead && p.nameless():
		keep = forgetNameless
	case (p.state == Dead || p.unknown(ReasonMateLost)) && p.terms.ForgetDead > 0:
		keep = max(p.terms.ForgetDead, 3*p.interval, 3*p.terms.longestInterval())
	}
	if keep == 0 {
		return never
	}
	return max(p.sinceV, p.lastHeardV()) + keep
}
