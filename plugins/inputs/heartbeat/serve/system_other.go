//go:build !linux

package serve

import (
	"net"
	"syscall"
)

// credentialsOf would return what is known of the process that made a connection;
// here nothing is.
func credentialsOf(net.Conn) Credentials { return Credentials{} }

func passCredentials(net.PacketConn) error { return nil }

// receive reads one datagram, and notes the address that it is from.
func receive(socket net.PacketConn, buffer []byte, from *Origin) (int, error) {
	return readDatagram(socket, buffer, from)
}

// apply sets k on a connection.
func (k KeepAlive) apply(socket net.Conn) error {
	return socket.(*net.TCPConn).SetKeepAliveConfig(k.config())
}

// bequeath does nothing: what is set on each connection is enough.
func (KeepAlive) bequeath(string, string, syscall.RawConn) error { return nil }

// ask knows nothing: only Linux is asked.
func (KeepAlive) ask(net.Conn) Path { return PathUnknown }
