package bus

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	probeTime = 10 * time.Second // for a whole Probe
	silence   = 3 * time.Second  // how long to wait for an answer in plaintext before trying TLS
	maxLines  = 64 << 10         // the number of bytes that a Probe reads at most
)

// Probe checks that a collector listens at an address and has the same secret. If not, the error
// says why: nothing listens there, it is not a collector, its secret is different, or TLS failed.
// Probe returns within 10 s. The other collector logs the probe only if the secrets differ.
func Probe(ctx context.Context, address string, secret []byte, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	conn, err := dial(ctx, address)
	if err != nil {
		return fmt.Errorf("no collector listens on %s: %w", address, withoutAddress(err))
	}
	defer conn.Close()
	if err := checkCollector(ctx, conn, address, secret, config); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() }) // ctx also ends when Probe returns
	return conn, nil
}

func checkCollector(ctx context.Context, conn net.Conn, address string, secret []byte, config *tls.Config) error {
	if config != nil {
		secured := tls.Client(conn, configFor(config, address))
		if err := secured.HandshakeContext(ctx); err != nil {
			return explainTLSError(err)
		}
		conn = secured
	}
	lines := bufio.NewReader(io.LimitReader(conn, maxLines))
	line, err := readFirstLine(conn, lines)
	if line == "" {
		if config == nil && usesTLS(ctx, address) {
			return errors.New("it requires TLS: set tls_cert, tls_key and tls_allowed_cacerts here too")
		}
		return explainReadError(err)
	}
	if err := checkGreeting(line); err != nil {
		return err
	}
	return sendConnect(conn, lines, secret)
}

// configFor returns a copy of config that verifies the certificate for the host of an address.
func configFor(config *tls.Config, address string) *tls.Config {
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address) //nolint:errcheck // dial has accepted the address
	}
	return config
}

var (
	errSilent      = errors.New("it accepts connections but sends nothing: it is not a collector, or it hangs")
	errNoCollector = errors.New("it is not a collector")
)

// readFirstLine reads the line that a NATS server sends first.
func readFirstLine(conn net.Conn, lines *bufio.Reader) (string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return "", err
	}
	line, err := lines.ReadString('\n')
	if err != nil {
		return line, err
	}
	return line, conn.SetReadDeadline(time.Time{})
}

// checkGreeting checks that the first line comes from a collector.
func checkGreeting(line string) error {
	text, isNATS := strings.CutPrefix(line, "INFO ")
	if !isNATS {
		return fmt.Errorf("%w: it sends %.60q", errNoCollector, line)
	}
	var info struct {
		Cluster  string `json:"cluster"`
		Auth     bool   `json:"auth_required"`
		ClientID uint64 `json:"client_id"` // only sent on the port for clients
	}
	if json.Unmarshal([]byte(text), &info) != nil || info.Cluster != cluster || !info.Auth {
		return fmt.Errorf("%w but another NATS server", errNoCollector)
	}
	if info.ClientID != 0 {
		return fmt.Errorf("%w: this is the port for NATS clients, not the port in its 'listen'", errNoCollector)
	}
	return nil
}

// sendConnect sends the first line that a server sends on a route, and waits for the answer. It
// does not send the second line, which describes the server, so no route begins.
func sendConnect(conn net.Conn, lines *bufio.Reader, secret []byte) error {
	connect, err := json.Marshal(map[string]any{
		"user": user, "pass": password(secret), "name": rand.Text(), "cluster": cluster,
		"verbose": false, "pedantic": false, "tls_required": false, "echo": true,
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "CONNECT %s\r\nPING\r\n", connect); err != nil {
		return explainReadError(err)
	}
	for {
		line, err := lines.ReadString('\n')
		switch {
		case strings.HasPrefix(line, "PONG"):
			return nil
		case strings.HasPrefix(line, "-ERR 'Authorization Violation'"):
			return errors.New("its 'secret' is different")
		case strings.HasPrefix(line, "-ERR"):
			return fmt.Errorf("it refuses the connection: %.200q", strings.TrimSpace(line))
		case err != nil:
			return explainReadError(err)
		}
	}
}

// explainReadError returns an error that explains why a connection ended.
func explainReadError(err error) error {
	if refusal := remoteAlert(err); refusal != nil {
		return refusal
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, net.ErrClosed) {
		return errSilent
	}
	return fmt.Errorf("it closed the connection: %w", withoutAddress(err))
}

// explainTLSError returns an error that explains why a TLS handshake failed.
func explainTLSError(err error) error {
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if string(header.RecordHeader[:4]) == "INFO" {
			return errors.New("it does not use TLS: set tls_cert, tls_key and tls_allowed_cacerts there too")
		}
		return fmt.Errorf("%w: it does not speak TLS", errNoCollector)
	}
	if refusal := remoteAlert(err); refusal != nil {
		return refusal
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errSilent
	}
	return fmt.Errorf("the TLS handshake failed: %w", err)
}

// remoteAlert returns the error that the other side sent in a TLS alert, or nil.
func remoteAlert(err error) error {
	operation, ok := errors.AsType[*net.OpError](err)
	if !ok || operation.Op != "remote error" {
		return nil
	}
	return fmt.Errorf("it rejects the certificate of this collector: %w", operation.Err)
}

// usesTLS reports whether the other side uses TLS, even if its certificate would not be accepted.
func usesTLS(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	conn, err := dial(ctx, address)
	if err != nil {
		return false
	}
	defer conn.Close()
	err = tls.Client(conn, configFor(&tls.Config{MinVersion: tls.VersionTLS12}, address)).HandshakeContext(ctx)
	var untrusted *tls.CertificateVerificationError
	return err == nil || remoteAlert(err) != nil || errors.As(err, &untrusted)
}
