//go:build !linux

package serve

import (
	"net"
	"syscall"
)

// credentialsOf returns nothing: the credentials of a process are known only on Linux.
func credentialsOf(net.Conn) Credentials { return Credentials{} }

func passCredentials(net.PacketConn) error { return nil }

// receive reads one datagram, and sets from to its address.
func receive(socket net.PacketConn, buffer []byte, from *Origin) (int, error) {
	return readDatagram(socket, buffer, from)
}

// apply sets k on a connection.
func (k KeepAlive) apply(socket net.Conn) error {
	return socket.(*net.TCPConn).SetKeepAliveConfig(k.config())
}

// applyToListener does nothing: apply sets the options on each connection.
func (KeepAlive) applyToListener(string, string, syscall.RawConn) error { return nil }

// ask returns PathUnknown: it is supported only on Linux.
func (KeepAlive) ask(net.Conn) Path { return PathUnknown }
