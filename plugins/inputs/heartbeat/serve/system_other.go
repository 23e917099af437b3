//go:build !linux

package serve

import "net"

// credentialsOf would return what is known of the process that made a connection;
// here nothing is.
func credentialsOf(net.Conn) Credentials { return Credentials{} }

func passCredentials(net.PacketConn) error { return nil }

// receive reads one datagram.
func receive(socket net.PacketConn, buffer []byte) (int, net.Addr, Credentials, error) {
	n, addr, err := socket.ReadFrom(buffer)
	return n, addr, Credentials{}, err
}

// apply sets k on a connection.
func (k KeepAlive) apply(socket *net.TCPConn) error { return socket.SetKeepAliveConfig(k.config()) }

// ask knows nothing: only Linux is asked.
func (KeepAlive) ask(*net.TCPConn) Path { return PathUnknown }
