package heartbeat

import (
	"math"
	"net"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// apply sets p on a connection.
func (p probing) apply(socket *net.TCPConn) error {
	if err := socket.SetKeepAliveConfig(p.config()); err != nil {
		return err
	}
	timeout := int(min(p.giveUp.Milliseconds(), math.MaxInt32)) // which is what the kernel takes
	return onDescriptor(socket, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, timeout)
	})
}

// ask asks the kernel what it knows of the other side (tcp(7), TCP_INFO).
func (p probing) ask(socket *net.TCPConn) liveness.Path {
	path := liveness.PathUnknown
	err := onDescriptor(socket, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		data, anything := milliseconds(int64(info.Last_data_recv)), milliseconds(int64(info.Last_ack_recv))
		if info.Unacked > 0 && info.Retransmits > 0 {
			anything = data // our answers do not arrive, so what is heard may be repetitions only
		}
		path = p.path(data, anything)
		return nil
	})
	if err != nil {
		return liveness.PathUnknown
	}
	return path
}

func onDescriptor(socket *net.TCPConn, do func(fd int) error) error {
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
