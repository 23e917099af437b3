//go:build !linux

package main

import "net"

func cutWithEpoll(*net.TCPListener) { fail("epoll is of Linux") }
