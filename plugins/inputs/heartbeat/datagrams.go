package heartbeat

import (
	"context"
	"net"
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
	if size := int(l.plugin.ReadBufferSize); size > 0 {
		err = socket.(interface{ SetReadBuffer(int) error }).SetReadBuffer(size)
	}
	if err == nil && isUnix(network) {
		err = tellSenders(socket)
	}
	return err
}

func (l *listener) receiveFrom(socket net.PacketConn) {
	l.datagrams = socket
	l.address += socket.LocalAddr().String()
}

// receiveAll takes in one datagram after the other until the socket is closed.
func (l *listener) receiveAll() {
	r := &receiver{listener: l, workbench: new(workbench)}
	buffer := make([]byte, maxDatagram+1) // one byte more shows that it was longer
	for {
		n, from, err := receive(l.datagrams, buffer)
		if err == nil {
			l.bytes.Add(int64(n))
			r.remote, r.origin = ipOf(from.addr), from
			l.takeDatagram(r, buffer[:n])
			continue
		}
		if l.isClosed() {
			return
		}
		l.refuse(reasonAccept, l.address, err.Error())
		select {
		case <-l.closed:
			return
		case <-time.After(5 * time.Millisecond): // what is wrong may last
		}
	}
}

// takeDatagram judges one payload. Nobody is answered: who sent it may be
// somebody else than it says.
func (l *listener) takeDatagram(r *receiver, payload []byte) {
	defer r.survive()
	switch {
	case !l.plugin.doors.admits(r.remote):
		l.refuse(reasonSource, r.from(), sourceText)
	case len(payload) > maxDatagram:
		l.refuse(wire.ReasonOversize, r.from(), "datagram is longer than 8 KiB")
	default:
		if _, refusal := r.take(payload); refusal != nil {
			l.refuse(refusal.Reason, r.from(), refusal.Text)
		}
	}
}
