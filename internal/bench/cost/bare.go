//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// The bare servers.
const (
	roleReader    = "bare reader"
	roleLoop      = "bare loop"
	roleDatagrams = "bare datagrams"
)

// readBare reads frames with a goroutine for each connection, and does nothing
// with them.
func readBare(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() { // ends with its connection
			defer conn.Close()
			reader := bufio.NewReader(conn)
			payload := make([]byte, 0, 512)
			for {
				var header [wire.HeaderSize]byte
				if _, err := io.ReadFull(reader, header[:]); err != nil {
					return
				}
				payload = payload[:binary.BigEndian.Uint32(header[:])]
				if _, err := io.ReadFull(reader, payload); err != nil {
					return
				}
			}
		}()
	}
}

// readInLoop reads whatever comes with one loop around epoll (epoll(7)), and
// does not even look for frames.
func readInLoop(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	door := int(file.Fd())
	loop, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	watch := func(fd int) error {
		return unix.EpollCtl(loop, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err := watch(door); err != nil {
		return err
	}
	buffer, events := make([]byte, 64<<10), make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(loop, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			fd := int(event.Fd)
			if fd == door {
				if fd, _, err = unix.Accept4(door, unix.SOCK_NONBLOCK); err != nil {
					continue // whoever it was has gone, or a signal came
				}
				if err := watch(fd); err != nil {
					return err
				}
			} else if n, err := unix.Read(fd, buffer); n == 0 || err != nil {
				unix.Close(fd)
			}
		}
	}
}

func readDatagrams(address string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for {
		if _, _, err := socket.ReadFrom(buffer); err != nil {
			return err
		}
	}
}
