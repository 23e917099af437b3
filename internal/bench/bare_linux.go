package main

import (
	"net"
	"syscall"
)

// readWithEpoll is the bare reader without goroutines. It uses one thread, and stores only the
// descriptor of each connection and its position in a frame.
func readWithEpoll(listener *net.TCPListener) {
	file := must(listener.File())
	defer file.Close() // keeps it from being garbage-collected
	listenerFD := int(file.Fd())
	poll := must(syscall.EpollCreate1(0))
	addToPoll(poll, listenerFD)
	var (
		frames = make(map[int32]*frame)
		events [128]syscall.EpollEvent
		buffer [4 << 10]byte
	)
	for {
		n, err := syscall.EpollWait(poll, events[:], -1)
		if err == syscall.EINTR {
			continue
		}
		check(err)
		for _, event := range events[:n] {
			if int(event.Fd) == listenerFD {
				fd, _, err := syscall.Accept4(listenerFD, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
				check(err)
				frames[int32(fd)] = new(frame)
				addToPoll(poll, fd)
				continue
			}
			read, err := syscall.Read(int(event.Fd), buffer[:])
			if read > 0 {
				frames[event.Fd].feed(buffer[:read])
			} else if err != syscall.EAGAIN {
				delete(frames, event.Fd)
				check(syscall.Close(int(event.Fd)))
			}
		}
	}
}

func addToPoll(poll, fd int) {
	check(syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}))
}
