package heartbeat

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/influxdata/telegraf"
	common_tls "github.com/influxdata/telegraf/plugins/common/tls"
)

// certificates are what TLS needs of files. These are read again when they
// change; connections that are open stay so.
type certificates struct {
	options *common_tls.ServerConfig
	log     telegraf.Logger

	mu     sync.Mutex // guards the rest
	config *tls.Config
	files  watched
	wrong  rarely
}

func openCertificates(options *common_tls.ServerConfig, log telegraf.Logger) (*certificates, error) {
	c := &certificates{options: options, log: log}
	err := c.read()
	return c, err
}

func (c *certificates) read() error {
	// Stamped before they are read: what changes meanwhile is read again.
	files := watch(append([]string{c.options.TLSCert, c.options.TLSKey}, c.options.TLSAllowedCACerts...))
	config, err := c.options.TLSConfig()
	if err != nil {
		return err
	}
	// With a ticket a client would be let in by a certificate of former times.
	config.SessionTicketsDisabled = true
	c.config, c.files = config, files
	return nil
}

// current returns the configuration that the files give now. While one of them
// is wrong, what they gave before holds.
func (c *certificates) current(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.files.changed() {
		return c.config, nil
	}
	if err := c.read(); err == nil {
		c.log.Infof("Certificates are read again")
	} else if more, ok := c.wrong.allow(time.Now()); ok {
		c.log.Warnf("Certificates stay as they were: %v%s", err, more)
	}
	return c.config, nil
}

// over returns the configuration of connections, each of which asks for the
// current one.
func (c *certificates) over() *tls.Config {
	return &tls.Config{GetConfigForClient: c.current, MinVersion: tls.VersionTLS12}
}

// shakeHands makes the connection a secure one, if it is to be one.
func (c *conn) shakeHands() error {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := c.SetDeadline(time.Now().Add(time.Duration(c.listener.plugin.FrameTimeout))); err != nil {
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
		c.listener.refuse(reasonHandshake, c.from(), "what comes is no TLS: a plaintext sender on a TLS port?")
	default:
		c.listener.refuse(reasonHandshake, c.from(), printable(err.Error()))
	}
}

// printable returns what may hold foreign text as a line for a log.
func printable(text string) string {
	text = strings.Map(func(char rune) rune {
		if !unicode.IsPrint(char) {
			return '?'
		}
		return char
	}, text)
	if len(text) > maxForeign {
		text = strings.ToValidUTF8(text[:maxForeign], "") + "..."
	}
	return text
}

const maxForeign = 200 // bytes

// certified tells whether a certificate is that of a host: by a DNS name, which
// may hold a wildcard, or by its common name.
func certified(certificate *x509.Certificate, host string) bool {
	return certificate != nil &&
		(certificate.VerifyHostname(host) == nil || strings.EqualFold(certificate.Subject.CommonName, host))
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
