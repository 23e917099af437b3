package heartbeat

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
)

// streamBeat is what the streams of these tests carry.
const streamBeat = `{"host":"web-1","service":"app","pid":7,"watched":true,"interval_ms":600000}`

// A cutter is a connection that passes on so many bytes and swallows the rest.
type cutter struct {
	net.Conn
	left  int  // negative for all
	spoil bool // what comes back
}

func (c *cutter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.spoil && n > 0 {
		p[n-1]++
	}
	return n, err
}

func (c *cutter) Write(p []byte) (int, error) {
	n := len(p)
	if c.left >= 0 {
		n = min(n, c.left)
		c.left -= n
	}
	if _, err := c.Conn.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// A streamEnd is one way in which a stream stops.
type streamEnd struct {
	name   string
	secure bool // only over TLS
	clean  bool // what follows it does not count
	last   func(t *testing.T, c *cutter, stream net.Conn)
}

// sends writes text; of what that becomes on the way only the first bytes pass.
func sends(text string, passing int) func(*testing.T, *cutter, net.Conn) {
	return func(t *testing.T, c *cutter, stream net.Conn) {
		c.left = passing
		_, err := stream.Write([]byte(text))
		require.NoError(t, err)
	}
}

func streamEnds() []streamEnd {
	const header, all = 4, -1 // bytes of a frame; what of a record passes
	beat := frame(streamBeat)
	return []streamEnd{
		{"between two frames", false, false, sends(beat, all)},
		{"inside the header of a frame", false, false, sends(beat[:header-1], all)},
		{"behind the header of a frame", false, false, sends(beat[:header], all)},
		{"inside the payload of a frame", false, false, sends(beat[:20], all)},
		{"one byte before the end of a frame", false, false, sends(beat[:len(beat)-1], all)},
		{"inside the header of a record", true, false, sends(beat, 3)},
		{"behind the header of a record", true, false, sends(beat, 5)},
		{"inside a record", true, false, sends(beat, 30)},
		{"with a clean end of TLS", true, true, func(t *testing.T, _ *cutter, stream net.Conn) {
			require.NoError(t, stream.(*tls.Conn).CloseWrite())
		}},
		{"inside the alert that ends TLS", true, false, func(t *testing.T, c *cutter, stream net.Conn) {
			c.left = 6
			require.NoError(t, stream.(*tls.Conn).CloseWrite())
		}},
	}
}

func bareEnds() []streamEnd {
	return []streamEnd{
		{"between two objects", false, false, sends(streamBeat, -1)},
		{"in the space between two objects", false, false, sends(streamBeat+"\n \n", -1)},
		{"behind the brace of an object", false, false, sends("{", -1)},
		{"inside an object", false, false, sends(streamBeat[:20], -1)},
		{"inside a record", true, false, sends(streamBeat, 30)},
	}
}

// However a stream stops, and whatever carries it: when the other side has
// ended it, it is closed or reset, and what was cut off changes nothing.
func TestEndOfAStreamMeansTheSameEverywhere(t *testing.T) {
	for _, framing := range []struct {
		name, first string
		ends        []streamEnd
	}{
		{"framed", frame(streamBeat), streamEnds()},
		{"bare", streamBeat, bareEnds()},
	} {
		for _, way := range transportsOf(t) {
			for _, end := range framing.ends {
				if end.secure && way.secure == nil {
					continue
				}
				for _, by := range []string{"FIN", "RST"} {
					if by == "RST" && way.network == "unix" {
						continue // there is none
					}
					t.Run(strings.Join([]string{framing.name, way.name, end.name, by}, "/"), func(t *testing.T) {
						want := serve.Closed
						if by == "RST" && !end.clean {
							want = serve.Reset
						}
						require.Equal(t, want, way.endOf(t, func(c *cutter, stream net.Conn) {
							sends(framing.first+framing.first, -1)(t, c, stream)
							end.last(t, c, stream)
							if by == "RST" {
								require.NoError(t, c.Conn.(*net.TCPConn).SetLinger(0))
							}
						}))
					})
				}
			}
		}
	}
}

// A way is a transport with a listener of the plugin's.
type way struct {
	name, network string
	secure        *tls.Config // of the client; nil for plaintext
	plugin        *Heartbeat
	pipes         *pipeListener
	ended         chan serve.End
}

func transportsOf(t *testing.T, changes ...func(*Heartbeat)) []way {
	t.Helper()
	a := newAuthority(t)
	version := func(version uint16) *tls.Config {
		as := a.trust()
		as.MinVersion, as.MaxVersion = version, version
		return as
	}
	serving := func(name, network string, secure *tls.Config) way {
		h := newPlugin(t)
		if secure != nil {
			own := a.issue("collector", "collector")
			h.ServiceAddresses, h.TLSCert, h.TLSKey = []string{"tls://127.0.0.1:0"}, own.cert, own.key
		}
		for _, change := range changes {
			change(h)
		}
		w := way{name, network, secure, h, newPipes(), make(chan serve.End, 1)}
		startFrom(t, h, w.pipes, new(testutil.Accumulator), func(o *serve.Options) {
			o.Ended = func(_ serve.ConnID, how serve.End, _ netip.Addr) { w.ended <- how }
		})
		t.Cleanup(h.Stop)
		return w
	}
	ways := []way{
		serving("tcp", "tcp", nil),
		serving("tls1.2", "tcp", version(tls.VersionTLS12)),
		serving("tls1.3", "tcp", version(tls.VersionTLS13)),
	}
	if runtime.GOOS != "windows" {
		ways = append(ways, serving("unix", "unix", nil))
	}
	return ways
}

// endOf returns how a connection ended over which the client did this, and
// which it then closed.
func (w way) endOf(t *testing.T, does func(c *cutter, stream net.Conn)) serve.End {
	t.Helper()
	near, far := w.connect(t)
	c := &cutter{Conn: near, left: -1}
	if w.secure == nil { // what the client does is all there before it is read
		does(c, c)
		require.NoError(t, near.Close())
		w.pipes.conns <- far
		return <-w.ended
	}
	w.pipes.conns <- far
	stream := tls.Client(c, w.secure)
	require.NoError(t, stream.HandshakeContext(t.Context()))
	does(c, stream)
	require.NoError(t, near.Close())
	return <-w.ended
}

// connect returns both ends of a connection.
func (w way) connect(t *testing.T) (near, far net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if w.network == "unix" {
		address = socketPath(t)
	}
	socket, err := net.Listen(w.network, address)
	require.NoError(t, err)
	defer socket.Close()
	near, err = net.Dial(w.network, socket.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { near.Close() })
	far, err = socket.Accept()
	require.NoError(t, err)
	return near, far
}

// A fatal alert is an end by the other side. Input that is not TLS is an end by us.
func TestEndOfTLSThatIsNotACut(t *testing.T) {
	for _, w := range transportsOf(t) {
		if w.secure == nil {
			continue
		}
		alert := func(c *cutter, stream net.Conn) {
			c.spoil = true // which makes it send one
			sends(frame(strings.Replace(streamBeat, "{", `{"ack":true,`, 1)), -1)(t, c, stream)
			_, err := stream.Read(make([]byte, 1))
			require.ErrorContains(t, err, "bad record MAC")
		}
		require.Equal(t, serve.Closed, w.endOf(t, alert), w.name)
		garbage := func(c *cutter, stream net.Conn) {
			sends(frame(streamBeat), -1)(t, c, stream)
			_, err := c.Conn.Write(bytes.Repeat([]byte("this is no record"), 10))
			require.NoError(t, err)
		}
		require.Equal(t, serve.EndedByUs, w.endOf(t, garbage), w.name)
	}
}

// A client that closes while answers are on their way has closed: over TCP
// they are refused behind its end, over a unix socket they cannot be written.
func TestAnswersThatMeetTheEndChangeNothing(t *testing.T) {
	asking := frame(strings.Replace(streamBeat, "{", `{"ack":true,`, 1))
	for _, w := range transportsOf(t) {
		if w.secure != nil {
			continue
		}
		require.Equal(t, serve.Closed, w.endOf(t, func(c *cutter, stream net.Conn) {
			sends(strings.Repeat(asking, 20), -1)(t, c, stream)
		}), w.name)
	}
}

// A process that ends with answers unread resets its connection. Over TCP, something in
// between may have sent the reset; on a Unix socket, nothing can.
func TestEndWithUnreadAnswers(t *testing.T) {
	asking := frame(strings.Replace(streamBeat, "{", `{"ack":true,`, 1))
	for _, w := range transportsOf(t) {
		if w.secure != nil {
			continue
		}
		near, far := w.connect(t)
		w.pipes.conns <- far
		_, err := near.Write([]byte(asking + asking))
		require.NoError(t, err)
		first := make([]byte, 4)
		_, err = io.ReadFull(near, first)
		require.NoError(t, err)
		rest := make([]byte, binary.BigEndian.Uint32(first)+1) // with a byte of the second answer, the rest of which is there then
		_, err = io.ReadFull(near, rest)
		require.NoError(t, err)
		require.NoError(t, near.Close())
		want := map[string]serve.End{"tcp": serve.Reset, "unix": serve.Closed}[w.network]
		require.Equal(t, want, <-w.ended, w.name)
	}
}
