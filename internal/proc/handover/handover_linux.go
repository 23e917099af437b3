// Package handover replaces a program by a new version of itself in the same process,
// without closing its connections: the new program keeps the old connections open until
// it has its own. It knows nothing about the data on them.
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

// heldEnv is the environment variable with the descriptors of the connections. Scripts in
// deploy/packages look for this name in the program of a process.
const heldEnv = "HEARTBEAT_HELD"

// Program returns the path of this program as it was called. It does not resolve links, because an
// upgrade may change a link.
func Program() string {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return os.Args[0]
	}
	return path
}

// Await starts the delivery of SIGUSR2 to Asked, also after a failed Exec.
func Await() { signal.Notify(Asked, syscall.SIGUSR2) }

// Connections are the connections of the previous program; nil if there was none.
type Connections []int

// Resumed reports whether there was a previous program.
func (c Connections) Resumed() bool { return c != nil }

// Asked receives each SIGUSR2 that arrives after Take was called.
var Asked = make(chan os.Signal, 1)

// Take returns the connections that were handed over. Call it before anything else has a connection.
// Programs that are started later do not inherit them.
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
	os.Unsetenv(heldEnv) //nolint:errcheck // the name is valid
	return all
}

// Close closes the connections.
func (c Connections) Close() {
	for _, fd := range c {
		syscall.Close(fd) //nolint:errcheck // nothing is written
	}
}

// Exec replaces this process by its program with the same arguments, unless ctx has ended, and
// hands over all connections. It returns only if it fails; then nothing has changed, except that
// Asked receives nothing until Await is called.
func Exec(ctx context.Context) error {
	signal.Ignore(syscall.SIGUSR2) // otherwise another signal would end the new program before it is ready
	// A program that another goroutine starts must not inherit them.
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
	if ctx.Err() != nil { // as late as possible: the new program would not know
		return ctx.Err()
	}
	return syscall.Exec(Program(), os.Args, append(os.Environ(), heldEnv+"="+strings.Join(held, ",")))
}

// connections returns the descriptors of all connections except the standard streams.
func connections() (all []int, err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 && isConnection(fd) {
			all = append(all, fd)
		}
	}
	return all, err
}

// isConnection reports whether fd is a stream socket, connected or not. (Getpeername would add 20 kB to the program.)
func isConnection(fd int) bool {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	return err == nil && kind == syscall.SOCK_STREAM
}
