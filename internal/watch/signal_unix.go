//go:build unix

package watch

import (
	"errors"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// exists reports whether there is a process with this pid. It may be a zombie.
func exists(pid uint32) bool {
	err := unix.Kill(int(pid), 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

// signalName returns the name of a signal, like SIGKILL.
func signalName(number int64) string {
	if name := unix.SignalName(syscall.Signal(number)); name != "" {
		return name
	}
	return "SIG" + strconv.FormatInt(number, 10)
}
