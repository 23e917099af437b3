package bus

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/loglimit"
)

// serverLog is the logger of the NATS server. It logs only problems that a user must know about, in
// its own words.
type serverLog struct {
	to    Logger
	limit loglimit.ByPlace
	fatal chan error // the first fatal error of the server

	mu  sync.Mutex           // guards tls
	tls map[string]time.Time // by host, when TLS last failed
}

func newServerLog(to Logger) *serverLog {
	return &serverLog{to: to, fatal: make(chan error, 1), tls: make(map[string]time.Time)}
}

// Noticef drops notices of normal operation.
func (*serverLog) Noticef(string, ...any) {}

// Warnf drops advice on how to run a NATS server.
func (*serverLog) Warnf(string, ...any) {}

// Debugf is never called.
func (*serverLog) Debugf(string, ...any) {}

// Tracef is never called.
func (*serverLog) Tracef(string, ...any) {}

// Fatalf passes the error to startServer. NATS's own logger would end the process.
func (l *serverLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			err = withoutAddress(cause)
		}
	}
	select {
	case l.fatal <- err:
	default:
	}
}

// Errorf logs the errors that a user must know about, and drops all others.
func (l *serverLog) Errorf(format string, args ...any) {
	if strings.HasPrefix(format, "Error trying to connect to route") {
		l.warnNotConnected(args)
		return
	}
	line := fmt.Sprintf(format, args...)
	from, what, ok := strings.Cut(line, " - rid:") // of a connection: ADDRESS - rid:NUMBER - TEXT
	if !ok {
		return
	}
	if strings.Contains(what, "Route Error 'Authorization Violation'") {
		l.warnOtherSecret(from)
	}
	if _, problem, ok := strings.Cut(what, "TLS route handshake error: "); ok {
		l.warnTLSFailed(from, problem, time.Now())
	}
}

// warnNotConnected warns about a mate that cannot be reached. args are the number of the attempt
// and its error, which contains the address.
func (l *serverLog) warnNotConnected(args []any) {
	if len(args) != 2 {
		return
	}
	attempts, ok := args[0].(int)
	if ok && (attempts == reportFirst || attempts%reportAgain == 0) {
		l.to.Warnf("Cannot connect to another collector, retrying: %v", args[1])
	}
}

// warnOtherSecret warns about a collector that refused a route, or whose route was refused, because
// the secrets differ.
func (l *serverLog) warnOtherSecret(from string) {
	if more, ok := l.limit.Allow("secret", from, time.Now()); ok {
		l.to.Warnf("The collector at %s has a different 'secret': set the same one on all collectors%s", from, more)
	}
}

const (
	tlsAgain    = 10 * time.Second // a second failure within this time is logged
	maxTLSHosts = 100
)

// warnTLSFailed warns about the second failure in a row. A single failure may be a port scan. NATS
// may also have tried to connect to an address that it learned from another collector. That fails,
// because NATS does not know the host name of such an address and cannot verify the certificate.
func (l *serverLog) warnTLSFailed(from, problem string, now time.Time) {
	host, _, err := net.SplitHostPort(from)
	if err != nil {
		host = from
	}
	l.mu.Lock()
	last, known := l.tls[host]
	if !known && len(l.tls) >= maxTLSHosts {
		clear(l.tls)
	}
	l.tls[host] = now
	l.mu.Unlock()
	if !known || now.Sub(last) > tlsAgain {
		return
	}
	if more, ok := l.limit.Allow("tls", from, now); ok {
		l.to.Warnf("TLS with the collector at %s failed: %s%s", from, problem, more)
	}
}

// withoutAddress returns the cause of err without the address.
func withoutAddress(err error) error {
	if operation, ok := errors.AsType[*net.OpError](err); ok {
		return operation.Err
	}
	return err
}
