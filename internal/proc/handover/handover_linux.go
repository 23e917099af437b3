// Package handover lets a program take the place of itself, in the same process, without an end of
// its connections: the new life keeps those of the former one open until it has others. It knows
// nothing of what is sent over them.
package handover

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// heldEnv has the descriptors of the connections. deploy/packages asks the program of a process
// whether it knows this name.
const heldEnv = "HEARTBEAT_HELD"

// Program returns the path of this program: where it was asked for, not where links led to then, as
// an upgrade may be a link that changes.
func Program() string {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return os.Args[0]
	}
	return path
}

// Await has Asked told, also after an Exec that has failed.
func Await() { signal.Notify(Asked, syscall.SIGUSR2) }

// Connections are those that a former life has left; nil if there was none.
type Connections []int

// Resumed reports whether there was a former life.
func (c Connections) Resumed() bool { return c != nil }

// Asked is told of each SIGUSR2, as soon as Take was called.
var Asked = make(chan os.Signal, 1)

// Take returns what was handed over. It has to be called before anything else has a connection;
// no program that is started later gets to know of it.
func Take() Connections {
	Await()
	held, resumed := os.LookupEnv(heldEnv)
	if !resumed {
		return nil
	}
	all := make(Connections, 0)
	for text := range strings.SplitSeq(held, ",") {
		if fd, err := strconv.Atoi(text); err == nil && isConnection(fd) {
			syscall.CloseOnExec(fd)
			all = append(all, fd)
		}
	}
	os.Unsetenv(heldEnv) //nolint:errcheck // it is a good name
	return all
}

// Close ends them.
func (c Connections) Close() {
	for _, fd := range c {
		syscall.Close(fd) //nolint:errcheck // nothing is written
	}
}

// Exec replaces this process by its program with the same arguments, unless ctx has ended, and hands
// over all connections that there are. It returns only if it fails; then nothing has changed, but that
// Asked is not told.
func Exec(ctx context.Context) error {
	signal.Ignore(syscall.SIGUSR2) // else one more would end the next life before it has begun
	// Another goroutine that starts a program must not hand them to that one.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	all, err := connections()
	if err != nil {
		return err
	}
	var held []string
	for _, fd := range all {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			continue // closed meanwhile
		}
		defer syscall.CloseOnExec(fd)
		held = append(held, strconv.Itoa(fd))
	}
	if ctx.Err() != nil { // as late as can be: the next life would not know of it
		return ctx.Err()
	}
	return syscall.Exec(Program(), os.Args, append(os.Environ(), heldEnv+"="+strings.Join(held, ",")))
}

// connections returns the descriptors of all but the three that every program has.
func connections() (all []int, err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 && isConnection(fd) {
			all = append(all, fd)
		}
	}
	return all, err
}

// isConnection takes one that is still being made for one, too. (Getpeername would add 20 kB.)
func isConnection(fd int) bool {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	return err == nil && kind == syscall.SOCK_STREAM
}
