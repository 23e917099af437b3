package heartbeat

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// peerCredentials returns what is known of the process that made a connection:
// on unix sockets (unix(7), SO_PEERCRED).
func peerCredentials(socket net.Conn) (of credentials) {
	conn, ok := socket.(*net.UnixConn)
	if !ok {
		return of
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return of
	}
	//nolint:errcheck // then it is not known
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			of = credentials{uint32(cred.Pid), cred.Uid, true}
		}
	})
	return of
}

// tellSenders has the kernel tell with each datagram which process sent it.
func tellSenders(socket net.PacketConn) error {
	raw, err := socket.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	if err != nil {
		return err
	}
	return failed
}

// receive reads one datagram.
func receive(socket net.PacketConn, buffer []byte) (int, origin, error) {
	conn, ok := socket.(*net.UnixConn)
	if !ok {
		n, addr, err := socket.ReadFrom(buffer)
		return n, origin{addr: addr}, err
	}
	var extra [256]byte
	n, extras, _, addr, err := conn.ReadMsgUnix(buffer, extra[:])
	if err != nil {
		return 0, origin{}, err
	}
	from := origin{addr: addr}
	messages, err := unix.ParseSocketControlMessage(extra[:extras])
	if err != nil {
		return n, from, nil //nolint:nilerr // then the process is not known
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			from.credentials = credentials{uint32(cred.Pid), cred.Uid, true}
		}
		closePassed(&messages[i])
	}
	return n, from, nil
}

// calls reports whether a process goes by this number, here or in a container of
// its own.
func calls(pid, itself uint32) bool {
	if pid == itself {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && hasNSpid(string(status), itself)
}

// hasNSpid tells whether pid is one of the numbers that a status names, from
// the outermost namespace to the innermost (proc(5)).
func hasNSpid(status string, pid uint32) bool {
	_, rest, _ := strings.Cut(status, "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	return slices.Contains(strings.Fields(line), strconv.FormatUint(uint64(pid), 10))
}

// closePassed closes what a sender has passed to us unasked: each of its files
// would cost us a descriptor.
func closePassed(message *unix.SocketControlMessage) {
	files, err := unix.ParseUnixRights(message)
	if err != nil {
		return // it is about something else
	}
	for _, fd := range files {
		unix.Close(fd)
	}
}
