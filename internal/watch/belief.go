package watch

import "time"

// A sighting is the result of checking a target.
type sighting struct {
	kind    kind
	process Process // if running
	mark    int64   // if running; see belief
	exit    Exit    // of the previous process, if known
}

type kind int

const (
	running kind = iota // its process is alive
	ended               // its process has ended; the consequence is not known yet
	absent              // there is no process
	between             // no process, but systemd is about to start one
	held                // the same, but on request, so it may take longer
	stopped             // no process, on purpose
	failed              // no process, and none will start by itself
	unseen              // the check failed
)

// A belief is the believed state of one target, and the data needed to judge the next
// sighting. Its methods are pure functions: time is an argument.
type belief struct {
	State
	exit Exit // of the last process

	// mark changes when the source names a process again. If the mark has not changed, a
	// process with the ID of the ended process only reuses that ID.
	mark  int64
	until time.Time // end of the grace; zero if it is not running
}

// after returns the belief after a sighting. While checks fail, the belief stays: an
// expired grace does not make a target dead.
func (b belief) after(s sighting, grace time.Duration, now time.Time) belief {
	if s.exit != (Exit{}) {
		b.exit = s.exit
	}
	b.Unseen = s.kind == unseen
	switch s.kind {
	case unseen:
		return b
	case running:
		return belief{State: State{Phase: Running, Process: s.process}, mark: s.mark}
	case stopped:
		return b.over(Stopped)
	case failed:
		return b.over(Dead)
	case absent:
		return b.withoutProcess(s.kind, grace, now)
	}
	return b.whileStarting(s.kind, grace, now)
}

// whileStarting returns the belief while systemd starts the target. A target that was not
// running before is not dead if it is late, because systemd has its own timeout.
func (b belief) whileStarting(k kind, grace time.Duration, now time.Time) belief {
	switch b.Phase {
	case Starting, Stopped:
		b.Phase, b.Exit = Starting, Exit{}
		return b
	}
	return b.withoutProcess(k, grace, now)
}

// withoutProcess returns the belief about a target that should have a process but has none.
func (b belief) withoutProcess(k kind, grace time.Duration, now time.Time) belief {
	switch b.Phase {
	case Stopped, Dead:
		return b
	case Running:
		b.Phase = Away
	}
	switch {
	case k == held:
		b.until = time.Time{}
	case b.until.IsZero():
		b.until = now.Add(grace)
	case k != ended && !now.Before(b.until):
		return b.over(Dead)
	}
	return b
}

func (b belief) over(p Phase) belief {
	b.Phase, b.Exit, b.until = p, b.exit, time.Time{}
	return b
}

// isStranger reports whether the living process with this pid only reuses the ID of the
// process that has ended.
func (b belief) isStranger(pid uint32, mark int64) bool {
	return pid == b.Process.PID && mark == b.mark
}
