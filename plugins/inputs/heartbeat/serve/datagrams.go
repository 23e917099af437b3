package serve

import (
	"context"
	"net"
	"runtime/debug"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// maxDatagram is the longest payload that is taken from a datagram.
const maxDatagram = 8 << 10

func (l *listener) openDatagrams(network, address string) error {
	socket, err := new(net.ListenConfig).ListenPacket(context.Background(), network, address)
	if err != nil {
		return err
	}
	l.receiveFrom(socket)
	if size := l.server.options.ReadBufferSize; size > 0 {
		err = socket.(interface{ SetReadBuffer(int) error }).SetReadBuffer(size)
	}
	if err == nil && isUnix(network) {
		err = passCredentials(socket)
	}
	return err
}

func (l *listener) receiveFrom(socket net.PacketConn) {
	l.datagrams = socket
	l.address += socket.LocalAddr().String()
}

// receiveAll takes one datagram after the other until the socket is closed.
func (l *listener) receiveAll() {
	var from Origin
	buffer := make([]byte, maxDatagram+1) // one byte more shows that it was longer
	for {
		n, addr, credentials, err := receive(l.datagrams, buffer)
		if err == nil {
			l.bytes.Add(int64(n))
			from.Addr, from.Remote, from.Credentials = addr, ipOf(addr), credentials
			l.takeDatagram(buffer[:n], &from)
			continue
		}
		if l.isClosed() {
			return
		}
		l.refuse(ReasonAccept, l.address, err.Error())
		select {
		case <-l.closed:
			return
		case <-time.After(5 * time.Millisecond): // what is wrong may last
		}
	}
}

// takeDatagram takes one payload. Datagrams are not answered: the sender may be
// another one than it says.
func (l *listener) takeDatagram(payload []byte, from *Origin) {
	defer l.survive(from)
	switch {
	case !l.server.limits.admits(from.Remote):
		l.refuse(ReasonSource, from.From(), sourceText)
	case len(payload) > maxDatagram:
		l.refuse(wire.ReasonOversize, from.From(), "datagram is longer than 8 KiB")
	default:
		reply := l.server.options.Take(payload, from)
		if reply.Refusal != nil {
			l.refuse(reply.Refusal.Reason, from.From(), reply.Refusal.Text)
		} else if reply.Recorded {
			l.beats.Add(1)
		}
	}
}

// survive logs an internal error. It is deferred: a panic costs the connection or
// the datagram that is being served.
func (l *listener) survive(from *Origin) {
	if cause := recover(); cause != nil { //nolint:revive // it is deferred, elsewhere
		l.refuse(ReasonPanic, from.From(), "internal error, please report the stack that follows")
		l.server.options.Log.Errorf("Serving %s failed: %v\n%s", from.From(), cause, debug.Stack())
	}
}
