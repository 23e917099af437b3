package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// schemes are the schemes of server URLs.
var schemes = []string{"tcp", "tcp4", "tcp6", "tls", "udp", "udp4", "udp6", "unix", "unixgram"}

// A server is the address of a collector.
type server struct {
	url     string
	scheme  string
	address string // host and port, or the path of a unix socket
}

// parseServer reads a URL like tcp://host:7878 or unix:///path.
func parseServer(url string) (server, error) {
	scheme, address, ok := strings.Cut(url, "://")
	if !ok {
		return server{}, fmt.Errorf("server %q lacks a scheme: write tcp://%s", url, url)
	}
	if !slices.Contains(schemes, scheme) {
		return server{}, fmt.Errorf("server %q has scheme %q: use one of %s", url, scheme, strings.Join(schemes, ", "))
	}
	s := server{url: url, scheme: scheme, address: address}
	if s.local() {
		if address == "" {
			return server{}, fmt.Errorf("server %q names no file: write %s:///run/telegraf/heartbeat.sock", url, scheme)
		}
		return s, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil && host != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err == nil && number > 0 {
			return s, nil
		}
	}
	hint := ""
	if strings.Contains(address, ",") {
		hint = "; give each its own"
	}
	return server{}, fmt.Errorf("server %q is not a host and port: write %s://collector:7878%s", url, scheme, hint)
}

func (s server) String() string { return s.url }

// local reports whether s is a unix socket.
func (s server) local() bool { return strings.HasPrefix(s.scheme, "unix") }

// datagrams reports whether s takes datagrams, which are not answered.
func (s server) datagrams() bool {
	return strings.HasPrefix(s.scheme, "udp") || s.scheme == "unixgram"
}

// network returns the transport as package net names it.
func (s server) network() string {
	if s.scheme == "tls" {
		return "tcp"
	}
	return s.scheme
}

// host returns the host of the URL, or "" for a unix socket.
func (s server) host() string {
	host, _, _ := net.SplitHostPort(s.address) //nolint:errcheck // parseServer has seen it
	return host
}

func (s server) port() string {
	_, port, _ := net.SplitHostPort(s.address) //nolint:errcheck // likewise
	return port
}

// hasName reports whether the host of the URL must be resolved.
func (s server) hasName() bool {
	_, err := netip.ParseAddr(s.host())
	return !s.local() && err != nil
}

// families returns the address families that the URL allows.
func (s server) families() []string {
	switch {
	case strings.HasSuffix(s.scheme, "4"):
		return []string{"ip4"}
	case strings.HasSuffix(s.scheme, "6"):
		return []string{"ip6"}
	}
	return []string{"ip4", "ip6"}
}

// connect connects to one address of a server.
func (s *Sender) connect(ctx context.Context, to server, address string) (net.Conn, error) {
	dial := s.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, to.network(), address)
	if err != nil || to.scheme != "tls" {
		return conn, err
	}
	secure, err := s.secure(ctx, conn, to.host())
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}

// secure makes conn a TLS connection to a server with this name.
func (s *Sender) secure(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.TLS != nil {
		given, err := s.TLS()
		if err != nil {
			return nil, err
		}
		config = given.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = name
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			err = errors.New("the handshake took too long")
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, windowsReset):
			err = errors.New("the other side closed the connection in the handshake (is it a port without TLS?)")
		}
		return nil, err
	}
	return &secured{secure}, nil
}

// windowsReset is ECONNRESET on Windows, where package syscall has another value for it.
const windowsReset = syscall.Errno(10054)

// A secured connection is closed without the last TLS message, which could block.
type secured struct{ *tls.Conn }

func (c *secured) Close() error { return c.NetConn().Close() }

// CloseWrite does nothing for the same reason.
func (c *secured) CloseWrite() error { return nil }
