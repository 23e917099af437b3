// Package web receives heartbeats over HTTP, mostly from clients of other services. It knows
// requests, who may send them, and which answers their clients expect. It turns each request into
// an ordinary beat, and never knows which peers are alive.
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
	// maxHeader is the limit for the headers of a request, in bytes.
	maxHeader = 16 << 10
	// idleTimeout is how long a connection may wait for its next request: longer than the
	// usual pauses of Alertmanager and Telegraf.
	idleTimeout = 75 * time.Second
)

// Options are the options of a Server. The functions are called concurrently.
type Options struct {
	Checks         *Checks
	AllowedSources []netip.Prefix // that may send beats without a token, like this host
	AllowedReaders []netip.Prefix // that may read, like this host
	TrustedProxies []netip.Prefix // whose headers with the client's address are believed
	Username       string         // of readers, with Password; empty to allow them by address
	Password       string
	ReadTimeout    time.Duration // of a request
	MaxBeat        int           // bytes of a beat of the wire protocol

	Read        http.Handler                               // answers readers; nil for none
	Receive     func(*Ping) Result                         // receives a beat of a client of another service
	ReceiveBeat func(payload []byte, from *Speaker) Result // receives a beat of the wire protocol, and answers it

	Recorded func(conn net.Conn)                         // a beat came over conn
	Refused  func(reason wire.Reason, from, text string) // also for requests that are not beats
	Panicked func(from string, cause any)
	Log      Logger
}

// Logger logs everything but refusals.
type Logger interface {
	// Debugf logs details for finding a fault.
	Debugf(format string, args ...any)
	// Infof logs a normal change.
	Infof(format string, args ...any)
	// Warnf logs a problem that the operator should fix.
	Warnf(format string, args ...any)
}

// The reasons for refusals by this package.
const (
	ReasonRequest wire.Reason = "request" // not a known request
	ReasonToken   wire.Reason = "token"   // an unknown token
	ReasonPeer    wire.Reason = "peer"    // the token does not cover it
	ReasonReader  wire.Reason = "reader"  // it may not read
)

// Reasons returns all reasons of this package.
func Reasons() []wire.Reason {
	return []wire.Reason{ReasonRequest, ReasonToken, ReasonPeer, ReasonReader}
}

// Reasons that sockets have too.
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

// New returns a Server for the connections of listener. They are already admitted and, for
// https://, secured.
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

// logWriter logs the messages of package http, which begin with "http: ".
type logWriter struct{ log Logger }

func (l logWriter) Write(line []byte) (int, error) {
	l.log.Debugf("%s", wire.Printable(strings.TrimSpace(string(line))))
	return len(line), nil
}

// Start serves until End.
func (s *Server) Start() {
	s.serving.Go(func() { // ends with End
		//nolint:errcheck // it always fails with the error of End
		s.http.Serve(countingListener{s.listener, s})
	})
}

// End closes all connections. Nothing is received after it returns. Call it once, after
// Start.
func (s *Server) End() {
	s.http.Close()
	s.serving.Wait()
	s.http.Close() // also a connection that was accepted meanwhile
	s.visits.Wait()
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, _ := r.Context().Value(visitKey{}).(*visit)
	v.begin()
	q := &request{Request: r, client: s.clientOf(r, v), w: w, visit: v}
	defer s.recoverPanic(q)
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
		s.answerReader(q)
	}
}

// recoverPanic recovers from a panic and logs it as an internal error. It is deferred: a panic ends
// only the request.
func (s *Server) recoverPanic(q *request) {
	if cause := recover(); cause != nil { //nolint:revive // it is deferred, elsewhere
		s.Panicked(q.name, cause)
		q.send(plain, http.StatusInternalServerError, "internal error")
	}
}

// answerReader answers a reader.
func (s *Server) answerReader(q *request) {
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

// mayRead returns why a request may not read, or nil. Anyone may read whether the collector
// listens.
func (s *Server) mayRead(q *request) *refusal {
	switch {
	case q.Method != http.MethodGet && q.Method != http.MethodHead:
		return badMethod(q.Method, http.MethodGet, http.MethodHead)
	case q.URL.Path == api.PathHealth:
		return nil
	case s.Username != "" && !s.isAuthenticated(q.Request):
		q.w.Header().Set("WWW-Authenticate", `Basic realm="heartbeat", charset="UTF-8"`)
		return refuse(http.StatusUnauthorized, ReasonReader, "reading needs 'basic_username' and 'basic_password'")
	case s.Username != "" || q.local || anyContains(s.AllowedReaders, q.addr):
		return nil
	}
	return refuse(http.StatusForbidden, ReasonReader, "%s may not read without 'basic_username' and 'basic_password': %s",
		q.place(), q.advice("allowed_readers"))
}

// visitKey is the key of the visit in the context of a request.
type visitKey struct{}
