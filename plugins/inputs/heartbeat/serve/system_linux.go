package serve

import (
	"errors"
	"math"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// credentialsOf returns the credentials of the process that made a connection, on Unix
// sockets (unix(7), SO_PEERCRED).
func credentialsOf(socket net.Conn) (of Credentials) {
	conn, ok := socket.(*net.UnixConn)
	if !ok {
		return of
	}
	//nolint:errcheck // then they are not known
	onDescriptor(conn, func(fd int) error {
		cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			of = Credentials{uint32(cred.Pid), cred.Uid, true}
		}
		return err
	})
	return of
}

// passCredentials makes the kernel add the credentials of the sender to each datagram.
func passCredentials(socket net.PacketConn) error {
	return onDescriptor(socket.(*net.UnixConn), func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
}

// receive reads one datagram, and sets from to its address and the process that sent it.
func receive(socket net.PacketConn, buffer []byte, from *Origin) (n int, err error) {
	from.Credentials = Credentials{}
	conn, ok := socket.(*net.UnixConn)
	if !ok {
		return readDatagram(socket, buffer, from)
	}
	var extra [256]byte
	n, extras, _, addr, err := conn.ReadMsgUnix(buffer, extra[:])
	if err != nil {
		return 0, err
	}
	from.Addr = addr
	messages, err := unix.ParseSocketControlMessage(extra[:extras])
	if err != nil {
		return n, nil //nolint:nilerr // then the process is not known
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			from.Credentials = Credentials{uint32(cred.Pid), cred.Uid, true}
		}
		closePassed(&messages[i])
	}
	return n, nil
}

// closePassed closes files that a sender has passed to us: each would use up a descriptor.
func closePassed(message *unix.SocketControlMessage) {
	files, err := unix.ParseUnixRights(message)
	if err != nil {
		return // it is another kind of message
	}
	for _, fd := range files {
		unix.Close(fd)
	}
}

// apply sets k on a connection.
func (k KeepAlive) apply(socket net.Conn) error {
	timeout := int(min(k.GiveUp.Milliseconds(), math.MaxInt32)) // the largest that the kernel accepts
	return onDescriptor(socket.(syscall.Conn), func(fd int) error {
		return errors.Join(k.set(fd), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, timeout))
	})
}

// set sets the keepalive options of a connection, or of a listening socket, whose connections
// inherit them (tcp(7)).
func (k KeepAlive) set(fd int) error {
	config := k.config()
	seconds := func(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(config.Idle)),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(config.Interval)),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, config.Count),
	)
}

// applyToListener sets options on a socket before it listens. All its connections inherit them,
// even before they are accepted. Setting them on each connection would take five system calls, even
// for a connection that carries one beat.
func (k KeepAlive) applyToListener(network, _ string, socket syscall.RawConn) error {
	if isUnix(network) {
		return nil
	}
	return socket.Control(func(fd uintptr) {
		//nolint:errcheck // without them, answers are slower and a lost host is noticed later
		errors.Join(k.set(int(fd)), unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	})
}

// ask asks the kernel what it knows about the other side (tcp(7), TCP_INFO).
func (k KeepAlive) ask(socket net.Conn) Path {
	path := PathUnknown
	err := onDescriptor(socket.(syscall.Conn), func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		data := time.Duration(info.Last_data_recv) * time.Millisecond
		anything := time.Duration(info.Last_ack_recv) * time.Millisecond
		if info.Unacked > 0 && info.Retransmits > 0 {
			anything = data // our answers do not arrive, so acknowledgements may come with retransmissions only
		}
		path = k.path(data, anything)
		return nil
	})
	if err != nil {
		return PathUnknown
	}
	return path
}

func onDescriptor(socket syscall.Conn, do func(fd int) error) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}
