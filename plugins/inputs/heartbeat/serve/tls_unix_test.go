//go:build unix

package serve

import (
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A read that hangs is left behind: the next connections do not wait for it, and
// take what the files give once it has come back.
func TestCertificatesThatHangAreLeftBehind(t *testing.T) {
	file, hangs, said := filepath.Join(t.TempDir(), "cert.pem"), make(chan *tls.Config, 1), new(log)
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("first")
	first, second := new(tls.Config), new(tls.Config)
	hangs <- first
	c, err := OpenCertificates([]string{file}, func() (*tls.Config, error) { return <-hangs, nil }, said)
	require.NoError(t, err)
	latest := func() *tls.Config {
		config, err := c.latest(nil)
		require.NoError(t, err)
		return config
	}
	require.Same(t, first, latest(), "nothing has changed")
	write("second, which hangs")
	require.Same(t, first, latest(), "after a quarter of a second")
	require.Len(t, said.warnings, 1)
	require.Contains(t, said.warnings[0], "takes too long: its mount may hang")
	begin := time.Now()
	for range 100 {
		require.Same(t, first, latest())
	}
	require.Less(t, time.Since(begin), 100*handshakePatience/10, "the others do not wait")
	require.Len(t, said.warnings, 1, "said once")
	hangs <- new(tls.Config) // is of another time
	hangs <- second
	require.Eventually(t, func() bool { return latest() == second }, 20*time.Second, time.Millisecond)
}

// Closing a connection waits for the one that reads from it, which may wait for
// whatever also asks about a connection.
func TestClosingHoldsUpNoQuestion(t *testing.T) {
	judging, taking := make(chan struct{}), make(chan struct{})
	s, err := Open(&Options{
		Addresses: []string{"tcp://127.0.0.1:0"}, MaxFrameSize: 1 << 10, ReadTimeout: time.Minute,
		KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second},
		Receive: func([]byte, *Origin) Reply {
			close(taking)
			<-judging
			return Reply{Recorded: true}
		},
		Ended:   func(ConnID, End, netip.Addr) {},
		Refused: func(wire.Reason, string, string) {},
		Log:     new(log),
	})
	require.NoError(t, err)
	defer s.Close()
	s.Start()
	c, err := net.Dial("tcp", s.listeners[0].addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(wire.AppendFrame(nil, []byte(`{"pid":1}`)))
	require.NoError(t, err)
	<-taking
	ended, asked := make(chan struct{}), make(chan struct{})
	go func() { // until judging goes on
		s.End()
		close(ended)
	}()
	<-s.listeners[0].closed
	go func() { // bounded
		for range 100 {
			s.Ask(1)
			<-time.After(time.Millisecond)
		}
		close(asked)
	}()
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Error("closing holds what a question needs")
	}
	close(judging)
	<-ended
}
