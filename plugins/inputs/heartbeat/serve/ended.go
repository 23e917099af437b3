package serve

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// ended deals with what ended the connection and returns what that says about
// the peers.
func (c *conn) ended(err error) End {
	refusal := wire.AsRefusal(err)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		refusal = &wire.Refusal{Reason: wire.ReasonTruncated, Broken: true, Text: "stream ended inside a record of TLS"}
	}
	end := EndedByUs
	switch {
	case errors.Is(err, errTooManyRefused), errors.Is(err, errUnread), errors.Is(err, net.ErrClosed):
	case refusal != nil:
		if refusal.Reason == wire.ReasonTruncated {
			end = Closed
		}
		//nolint:errcheck // the connection ends anyway
		c.refuse(refusal, false)
	case errors.Is(err, os.ErrDeadlineExceeded): // before anything else that says Timeout
		c.listener.refuse(ReasonReadTimeout, c.origin.From(), c.lateness())
	default:
		if end = c.endOf(err); end != Closed {
			c.listener.server.options.Log.Debugf("Connection from %s ended: %s", c.origin.From(), wire.Printable(err.Error()))
		}
	}
	return end
}

// endOf returns how a connection ended that was not ended by us.
func (c *conn) endOf(err error) End {
	var operation *net.OpError
	switch {
	case errors.Is(err, io.EOF):
		return Closed
	case errors.Is(err, syscall.EPIPE): // to write to: it was closed before (tcp(7), unix(7))
		return Closed
	case errors.Is(err, syscall.ECONNRESET):
		return c.reset()
	case errors.As(err, new(syscall.Errno)):
		return GivenUp
	case errors.As(err, &operation) && operation.Op == "remote error": // a fatal alert of TLS
		return Closed
	}
	return EndedByUs // what came was no TLS any more
}

// lateness says what was not in time.
func (c *conn) lateness() string {
	if c.proven || c.reader.Started() {
		return "message is not complete in time ('read_timeout')"
	}
	return "nothing was accepted in time ('read_timeout')"
}

// reset returns what a reset says. It may come from somebody between, or from
// the end of a process that has left something unread: the greeting, which it
// may not even expect. On a unix socket there is nobody between.
func (c *conn) reset() End {
	if _, ok := c.socket.(*net.UnixConn); ok || c.greeted {
		return Closed
	}
	return Reset
}
