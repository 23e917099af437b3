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
	// readLimit is the timeout for a request, and writeLimit the timeout for its answer.
	readLimit  = 5 * time.Second
	writeLimit = 30 * time.Second
	idleLimit  = time.Minute
	// closeLimit is how long a stop waits for answers that are being sent.
	closeLimit = time.Second
)

// A Socket answers readers on this host.
type Socket struct {
	server *http.Server
	ended  sync.WaitGroup
}

// Serve answers readers on socket until Close, which closes it. warn is called with errors.
func Serve(socket net.Listener, answers http.Handler, warn func(text string)) *Socket {
	s := &Socket{server: &http.Server{
		Handler:           answers,
		ReadHeaderTimeout: readLimit, ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(lineWriter(warn), "", 0),
	}}
	s.ended.Go(func() { // ends with Close
		if err := s.server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			warn(err.Error())
		}
	})
	return s
}

// Close closes all connections and returns when nothing more is answered. Closing a nil
// Socket does nothing.
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

// lineWriter passes on the lines of a log.Logger.
type lineWriter func(text string)

func (l lineWriter) Write(line []byte) (int, error) {
	l(string(line))
	return len(line), nil
}
