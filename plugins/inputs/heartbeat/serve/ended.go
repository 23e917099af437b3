package serve

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// An End is how a connection ended.
type End uint8

// The ends of a connection.
const (
	EndedByUs End = iota
	Closed        // by the other side: FIN
	Reset         // by the other side, or by something in between
	GivenUp       // by the kernel, because nothing was acknowledged
)

// endOf returns how the other side ended a connection. A reset may come from a device in between,
// unless resetIsClose.
func endOf(err error, resetIsClose bool) End {
	var operation *net.OpError
	switch {
	case errors.Is(err, io.EOF):
		return Closed
	case errors.Is(err, syscall.EPIPE): // of a write: it was closed before (tcp(7), unix(7))
		return Closed
	case isReset(err) && resetIsClose:
		return Closed
	case isReset(err):
		return Reset
	case errors.As(err, new(syscall.Errno)):
		return GivenUp
	case errors.As(err, &operation) && operation.Op == "remote error": // a fatal alert of TLS
		return Closed
	}
	return EndedByUs // the input was no longer TLS
}

// The errors that Windows returns instead of ECONNRESET, when reading and when writing. Package
// syscall does not map them. Other systems have no errors with these numbers.
const (
	errWindowsReset   = syscall.Errno(10054)
	errWindowsAborted = syscall.Errno(10053)
)

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, errWindowsReset) || errors.Is(err, errWindowsAborted)
}
