package bus

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is the limit for what takes milliseconds, or seconds if a route must end first.
const patience = 30 * time.Second

// TestMain fails if anything is left running.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for limit := time.Now().Add(patience); code == 0 && runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(limit) {
			stacks := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
			code = 1
		}
	}
	os.Exit(code)
}

// A lines is a Logger that keeps its messages.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Infof(format string, args ...any) { l.Warnf(format, args...) }

func (l *lines) Warnf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf(format, args...))
}

// with returns the lines that contain a text.
func (l *lines) with(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for _, line := range l.all {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// options returns the options of a bus on a free port.
func options(mates ...string) *Options {
	return &Options{Listen: "127.0.0.1:0", Mates: mates, Secret: []byte("of all"), Log: new(lines)}
}

func opened(t testing.TB, o *Options) *Bus {
	b, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

func address(b *Bus) string { return b.server.ClusterAddr().String() }

// freeAddress returns an address on which nothing listens.
func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func eventually(t testing.TB, done func() bool, what string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(patience); !done(); <-tick.C {
		require.True(t, time.Now().Before(limit), what)
	}
}

// take returns the next message.
func take(t testing.TB, b *Bus) string {
	t.Helper()
	select {
	case m := <-b.Received():
		return string(m)
	case <-time.After(patience):
		require.FailNow(t, "no message")
		return ""
	}
}

// meet returns when all buses receive each other's messages and none is in transit. It fails if
// a bus receives anything else.
func meet(t testing.TB, buses ...*Bus) {
	t.Helper()
	heard := make([]map[string]bool, len(buses))
	for i := range buses {
		heard[i] = make(map[string]bool)
	}
	eventually(t, func() bool {
		all := true
		for i, b := range buses {
			b.Send(fmt.Appendf(nil, "hello of %d", i))
			for len(b.Received()) > 0 {
				m := take(t, b)
				require.Contains(t, m, "hello of ")
				heard[i][m] = true
			}
			all = all && len(heard[i]) == len(buses)-1
		}
		return all
	}, "they do not meet")
	for _, b := range buses {
		b.Send([]byte("met"))
	}
	for _, b := range buses {
		for met := 0; met < len(buses)-1; {
			m := take(t, b)
			if m == "met" {
				met++
			} else {
				require.Contains(t, m, "hello of ")
			}
		}
	}
}

func TestMessagesArriveInOrderAndOnce(t *testing.T) {
	const each = 500 // of two senders fit into what may wait
	a := opened(t, options())
	b := opened(t, options(address(a)))
	c := opened(t, options(address(a), address(b)))
	buses := []*Bus{a, b, c}
	meet(t, buses...)
	var wg sync.WaitGroup
	for who, from := range buses {
		wg.Go(func() {
			for i := range each {
				m := make([]byte, 8)
				if i%100 == 99 {
					m = make([]byte, MaxMessage)
				}
				binary.BigEndian.PutUint32(m, uint32(who))
				binary.BigEndian.PutUint32(m[4:], uint32(i))
				from.Send(m)
				clear(m) // it is kept by none
			}
		})
	}
	wg.Wait()
	for who, to := range buses {
		next := make([]int, len(buses))
		for range (len(buses) - 1) * each {
			m := []byte(take(t, to))
			from, i := binary.BigEndian.Uint32(m), binary.BigEndian.Uint32(m[4:])
			require.NotEqual(t, who, int(from), "its own message")
			require.Equal(t, next[from], int(i), "out of order")
			require.True(t, len(m) == 8 || len(m) == MaxMessage)
			next[from]++
		}
	}
	meet(t, buses...) // and nothing came twice
}

// All collectors connect if each knows one of the others, whichever starts first.
func TestMatesOfAMateMeet(t *testing.T) {
	a := opened(t, options())
	b := opened(t, options(address(a)))
	c := opened(t, options(address(a)))
	meet(t, a, b, c)
}

// All collectors may use the same list of mates, although it includes themselves.
func TestMatesKnowEachOther(t *testing.T) {
	one, two := freeAddress(t), freeAddress(t)
	first, second := options(one, two), options(one, two)
	first.Listen, second.Listen = one, two
	for range 3 {
		a, b := opened(t, first), opened(t, second)
		meet(t, a, b)
		a.Close()
		b.Close()
	}
}

// Messages sent while a mate is away are lost.
func TestMateComesAndGoes(t *testing.T) {
	there := options()
	there.Listen = freeAddress(t)
	a := opened(t, options(there.Listen))
	for range 3 {
		a.Send([]byte("to nobody"))
		b := opened(t, there)
		meet(t, a, b)
		b.Close()
		eventually(t, func() bool { return a.server.NumRoutes() == 0 }, "a route to nobody")
	}
	a.Send([]byte("to nobody"))
}

// A path can be cut, or drop everything.
type path struct {
	net.Listener
	to string

	mu      sync.Mutex // guards the rest; held, it stops everything
	swallow bool
	conns   []net.Conn
}

func newPath(t *testing.T, to string) *path {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &path{Listener: l, to: to}
	var wg sync.WaitGroup
	wg.Go(func() { p.serve(&wg) })
	t.Cleanup(func() {
		l.Close()
		p.cut()
		wg.Wait()
	})
	return p
}

func (p *path) serve(wg *sync.WaitGroup) {
	for {
		in, err := p.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		wg.Go(func() { p.carry(in, out) })
		wg.Go(func() { p.carry(out, in) })
	}
}

func (p *path) carry(from, to net.Conn) {
	defer to.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		swallow := p.swallow
		p.mu.Unlock()
		if !swallow {
			to.Write(buf[:n]) //nolint:errcheck // the next read fails too
		}
	}
}

func (p *path) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
}

func (p *path) swallows(everything bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow = everything
}

func TestRouteReconnects(t *testing.T) {
	a := opened(t, options())
	p := newPath(t, address(a))
	b := opened(t, options(p.Addr().String()))
	meet(t, a, b)
	p.cut()
	meet(t, a, b)

	p.swallows(true)
	a.Send([]byte("into the ground"))
	eventually(t, func() bool { return a.server.NumRoutes() == 0 && b.server.NumRoutes() == 0 }, "a route that carries nothing")
	a.Send([]byte("to nobody"))
	p.swallows(false)
	meet(t, a, b)
}

// The client inside a bus reconnects too.
func TestClientComesBack(t *testing.T) {
	a := opened(t, options())
	b := opened(t, options(address(a)))
	meet(t, a, b)
	id, err := a.client.GetClientID()
	require.NoError(t, err)
	require.NoError(t, a.server.DisconnectClientByID(id))
	meet(t, a, b)
}

// A mate that accepts no bytes, frozen or behind a stuck path, does not delay others.
func TestStuckMateDelaysNoOther(t *testing.T) {
	a := opened(t, options())
	p := newPath(t, address(a))
	b := opened(t, options(p.Addr().String()))
	c := opened(t, options(address(a)))
	meet(t, a, b, c)
	p.mu.Lock()
	message := make([]byte, MaxMessage)
	var longest time.Duration
	for i := range 4 * maxPending / MaxMessage {
		binary.BigEndian.PutUint32(message, uint32(i))
		began := time.Now()
		a.Send(message)
		require.Equal(t, sha256.Sum256(message), sha256.Sum256([]byte(take(t, c))))
		longest = max(longest, time.Since(began))
	}
	t.Log("longest way of a message:", longest)
	eventually(t, func() bool { return a.server.NumRoutes() == 1 }, "a route that is stuck")
	p.mu.Unlock()
}

// A receiver that takes nothing loses the newest messages. That is logged, and does not delay
// others.
func TestNewestAreLost(t *testing.T) {
	a := opened(t, options())
	slow := options(address(a))
	b := opened(t, slow)
	c := opened(t, options(address(a), address(b)))
	meet(t, a, b, c)
	const sent = 5 * waiting
	for i := range sent {
		a.Send(fmt.Appendf(nil, "%d", i))
		require.Equal(t, strconv.Itoa(i), take(t, c))
	}
	eventually(t, func() bool { return len(slow.Log.(*lines).with("overloaded")) == 1 }, "nobody says that messages are lost")
	for i := range waiting {
		require.Equal(t, strconv.Itoa(i), take(t, b))
	}
}

func TestListenFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, tt := range []struct{ listen, want string }{
		{taken.Addr().String(), "in use"},
		{"192.0.2.1:6222", "cannot listen"},
		{"6222", "not an address"},
		{"127.0.0.1:all", "not an address"},
	} {
		o := options()
		o.Listen = tt.listen
		_, err := Open(o)
		require.ErrorContains(t, err, tt.want)
		require.ErrorContains(t, err, fmt.Sprintf("%q", tt.listen))
		require.ErrorContains(t, err, "'listen' in [inputs.heartbeat.cluster]")
	}
	_, err = Open(options("collector-2"))
	require.ErrorContains(t, err, `"collector-2" is not an address for 'mates'`)
}

// Close ends unfinished connections: one without an answer, and one that is refused again and
// again.
func TestCloseWhileConnecting(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	for _, secured := range []bool{false, true} {
		o := options(mute.Addr().String(), freeAddress(t), "nowhere.invalid:6222")
		if secured {
			o.TLS = newAuthority(t).config(t)
		}
		b, err := Open(o)
		require.NoError(t, err)
		conn, err := mute.Accept()
		require.NoError(t, err)
		b.Close()
		b.Close()
		b.Send([]byte("to nobody"))
		_, err = io.Copy(io.Discard, conn) // ends when the other side has ended
		require.NoError(t, err)
		conn.Close()
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	here := opened(b, options())
	there := opened(b, options(address(here)))
	meet(b, here, there)
	message := bytes.Repeat([]byte("x"), 100)
	for b.Loop() {
		here.Send(message)
		<-there.Received()
		there.Send(message)
		<-here.Received()
	}
}
