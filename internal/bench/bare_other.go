//go:build !linux

package main

import "net"

func readWithEpoll(*net.TCPListener) { fail("epoll exists only on Linux") }
