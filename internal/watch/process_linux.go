package watch

import (
	"context"
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
)

// reapTime is how long to wait until an ended process is reaped: only then does the
// kernel report how it ended.
const reapTime = 30 * time.Millisecond

// Parts of <linux/pidfd.h> that x/sys/unix lacks. Linux 6.15 and later report how a
// process ended.
const (
	pidfdGetInfo  = 0xc040ff0b // _IOWR(0xFF, 11, struct pidfd_info)
	pidfdInfoExit = 1 << 3
)

// pidfdInfo is struct pidfd_info in its first size.
type pidfdInfo struct {
	mask     uint64
	_        uint64
	_        [11]uint32
	exitCode int32 // as wait(2) reports it
}

// A process is identified by its pidfd, which never refers to another process.
type process struct {
	Process
	pidfd *os.File // nil if the process is polled
}

// openProcess returns the living process with this pid, or nil. A zombie is not
// alive.
func openProcess(pid uint32) *process {
	if pid == 0 || pid > maxPID {
		return nil
	}
	pidfd, err := openPidfd(int(pid))
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return nil // the latter two mean that it is a thread
	case err != nil: // an old kernel, a strict container or too many open files
		return openPolled(pid)
	}
	p := &process{Process{PID: pid, StartMS: proc.StartMS(pid)}, pidfd}
	if !p.isOver() { // so StartMS is not that of another process
		return p
	}
	p.close()
	return nil
}

func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	if err := file.SetReadDeadline(time.Time{}); err != nil { // the poller does not accept it
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func openPolled(pid uint32) *process {
	p := &process{Process: Process{PID: pid, StartMS: proc.StartMS(pid)}}
	if p.isOver() {
		return nil
	}
	return p
}

func (p *process) close() {
	if p.pidfd != nil {
		p.pidfd.Close()
	}
}

// wait waits until the process ends and returns how, as far as that is known,
// or false when ctx ends. It does not block a thread.
func (p *process) wait(ctx context.Context) (Exit, bool) {
	if p.pidfd == nil {
		return Exit{}, poll(ctx, p.isOver)
	}
	if p.pidfd.SetReadDeadline(time.Time{}) != nil {
		return Exit{}, false
	}
	stop := context.AfterFunc(ctx, func() { _ = p.pidfd.SetReadDeadline(time.Unix(1, 0)) })
	over := p.await(isReadable)
	stop()
	if !over {
		return Exit{}, false
	}
	return p.exit(), true
}

// exit returns how the process ended.
func (p *process) exit() (exit Exit) {
	if p.pidfd.SetReadDeadline(time.Now().Add(reapTime)) != nil {
		return Exit{}
	}
	p.await(func(fd uintptr) bool { // it is called again when the process has been reaped
		info := pidfdInfo{mask: pidfdInfoExit}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
		if errno == 0 && info.mask&pidfdInfoExit == 0 {
			return false
		}
		if errno == 0 {
			exit = exitOf(unix.WaitStatus(info.exitCode))
		}
		return true
	})
	return exit
}

func exitOf(status unix.WaitStatus) Exit {
	if status.Signaled() {
		return Exit{Signal: signalName(int64(status.Signal()))}
	}
	return Exit{HasCode: true, Code: int64(status.ExitStatus())}
}

// await waits until check returns true for the pidfd, or returns false after the read
// deadline.
func (p *process) await(check func(fd uintptr) bool) bool {
	conn, err := p.pidfd.SyscallConn()
	return err == nil && conn.Read(check) == nil
}

// isReadable reports whether all threads of the process have ended.
func isReadable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// isOver reports whether the process has ended, without waiting.
func (p *process) isOver() bool {
	if p.pidfd != nil {
		over := false
		conn, err := p.pidfd.SyscallConn()
		return err == nil && conn.Control(func(fd uintptr) { over = isReadable(fd) }) == nil && over
	}
	return !exists(p.PID) || proc.IsZombie(p.PID) || isOther(p.StartMS, proc.StartMS(p.PID))
}

func isOther(was, is int64) bool { return was != 0 && is != 0 && was != is }
