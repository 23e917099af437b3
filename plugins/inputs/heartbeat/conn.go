package heartbeat

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// maxRefused is how many payloads in a row may be refused before that costs
// the connection.
const maxRefused = 8

// greetAfter is how long a connection may be silent before it is greeted: its
// client may be waiting for that.
const greetAfter = time.Second

// Why we end a connection.
var (
	errTooManyRefused = errors.New("too many messages in a row were refused")
	errUnread         = errors.New("answers are not read")
)

// A conn reads the beats of one connection and answers them.
type conn struct {
	net.Conn // may be a secure one over
	receiver
	socket net.Conn
	id     liveness.ConnID

	reader  *wire.Reader
	fd      uintptr // of socket, to be read without waiting
	ready   bool    // fd is known
	refused int     // payloads in a row
	timed   bool    // the clock of the payload being read runs
	armed   bool    // a deadline for reading is set
	greeted bool
	proven  bool      // something was accepted
	due     time.Time // when that has to be
	early   bool      // the deadline that is set is that of the greeting, due follows

	beats   int
	probeMu sync.Mutex // guards probing
	probing probing
}

func newConn(l *listener, socket net.Conn, remote netip.Addr) *conn {
	c := &conn{Conn: socket, socket: socket, id: liveness.ConnID(l.plugin.lastConn.Add(1)), probing: l.plugin.probing()}
	c.receiver = receiver{listener: l, conn: c.id, remote: remote, origin: origin{socket.RemoteAddr(), peerCredentials(socket)}}
	c.probing.giveUp = 0
	if l.secure != nil {
		c.Conn = tls.Server(socket, l.secure)
	}
	c.reader = wire.ReadChunks(c, int(l.plugin.MaxFrameSize))
	return c
}

// Close closes the socket, however secure: to say so first might have to wait
// for room.
func (c *conn) Close() error { return c.socket.Close() }

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.survive()
	c.listener.plugin.intake.connEnded(c.id, c.readAll(), c.remote)
}

// readAll takes in what comes and returns how the connection ended.
func (c *conn) readAll() (end liveness.End) {
	end = liveness.EndedByUs // if it panics
	defer c.survive()
	c.due = c.fromNow() // however many payloads are refused before
	if err := c.shakeHands(c.due); err != nil {
		c.refuseHandshake(err)
		return end
	}
	c.startClock(c.due)
	c.startGreeting()
	return c.ended(c.eachTime())
}

// fromNow returns when what begins now has to be complete.
func (c *conn) fromNow() time.Time {
	return time.Now().Add(time.Duration(c.listener.plugin.FrameTimeout))
}

// takeIn takes in all payloads that are there. It returns wire.ErrAgain if
// the next one has yet to come, and any other error if none will.
func (c *conn) takeIn() (end error) {
	end = net.ErrClosed // if it panics
	defer c.survive()
	for {
		payload, err := c.reader.Next()
		if err == nil {
			err = c.accept(payload)
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

// takeInWaiting takes in what comes until the end of the connection.
func (c *conn) takeInWaiting() error {
	c.workbench = new(workbench)
	return c.takeIn()
}

// Chunk reads for the wire.Reader. A payload that has begun has frame_timeout
// to become complete, however often a byte of it comes; between payloads
// there is no hurry, once one was accepted.
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
	c.SetReadDeadline(due)
}

func (c *conn) stopClock() {
	c.armed, c.early = false, false
	//nolint:errcheck // see above
	c.SetReadDeadline(time.Time{})
}

// accept takes in one payload and answers. An error ends the connection.
func (c *conn) accept(payload []byte) error {
	if err := c.greetBare(); err != nil {
		return err
	}
	silence, refusal := c.take(payload)
	switch {
	case refusal == nil:
		c.refused = 0
		c.prove()
	case blameless(refusal.Reason):
		c.listener.refuse(refusal.Reason, c.from(), refusal.Text)
		return c.say(&wire.Answer{Error: refusal.Text})
	default:
		return c.refuse(refusal)
	}
	if !c.said.Check {
		c.probe(c.beat.Interval, silence.Dead)
	}
	if c.said.Ack || c.said.Check {
		return c.say(c.answer(silence))
	}
	return nil
}

// prove notes that the connection is worth its place, or is over.
func (c *conn) prove() {
	if !c.proven {
		c.proven = true
		c.listener.plugin.doors.prove(c.remote, c.user)
	}
}

// probe has TCP look after the other side as closely as a peer needs that
// declares interval and is allowed so much silence. A connection of one beat
// is not worth it.
func (c *conn) probe(interval, silence time.Duration) {
	if c.beats++; c.beats == 1 {
		return
	}
	socket, ok := c.socket.(*net.TCPConn)
	fit := c.probing.fit(interval, silence)
	if !ok || fit == c.probing {
		return
	}
	if err := fit.apply(socket); err != nil {
		c.listener.plugin.Log.Debugf("Setting the keepalive of %s failed: %v", c.from(), err)
	}
	c.probeMu.Lock()
	c.probing = fit
	c.probeMu.Unlock()
}

// askKernel returns what the kernel knows of the other side. Unlike the rest
// it may be called while the connection is served.
func (c *conn) askKernel() liveness.Path {
	socket, ok := c.socket.(*net.TCPConn)
	if !ok {
		return liveness.PathUnknown
	}
	c.probeMu.Lock()
	defer c.probeMu.Unlock()
	return c.probing.ask(socket)
}

// refuse answers a payload that is refused. Too many in a row are an error.
func (c *conn) refuse(refusal *wire.Refusal) error {
	c.listener.refuse(refusal.Reason, c.from(), refusal.Text)
	c.refused++
	answer := &wire.Answer{Error: refusal.Text}
	if refusal.After > 0 {
		answer.NowMS = refusal.After + 1
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
	answer.NowMS, answer.Collector = max(answer.NowMS, time.Now().UnixMilli()), c.listener.plugin.recipient.id
	return c.send(wire.AppendFrame(nil, wire.AppendAnswer(nil, answer)))
}

// greets reports whether this connection may still have to be greeted.
func (c *conn) greets() bool {
	return !c.greeted && c.listener.plugin.Welcome != "" && c.listener.secure == nil
}

// startGreeting has the connection greeted if it stays silent. Its first payload
// is due as before.
func (c *conn) startGreeting() {
	early := time.Now().Add(greetAfter)
	if !c.greets() || !early.Before(c.due) {
		return
	}
	c.early = true
	//nolint:errcheck // see startClock
	c.SetReadDeadline(early)
}

// goesOn reports whether reading goes on after err, as that is only the deadline
// of startGreeting: nothing has come yet, or nothing that was accepted.
func (c *conn) goesOn(err error) bool {
	if !c.early || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	//nolint:errcheck // see startClock
	c.SetReadDeadline(c.due)
	c.early = false
	if !c.reader.Framed() && !c.reader.Started() {
		//nolint:errcheck // reading will say what is wrong
		c.greet()
	}
	return true
}

// greetBare greets once it is known that the stream is bare: to a reader of
// frames it would be garbage.
func (c *conn) greetBare() error {
	if !c.reader.Bare() {
		return nil
	}
	return c.greet()
}

// greet sends the welcome, once.
func (c *conn) greet() error {
	if !c.greets() {
		return nil
	}
	c.greeted = true
	return c.send([]byte(c.listener.plugin.Welcome))
}

// send writes to the other side. Who does not read is cut.
func (c *conn) send(data []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(time.Duration(c.listener.plugin.FrameTimeout))); err != nil {
		return err
	}
	_, err := c.Write(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.listener.refuse(reasonUnread, c.from(), "the sender does not read its answers within 'frame_timeout'")
		return errUnread
	}
	return err
}

// ended deals with what ended the connection and returns what that says about
// the peers.
func (c *conn) ended(err error) liveness.End {
	refusal := wire.AsRefusal(err)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		refusal = &wire.Refusal{Reason: wire.ReasonTruncated, Broken: true, Text: "stream ended inside a record of TLS"}
	}
	end := liveness.EndedByUs
	switch {
	case errors.Is(err, errTooManyRefused), errors.Is(err, errUnread), errors.Is(err, net.ErrClosed):
	case refusal != nil:
		if refusal.Reason == wire.ReasonTruncated {
			end = liveness.Closed
		}
		//nolint:errcheck // the connection ends anyway
		c.refuse(refusal)
	case errors.Is(err, os.ErrDeadlineExceeded): // before anything else that says Timeout
		c.listener.refuse(reasonFrameTimeout, c.from(), c.lateness())
	default:
		if end = c.endOf(err); end != liveness.Closed {
			c.listener.plugin.Log.Debugf("Connection from %s ended: %s", c.from(), wire.Printable(err.Error()))
		}
	}
	return end
}

// endOf returns how a connection ended that was not ended by us.
func (c *conn) endOf(err error) liveness.End {
	var operation *net.OpError
	switch {
	case errors.Is(err, io.EOF):
		return liveness.Closed
	case errors.Is(err, syscall.EPIPE): // to write to: it was closed before (tcp(7), unix(7))
		return liveness.Closed
	case errors.Is(err, syscall.ECONNRESET):
		return c.reset()
	case errors.As(err, new(syscall.Errno)):
		return liveness.GivenUp
	case errors.As(err, &operation) && operation.Op == "remote error": // a fatal alert of TLS
		return liveness.Closed
	}
	return liveness.EndedByUs // what came was no TLS any more
}

// lateness says what was not in time.
func (c *conn) lateness() string {
	if c.proven || c.reader.Started() {
		return "message is not complete in time ('frame_timeout')"
	}
	return "nothing was accepted in time ('frame_timeout')"
}

// reset returns what a reset says. It may come from somebody between, or from
// the end of a process that has left something unread: the greeting, which it
// may not even expect. On a unix socket there is nobody between.
func (c *conn) reset() liveness.End {
	if _, ok := c.socket.(*net.UnixConn); ok || c.greeted {
		return liveness.Closed
	}
	return liveness.Reset
}
