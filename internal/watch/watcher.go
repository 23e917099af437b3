// Package watch notices when other processes start and end. It asks the kernel, pid files
// and systemd (through the program systemctl), and decides whether an end is a restart, a
// stop or a death. It never starts, signals or reaps a process that it watches, and knows
// nothing about beats or collectors.
package watch

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A Phase is the phase of a target.
type Phase int

// The phases of a target.
const (
	Starting Phase = iota // not seen running yet, may be about to start
	Running
	Away    // ended, may be back within the grace
	Stopped // ended on purpose
	Dead
)

// A Process is identified by its ID and its start.
type Process struct {
	PID     uint32
	StartMS int64 // ms since boot, 0 if unknown
}

// An Exit is how a process ended; zero if unknown.
type Exit struct {
	HasCode bool
	Code    int64
	Signal  string // such as SIGKILL; empty for none
}

// A State is the known state of a target.
type State struct {
	Phase   Phase
	Process Process // the running or last process; zero if none was seen
	Exit    Exit    // of the process; only if Stopped or Dead
	Unseen  bool    // the last check failed: the other fields are older
}

// A Watcher watches targets.
type Watcher struct {
	Targets []Target

	// Report is called with every change of Targets[i], beginning with the first
	// check. Like Warnf, it is called from one goroutine at a time.
	Report func(i int, s State)
	// Warnf gets messages for an operator, at most one a minute for each target; may
	// be nil.
	Warnf func(format string, args ...any)
}

type warnFunc func(format string, args ...any)

// Check returns errors that a person must fix. It is not an error if a target is not
// running, or if systemctl or a file is too slow.
func (w *Watcher) Check(ctx context.Context) error {
	errs := make([]error, len(w.Targets))
	var wg sync.WaitGroup
	for i := range w.Targets {
		wg.Go(func() { errs[i] = w.Targets[i].check(ctx) }) // ends with ctx
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return checkUnits(ctx, w.units())
}

// Look returns the current states of all targets. A pid file without a process is
// Starting: one check cannot distinguish a restart from a death. If systemctl fails, all
// units are Starting and Unseen, and Look returns an error.
func (w *Watcher) Look(ctx context.Context) ([]State, error) {
	states := make([]State, len(w.Targets))
	var mu sync.Mutex // guards Warnf
	watches := w.watches(func(i int, s State) { states[i] = s }, func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		w.Warnf(format, args...)
	})
	var wg sync.WaitGroup
	var units []*watch
	for _, one := range watches {
		switch {
		case one.Unit != "":
			units = append(units, one)
		case one.PIDFile != "":
			wg.Go(func() { one.updateFromFile(ctx, newPIDFile(one.PIDFile), Exit{}) }) // ends with ctx
		default:
			wg.Go(func() { one.checkPID(ctx) }) // ends with ctx
		}
	}
	err := checkUnitsOnce(ctx, units)
	wg.Wait()
	for _, one := range watches {
		one.forget()
	}
	return states, errors.Join(err, ctx.Err())
}

// Run watches until ctx ends. Only a read that hangs may outlast it.
func (w *Watcher) Run(ctx context.Context) {
	calls := make(chan func())
	warnLater := func(format string, args ...any) { calls <- func() { w.Warnf(format, args...) } }
	watches := w.watches(func(i int, s State) { calls <- func() { w.Report(i, s) } }, warnLater)

	var wg sync.WaitGroup
	var units []*watch
	for _, one := range watches {
		switch {
		case one.Unit != "":
			units = append(units, one)
		case one.PIDFile != "":
			wg.Go(func() { one.followFile(ctx) }) // ends with ctx
		default:
			wg.Go(func() { one.followPID(ctx) }) // ends with ctx
		}
	}
	wg.Go(func() { followUnits(ctx, units, w.warner(warnLater)) }) // ends with ctx, units or not
	go func() {                                                    // ends with the others
		wg.Wait()
		close(calls)
	}()
	for call := range calls {
		if ctx.Err() == nil { // otherwise it may be wrong: queries were interrupted
			call()
		}
	}
}

// watches returns a watch for each target.
func (w *Watcher) watches(report func(i int, s State), warnf warnFunc) []*watch {
	watches := make([]*watch, 0, len(w.Targets))
	for i := range w.Targets {
		watches = append(watches, &watch{
			Target: &w.Targets[i],
			report: func(s State) { report(i, s) },
			warnf:  w.warner(warnf),
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

// warnPause is the time between two warnings about one target. Other users can choose
// their text, such as the owner of a pid file.
const warnPause = time.Minute

// warner returns a function that passes on at most one warning each warnPause. It is for
// one goroutine.
func (w *Watcher) warner(warnf warnFunc) warnFunc {
	var next time.Time
	return func(format string, args ...any) {
		now := time.Now()
		if w.Warnf == nil || now.Before(next) {
			return
		}
		next = now.Add(warnPause)
		warnf(format, args...)
	}
}
