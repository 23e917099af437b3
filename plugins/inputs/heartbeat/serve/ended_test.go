package serve

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorsTellHowAConnectionEnded(t *testing.T) {
	operation := func(err error) error { return &net.OpError{Op: "read", Err: os.NewSyscallError("read", err)} }
	for _, c := range []struct {
		err  error
		want End
	}{
		{io.EOF, Closed},
		{operation(syscall.ECONNRESET), Reset},
		{operation(syscall.Errno(10054)), Reset}, // WSAECONNRESET
		{operation(syscall.Errno(10053)), Reset}, // WSAECONNABORTED
		{operation(syscall.EPIPE), Closed},
		{operation(syscall.ETIMEDOUT), GivenUp},
		{operation(syscall.EHOSTUNREACH), GivenUp},
		{operation(syscall.Errno(10052)), GivenUp}, // WSAENETRESET: keepalive found nobody
	} {
		require.Equal(t, c.want, endOf(c.err, false), c.err)
	}
	require.NotErrorIs(t, operation(syscall.ETIMEDOUT), os.ErrDeadlineExceeded, "it says Timeout too, but is not our deadline")
}
