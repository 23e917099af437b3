package serve

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

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// maxRefused is how many refused payloads in a row close the connection.
const maxRefused = 8

// Why the server closes a connection.
var (
	errTooManyRefused = errors.New("too many messages in a row were refused")
	errUnread         = errors.New("answers are not read")
)

// chunkSize is how many bytes a connection with a goroutine reads at once.
const chunkSize = 4 << 10

// A ConnID identifies a connection for as long as the Server runs. 0 means no connection.
type ConnID uint64

// A conn reads the payloads of one connection and answers them.
type conn struct {
	shared *shared
	origin Origin
	socket net.Conn
	stream net.Conn // socket, or a secure one over it

	reader  *wire.Reader
	chunk   []byte // the read buffer; nil while there is nothing to read
	refused uint8  // payloads in a row
	timed   bool   // the payload being read has a deadline
	armed   bool   // a read deadline is set
	greeted bool
	proven  bool      // something was accepted
	beats   bool      // there was a beat
	early   bool      // the current deadline is that of the greeting; due comes later
	again   bool      // the deadline has passed, and one more read was tried
	due     time.Time // deadline for the first accepted payload
	mute    error     // why nothing can be written any more; input is still processed

	keepMu    sync.Mutex // guards keepAlive, and keeps the socket open while the kernel is asked
	keepAlive KeepAlive
}

func newConn(s *shared, secure *tls.Config, socket net.Conn, remote netip.Addr) *conn {
	c := &conn{shared: s, socket: socket, stream: socket, keepAlive: s.KeepAlive}
	c.origin = Origin{
		Conn: ConnID(s.lastConn.Add(1)), Addr: socket.RemoteAddr(), Remote: remote, Credentials: credentialsOf(socket),
	}
	c.keepAlive.GiveUp = 0
	if secure != nil {
		c.stream = tls.Server(socket, secure)
	}
	c.reader = wire.ReadChunks(c, s.MaxFrameSize)
	return c
}

// close closes the socket. It sends no close_notify of TLS, because that might block.
func (c *conn) close() {
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	c.socket.Close()
}

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.shared.recoverPanic(&c.origin)
	c.shared.Ended(c.origin.Conn, c.readAll(), c.origin.Remote)
}

// readAll reads to the end of the connection and returns how it ended.
func (c *conn) readAll() (end End) {
	end = EndedByUs // if it panics
	defer c.shared.recoverPanic(&c.origin)
	due := c.newDeadline()
	if err := c.handshake(due); err != nil {
		c.refuseHandshake(err)
		return end
	}
	c.begin(due)
	c.chunk = make([]byte, chunkSize)
	return c.ended(c.readAvailable())
}

// begin sets the deadline for the first accepted payload, however many are refused before.
func (c *conn) begin(due time.Time) {
	c.due = due
	c.startClock(due)
	c.startGreeting()
}

// newDeadline returns the deadline of an operation that begins now.
func (c *conn) newDeadline() time.Time { return time.Now().Add(c.shared.ReadTimeout) }

// readAvailable processes all payloads that have arrived. It returns wire.ErrAgain if the next
// one has not arrived yet or an answer has to be sent first, and any other error at the end.
func (c *conn) readAvailable() (end error) {
	end = net.ErrClosed // if it panics
	defer c.shared.recoverPanic(&c.origin)
	for {
		payload, err := c.reader.Next()
		if err == nil {
			err = c.process(payload)
			c.timed = !c.proven
		}
		if err == nil && !c.proven && time.Now().After(c.due) { // there may always be something to read
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			c.reader.Keep()
			return c.cause(err)
		}
	}
}

// cause returns why a connection ended. err is the error from reading.
func (c *conn) cause(err error) error {
	if c.mute != nil && !errors.Is(err, wire.ErrAgain) {
		return c.mute
	}
	return err
}

// overdue handles a read deadline that has passed. It returns nil if reading continues.
func (c *conn) overdue() (end error) {
	end = net.ErrClosed // if it panics
	defer c.shared.recoverPanic(&c.origin)
	if c.isGreetingDue(os.ErrDeadlineExceeded) {
		return nil
	}
	return os.ErrDeadlineExceeded
}

// Chunk reads for the wire.Reader. A payload must be complete within ReadTimeout of its first
// byte, however often a byte arrives. Once a payload was accepted, there is no limit between
// payloads.
func (c *conn) Chunk() ([]byte, error) {
	if err := c.greetBare(); err != nil {
		return nil, err
	}
	switch started := c.reader.Started(); {
	case c.timed:
	case started:
		c.startClock(c.newDeadline())
	case c.armed:
		c.stopClock()
	}
	n, err := c.stream.Read(c.chunk)
	if c.isGreetingDue(err) || c.mayReadAgain(err) {
		n, err = c.stream.Read(c.chunk)
	}
	c.shared.bytes.Add(int64(n))
	return c.chunk[:n], err
}

// lookTime is the longest time that reading available bytes takes.
const lookTime = 10 * time.Millisecond

// mayReadAgain reports whether err means only that a deadline has passed. If so, read once more:
// while this process was suspended, data may have arrived before the deadline.
func (c *conn) mayReadAgain(err error) bool {
	if c.again || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.again = true
	//nolint:errcheck // see startClock
	c.stream.SetReadDeadline(time.Now().Add(lookTime))
	return true
}

// startClock and stopClock ignore errors: setting a deadline fails only if the connection is
// closed, and then reading fails too.
func (c *conn) startClock(due time.Time) {
	c.timed, c.armed, c.early, c.again = true, true, false, false
	//nolint:errcheck // see above
	c.stream.SetReadDeadline(due)
}

func (c *conn) stopClock() {
	c.armed, c.early = false, false
	//nolint:errcheck // see above
	c.stream.SetReadDeadline(time.Time{})
}

// process processes one payload and answers it. An error ends the connection.
func (c *conn) process(payload []byte) error {
	if err := c.greetBare(); err != nil {
		return err
	}
	reply := c.shared.Receive(payload, &c.origin)
	if reply.Refusal != nil {
		return c.refuse(reply.Refusal, reply.Blameless)
	}
	c.refused = 0
	c.prove()
	if reply.Recorded {
		c.shared.beats.Add(1)
		c.adaptKeepAlive(reply.Interval, reply.Silence)
	}
	if reply.Answer != nil {
		return c.answer(reply.Answer)
	}
	return nil
}

// prove records that a payload of the connection was accepted, or that the connection has ended.
func (c *conn) prove() {
	if !c.proven {
		c.proven = true
		c.shared.limits.prove(&c.origin)
	}
}

// adaptKeepAlive adapts the keepalive of the connection to a peer with this interval and this
// allowed silence. It does nothing at the first beat, unless TCP would give up too early:
// there may be no second one.
func (c *conn) adaptKeepAlive(interval, silence time.Duration) {
	first := !c.beats
	if c.beats = true; first && silence <= c.shared.KeepAlive.GiveUp {
		return
	}
	fit := c.keepAlive.adapt(interval, silence)
	if !c.isTCP() || fit == c.keepAlive {
		return
	}
	if err := fit.apply(c.socket); err != nil {
		c.shared.Log.Debugf("Setting the keepalive of %s failed: %v", c.origin.From(), err)
	}
	c.keepMu.Lock()
	c.keepAlive = fit
	c.keepMu.Unlock()
}

// askKernel returns what the kernel knows about the other side. Unlike the other methods, it may be
// called while the connection is served.
func (c *conn) askKernel() Path {
	if !c.isTCP() {
		return PathUnknown
	}
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	return c.keepAlive.ask(c.socket)
}

// isTCP reports whether the socket is a TCP socket whose descriptor can be used.
func (c *conn) isTCP() bool {
	_, open := c.socket.(syscall.Conn)
	return open && c.origin.Remote.IsValid()
}

// refuse answers a refused payload. It returns an error after too many refusals in a row; refusals
// that are not the sender's fault do not count.
func (c *conn) refuse(refusal *wire.Refusal, blameless bool) error {
	c.shared.refuse(refusal.Reason, c.origin.From(), refusal.Text)
	answer := &wire.Answer{Error: refusal.Text}
	if refusal.After > 0 {
		answer.NowMS = refusal.After + 1
	}
	if !blameless {
		c.refused++
	}
	err := c.answer(answer)
	if c.refused >= maxRefused && (err == nil || errors.Is(err, wire.ErrAgain)) {
		return errTooManyRefused
	}
	return err
}

// answer sends an answer on a framed connection.
func (c *conn) answer(answer *wire.Answer) error {
	if !c.reader.Framed() {
		return nil
	}
	answer.NowMS, answer.Collector = max(answer.NowMS, time.Now().UnixMilli()), c.shared.Collector
	return c.send(wire.AppendFrame(nil, wire.AppendAnswer(nil, answer)))
}

// send writes to the other side, and closes the connection if the other side does not read. After
// wire.ErrAgain, nothing may be read until the data is sent.
func (c *conn) send(data []byte) error {
	if c.mute != nil {
		return nil //nolint:nilerr // cause returns it when all is read
	}
	if err := c.stream.SetWriteDeadline(time.Now().Add(c.shared.ReadTimeout)); err != nil {
		return err
	}
	_, err := c.stream.Write(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.refuseUnread()
	}
	return c.ignoreGone(err)
}

// ignoreGone returns a write error, or nil if it means that the other side has gone. What the other
// side sent before that, such as a goodbye, must still be read.
func (c *conn) ignoreGone(err error) error {
	if errors.As(err, new(syscall.Errno)) && !errors.Is(err, net.ErrClosed) {
		c.mute = err
		return nil
	}
	return err
}

// refuseUnread refuses a sender that does not read its answers.
func (c *conn) refuseUnread() (end error) {
	end = errUnread // also if it panics
	defer c.shared.recoverPanic(&c.origin)
	c.shared.refuse(ReasonUnread, c.origin.From(), "the sender does not read its answers within 'read_timeout'")
	return errUnread
}

// greetAfter is the silence after which a connection is greeted: its client may be waiting
// for the greeting.
const greetAfter = time.Second

// mayGreet reports whether this connection may still get a greeting.
func (c *conn) mayGreet() bool {
	return !c.greeted && c.shared.Welcome != "" && c.stream == c.socket
}

// startGreeting sets a deadline after which a silent connection is greeted. The deadline of
// its first payload does not change.
func (c *conn) startGreeting() {
	early := time.Now().Add(greetAfter)
	if !c.mayGreet() || !early.Before(c.due) {
		return
	}
	c.early = true
	//nolint:errcheck // see startClock
	c.stream.SetReadDeadline(early)
}

// isGreetingDue reports whether err means only that the deadline set by startGreeting has passed.
// If so, reading continues.
func (c *conn) isGreetingDue(err error) bool {
	if !c.early || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	//nolint:errcheck // see startClock
	c.stream.SetReadDeadline(c.due)
	c.early = false
	if !c.reader.Framed() && !c.reader.Started() {
		//nolint:errcheck // reading will fail too
		c.greet()
	}
	return true
}

// greetBare greets once the stream is known to be bare. A reader of frames could not parse
// the greeting.
func (c *conn) greetBare() error {
	if !c.reader.Bare() {
		return nil
	}
	return c.greet()
}

// greet sends the welcome, once.
func (c *conn) greet() error {
	if !c.mayGreet() {
		return nil
	}
	c.greeted = true
	if err := c.send([]byte(c.shared.Welcome)); !errors.Is(err, wire.ErrAgain) {
		return err
	}
	return nil
}

// ended handles the error that ended the connection, and returns how it ended.
func (c *conn) ended(err error) (end End) {
	end = EndedByUs // if it panics
	defer c.shared.recoverPanic(&c.origin)
	refusal := wire.AsRefusal(err)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		refusal = &wire.Refusal{Reason: wire.ReasonTruncated, Broken: true, Text: "stream ended inside a TLS record"}
	}
	switch {
	case errors.Is(err, errTooManyRefused), errors.Is(err, errUnread), errors.Is(err, net.ErrClosed):
	case refusal != nil:
		if refusal.Reason == wire.ReasonTruncated {
			end = Closed
		}
		//nolint:errcheck // the connection ends anyway
		c.refuse(refusal, false)
	case errors.Is(err, os.ErrDeadlineExceeded): // before other errors that are timeouts
		c.shared.refuse(ReasonReadTimeout, c.origin.From(), c.timeoutText())
	default:
		if end = endOf(err, c.resetIsClose()); end != Closed {
			c.shared.Log.Debugf("Connection from %s ended: %s", c.origin.From(), wire.Printable(err.Error()))
		}
	}
	return end
}

// timeoutText returns the error text for a read deadline that has passed.
func (c *conn) timeoutText() string {
	if c.proven || c.reader.Started() {
		return "message is not complete within 'read_timeout'"
	}
	return "nothing was accepted within 'read_timeout'"
}

// resetIsClose reports whether a reset means that the other side closed the connection. On a Unix
// socket nothing in between can send a reset, and a client that has not read the greeting sends one
// when it closes.
func (c *conn) resetIsClose() bool {
	_, local := c.socket.(*net.UnixConn)
	return local || c.greeted
}
