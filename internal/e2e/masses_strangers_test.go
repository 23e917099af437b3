//go:build linux

package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A manner is what a stranger does with its connection.
type manner struct {
	name   string
	share  int // so many of massCycle
	does   func(*stranger) error
	secure bool   // over TLS
	reason string // for which the collector refuses it; "" for none
	waits  bool   // for the collector to close the connection
}

// massCycle is the sum of all shares. Each fiftieth stranger speaks TLS. A connection that
// is reset, or on which nothing was said, is counted by nothing.
const massCycle = 2_500

var manners = []manner{
	{name: "beat and close", share: 600, does: (*stranger).beatAndClose},
	{name: "beat and reset", share: 300, does: (*stranger).beatAndReset},
	{name: "beat and reset at once", share: 100, does: (*stranger).beatAndResetAtOnce},
	{name: "beat and vanish", share: 25, does: (*stranger).beatAndVanish},
	{name: "beat and hang up", share: 200, does: (*stranger).beatAndHangUp},
	{name: "bare JSON", share: 250, does: (*stranger).beatBare},
	{name: "beats, answers never read", share: 1, does: (*stranger).neverRead, reason: "unread", waits: true},
	{name: "half a frame and close", share: 200, does: saying(halfFrame, closing), reason: "truncated"},
	{name: "half a frame and reset", share: 250, does: saying(halfFrame, (*stranger).reset)},
	{name: "half a frame and vanish", share: 25, does: saying(halfFrame, vanishing((*stranger).untilClosed)), reason: "read_timeout", waits: true},
	{name: "half a frame and silence", share: 75, does: saying(halfFrame, (*stranger).untilClosed), reason: "read_timeout", waits: true},
	{name: "silence", share: 79, does: (*stranger).untilClosed, reason: "read_timeout", waits: true},
	{name: "nothing", share: 150, does: closing},
	{name: "nothing and reset", share: 50, does: (*stranger).reset},
	{name: "HTTP", share: 40, does: saying("GET / HTTP/1.1\r\nHost: web-1\r\n\r\n", (*stranger).untilClosed), reason: "http"},
	{name: "TLS without TLS", share: 35, does: saying("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (*stranger).untilClosed), reason: "tls"},
	{name: "empty frame", share: 35, does: saying("\x00\x00\x00\x00", (*stranger).untilClosed), reason: "empty_frame"},
	{name: "16 MiB announced", share: 35, does: saying("\x00\xff\xff\xff", (*stranger).untilClosed), reason: "oversize"},

	{name: "beat and close, TLS", share: 20, secure: true, does: (*stranger).beatAndClose},
	{name: "beat and reset, TLS", share: 10, secure: true, does: (*stranger).beatAndReset},
	{name: "half a frame and reset, TLS", share: 5, secure: true, does: saying(halfFrame, (*stranger).reset)},
	{name: "half a frame and silence, TLS", share: 5, secure: true, does: saying(halfFrame, (*stranger).untilClosed), reason: "read_timeout", waits: true},
	{name: "silence, TLS", share: 5, secure: true, does: (*stranger).untilClosed, reason: "read_timeout", waits: true},
	{name: "a frame without TLS", share: 5, secure: true, does: (*stranger).forgetTLS, reason: "tls_handshake"},
}

// mannerOf returns that of a stranger: a cycle has all of them, mixed.
func mannerOf(number int) *manner {
	const step = 1_051 // has no divisor in common with massCycle
	place := number * step % massCycle
	for i := range manners {
		if place -= manners[i].share; place < 0 {
			return &manners[i]
		}
	}
	panic("the shares are less than massCycle")
}

// scheme returns that of the address that it calls.
func (m *manner) scheme() string {
	if m.secure {
		return "tls"
	}
	return "tcp"
}

// A stranger connects once.
type stranger struct {
	*net.TCPConn
	stream net.Conn // the connection, or TLS over it, which begins with the first write
	masses *masses
	number int
	manner *manner
}

func (m *masses) stranger(number int) *stranger {
	return &stranger{masses: m, number: number, manner: mannerOf(number)}
}

// call connects and does what it does.
func (c *stranger) call() error {
	address := c.masses.address
	if c.manner.secure {
		address = c.masses.secure
	}
	from := net.IPv4(127, 16+byte(c.number/40_000%100), byte(c.number/200%200), byte(1+c.number%200))
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: testkit.Patience}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	c.TCPConn, c.stream = conn.(*net.TCPConn), conn
	defer c.Close()
	if c.manner.secure {
		c.stream = tls.Client(conn, c.masses.trust)
	}
	if err := c.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		return err
	}
	return c.manner.does(c)
}

const (
	massPeer  = "mass-%04d"
	deafPeer  = "deaf-%07d"
	halfFrame = "\x00\x00\x00\x40{\"host\": \"web-1\""
)

// peer returns which of the peers it speaks for.
func (c *stranger) peer() int { return c.number % massPeers }

// beat returns a beat of that peer. It declares an hour: that nothing more comes is no
// finding.
func (c *stranger) beat() *wire.Beat {
	return beatOf(fmt.Sprintf(massPeer, c.peer()), int64(1+c.number/massPeers), time.Hour)
}

// acknowledged beats and reads the answer.
func (c *stranger) acknowledged() error {
	v := &visitor{c.stream, wire.NewReader(c.stream, wire.MaxAnswer)}
	if err := v.say(c.beat()); err != nil {
		return err
	}
	c.masses.beats[c.peer()].certain.Add(1)
	return nil
}

func (c *stranger) beatAndClose() error {
	if err := c.acknowledged(); err != nil {
		return err
	}
	return c.stream.Close()
}

func (c *stranger) beatAndReset() error {
	if err := c.acknowledged(); err != nil {
		return err
	}
	return c.reset()
}

// beatAndResetAtOnce overtakes its beat, or does not.
func (c *stranger) beatAndResetAtOnce() error {
	c.masses.beats[c.peer()].perhaps.Add(1)
	if _, err := c.Write(frameOf(c.beat())); err != nil {
		return err
	}
	return c.reset()
}

func (c *stranger) beatAndVanish() error {
	if err := c.acknowledged(); err != nil {
		return err
	}
	return vanishing(closing)(c)
}

// beatAndHangUp closes what an answer is still to come from, which the kernel makes a
// reset.
func (c *stranger) beatAndHangUp() error {
	c.masses.beats[c.peer()].certain.Add(1)
	if _, err := c.Write(frameOf(c.beat())); err != nil {
		return err
	}
	return c.Close()
}

func (c *stranger) beatBare() error {
	payload, err := wire.AppendBeat(nil, c.beat())
	if err != nil {
		return err
	}
	c.masses.beats[c.peer()].certain.Add(1)
	if _, err := c.Write(append(payload, '\n')); err != nil {
		return err
	}
	return c.Close()
}

// neverRead wants all its beats to be acknowledged and reads nothing, until it is cut.
// Its buffer for reading is that of the system: a small one may drop even what would
// acknowledge its beats, and then it is an idle peer.
func (c *stranger) neverRead() error {
	var beats []byte
	for range 100 {
		beats = append(beats, frameOf(beatOf(fmt.Sprintf(deafPeer, c.number), 0, time.Hour))...)
	}
	for range 1000 {
		_, err := c.Write(beats)
		switch {
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
			return nil
		case err != nil:
			return err
		}
	}
	return errors.New("it was not cut")
}

// forgetTLS sends a frame to where TLS is spoken.
func (c *stranger) forgetTLS() error {
	if _, err := c.Write(frameOf(c.beat())); err != nil {
		return err
	}
	return c.untilClosed()
}

// saying returns what says something that is no beat, and then does the rest.
func saying(text string, then func(*stranger) error) func(*stranger) error {
	return func(c *stranger) error {
		if _, err := io.WriteString(c.stream, text); err != nil {
			return err
		}
		return then(c)
	}
}

func closing(c *stranger) error { return c.stream.Close() }

// reset ends the connection without a word.
func (c *stranger) reset() error {
	if err := c.SetLinger(0); err != nil {
		return err
	}
	return c.Close()
}

// vanishing returns what ends this half of the connection, and the other one is not told,
// as when a cable is cut. Without the right to do that (CAP_NET_ADMIN) otherwise is done.
func vanishing(otherwise func(*stranger) error) func(*stranger) error {
	return func(c *stranger) error {
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) })
		switch {
		case errors.Is(err, unix.EPERM):
			return otherwise(c)
		case failed != nil || err != nil:
			return errors.Join(failed, err)
		}
		return c.Close()
	}
}

// untilClosed waits until the collector closes the connection.
func (c *stranger) untilClosed() error {
	if _, err := io.Copy(io.Discard, c.TCPConn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	return nil
}
