// Package web takes heartbeats of other people's clients over HTTP. It knows requests, who
// may send them, and what their clients expect as an answer: each becomes an ordinary beat.
// It never knows who is alive.
package web

import (
	"context"
	"log" //nolint:depguard // package http logs to nothing else
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	// maxHeader is how long the headers of a request may be, in bytes.
	maxHeader = 16 << 10
	// idleTimeout is how long a connection may wait for its next request: longer than
	// Alertmanager and Telegraf pause between two, mostly.
	idleTimeout = 75 * time.Second
)

// Options say who may send what, and to whom it is given. Its functions are called
// concurrently.
type Options struct {
	Checks         *Checks
	AllowedSources []netip.Prefix // whence beats may come without a token, beside this host
	AllowedReaders []netip.Prefix // who may read, beside this host
	TrustedProxies []netip.Prefix // whose word counts on where a request comes from
	Username       string         // of readers, with Password; empty to go by their addresses
	Password       string
	ReadTimeout    time.Duration // of a request
	MaxBeat        int           // bytes of one of our own beats

	Read http.Handler                              // answers those that read; nil for none
	Take func(*Ping) Taken                         // takes a beat of a foreign client
	Beat func(payload []byte, from *Speaker) Taken // takes one of our own, with an answer

	Recorded func(conn net.Conn)                         // a beat came over conn
	Refused  func(reason wire.Reason, from, text string) // also what is no beat
	Panicked func(from string, cause any)
	Log      Logger
}

// Logger is what is said beside what is refused.
type Logger interface {
	// Debugf says what only a search for a fault needs.
	Debugf(format string, args ...any)
	// Infof says what has changed as it should.
	Infof(format string, args ...any)
	// Warnf says what the operator should mend.
	Warnf(format string, args ...any)
}

// Why this package refuses.
const (
	ReasonRequest wire.Reason = "request" // no request that is known here
	ReasonToken   wire.Reason = "token"   // of no check
	ReasonPeer    wire.Reason = "peer"    // not one that the token is for
	ReasonReader  wire.Reason = "reader"  // it may not read
)

// Reasons returns all of them.
func Reasons() []wire.Reason {
	return []wire.Reason{ReasonRequest, ReasonToken, ReasonPeer, ReasonReader}
}

// Why sockets refuse, too.
const (
	reasonSource      wire.Reason = "source"
	reasonReadTimeout wire.Reason = "read_timeout"
)

// A Server answers the requests of one address.
type Server struct {
	Options
	listener net.Listener
	http     http.Server
	serving  sync.WaitGroup
	visits   sync.WaitGroup
}

// New returns a Server for the connections of listener, which are admitted and, if they
// are to be, secured.
func New(listener net.Listener, options *Options) *Server {
	s := &Server{Options: *options, listener: listener}
	s.http = http.Server{
		Handler:           s,
		ReadHeaderTimeout: options.ReadTimeout,
		ReadTimeout:       options.ReadTimeout,
		WriteTimeout:      2 * options.ReadTimeout, // begins when the headers have been read
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.follow,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, visitKey{}, c) },
		ErrorLog:          log.New(logWriter{options.Log}, "", 0),
	}
	return s
}

// logWriter has package http log to ours. What it says begins with "http: ".
type logWriter struct{ log Logger }

func (l logWriter) Write(line []byte) (int, error) {
	l.log.Debugf("%s", wire.Printable(strings.TrimSpace(string(line))))
	return len(line), nil
}

// Start serves until End.
func (s *Server) Start() {
	s.serving.Go(func() { // ends with End
		//nolint:errcheck // it is always that of End
		s.http.Serve(visitors{s.listener, s})
	})
}

// End closes all connections. Nothing is taken after it returns. Call it once, after
// Start.
func (s *Server) End() {
	s.http.Close()
	s.serving.Wait()
	s.http.Close() // also the connection that was accepted meanwhile
	s.visits.Wait()
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, _ := r.Context().Value(visitKey{}).(*visit)
	v.begin()
	q := &request{Request: r, client: s.clientOf(r, v), w: w, visit: v}
	defer s.survive(q)
	switch path := r.URL.EscapedPath(); {
	case strings.HasPrefix(path, "/ping/"):
		s.answer(q, plain, s.ping, http.MethodGet, http.MethodHead, http.MethodPost)
	case strings.HasPrefix(path, "/api/push/"):
		s.answer(q, kuma, s.push, http.MethodGet, http.MethodHead, http.MethodPost)
	case path == "/heartbeat":
		s.answer(q, plain, s.telegraf, http.MethodPost)
	case path == "/beat":
		s.answer(q, ours, s.beat, http.MethodPost)
	default:
		s.read(q)
	}
}

// survive logs an internal error. It is deferred: a panic costs the request.
func (s *Server) survive(q *request) {
	if cause := recover(); cause != nil { //nolint:revive // it is deferred, elsewhere
		s.Panicked(q.name, cause)
		q.send(plain, http.StatusInternalServerError, "internal error")
	}
}

// read lets readers read.
func (s *Server) read(q *request) {
	refusal := unknownPath()
	if s.Read != nil {
		refusal = s.mayRead(q)
	}
	f := plain
	if strings.HasPrefix(q.URL.Path, "/api/") {
		f = reads
	}
	if refusal != nil {
		s.refuse(q, f, refusal)
		return
	}
	s.Read.ServeHTTP(q.w, q.Request)
}

// mayRead returns why a request may not read, or nil. Whether the collector listens,
// everybody may know.
func (s *Server) mayRead(q *request) *refusal {
	switch {
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		return badMethod(q.Method, http.MethodGet, http.MethodHead)
	case q.URL.Path == api.PathHealth:
		return nil
	case s.Username != "" && !s.knows(q.Request):
		q.w.Header().Set("WWW-Authenticate", `Basic realm="heartbeat", charset="UTF-8"`)
		return refuse(http.StatusUnauthorized, ReasonReader, "reading needs 'basic_username' and 'basic_password'")
	case s.Username != "" || q.local || contain(s.AllowedReaders, q.addr):
		return nil
	}
	return refuse(http.StatusForbidden, ReasonReader, "%s may not read without 'basic_username' and 'basic_password': %s",
		q.place(), q.advice("allowed_readers"))
}

// visitKey is the key of the visit in the context of a request.
type visitKey struct{}
