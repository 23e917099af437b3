package watch

import (
	"context"
	"sync"
	"time"
)

// The time until the next query about a unit.
const (
	unitRunningPause = 10 * time.Second // the end of its process is noticed at once anyway
	unitOverPause    = 5 * time.Second
	unitFirstPause   = 20 * time.Millisecond // while it changes; then doubled up to
	unitAwayPause    = 500 * time.Millisecond
)

// applyStatus updates w with the status of its unit.
func (w *watch) applyStatus(ctx context.Context, u *unitStatus) {
	seen := u.sighting(w.belief.Process.PID != 0)
	if u.mainPID != 0 {
		seen = w.find(u.mainPID, u.started, seen)
	}
	if seen.kind != running {
		w.forget()
	}
	w.see(ctx, seen)
}

// warnIfWithoutProcess warns if a unit is active, but has no main process.
func (w *watch) warnIfWithoutProcess(u *unitStatus) {
	if u.isWithoutProcess() && w.belief.Process.PID == 0 {
		w.warnf("%s is active but has no main process: there is nothing to watch", w.Target)
	}
}

// checkUnitsOnce asks systemd once. It gives no warnings about units without a main
// process: Check reports them.
func checkUnitsOnce(ctx context.Context, watches []*watch) error {
	if len(watches) == 0 {
		return nil
	}
	statuses, err := showUnits(ctx, unitNames(watches))
	if err != nil {
		for _, w := range watches {
			w.see(ctx, sighting{kind: unseen})
		}
		return err
	}
	for i, w := range watches {
		w.applyStatus(ctx, &statuses[i])
	}
	return nil
}

func unitNames(watches []*watch) []string {
	names := make([]string, 0, len(watches))
	for _, w := range watches {
		names = append(names, w.unit())
	}
	return names
}

// A unitAnswer is the answer of systemd about units.
type unitAnswer struct {
	asked    []*watch
	statuses []unitStatus
	err      error
}

// A unitEnd is the end of a main process.
type unitEnd struct {
	watch   *watch
	process *process
	exit    Exit
}

// followUnits watches units until ctx ends. It queries all units that are due
// together, and meanwhile notices ends of processes.
func followUnits(ctx context.Context, watches []*watch, warnf warnFunc) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ends := make(chan unitEnd)
	for _, w := range watches {
		w.keep = func(p *process) func() { return awaitEnd(ctx, &wg, w, p, ends) }
	}
	answers := make(chan unitAnswer, 1)
	asking := false
	for ctx.Err() == nil {
		if asked := dueAt(watches, time.Now()); !asking && len(asked) > 0 {
			asking = true
			wg.Go(func() { // ends with ctx
				statuses, err := showUnits(ctx, unitNames(asked))
				answers <- unitAnswer{asked, statuses, err}
			})
		}
		select {
		case <-ctx.Done():
		case end := <-ends:
			end.apply(ctx)
		case answer := <-answers:
			asking = false
			answer.apply(ctx, warnf)
		case <-time.After(untilDue(watches, asking)):
		}
	}
}

// awaitEnd sends the end of p to ends, unless the function that it returns is called
// first.
func awaitEnd(ctx context.Context, wg *sync.WaitGroup, w *watch, p *process, ends chan<- unitEnd) func() {
	ctx, cancel := context.WithCancel(ctx)
	wg.Go(func() { // ends with ctx
		defer p.close()
		exit, over := p.wait(ctx)
		if !over {
			return
		}
		select {
		case ends <- unitEnd{w, p, exit}:
		case <-ctx.Done():
		}
	})
	return cancel
}

// apply records that the process has ended, and plans an immediate query.
func (e *unitEnd) apply(ctx context.Context) {
	w := e.watch
	if w.process != e.process { // systemd has reported another process since
		return
	}
	w.forget()
	w.see(ctx, sighting{kind: ended, exit: e.exit})
	w.due, w.pause = time.Time{}, 0
}

// apply processes the answer. If systemd did not answer, the states stay, with a
// warning.
func (a *unitAnswer) apply(ctx context.Context, warnf warnFunc) {
	if a.err != nil && ctx.Err() == nil {
		warnf("%v", a.err)
	}
	now := time.Now() // one time for all, so that they are due together again
	for i, w := range a.asked {
		if a.err != nil {
			w.see(ctx, sighting{kind: unseen})
		} else {
			w.applyStatus(ctx, &a.statuses[i])
			w.warnIfWithoutProcess(&a.statuses[i])
		}
		w.plan(now)
	}
}

// plan sets the time of the next query.
func (w *watch) plan(now time.Time) {
	switch w.belief.Phase {
	case Running:
		w.due, w.pause = now.Add(unitRunningPause), 0
	case Stopped, Dead:
		w.due, w.pause = now.Add(unitOverPause), 0
	case Starting, Away:
		limit := unitAwayPause
		if w.belief.Phase == Starting { // systemd has its own timeout
			limit = unitOverPause
		}
		w.pause = min(max(2*w.pause, unitFirstPause), limit)
		w.due = now.Add(w.pause)
	}
}

func dueAt(watches []*watch, now time.Time) []*watch {
	var due []*watch
	for _, w := range watches {
		if !w.due.After(now) {
			due = append(due, w)
		}
	}
	return due
}

// untilDue returns the time until the next query, at most an hour.
func untilDue(watches []*watch, asking bool) time.Duration {
	wait := time.Hour
	if asking {
		return wait
	}
	for _, w := range watches {
		wait = min(wait, time.Until(w.due))
	}
	return wait
}
