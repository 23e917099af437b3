// Package probe runs commands that tell how a service is by their exit code, in
// the convention of the plugins of Nagios. It knows what their ends mean and
// leaves no process behind that can be killed; it never knows beats, collectors or
// settings.
package probe

import (
	"context"
	"math/rand/v2"
	"time"
)

// What the exit code of a probe says of its service.
const (
	OK      = "OK"      // 0
	Warn    = "WARN"    // 1
	Unknown = "UNKNOWN" // 3
	Fail    = "FAIL"    // any other, and each end that has none of its own
)

// TimedOut is the exit code of a run that took longer than Limit, as timeout(1) reports
// it, and of one that could not begin because the run before it cannot be killed. The
// other ends without a code of their own have that of package job.
const TimedOut = 124

// A State is what the runs of a probe so far say of its service; it is zero before
// the first has ended.
type State struct {
	Status string
	Code   int  // that the last run ended with
	Dead   bool // the last two runs failed
}

// after returns what is to be said once a run has ended with code.
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

// maxTime is how long a probe may take, however long its interval is.
const maxTime = 10 * time.Second

// A Probe is a command that is run again and again, never twice at the same time.
// Its standard streams are the null device, its directory is that of this program.
type Probe struct {
	Args     []string // of the command, which comes first
	Environ  []string
	Interval time.Duration // between two runs

	last  *attempt
	begin func() *attempt // for tests; nil begins the command
}

// Limit returns how long the command may take: what runs longer has failed, and is
// killed with its process group.
func (p *Probe) Limit() time.Duration {
	if p.Interval > 0 {
		return min(p.Interval, maxTime)
	}
	return maxTime
}

// Run runs the command at once and then every Interval until ctx ends, and reports
// each change of what its runs say. The second run comes after a random part of
// Interval, so that neither a fleet nor the probes of one host are in step.
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

// Once runs the command and returns what that says, or false if ctx ends first.
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

// endTime is how long what was killed may take to end when this program wants to.
const endTime = 500 * time.Millisecond

// end waits for the end of the last run, which was killed, but not for ever: a program
// that ends while it starts another one would leave that behind.
func (p *Probe) end() {
	if p.last != nil {
		select {
		case <-p.last.gone:
		case <-time.After(endTime):
		}
	}
}

// lastIsGone waits until nothing of the last run is left, or returns false when
// ctx ends first. What is left was killed, and mostly ends in no time.
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
