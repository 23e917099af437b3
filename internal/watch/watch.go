package watch

import (
	"context"
	"time"
)

// A watch is a target and its believed state.
type watch struct {
	*Target
	belief  belief
	seen    bool // at least once
	report  func(State)
	warnf   warnFunc
	process *process // the running process, if any

	// keep gets a process that was found, and returns a function that releases it.
	keep    func(p *process) (release func())
	release func()

	due   time.Time     // of a unit: when to ask again
	pause time.Duration // of a unit: between the last two questions, while that grows
}

// see updates the belief with a sighting, and reports a change. A target that ends
// because the host shuts down is not dead.
func (w *watch) see(ctx context.Context, s sighting) {
	next := w.belief.after(s, w.Grace, time.Now())
	if next.Phase == Dead && w.belief.Phase != Dead && hostIsStopping(ctx) {
		next.Phase = Stopped
	}
	changed := !w.seen || next.State != w.belief.State
	w.belief, w.seen = next, true
	if changed {
		w.report(next.State)
	}
}

// find returns the sighting of the process with this pid, and keeps the process. If
// there is no such process, or if it is another process with the same ID, find returns
// the sighting that was passed as instead.
func (w *watch) find(pid uint32, mark int64, instead sighting) sighting {
	if w.process != nil && w.process.PID == pid {
		return sighting{kind: running, process: w.process.Process, mark: mark}
	}
	if w.belief.isStranger(pid, mark) {
		return instead
	}
	found := openProcess(pid)
	if found == nil {
		return instead
	}
	w.forget()
	w.process, w.release = found, w.keep(found)
	return sighting{kind: running, process: found.Process, mark: mark}
}

// forget releases the process.
func (w *watch) forget() {
	if w.process != nil {
		w.release()
		w.process, w.release = nil, nil
	}
}

// checkPID looks for the process with the ID of w. If there is none now, w stays without
// a process, because a later process with this ID is a different one.
func (w *watch) checkPID(ctx context.Context) {
	w.see(ctx, w.find(w.PID, 0, sighting{kind: failed}))
}

// followPID watches the process until it or ctx ends.
func (w *watch) followPID(ctx context.Context) {
	defer w.forget()
	w.checkPID(ctx)
	if w.process == nil {
		return
	}
	if exit, over := w.process.wait(ctx); over {
		w.see(ctx, sighting{kind: failed, exit: exit})
	}
}
