package serve

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// maxRefused is how many payloads in a row may be refused before that costs
// the connection.
const maxRefused = 8

// Why we end a connection.
var (
	errTooManyRefused = errors.New("too many messages in a row were refused")
	errUnread         = errors.New("answers are not read")
)

// A conn reads the payloads of one connection and answers them.
type conn struct {
	listener *listener
	origin   Origin
	socket   net.Conn
	stream   net.Conn // socket, or a secure one over it

	reader  *wire.Reader
	chunk   *chunk  // nil while there is nothing to read
	fd      uintptr // of socket, to be read without waiting
	ready   bool    // fd is known
	refused int     // payloads in a row
	timed   bool    // the clock of the payload being read runs
	armed   bool    // a deadline for reading is set
	greeted bool
	proven  bool      // something was accepted
	due     time.Time // when that has to be
	early   bool      // the deadline that is set is that of the greeting, due follows

	beats     int
	keepMu    sync.Mutex // guards keepAlive
	keepAlive KeepAlive
}

func newConn(l *listener, socket net.Conn, remote netip.Addr) *conn {
	c := &conn{listener: l, socket: socket, stream: socket, keepAlive: l.server.options.KeepAlive}
	c.origin = Origin{
		Conn: ConnID(l.server.lastConn.Add(1)), Addr: socket.RemoteAddr(), Remote: remote, Credentials: credentialsOf(socket),
	}
	c.keepAlive.GiveUp = 0
	if l.secure != nil {
		c.stream = tls.Server(socket, l.secure)
	}
	c.reader = wire.ReadChunks(c, l.server.options.MaxFrameSize)
	return c
}

// close closes the socket, however secure: to say so first might have to wait
// for room.
func (c *conn) close() { c.socket.Close() }

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.survive()
	c.listener.server.options.Ended(c.origin.Conn, c.readAll(), c.origin.Remote)
}

func (c *conn) survive() { c.listener.survive(&c.origin) }

// readAll takes what comes and returns how the connection ended.
func (c *conn) readAll() (end End) {
	end = EndedByUs // if it panics
	defer c.listener.survive(&c.origin)
	c.due = c.fromNow() // however many payloads are refused before
	if err := c.shakeHands(c.due); err != nil {
		c.refuseHandshake(err)
		return end
	}
	c.startClock(c.due)
	c.startGreeting()
	return c.ended(c.readEachTime())
}

// fromNow returns when what begins now has to be complete.
func (c *conn) fromNow() time.Time { return time.Now().Add(c.listener.server.options.ReadTimeout) }

// readWaiting reads what comes until the end of the connection.
func (c *conn) readWaiting() error {
	c.chunk = new(chunk)
	return c.readAvailable()
}

// readAvailable takes all payloads that are there. It returns wire.ErrAgain if the
// next one has yet to come, and any other error if none will.
func (c *conn) readAvailable() (end error) {
	end = net.ErrClosed // if it panics
	defer c.listener.survive(&c.origin)
	for {
		payload, err := c.reader.Next()
		if err == nil {
			err = c.take(payload)
			c.timed = !c.proven
		}
		if err == nil && !c.proven && time.Now().After(c.due) { // there may be always something to read
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return err
		}
	}
}

// Chunk reads for the wire.Reader. A payload that has begun has ReadTimeout to
// become complete, however often a byte of it comes; between payloads there is no
// hurry, once one was accepted.
func (c *conn) Chunk() ([]byte, error) {
	if err := c.greetBare(); err != nil {
		return nil, err
	}
	switch started := c.reader.Started(); {
	case c.timed:
	case started:
		c.startClock(c.fromNow())
	case c.armed:
		c.stopClock()
	}
	n, err := c.read(c.chunk[:])
	if c.goesOn(err) {
		n, err = c.read(c.chunk[:])
	}
	c.listener.bytes.Add(int64(n))
	return c.chunk[:n], err
}

// startClock and stopClock need no look at their errors: a connection that
// takes no deadline is closed, and reading will say so.
func (c *conn) startClock(due time.Time) {
	c.timed, c.armed, c.early = true, true, false
	//nolint:errcheck // see above
	c.stream.SetReadDeadline(due)
}

func (c *conn) stopClock() {
	c.armed, c.early = false, false
	//nolint:errcheck // see above
	c.stream.SetReadDeadline(time.Time{})
}

// take has one payload taken and answers it. An error ends the connection.
func (c *conn) take(payload []byte) error {
	if err := c.greetBare(); err != nil {
		return err
	}
	reply := c.listener.server.options.Take(payload, &c.origin)
	if reply.Refusal != nil {
		return c.refuse(reply.Refusal, reply.Blameless)
	}
	c.refused = 0
	c.prove()
	if reply.Recorded {
		c.listener.beats.Add(1)
		c.keepUp(reply.Interval, reply.Silence)
	}
	if reply.Answer != nil {
		return c.say(reply.Answer)
	}
	return nil
}

// prove notes that the connection is worth its place, or is over.
func (c *conn) prove() {
	if !c.proven {
		c.proven = true
		c.listener.server.limits.prove(&c.origin)
	}
}

// keepUp has TCP look after the other side as closely as a peer needs that
// declares interval and is allowed so much silence. A connection of one beat
// is not worth it.
func (c *conn) keepUp(interval, silence time.Duration) {
	if c.beats++; c.beats == 1 {
		return
	}
	socket, ok := c.socket.(*net.TCPConn)
	fit := c.keepAlive.fit(interval, silence)
	if !ok || fit == c.keepAlive {
		return
	}
	if err := fit.apply(socket); err != nil {
		c.listener.server.options.Log.Debugf("Setting the keepalive of %s failed: %v", c.origin.From(), err)
	}
	c.keepMu.Lock()
	c.keepAlive = fit
	c.keepMu.Unlock()
}

// askKernel returns what the kernel knows of the other side. Unlike the rest
// it may be called while the connection is served.
func (c *conn) askKernel() Path {
	socket, ok := c.socket.(*net.TCPConn)
	if !ok {
		return PathUnknown
	}
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	return c.keepAlive.ask(socket)
}

// refuse answers a payload that is refused. Too many in a row are an error, unless
// the sender is not to blame.
func (c *conn) refuse(refusal *wire.Refusal, blameless bool) error {
	c.listener.refuse(refusal.Reason, c.origin.From(), refusal.Text)
	answer := &wire.Answer{Error: refusal.Text}
	if refusal.After > 0 {
		answer.NowMS = refusal.After + 1
	}
	if !blameless {
		c.refused++
	}
	if err := c.say(answer); err != nil {
		return err
	}
	if c.refused >= maxRefused {
		return errTooManyRefused
	}
	return nil
}

// say answers on framed connections.
func (c *conn) say(answer *wire.Answer) error {
	if !c.reader.Framed() {
		return nil
	}
	answer.NowMS, answer.Collector = max(answer.NowMS, time.Now().UnixMilli()), c.listener.server.options.Collector
	return c.send(wire.AppendFrame(nil, wire.AppendAnswer(nil, answer)))
}

// send writes to the other side. Who does not read is cut.
func (c *conn) send(data []byte) error {
	if err := c.stream.SetWriteDeadline(time.Now().Add(c.listener.server.options.ReadTimeout)); err != nil {
		return err
	}
	_, err := c.stream.Write(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.listener.refuse(ReasonUnread, c.origin.From(), "the sender does not read its answers within 'read_timeout'")
		return errUnread
	}
	return err
}
