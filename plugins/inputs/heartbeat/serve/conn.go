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

// maxRefused is how many payloads in a row may be refused before that costs
// the connection.
const maxRefused = 8

// Why we end a connection.
var (
	errTooManyRefused = errors.New("too many messages in a row were refused")
	errUnread         = errors.New("answers are not read")
)

// chunkSize is how much a connection that has a goroutine reads at once, in bytes.
const chunkSize = 4 << 10

// A ConnID names a connection for the life of a Server. 0 is none.
type ConnID uint64

// A conn reads the payloads of one connection and answers them.
type conn struct {
	shared *shared
	origin Origin
	socket net.Conn
	stream net.Conn // socket, or a secure one over it

	reader  *wire.Reader
	chunk   []byte // to be read to; nil while there is nothing to read
	refused uint8  // payloads in a row
	timed   bool   // the clock of the payload being read runs
	armed   bool   // a deadline for reading is set
	greeted bool
	proven  bool      // something was accepted
	beats   bool      // there was a beat
	early   bool      // the deadline that is set is that of the greeting, due follows
	again   bool      // it has passed, and it was looked whether something came before
	due     time.Time // when something has to be accepted
	mute    error     // why nothing can be written any more; what has come is taken all the same

	keepMu    sync.Mutex // guards keepAlive, and that the socket is open while the kernel is asked
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

// close closes the socket, however secure: to say so first might have to wait
// for room.
func (c *conn) close() {
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	c.socket.Close()
}

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.shared.survive(&c.origin)
	c.shared.Ended(c.origin.Conn, c.readAll(), c.origin.Remote)
}

// readAll takes what comes and returns how the connection ended.
func (c *conn) readAll() (end End) {
	end = EndedByUs // if it panics
	defer c.shared.survive(&c.origin)
	due := c.fromNow()
	if err := c.shakeHands(due); err != nil {
		c.refuseHandshake(err)
		return end
	}
	c.begin(due)
	c.chunk = make([]byte, chunkSize)
	return c.ended(c.readAvailable())
}

// begin sets when the first payload is due, however many are refused before.
func (c *conn) begin(due time.Time) {
	c.due = due
	c.startClock(due)
	c.startGreeting()
}

// fromNow returns when what begins now has to be complete.
func (c *conn) fromNow() time.Time { return time.Now().Add(c.shared.ReadTimeout) }

// readAvailable takes all payloads that are there. It returns wire.ErrAgain if the
// next one has yet to come or an answer has to go first, and any other error if none will.
func (c *conn) readAvailable() (end error) {
	end = net.ErrClosed // if it panics
	defer c.shared.survive(&c.origin)
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
			c.reader.Keep()
			return c.cause(err)
		}
	}
}

// cause returns why a connection has ended of which err is what reading says.
func (c *conn) cause(err error) error {
	if c.mute != nil && !errors.Is(err, wire.ErrAgain) {
		return c.mute
	}
	return err
}

// overdue is what becomes of a deadline of reading that has passed. It returns nil if reading
// goes on.
func (c *conn) overdue() (end error) {
	end = net.ErrClosed // if it panics
	defer c.shared.survive(&c.origin)
	if c.goesOn(os.ErrDeadlineExceeded) {
		return nil
	}
	return os.ErrDeadlineExceeded
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
	n, err := c.stream.Read(c.chunk)
	if c.goesOn(err) || c.mayHaveCome(err) {
		n, err = c.stream.Read(c.chunk)
	}
	c.shared.bytes.Add(int64(n))
	return c.chunk[:n], err
}

// lookTime is how long it takes at the most to read what is there.
const lookTime = 10 * time.Millisecond

// mayHaveCome reports whether to read once more after err, as that is only a deadline: if this
// process was stopped, something may have come before that passed.
func (c *conn) mayHaveCome(err error) bool {
	if c.again || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.again = true
	//nolint:errcheck // see startClock
	c.stream.SetReadDeadline(time.Now().Add(lookTime))
	return true
}

// startClock and stopClock need no look at their errors: a connection that
// takes no deadline is closed, and reading will say so.
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

// take has one payload taken and answers it. An error ends the connection.
func (c *conn) take(payload []byte) error {
	if err := c.greetBare(); err != nil {
		return err
	}
	reply := c.shared.Take(payload, &c.origin)
	if reply.Refusal != nil {
		return c.refuse(reply.Refusal, reply.Blameless)
	}
	c.refused = 0
	c.prove()
	if reply.Recorded {
		c.shared.beats.Add(1)
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
		c.shared.limits.prove(&c.origin)
	}
}

// keepUp has TCP look after the other side as closely as a peer needs that
// declares interval and is allowed so much silence. A connection of one beat
// is not worth it, unless TCP would give up too early.
func (c *conn) keepUp(interval, silence time.Duration) {
	first := !c.beats
	if c.beats = true; first && silence <= c.shared.KeepAlive.GiveUp {
		return
	}
	fit := c.keepAlive.fit(interval, silence)
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

// askKernel returns what the kernel knows of the other side. Unlike the rest
// it may be called while the connection is served.
func (c *conn) askKernel() Path {
	if !c.isTCP() {
		return PathUnknown
	}
	c.keepMu.Lock()
	defer c.keepMu.Unlock()
	return c.keepAlive.ask(c.socket)
}

// isTCP reports whether the socket is one of TCP that can be asked.
func (c *conn) isTCP() bool {
	_, open := c.socket.(syscall.Conn)
	return open && c.origin.Remote.IsValid()
}

// refuse answers a payload that is refused. Too many in a row are an error, unless
// the sender is not to blame.
func (c *conn) refuse(refusal *wire.Refusal, blameless bool) error {
	c.shared.refuse(refusal.Reason, c.origin.From(), refusal.Text)
	answer := &wire.Answer{Error: refusal.Text}
	if refusal.After > 0 {
		answer.NowMS = refusal.After + 1
	}
	if !blameless {
		c.refused++
	}
	err := c.say(answer)
	if c.refused >= maxRefused && (err == nil || errors.Is(err, wire.ErrAgain)) {
		return errTooManyRefused
	}
	return err
}

// say answers on framed connections.
func (c *conn) say(answer *wire.Answer) error {
	if !c.reader.Framed() {
		return nil
	}
	answer.NowMS, answer.Collector = max(answer.NowMS, time.Now().UnixMilli()), c.shared.Collector
	return c.send(wire.AppendFrame(nil, wire.AppendAnswer(nil, answer)))
}

// send writes to the other side. One that does not read is disconnected. After wire.ErrAgain
// the data is being sent, and nothing is to be read before it is.
func (c *conn) send(data []byte) error {
	if c.mute != nil {
		return nil //nolint:nilerr // cause says it when all is read
	}
	if err := c.stream.SetWriteDeadline(time.Now().Add(c.shared.ReadTimeout)); err != nil {
		return err
	}
	_, err := c.stream.Write(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.unread()
	}
	return c.unlessGone(err)
}

// unlessGone returns err of writing, unless that is that the other side has gone. It may have
// said more before that, be it goodbye, which is still to be read.
func (c *conn) unlessGone(err error) error {
	if errors.As(err, new(syscall.Errno)) && !errors.Is(err, net.ErrClosed) {
		c.mute = err
		return nil
	}
	return err
}

// unread refuses a sender that does not read its answers.
func (c *conn) unread() (end error) {
	end = errUnread // also if it panics
	defer c.shared.survive(&c.origin)
	c.shared.refuse(ReasonUnread, c.origin.From(), "the sender does not read its answers within 'read_timeout'")
	return errUnread
}

// greetAfter is how long a connection may be silent before it is greeted: its
// client may be waiting for that.
const greetAfter = time.Second

// greets reports whether this connection may still have to be greeted.
func (c *conn) greets() bool {
	return !c.greeted && c.shared.Welcome != "" && c.stream == c.socket
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
	c.stream.SetReadDeadline(early)
}

// goesOn reports whether reading goes on after err, as that is only the deadline
// of startGreeting: nothing has come yet, or nothing that was accepted.
func (c *conn) goesOn(err error) bool {
	if !c.early || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	//nolint:errcheck // see startClock
	c.stream.SetReadDeadline(c.due)
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
	if err := c.send([]byte(c.shared.Welcome)); !errors.Is(err, wire.ErrAgain) {
		return err
	}
	return nil
}

// ended deals with what ended the connection and returns what that says about
// the peers.
func (c *conn) ended(err error) (end End) {
	end = EndedByUs // if it panics
	defer c.shared.survive(&c.origin)
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
	case errors.Is(err, os.ErrDeadlineExceeded): // before anything else that says Timeout
		c.shared.refuse(ReasonReadTimeout, c.origin.From(), c.lateness())
	default:
		if end = endOf(err, c.resetIsClose()); end != Closed {
			c.shared.Log.Debugf("Connection from %s ended: %s", c.origin.From(), wire.Printable(err.Error()))
		}
	}
	return end
}

// lateness says what was not in time.
func (c *conn) lateness() string {
	if c.proven || c.reader.Started() {
		return "message is not complete within 'read_timeout'"
	}
	return "nothing was accepted within 'read_timeout'"
}

// resetIsClose reports whether a reset means that the other process has ended: on a Unix
// socket nobody between can have made it, and one that was greeted may have left that
// unread.
func (c *conn) resetIsClose() bool {
	_, local := c.socket.(*net.UnixConn)
	return local || c.greeted
}
