package watch

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
)

// processQuery is PROCESS_QUERY_LIMITED_INFORMATION: it gives the exit code.
const processQuery = 0x1000

// A process is identified by its handle, which never refers to another process.
type process struct {
	Process
	handle syscall.Handle // 0 if we may not open it
}

// openProcess returns the living process with this pid, or nil.
func openProcess(pid uint32) *process {
	if pid == 0 {
		return nil
	}
	handle, err := syscall.OpenProcess(syscall.SYNCHRONIZE|processQuery, false, pid)
	if err != nil && !errors.Is(err, syscall.ERROR_ACCESS_DENIED) {
		return nil
	}
	p := &process{Process{PID: pid, StartMS: proc.StartMS(pid)}, handle}
	if p.isOver() {
		p.close()
		return nil
	}
	return p
}

func (p *process) close() {
	if p.handle != 0 {
		_ = syscall.CloseHandle(p.handle)
	}
}

// stopPause is how late wait notices the end of ctx: waiting for a handle cannot be
// interrupted. The end of the process is noticed at once.
const stopPause = 250 * time.Millisecond

// wait waits until the process ends and returns how, as far as that is known,
// or false when ctx ends.
func (p *process) wait(ctx context.Context) (Exit, bool) {
	if p.handle == 0 {
		return Exit{}, poll(ctx, p.isOver)
	}
	for !p.endsWithin(stopPause) {
		if ctx.Err() != nil {
			return Exit{}, false
		}
	}
	var code uint32
	if syscall.GetExitCodeProcess(p.handle, &code) != nil {
		return Exit{}, true
	}
	return Exit{HasCode: true, Code: int64(code)}, true
}

func (p *process) isOver() bool {
	if p.handle != 0 {
		return p.endsWithin(0)
	}
	handle, err := syscall.OpenProcess(syscall.SYNCHRONIZE, false, p.PID)
	if err == nil { // it is another process by now
		_ = syscall.CloseHandle(handle)
	}
	return !errors.Is(err, syscall.ERROR_ACCESS_DENIED)
}

// endsWithin waits for the end of a process that we may open.
func (p *process) endsWithin(limit time.Duration) bool {
	event, err := syscall.WaitForSingleObject(p.handle, uint32(limit.Milliseconds()))
	return err == nil && event == syscall.WAIT_OBJECT_0
}

// signalName returns a name with the number. Only systemd reports signals, and
// Windows does not have it.
func signalName(number int64) string { return "SIG" + strconv.FormatInt(number, 10) }
