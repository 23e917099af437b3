package web

import (
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

// A visit is one connection. It counts input that never becomes a request: package http answers
// such input by itself, or closes the connection.
type visit struct {
	net.Conn
	server  *Server
	begun   atomic.Bool // a request is being answered
	partial atomic.Bool // part of the next request has arrived, or nothing at all yet
	refused atomic.Bool
}

// A countingListener accepts connections as visits.
type countingListener struct {
	net.Listener
	server *Server
}

// Accept returns the next one.
func (v countingListener) Accept() (net.Conn, error) {
	conn, err := v.Listener.Accept()
	if err != nil {
		return nil, err
	}
	visit := &visit{Conn: conn, server: v.server}
	visit.partial.Store(true)
	return visit, nil
}

// follow records the state of a connection. When it is idle, a request has ended.
func (s *Server) follow(conn net.Conn, state http.ConnState) {
	v, ok := conn.(*visit)
	switch {
	case !ok:
	case state == http.StateNew:
		s.visits.Add(1)
	case state == http.StateIdle:
		v.begun.Store(false)
		v.partial.Store(false)
	case state == http.StateClosed:
		s.visits.Done()
	}
}

// begin records that a request has been read. A request of a test has no visit.
func (v *visit) begin() {
	if v != nil {
		v.begun.Store(true)
	}
}

// Read reads, and refuses a request that is not complete in time.
func (v *visit) Read(p []byte) (int, error) {
	n, err := v.Conn.Read(p)
	if n > 0 {
		v.partial.Store(true)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !v.begun.Load() && v.partial.Load() {
		v.refuse(func() {
			v.server.Refused(reasonReadTimeout, v.RemoteAddr().String(), "the request is not complete within 'read_timeout'")
		})
	}
	return n, err
}

// Write writes. Output before a request has begun is package http's answer to bad input.
func (v *visit) Write(p []byte) (int, error) {
	if !v.begun.Load() {
		v.refuse(func() {
			v.server.Refused(ReasonRequest, v.RemoteAddr().String(), "not an HTTP/1.1 request, or its headers are longer than 16 KiB")
		})
	}
	return v.Conn.Write(p)
}

// refuse refuses a connection once.
func (v *visit) refuse(how func()) {
	if !v.refused.Swap(true) {
		how()
	}
}
