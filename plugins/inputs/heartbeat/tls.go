package heartbeat

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

	"github.com/influxdata/telegraf"
	common_tls "github.com/influxdata/telegraf/plugins/common/tls"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// certificates are what TLS needs of files. Each connection that begins has them
// read again if they have changed; those that are open stay so.
type certificates struct {
	options *common_tls.ServerConfig
	log     telegraf.Logger

	mu      sync.Mutex // guards the rest
	config  *tls.Config
	files   watched
	pending chan loaded // of a read that was left behind; nil for none
	said    string      // what is wrong
}

// handshakeWait is how long the first connection waits for files that hang.
const handshakeWait = 250 * time.Millisecond

// loaded is what the files give.
type loaded struct {
	config *tls.Config // nil if they have not changed
	files  watched
	err    error
}

func openCertificates(options *common_tls.ServerConfig, log telegraf.Logger) (*certificates, error) {
	c := &certificates{options: options, log: log}
	ctx, cancel := context.WithTimeout(context.Background(), rereadWait)
	defer cancel()
	return c, c.read(ctx, c.load)
}

// read takes what the files give now, if they have changed. A file that hangs is
// left behind: until it comes back nothing is read, and nobody waits for it.
func (c *certificates) read(ctx context.Context, load func(before watched) loaded) error {
	select {
	case <-c.pending: // is of another time
		c.pending = nil
	default:
	}
	if c.pending != nil {
		return c.slow()
	}
	pending, before := make(chan loaded, 1), c.files
	go func() { pending <- load(before) }() // ends when the files answer
	c.pending = pending
	select {
	case now := <-c.pending:
		c.pending = nil
		return c.take(now)
	case <-ctx.Done():
		return c.slow()
	}
}

func (c *certificates) slow() error {
	return fmt.Errorf("reading %q and the files beside it %w", c.options.TLSCert, regular.ErrSlow)
}

func (c *certificates) load(before watched) loaded {
	names := append([]string{c.options.TLSCert, c.options.TLSKey}, c.options.TLSAllowedCACerts...)
	if before != nil && !before.changed() {
		return loaded{files: before}
	}
	// Stamped before they are read: what changes meanwhile is read again.
	now := loaded{files: watch(names)}
	for _, name := range names {
		file, err := regular.Open(name)
		if err != nil {
			return loaded{files: now.files, err: err}
		}
		file.Close()
	}
	now.config, now.err = c.options.TLSConfig()
	return now
}

func (c *certificates) take(now loaded) error {
	if now.err != nil || now.config == nil {
		return now.err
	}
	// With a ticket a client would be let in by a certificate of former times.
	now.config.SessionTicketsDisabled = true
	c.config, c.files = now.config, now.files
	return nil
}

// current returns the configuration that the files give now. While one of them
// is wrong, what they gave before holds.
func (c *certificates) current(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), handshakeWait)
	defer cancel()
	before := c.config
	err := c.read(ctx, c.load)
	switch {
	case err != nil && err.Error() != c.said:
		c.said = err.Error()
		c.log.Warnf("Kept the former certificates: %v", err)
	case err == nil && c.config != before:
		c.said = ""
		c.log.Infof("Reloaded the certificates")
	}
	return c.config, nil
}

// watched are files as they were when they were read.
type watched []watchedFile

type watchedFile struct {
	name string
	info fs.FileInfo // nil if there was none
}

func watch(names []string) watched {
	files := make(watched, 0, len(names))
	for _, name := range names {
		info, _ := os.Stat(name) //nolint:errcheck // then there is none
		files = append(files, watchedFile{name, info})
	}
	return files
}

// changed tells whether any of the files is another one now.
func (w watched) changed() bool {
	return slices.ContainsFunc(w, func(f watchedFile) bool {
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

// over returns the configuration of connections, each of which asks for the
// current one.
func (c *certificates) over() *tls.Config {
	return &tls.Config{GetConfigForClient: c.current, MinVersion: tls.VersionTLS12}
}

// shakeHands makes the connection a secure one, if it is to be one, before it is
// due.
func (c *conn) shakeHands(due time.Time) error {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := c.SetDeadline(due); err != nil {
		return err
	}
	if err := secure.HandshakeContext(context.Background()); err != nil {
		return err
	}
	if certs := secure.ConnectionState().PeerCertificates; len(certs) > 0 {
		c.certificate = certs[0] // is verified: nothing else lets it come so far
	}
	return c.SetDeadline(time.Time{})
}

// refuseHandshake tells why there is no secure connection. Who only looks
// whether somebody listens is no failure, nor is a stop of ours.
func (c *conn) refuseHandshake(err error) {
	var plain tls.RecordHeaderError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.listener.refuse(reasonFrameTimeout, c.from(), "TLS handshake is not complete in time ('frame_timeout')")
	case errors.As(err, &plain):
		c.refusePlaintext(plain)
	default:
		c.listener.refuse(reasonHandshake, c.from(), wire.Printable(err.Error()))
	}
}

// certified reports whether a certificate is that of a host: by a DNS name, which
// may hold a wildcard, by an address, or by its common name.
func certified(certificate *x509.Certificate, host string) bool {
	if certificate == nil {
		return false
	}
	name, err := wire.Host(certificate.Subject.CommonName)
	return certificate.VerifyHostname(host) == nil || err == nil && name == host
}

// checkTLS says what is wrong with the options about TLS, as far as that can be
// told without the files.
func (h *Heartbeat) checkTLS() error {
	secure := slices.ContainsFunc(h.ServiceAddresses, func(url string) bool { return strings.HasPrefix(url, "tls://") })
	switch {
	case secure && (h.TLSCert == "" || h.TLSKey == ""):
		return errors.New("tls:// of 'service_addresses' needs 'tls_cert' and 'tls_key'")
	case !secure && (h.TLSCert != "" || h.TLSKey != "" || len(h.TLSAllowedCACerts) > 0):
		return errors.New("'tls_cert', 'tls_key' and 'tls_allowed_cacerts' need an address tls:// in 'service_addresses'")
	case len(h.TLSAllowedDNSNames) > 0 && len(h.TLSAllowedCACerts) == 0:
		return errors.New("'tls_allowed_dns_names' needs 'tls_allowed_cacerts'")
	}
	return nil
}

// checkVerified says why nobody, or anybody, would be who he says.
func (h *Heartbeat) checkVerified() error {
	if h.HostFrom == "verified" && len(h.TLSAllowedCACerts) == 0 && len(h.Keys) == 0 {
		return errors.New("'host_from' = \"verified\" needs 'tls_allowed_cacerts' or 'keys'")
	}
	if h.IPFrom != "verified" || h.RequireSignature {
		return nil
	}
	for _, url := range h.ServiceAddresses {
		if strings.HasPrefix(url, "udp") {
			return fmt.Errorf("'ip_from' = \"verified\" and %q need 'require_signature': a datagram can come from anywhere", url)
		}
	}
	return nil
}
