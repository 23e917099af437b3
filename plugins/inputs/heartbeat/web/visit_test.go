package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A switchboard is a net.Listener of pipes: in virtual time there are no sockets.
type switchboard struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (s *switchboard) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *switchboard) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (*switchboard) Addr() net.Addr { return &net.TCPAddr{} }

// A caller is a pipe that has come from this host.
type caller struct{ net.Conn }

func (caller) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711} }

// serveHTTP serves callers in virtual time.
func serveHTTP(t *testing.T) (s *site, call func() net.Conn) {
	t.Helper()
	board := &switchboard{conns: make(chan net.Conn), closed: make(chan struct{})}
	s = newSite(t, nil)
	options := s.Options
	s.Server = New(board, &options)
	s.Start()
	return s, func() net.Conn {
		ours, theirs := net.Pipe()
		board.conns <- caller{theirs}
		return ours
	}
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
}

func statusOf(t *testing.T, conn net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	response.Body.Close()
	return response.StatusCode
}

const pingRequest = "GET /ping/" + uuid + " HTTP/1.1\r\nHost: localhost\r\n\r\n"

func TestRequestsHaveToBeCompleteInTime(t *testing.T) {
	for name, begun := range map[string]string{"nothing": "", "half a request": "GET /ping/x HTTP/1.1\r\nHost: a\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			s, call := serveHTTP(t)
			defer s.End()
			conn, start := call(), time.Now()
			send(t, conn, begun)
			_, err := conn.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			synctest.Wait()
			require.Equal(t, s.ReadTimeout, time.Since(start), name)
			require.Equal(t, []wire.Reason{reasonReadTimeout}, s.refused, name)
		})
	}
}

// A client that sends a byte now and then does not get more time.
func TestSlowHeadersCostTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, call := serveHTTP(t)
		defer s.End()
		conn, sent := call(), 0
		time.Sleep(time.Second / 2)
		for ; ; sent++ {
			if _, err := io.WriteString(conn, "x"); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		require.Equal(t, 10, sent)
		synctest.Wait()
		require.Equal(t, []wire.Reason{reasonReadTimeout}, s.refused)
	})
}

func TestAnIdleConnectionIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, call := serveHTTP(t)
		defer s.End()
		conn := call()
		for range 3 {
			send(t, conn, pingRequest)
			require.Equal(t, 200, statusOf(t, conn))
			time.Sleep(idleTimeout - time.Second)
		}
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "it may be idle for so long and no longer")
		synctest.Wait()
		require.Empty(t, s.refused)
		require.Len(t, s.taken, 3)
	})
}

func TestWhatIsNoRequestIsRefusedAndCounted(t *testing.T) {
	for text, want := range map[string]int{
		"{\"pid\":1}\r\n\r\n": 400,
		"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n": 431,
		"GET / HTTP/1.1\r\n\r\n": 400,
		"PRI * HTTP/2.0\r\n\r\n": 400,
	} {
		synctest.Test(t, func(t *testing.T) {
			s, call := serveHTTP(t)
			defer s.End()
			conn := call()
			defer conn.Close()
			go io.WriteString(conn, text) //nolint:errcheck // ends with the connection
			got := statusOf(t, conn)
			conn.Close()
			synctest.Wait()
			require.Equal(t, []wire.Reason{ReasonRequest}, s.refused, "%.20s", text)
			require.NotEqual(t, 200, got)
			require.Equal(t, want/100, got/100)
		})
	}
}

// Bad input after a good request is counted too.
func TestAConnectionMayGoWrongLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, call := serveHTTP(t)
		defer s.End()
		conn := call()
		send(t, conn, pingRequest)
		require.Equal(t, 200, statusOf(t, conn))
		synctest.Wait()
		go io.WriteString(conn, "nonsense\r\n\r\n") //nolint:errcheck // ends with the connection
		require.Equal(t, 400, statusOf(t, conn))
		conn.Close()
		synctest.Wait()
		require.Equal(t, []wire.Reason{ReasonRequest}, s.refused)
	})
}

// The ping came with the headers. A body that hangs after it does not lose it.
func TestASlowBodyCostsNoPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, call := serveHTTP(t)
		defer s.End()
		conn := call()
		send(t, conn, "POST /ping/"+uuid+"/3 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nshort")
		synctest.Wait()
		require.Len(t, s.taken, 1, "at once")
		require.Equal(t, 200, statusOf(t, conn))
		require.Empty(t, s.refused)
	})
}

func TestNothingIsTakenAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, call := serveHTTP(t)
		idle, busy := call(), call()
		send(t, idle, pingRequest)
		require.Equal(t, 200, statusOf(t, idle))
		send(t, busy, "POST /ping/"+uuid+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
		synctest.Wait()
		start := time.Now()
		s.End()
		require.Equal(t, start, time.Now(), "it waits for nobody")
		for _, conn := range []net.Conn{idle, busy} {
			_, err := conn.Write([]byte(pingRequest))
			require.Error(t, err)
		}
		require.Len(t, s.taken, 2)
	})
}

// The messages of package http contain no part of a request, and go to our log.
func TestTheServerLogsToOurs(t *testing.T) {
	log := new(recorder)
	s := newSite(t, func(o *Options) { o.Log = log })
	s.http.ErrorLog.Printf("http: something from %s", "1.2.3.4:5\x1b")
	require.Equal(t, []string{`http: something from 1.2.3.4:5\x1b`}, log.debug)
}

type recorder struct{ debug []string }

func (r *recorder) Debugf(format string, args ...any) {
	r.debug = append(r.debug, fmt.Sprintf(format, args...))
}
func (*recorder) Infof(string, ...any) {}
func (*recorder) Warnf(string, ...any) {}
