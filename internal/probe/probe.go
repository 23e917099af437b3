// Package probe runs commands that report the status of a service by their exit code, in
// the convention of Nagios plugins. It interprets how they end, and kills all processes
// that they leave behind. It knows nothing about beats, collectors or settings.
package probe

import (
	"context"
	"math/rand/v2"
	"time"
)

// The status of a service, by the exit code of its probe.
const (
	OK      = "OK"      // 0
	Warn    = "WARN"    // 1
	Unknown = "UNKNOWN" // 3
	Fail    = "FAIL"    // any other exit code, and any end without one
)

// TimedOut is the exit code of a run that took longer than Limit, as in timeout(1), and
// of a run that could not begin because the previous run cannot be killed. Other ends
// without an exit code have the codes of package job.
const TimedOut = 124

// A State is the result of the runs of a probe so far; it is zero before the first run
// has ended.
type State struct {
	Status string
	Code   int  // exit code of the last run
	Dead   bool // the last two runs failed
}

// after returns the state after a run has ended with code.
func (s State) after(code int) State {
	status := statusOf(code)
	return State{Status: status, Code: code, Dead: status == Fail && s.Status == Fail}
}

func statusOf(code int) string {
	switch code {
	case 0:
		return OK
	case 1:
		return Warn
	case 3:
		return Unknown
	}
	return Fail
}

// maxTime is how long a probe may take, even if its interval is longer.
const maxTime = 10 * time.Second

// A Probe is a command that runs periodically, never twice at the same time. Its standard
// streams are the null device, and it runs in the directory of this program.
type Probe struct {
	Args     []string // the command and its arguments
	Environ  []string
	Interval time.Duration // between two runs

	last  *attempt
	begin func() *attempt // for tests; nil begins the command
}

// Limit returns how long the command may take. A command that takes longer has failed,
// and is killed with its process group.
func (p *Probe) Limit() time.Duration {
	if p.Interval > 0 {
		return min(p.Interval, maxTime)
	}
	return maxTime
}

// Run runs the command immediately and then every Interval until ctx ends, and reports
// each change of the state. The second run starts after a random part of Interval, so
// that a fleet, or the probes of one host, do not run all at once.
func (p *Probe) Run(ctx context.Context, report func(State)) {
	defer p.end()
	var s State
	look := func() {
		code, ended := p.run(ctx)
		if next := s.after(code); ended && next != s {
			s = next
			report(s)
		}
	}
	look()
	select {
	case <-time.After(rand.N(p.Interval)): //nolint:gosec // it only spreads the load
	case <-ctx.Done():
		return
	}
	ticker := time.NewTicker(p.Interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		look()
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// Once runs the command and returns the state, or false if ctx ends first.
func (p *Probe) Once(ctx context.Context) (s State, ended bool) {
	defer p.end()
	code, ended := p.run(ctx)
	return s.after(code), ended
}

// run runs the command and returns its exit code, or false if ctx ends first.
func (p *Probe) run(ctx context.Context) (code int, ended bool) {
	limited, cancel := context.WithTimeout(ctx, p.Limit())
	defer cancel()
	if !p.lastIsGone(limited) {
		return TimedOut, ctx.Err() == nil
	}
	p.last = p.attempt()
	defer p.last.kill()
	select {
	case code := <-p.last.code:
		return code, true
	case <-limited.Done():
		return TimedOut, ctx.Err() == nil
	}
}

// endTime limits the wait for killed processes when this program stops.
const endTime = 500 * time.Millisecond

// end waits for the end of the last run, which was killed, up to endTime: if this program
// ended while a command was being started, the command would keep running.
func (p *Probe) end() {
	if p.last != nil {
		select {
		case <-p.last.gone:
		case <-time.After(endTime):
		}
	}
}

// lastIsGone waits until no process of the last run is left, or returns false when ctx
// ends first. The processes were killed, and usually end immediately.
func (p *Probe) lastIsGone(ctx context.Context) bool {
	if p.last != nil {
		select {
		case <-p.last.gone:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

func (p *Probe) attempt() *attempt {
	if p.begin != nil {
		return p.begin()
	}
	return begin(p.Args, p.Environ)
}
