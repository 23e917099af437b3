package heartbeat

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// maxRefused is how many payloads in a row may be refused before that costs
// the connection.
const maxRefused = 8

var lastConn atomic.Uint64

// A conn reads the beats of one connection and answers them.
type conn struct {
	net.Conn
	listener *listener
	id       liveness.ConnID
	remote   netip.Addr

	reader  *wire.Reader
	decoder wire.Decoder
	beat    observation
	refused int  // payloads in a row
	timed   bool // the clock of the payload being read runs
	armed   bool // a deadline for reading is set
	greeted bool

	first liveness.ID              // whom it beat for, usually the only one
	more  map[liveness.ID]struct{} // and who else
}

func newConn(l *listener, socket net.Conn) *conn {
	c := &conn{Conn: socket, listener: l, id: liveness.ConnID(lastConn.Add(1))}
	if addr, ok := socket.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = addr.AddrPort().Addr().Unmap().WithZone("")
	}
	c.reader = wire.NewReader(c, int(l.plugin.MaxFrameSize))
	return c
}

// serve reads until the connection ends.
func (c *conn) serve() {
	c.startClock() // for the first payload it runs from the beginning
	for {
		payload, err := c.reader.Next()
		if err != nil {
			c.ended(err)
			return
		}
		c.timed = false
		if !c.take(payload) {
			c.told(false)
			return
		}
	}
}

// Read reads for the wire.Reader. A payload that has begun has frame_timeout
// to become complete, however often a byte of it comes; between payloads
// there is no hurry.
func (c *conn) Read(p []byte) (int, error) {
	switch started := c.reader.Started(); {
	case c.timed:
	case started:
		c.startClock()
	case c.armed:
		c.stopClock()
	}
	n, err := c.Conn.Read(p)
	c.listener.bytes.Add(int64(n))
	return n, err
}

// startClock and stopClock need no look at their errors: a connection that
// takes no deadline is closed, and reading will say so.
func (c *conn) startClock() {
	c.timed, c.armed = true, true
	//nolint:errcheck // see above
	c.SetReadDeadline(time.Now().Add(time.Duration(c.listener.plugin.FrameTimeout)))
}

func (c *conn) stopClock() {
	c.armed = false
	//nolint:errcheck // see above
	c.SetReadDeadline(time.Time{})
}

// known reports whether anybody was heard on the connection.
func (c *conn) known() bool { return c.first != (liveness.ID{}) }

// take judges one payload. It reports false if the connection has to end.
func (c *conn) take(payload []byte) bool {
	now := time.Now()
	if !c.greet() {
		return false
	}
	beat, err := c.decoder.Decode(payload)
	if err != nil {
		return c.refuse(wire.AsRefusal(err), now)
	}
	who, ok := c.beat.set(beat, c.remote, c.listener.plugin)
	if !ok {
		return c.refuse(&wire.Refusal{Reason: reasonNobody, Text: "beat names no host and its connection has no address"}, now)
	}
	c.refused = 0
	if beat.Check {
		return c.acknowledge(beat, who, c.listener.plugin.intake.silence(c.beat.Interval), now)
	}
	c.listener.beats.Add(1)
	c.beat.Conn = c.id
	outcome := c.listener.plugin.intake.observe(now, &c.beat)
	if outcome.Fate == liveness.Full {
		text := "as many peers as allowed are known ('max_peers')"
		c.listener.refuse(reasonMaxPeers, c.RemoteAddr().String(), text)
		return c.say(&wire.Answer{Error: text, NowMS: now.UnixMilli()})
	}
	c.remember(who)
	return c.acknowledge(beat, who, outcome.Silence, now)
}

func (c *conn) acknowledge(beat *wire.Beat, who liveness.ID, silence liveness.Silence, now time.Time) bool {
	if !beat.Ack && !beat.Check {
		return true
	}
	return c.say(&wire.Answer{
		Seq: beat.Seq, NowMS: now.UnixMilli(), DeadAfterMS: silence.Dead.Milliseconds(), Rule: silence.Rule, ID: who.String(),
	})
}

func (c *conn) refuse(refusal *wire.Refusal, now time.Time) bool {
	c.listener.refuse(refusal.Reason, c.RemoteAddr().String(), refusal.Text)
	c.refused++
	return c.say(&wire.Answer{Error: refusal.Text, NowMS: now.UnixMilli()}) && c.refused < maxRefused
}

// say answers on framed connections. Who does not read its answers is cut.
func (c *conn) say(answer *wire.Answer) bool {
	if !c.reader.Framed() {
		return true
	}
	return c.send(wire.AppendFrame(nil, wire.AppendAnswer(nil, answer)))
}

// greet sends the welcome once it is known that the stream is bare: to the
// reader of frames it would be garbage.
func (c *conn) greet() bool {
	welcome := c.listener.plugin.Welcome
	if c.greeted || welcome == "" || !c.reader.Bare() {
		return true
	}
	c.greeted = true
	return c.send([]byte(welcome))
}

func (c *conn) send(data []byte) bool {
	if c.SetWriteDeadline(time.Now().Add(time.Duration(c.listener.plugin.FrameTimeout))) != nil {
		return false
	}
	_, err := c.Write(data)
	return err == nil
}

// ended tells why no more can be read.
func (c *conn) ended(err error) {
	refusal := wire.AsRefusal(err)
	switch {
	case refusal != nil:
		c.refuse(refusal, time.Now())
		c.told(refusal.Reason == wire.ReasonTruncated)
	case errors.Is(err, os.ErrDeadlineExceeded): // before anything else that says Timeout
		c.listener.refuse(reasonFrameTimeout, c.RemoteAddr().String(), "message is not complete in time ('frame_timeout')")
		c.told(false)
	case errors.Is(err, net.ErrClosed):
		c.told(false)
	default:
		if !errors.Is(err, io.EOF) {
			c.listener.plugin.Log.Debugf("Connection from %s ended: %v", c.RemoteAddr(), err)
		}
		c.told(true)
	}
}

// told tells the peers' judge that the connection is over.
func (c *conn) told(byPeer bool) {
	if c.known() {
		c.listener.plugin.intake.connEnded(c.id, c.heard, byPeer)
	}
}

// remember notes for whom the connection beats.
func (c *conn) remember(id liveness.ID) {
	switch {
	case id == c.first:
	case !c.known():
		c.first = id
	default:
		if c.more == nil {
			c.more = make(map[liveness.ID]struct{})
		}
		c.more[id] = struct{}{}
	}
}

// heard yields for whom it beat.
func (c *conn) heard(yield func(liveness.ID) bool) {
	if !yield(c.first) {
		return
	}
	for id := range c.more {
		if !yield(id) {
			return
		}
	}
}
