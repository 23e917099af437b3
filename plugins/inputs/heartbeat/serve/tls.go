package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Certificates are the TLS files. Each new connection reloads them if they have changed; open
// connections are not affected.
type Certificates struct {
	files []string // the certificate first
	load  func() (*tls.Config, error)
	log   Logger

	mu      sync.Mutex // guards the rest
	current *tls.Config
	seen    stamps
	pending chan loaded // of a read that has not returned in time; nil for none
	warned  string      // the latest warning
}

const (
	// loadPatience is how long Open waits for the files.
	loadPatience = 2 * time.Second
	// handshakePatience is how long the first connection waits for files that hang.
	handshakePatience = 250 * time.Millisecond
)

// loaded is the result of loading the files.
type loaded struct {
	config *tls.Config // nil if they have not changed
	seen   stamps
	err    error
}

// OpenCertificates reads the files; load makes a configuration of them. They are reloaded when one
// has changed. The first file is the certificate.
func OpenCertificates(files []string, load func() (*tls.Config, error), log Logger) (*Certificates, error) {
	c := &Certificates{files: files, load: load, log: log}
	ctx, cancel := context.WithTimeout(context.Background(), loadPatience)
	defer cancel()
	err := c.read(ctx)
	return c, err
}

// read reloads the files if they have changed. If a read hangs, it returns an error, and
// nothing else is read until that read returns.
func (c *Certificates) read(ctx context.Context) error {
	select {
	case <-c.pending: // it is outdated
		c.pending = nil
	default:
	}
	if c.pending != nil {
		return c.slow()
	}
	pending, before := make(chan loaded, 1), c.seen
	go func() { pending <- c.reload(before) }() // ends when the files answer
	c.pending = pending
	select {
	case now := <-c.pending:
		c.pending = nil
		return c.apply(now)
	case <-ctx.Done():
		return c.slow()
	}
}

func (c *Certificates) slow() error {
	return fmt.Errorf("reading %q and the files beside it %w", c.files[0], regular.ErrSlow)
}

func (c *Certificates) reload(before stamps) loaded {
	if before != nil && !before.changed() {
		return loaded{seen: before}
	}
	// Stamped before they are read, so that a change meanwhile is noticed.
	now := loaded{seen: stampsOf(c.files)}
	for _, name := range c.files {
		file, err := regular.Open(name)
		if err != nil {
			now.err = err
			return now
		}
		file.Close()
	}
	now.config, now.err = c.load()
	return now
}

func (c *Certificates) apply(now loaded) error {
	if now.err != nil || now.config == nil {
		return now.err
	}
	// With a ticket, a client could be admitted after its certificate has stopped being allowed.
	now.config.SessionTicketsDisabled = true
	c.current, c.seen = now.config, now.seen
	return nil
}

// latest returns the configuration of the current files. If one of them is wrong, the
// previous configuration applies.
func (c *Certificates) latest(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), handshakePatience)
	defer cancel()
	before := c.current
	err := c.read(ctx)
	switch {
	case err != nil && err.Error() != c.warned:
		c.warned = err.Error()
		c.log.Warnf("Kept the previous certificates: %v", err)
	case err == nil && c.current != before:
		c.warned = ""
		c.log.Infof("Reloaded the certificates")
	}
	return c.current, nil
}

// stamps are the states of files when they were read.
type stamps []stamp

type stamp struct {
	name string
	info fs.FileInfo // nil if the file did not exist
}

func stampsOf(names []string) stamps {
	all := make(stamps, 0, len(names))
	for _, name := range names {
		info, _ := os.Stat(name) //nolint:errcheck // then it is nil
		all = append(all, stamp{name, info})
	}
	return all
}

// changed reports whether any of the files has changed.
func (s stamps) changed() bool {
	return slices.ContainsFunc(s, func(f stamp) bool {
		now, err := os.Stat(f.name)
		switch {
		case err != nil:
			return f.info != nil
		case f.info == nil:
			return true
		}
		return !os.SameFile(now, f.info) || !now.ModTime().Equal(f.info.ModTime()) || now.Size() != f.info.Size()
	})
}

// config returns the configuration of listeners: each connection asks for the
// latest.
func (c *Certificates) config() *tls.Config {
	return &tls.Config{GetConfigForClient: c.latest, MinVersion: tls.VersionTLS12}
}

// optionalClientCert is like config, but clients need no certificate. If a client has one, it must be
// trusted.
func (c *Certificates) optionalClientCert() *tls.Config {
	latest := func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		now, err := c.latest(hello)
		if err != nil || now.ClientAuth == tls.NoClientCert {
			return now, err
		}
		now = now.Clone()
		now.ClientAuth = tls.VerifyClientCertIfGiven
		if verify := now.VerifyPeerCertificate; verify != nil {
			now.VerifyPeerCertificate = func(certificates [][]byte, chains [][]*x509.Certificate) error {
				if len(certificates) == 0 {
					return nil
				}
				return verify(certificates, chains)
			}
		}
		return now, nil
	}
	return &tls.Config{GetConfigForClient: latest, MinVersion: tls.VersionTLS12}
}

// Mutual returns the configuration of connections whose ends verify each other's certificate, for
// both ends. Each connection uses the latest certificate; the trusted CAs are the ones that were
// read when the files were opened.
func (c *Certificates) Mutual() *tls.Config {
	c.mu.Lock()
	pool := c.current.ClientCAs
	c.mu.Unlock()
	certificate := func() (*tls.Certificate, error) {
		now, err := c.latest(nil)
		return &now.Certificates[0], err
	}
	return &tls.Config{
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() },
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              pool,
		RootCAs:                pool,
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
	}
}

// handshake makes the TLS handshake, if the connection uses TLS. due is its deadline.
func (c *conn) handshake(due time.Time) error {
	secure, ok := c.stream.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := c.stream.SetDeadline(due); err != nil {
		return err
	}
	if err := secure.HandshakeContext(context.Background()); err != nil {
		return err
	}
	if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 {
		c.origin.Certificate = certs[0] // verified, or the handshake would have failed
	}
	return c.stream.SetDeadline(time.Time{})
}

// refuseHandshake refuses a connection whose handshake failed. It ignores the failure if the client
// only connected and closed, like a port check, or if the server is stopping.
func (c *conn) refuseHandshake(err error) {
	var plain tls.RecordHeaderError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.shared.refuse(ReasonReadTimeout, c.origin.From(), "TLS handshake is not complete within 'read_timeout'")
	case errors.As(err, &plain):
		c.refusePlaintext(plain)
	default:
		c.shared.refuse(ReasonHandshake, c.origin.From(), wire.Printable(err.Error()))
	}
}

// refusePlaintext refuses input that is not TLS. It answers a sender of frames, which
// otherwise would only see its connection end.
func (c *conn) refusePlaintext(first tls.RecordHeaderError) {
	refusal := plaintext(string(first.RecordHeader[:]))
	c.shared.refuse(refusal.Reason, c.origin.From(), refusal.Text)
	if _, visits := c.socket.(*httpConn); visits && refusal.Reason == wire.ReasonHTTP {
		//nolint:errcheck // the connection ends anyway
		io.WriteString(c.socket, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 36\r\n\r\nuse https:// instead of http:// here")
	}
	if first.RecordHeader[0] != 0 {
		return
	}
	answer := wire.AppendAnswer(nil, &wire.Answer{Error: refusal.Text, NowMS: time.Now().UnixMilli()})
	//nolint:errcheck // the connection ends anyway
	c.socket.Write(wire.AppendFrame(nil, answer))
}

// plaintext identifies a client without TLS on a TLS port by its first bytes, as many as the
// header of a TLS record has.
func plaintext(first string) *wire.Refusal {
	switch {
	case first[0] == 0:
		return &wire.Refusal{Reason: ReasonHandshake, Text: "a sender without TLS on a TLS port: write tls:// instead of tcp:// in its URL"}
	case first == "PROXY", first == "\r\n\r\n\x00":
		return &wire.Refusal{
			Reason: wire.ReasonProxy,
			Text:   "the PROXY protocol before TLS: switch it off for this port in the proxy or load balancer",
		}
	case strings.TrimLeft(first, " \t\r\n") == "", strings.TrimLeft(first, " \t\r\n")[0] == '{':
		return &wire.Refusal{Reason: ReasonHandshake, Text: "bare JSON without TLS on a TLS port"}
	case beginsRequest(first):
		return &wire.Refusal{Reason: wire.ReasonHTTP, Text: "an HTTP client without TLS on a TLS port"}
	}
	return &wire.Refusal{Reason: ReasonHandshake, Text: fmt.Sprintf("connection begins with %q: not TLS, on a TLS port", first)}
}

// beginsRequest reports whether an HTTP request may begin with first.
func beginsRequest(first string) bool {
	methods := []string{"GET /", "POST /", "PUT /", "HEAD /", "PATCH /", "DELETE /", "OPTIONS ", "CONNECT ", "TRACE "}
	return slices.ContainsFunc(methods, func(method string) bool { return strings.HasPrefix(method, first) })
}
