// Package watch notices how other processes begin and end. It asks the kernel,
// pid files and systemd (with the program systemctl), and it decides what is a
// restart, a stop and a death. It starts, signals and reaps no process that it
// watches, and knows nothing of beats or collectors.
package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// A Phase is how far a target has got.
type Phase int

// The phases of a target.
const (
	Starting Phase = iota // not seen running yet, and on its way
	Running
	Away    // ended, but may be back within the grace
	Stopped // ended on purpose
	Dead
)

// A Process is known by its number and its start.
type Process struct {
	PID     uint32
	StartMS int64 // ms since boot, 0 if unknown
}

// An Exit is how a process ended; zero if nobody knows.
type Exit struct {
	HasCode bool
	Code    int64
	Signal  string // such as SIGKILL; empty for none
}

// A State is what is known of a target.
type State struct {
	Phase   Phase
	Process Process // that runs, or ran last; zero if none was seen
	Exit    Exit    // of it; only if Stopped or Dead
	Unseen  bool    // the last look failed: the rest is what was known before
}

// A Watcher watches targets.
type Watcher struct {
	Targets []Target

	// Report is told every change of Targets[i], beginning with the first look.
	// Like Warnf it is called from the goroutine of Run only.
	Report func(i int, s State)
	// Warnf is told what an operator should know, the same not more than once a
	// minute; nil for nobody.
	Warnf func(format string, args ...any)
}

type warnFunc func(format string, args ...any)

// Check returns the mistakes that a person has to mend. To be away is none, nor
// is a systemctl that is too slow to answer.
func (w *Watcher) Check(ctx context.Context) error {
	var errs []error
	for i := range w.Targets {
		errs = append(errs, w.Targets[i].check())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return checkUnits(ctx, w.units())
}

// Look returns how all targets are now. A pid file without a process is
// Starting: one look cannot tell a restart from a death. So are all units if
// systemctl fails; then they are also Unseen, and there is an error.
func (w *Watcher) Look(ctx context.Context) ([]State, error) {
	states := make([]State, len(w.Targets))
	watches := w.watches(func(i int, s State) { states[i] = s })
	warn := newWarner(w.Warnf)
	var units []*watch
	for _, one := range watches {
		switch {
		case one.Unit != "":
			units = append(units, one)
		case one.PIDFile != "":
			one.lookAtFile(ctx, &pidFile{path: one.PIDFile}, Exit{}, warn)
		default:
			one.lookAtPID(ctx)
		}
	}
	err := lookAtUnits(ctx, units, warn)
	for _, one := range watches {
		one.letGo()
	}
	return states, errors.Join(err, ctx.Err())
}

// Run watches until ctx ends. It leaves nothing behind.
func (w *Watcher) Run(ctx context.Context) {
	calls := make(chan func())
	warn := newWarner(w.Warnf)
	warnLater := func(format string, args ...any) { calls <- func() { warn(format, args...) } }
	watches := w.watches(func(i int, s State) { calls <- func() { w.Report(i, s) } })

	var wg sync.WaitGroup
	var units []*watch
	for _, one := range watches {
		switch {
		case one.Unit != "":
			units = append(units, one)
		case one.PIDFile != "":
			wg.Go(func() { one.followFile(ctx, warnLater) }) // ends with ctx
		default:
			wg.Go(func() { one.followPID(ctx) }) // ends with ctx
		}
	}
	wg.Go(func() { followUnits(ctx, units, warnLater) }) // ends with ctx, units or not
	go func() {                                          // ends with the others
		wg.Wait()
		close(calls)
	}()
	for call := range calls {
		if ctx.Err() == nil { // else it may be wrong: questions were cut short
			call()
		}
	}
}

// watches returns a watch for each target.
func (w *Watcher) watches(report func(i int, s State)) []*watch {
	watches := make([]*watch, 0, len(w.Targets))
	for i := range w.Targets {
		watches = append(watches, &watch{
			Target: &w.Targets[i],
			report: func(s State) { report(i, s) },
			keep:   func(p *process) func() { return p.close },
		})
	}
	return watches
}

// units returns the names of all units.
func (w *Watcher) units() []string {
	var units []string
	for i := range w.Targets {
		if t := &w.Targets[i]; t.Unit != "" {
			units = append(units, t.unit())
		}
	}
	return units
}

// newWarner returns a function that hands on the same text once a minute.
func newWarner(warnf warnFunc) warnFunc {
	said := make(map[string]time.Time)
	return func(format string, args ...any) {
		text, now := fmt.Sprintf(format, args...), time.Now()
		maps.DeleteFunc(said, func(_ string, at time.Time) bool { return now.Sub(at) >= time.Minute })
		if _, again := said[text]; again || warnf == nil {
			return
		}
		said[text] = now
		warnf("%s", text)
	}
}
