//go:build unix

package serve

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// whenReadable calls read each time that there is something to read, until that returns
// another error than wire.ErrAgain, which is failed, or until waiting fails. It reports
// false if a stream cannot be waited for so: a secure one reads more than it gives.
func whenReadable(stream net.Conn, read func(fd uintptr) error) (ok bool, waiting, failed error) {
	socket, ok := stream.(syscall.Conn)
	if !ok {
		return false, nil, nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true, err, nil
	}
	waiting = raw.Read(func(fd uintptr) bool {
		failed = read(fd)
		return !errors.Is(failed, wire.ErrAgain)
	})
	return true, waiting, failed
}

// readNow is read(2), with wire.ErrAgain if there is nothing to read.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, wire.ErrAgain
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// connectionLimit returns how many connections may be open: as configured (0
// for no limit), but never so many that the rest of Telegraf runs out of
// descriptors.
func connectionLimit(configured int) int64 {
	limit := int64(configured)
	if limit == 0 {
		limit = 1 << 62
	}
	var descriptors syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &descriptors) != nil || descriptors.Cur > 1<<30 {
		return limit
	}
	available := int64(descriptors.Cur)
	return min(limit, max(available-max(200, available/10), 1))
}
