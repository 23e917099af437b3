package execd

import (
	"os"

	"golang.org/x/sys/unix"
)

// unread returns how many bytes of a pipe its reader has not read yet (FIONREAD in
// pipe(7)), or 0 if that is unknown.
func unread(pipe *os.File) int {
	connection, err := pipe.SyscallConn()
	if err != nil {
		return 0
	}
	var count uint32 // the kernel writes 32 bits: in the int of IoctlGetInt they are the upper half on s390x
	err = connection.Control(func(fd uintptr) {
		count, err = unix.IoctlGetUint32(int(fd), unix.TIOCINQ)
	})
	if err != nil {
		return 0
	}
	return int(count)
}
