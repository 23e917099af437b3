//go:build unix

package serve

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// readEachTime reads what there is to read, each time that there is something,
// until that returns another error than wire.ErrAgain. Waiting takes no buffer.
func (c *conn) readEachTime() error {
	socket, ok := c.stream.(syscall.Conn)
	if !ok { // a secure connection reads more than it gives
		return c.readWaiting()
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var taken error
	take := func(fd uintptr) bool {
		c.fd, c.ready = fd, true
		taken = c.listener.server.workers.read(c)
		return !errors.Is(taken, wire.ErrAgain)
	}
	waiting := raw.Read(take)
	if c.goesOn(waiting) {
		waiting = raw.Read(take)
	}
	if waiting != nil {
		return waiting
	}
	return taken
}

// read is stream.Read that returns wire.ErrAgain instead of waiting, if it can.
func (c *conn) read(p []byte) (int, error) {
	if !c.ready {
		return c.stream.Read(p)
	}
	select { // while there is something to read, closing does not end reading
	case <-c.listener.closed:
		return 0, net.ErrClosed
	default:
	}
	for {
		n, err := syscall.Read(int(c.fd), p)
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
