//go:build unix

package heartbeat

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// eachTime takes in what there is to read, each time that there is something,
// until that returns another error than wire.ErrAgain. Waiting takes no buffer.
func (c *conn) eachTime() error {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok { // a secure connection reads more than it gives
		return c.takeInWaiting()
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var taken error
	take := func(fd uintptr) bool {
		c.fd, c.ready = fd, true
		taken = c.listener.plugin.crew.takeIn(c)
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

// read is Read that returns wire.ErrAgain instead of waiting, if it can.
func (c *conn) read(p []byte) (int, error) {
	if !c.ready {
		return c.Read(p)
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
