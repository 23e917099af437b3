//go:build unix && !linux

package watch

import "context"

// A process is polled: these systems have no common handle for it.
type process struct {
	Process
}

// openProcess returns the living process with this pid, or nil.
func openProcess(pid uint32) *process {
	if pid == 0 || pid > maxPID || !exists(pid) {
		return nil
	}
	return &process{Process{PID: pid}}
}

func (*process) close() {}

// wait waits until the process ends, or returns false when ctx ends.
func (p *process) wait(ctx context.Context) (Exit, bool) {
	return Exit{}, poll(ctx, func() bool { return !exists(p.PID) })
}
