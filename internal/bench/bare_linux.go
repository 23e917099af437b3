package main

import (
	"net"
	"syscall"
)

// cutWithEpoll is the bare reader without goroutines: one thread, which keeps of a
// connection its descriptor and where in a frame it is.
func cutWithEpoll(listener *net.TCPListener) {
	file := must(listener.File())
	defer file.Close() // until then it must not be collected
	door := int(file.Fd())
	poll := must(syscall.EpollCreate1(0))
	watch(poll, door)
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
			if int(event.Fd) == door {
				fd, _, err := syscall.Accept4(door, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
				check(err)
				frames[int32(fd)] = new(frame)
				watch(poll, fd)
				continue
			}
			read, err := syscall.Read(int(event.Fd), buffer[:])
			if read > 0 {
				frames[event.Fd].cut(buffer[:read])
			} else if err != syscall.EAGAIN {
				delete(frames, event.Fd)
				check(syscall.Close(int(event.Fd)))
			}
		}
	}
}

func watch(poll, fd int) {
	check(syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}))
}
