//go:build unix

package heartbeat

import (
	"errors"
	"io"
	"syscall"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// eachTime calls takeIn each time that there is something to read, for as long
// as it returns wire.ErrAgain, and returns the other error. Waiting costs
// neither a buffer nor more of the stack than it takes.
func (c *conn) eachTime(takeIn func() error) error {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok { // a secure connection reads more than it gives
		return takeIn()
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var taken error
	waiting := raw.Read(func(fd uintptr) bool {
		c.fd, c.ready = fd, true
		taken = takeIn()
		return taken != wire.ErrAgain //nolint:errorlint // it is never wrapped
	})
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
