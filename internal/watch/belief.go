package watch

import "time"

// A sighting is what a look at a target found.
type sighting struct {
	kind    kind
	process Process // if running
	mark    int64   // if running; see belief
	exit    Exit    // of the process before, where it is known
}

type kind int

const (
	running kind = iota // its process lives
	ended               // its process does not, and what comes of it is not decided yet
	absent              // there is no process
	between             // there is none, but systemd is about to start one
	held                // the same on purpose, so it may take its time
	stopped             // there is none on purpose
	failed              // there is none, and none will come by itself
	unseen              // the look failed
)

// A belief is what is believed of one target: its state, and what is needed to
// judge what is seen next. Nothing here asks for the time or for anything else.
type belief struct {
	State
	exit Exit // of the process that ran last

	// mark changes when the process is named anew. Another process with the
	// number of one that has ended is a stranger if the mark is the same.
	mark  int64
	until time.Time // end of the grace; zero while it is not running out
}

// after returns what is believed once s was seen. Only what was seen changes a
// belief: while nobody can be asked, a grace that is over kills nobody.
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
		return b.without(s.kind, grace, now)
	}
	return b.onItsWay(s.kind, grace, now)
}

// onItsWay is for what systemd will decide: whoever was not running before
// cannot die of being late, because systemd has a timeout of its own for that.
func (b belief) onItsWay(k kind, grace time.Duration, now time.Time) belief {
	switch b.Phase {
	case Starting, Stopped:
		b.Phase, b.Exit = Starting, Exit{}
		return b
	}
	return b.without(k, grace, now)
}

// without is for a target that should have a process, and has none.
func (b belief) without(k kind, grace time.Duration, now time.Time) belief {
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

// isStranger reports whether pid, which lives, is just somebody with the number
// of the process that has ended.
func (b belief) isStranger(pid uint32, mark int64) bool {
	return pid == b.Process.PID && mark == b.mark
}
