package web

import (
	"context"
	"errors"
	"log" //nolint:depguard // package http logs to nothing else
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// readLimit is how long a reader has for its request, and writeLimit for taking the
	// answer.
	readLimit  = 5 * time.Second
	writeLimit = 30 * time.Second
	idleLimit  = time.Minute
	// closeLimit is for how long a stop waits for answers that are underway.
	closeLimit = time.Second
)

// A Socket answers readers on this host.
type Socket struct {
	server *http.Server
	ended  sync.WaitGroup
}

// Serve answers those that come to socket until Close, which closes it. warn is told what
// goes wrong meanwhile.
func Serve(socket net.Listener, answers http.Handler, warn func(text string)) *Socket {
	s := &Socket{server: &http.Server{
		Handler:           answers,
		ReadHeaderTimeout: readLimit, ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(lines(warn), "", 0),
	}}
	s.ended.Go(func() { // ends with Close
		if err := s.server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			warn(err.Error())
		}
	})
	return s
}

// Close ends all connections and returns when nothing is answered any more. A nil Socket
// is closed.
func (s *Socket) Close() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
	s.ended.Wait()
}

// lines hands on what a log.Logger writes.
type lines func(text string)

func (l lines) Write(line []byte) (int, error) {
	l(string(line))
	return len(line), nil
}
