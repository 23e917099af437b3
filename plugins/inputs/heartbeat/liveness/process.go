package liveness

import "time"

// sameStart is how far apart two readings of one process's start may lie.
const sameStart = 5 * time.Second

// A Process names one life of what a peer stands for. Its parts are compared
// for equality, never for order: the clock of a host may go back. A zero part
// is not known and equals any.
type Process struct {
	Boot  string        // boot id of the host
	PID   uint32        // within that boot
	Start time.Duration // since boot
}

// is reports whether p and other may be one process.
func (p Process) is(other Process) bool {
	if p.Boot != "" && other.Boot != "" && p.Boot != other.Boot {
		return false
	}
	if p.PID != 0 && other.PID != 0 && p.PID != other.PID {
		return false
	}
	return p.Start == 0 || other.Start == 0 || (p.Start-other.Start).Abs() < sameStart
}

// rebooted reports whether the host has booted between p and other.
func (p Process) rebooted(other Process) bool {
	return p.Boot != "" && other.Boot != "" && p.Boot != other.Boot
}

// completed returns p with what it lacks taken from other.
func (p Process) completed(other Process) Process {
	if p.Boot == "" {
		p.Boot = other.Boot
	}
	if p.PID == 0 {
		p.PID = other.PID
	}
	if p.Start == 0 {
		p.Start = other.Start
	}
	return p
}
