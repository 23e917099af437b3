//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A site is a collector that listens in every way, and asks everybody who he
// is.
type site struct {
	t      *testing.T
	dir    string
	plugin *testkit.Process
	urls   map[string]string // by scheme
}

const everyTransport = `[[inputs.heartbeat]]
  service_addresses = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "udp://127.0.0.1:0", "unix://DIR/s", "unixgram://DIR/d"]
  state_file = "DIR/heartbeat.state"
  socket_mode = "0600"
  tls_cert = "DIR/collector.pem"
  tls_key = "DIR/collector.key"
  tls_allowed_cacerts = ["DIR/authority.pem"]
  host_from = "verified"
  require_signature = true
  names = ["127.0.0.1"]
  [inputs.heartbeat.keys]
    "web-1" = "file:DIR/web-1.secret"
    "web-2" = "correct donkey battery staple"
`

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteWith(t, everyTransport, 5)
}

// newSiteWith is newSite with other options, which name so many addresses.
func newSiteWith(t *testing.T, options string, addresses int) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "hb") // those of the test are too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, urls: make(map[string]string)}
	s.certify()
	s.write("web-1.secret", "correct horse battery staple\n")
	s.write("web-2.secret", "correct donkey battery staple\n")
	config := s.write("heartbeat.conf", strings.ReplaceAll(options, "DIR", dir))
	s.plugin = testkit.StartProgram(t, "telegraf-heartbeat", "-config", config)
	s.plugin.Until("it to listen everywhere", func() bool {
		for _, line := range s.plugin.Stderr.With("Listening on ") {
			_, url, _ := strings.Cut(line, "Listening on ")
			scheme, _, _ := strings.Cut(url, "://")
			s.urls[scheme] = url
		}
		return len(s.urls) == addresses
	})
	return s
}

func (s *site) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// certify makes an authority, and certificates of the collector, of web-1, and
// of one who is expired.
func (s *site) certify() {
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Example Authority"}, SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	own := s.certificate("authority", authority, nil, nil)
	for name, end := range map[string]time.Duration{"collector": time.Hour, "web-1": time.Hour, "expired": -time.Minute} {
		s.certificate(name, &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, SerialNumber: big.NewInt(2),
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(end),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		}, authority, own)
	}
}

func (s *site) certificate(name string, cert, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s.t, err)
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	require.NoError(s.t, err)
	s.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	der, err = x509.MarshalECPrivateKey(key)
	require.NoError(s.t, err)
	s.write(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	return key
}

// sender starts heartbeat-sender as web-1, with all that proves it. What is in
// flags overrules that.
func (s *site) sender(command, scheme string, flags ...string) *testkit.Process {
	s.t.Helper()
	file := func(name string) string { return filepath.Join(s.dir, name) }
	args := []string{
		command, "-config", os.DevNull, "-server", s.urls[scheme], "-host", "web-1", "-key-file", file("web-1.secret"),
		"-tls-ca", file("authority.pem"), "-tls-cert", file("web-1.pem"), "-tls-key", file("web-1.key"), "-tls-server-name", "collector",
	}
	return testkit.StartProgram(s.t, "heartbeat-sender", append(args, flags...)...)
}

// told returns the states that a service of web-1 was told to be in.
func (s *site) told(service string) []string {
	var states []string
	for _, m := range parse(s.t, s.plugin.Stdout.With("heartbeat_event,")) {
		if tagged(m, "source", "web-1", "service", service) {
			state, _ := m.GetTag("state")
			states = append(states, state)
		}
	}
	return states
}

// Over every transport a sender that proves who it is is heard, and its goodbye
// too.
func TestEveryTransport(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, scheme := range []string{"tcp", "tls", "udp", "unix", "unixgram"} {
		check := s.sender("check", scheme, "-service", scheme)
		require.Zero(t, check.Exit(), strings.Join(check.Stdout.All(), "\n"))
		require.Zero(t, s.sender("once", scheme, "-service", scheme+"-once").Exit())

		run := s.sender("run", scheme, "-service", scheme, "-interval", "200ms")
		s.plugin.Until("it to be alive over "+scheme, func() bool { return len(s.told(scheme)) == 1 })
		run.Signal(syscall.SIGTERM)
		require.Zero(t, run.Exit())
		s.plugin.Until("it to have left over "+scheme, func() bool { return len(s.told(scheme)) == 2 })
		require.Equal(t, []string{"alive", "left"}, s.told(scheme))
		s.plugin.Until("once to be heard over "+scheme, func() bool { return len(s.told(scheme+"-once")) == 1 })
	}
	require.Empty(t, s.plugin.Stderr.With("Refused"))
}

// Who does not prove who it is hears why not.
func TestWhoIsNotWhoItSays(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret := func(name string) []string { return []string{"-key-file", filepath.Join(s.dir, name)} }
	shown := func(name string) []string {
		return []string{"-tls-cert", filepath.Join(s.dir, name+".pem"), "-tls-key", filepath.Join(s.dir, name+".key")}
	}
	for _, tt := range []struct {
		scheme string
		flags  []string
		says   string
		code   int
	}{
		{"tcp", secret("web-2.secret"), `signature does not match key \"web-1\"`, 4},
		{"unix", append(secret("web-2.secret"), "-key-id", "web-2"), `\"web-1\" is not the host of the certificate or signature`, 4},
		{"tcp", []string{"-key-id", "web-3"}, `key \"web-3\" is not in`, 4},
		{"tls", shown("expired"), "does the collector require a client certificate that it trusts? Give -tls-cert and -tls-key", 1},
		{"tls", []string{"-tls-server-name", "other"}, "valid for collector, not other (is the name in the URL right?", 1},
		{"tls", []string{"-tls-ca", filepath.Join(s.dir, "web-1.pem")}, "unknown authority (does -tls-ca contain the CA of the collector?)", 1},
	} {
		check := s.sender("check", tt.scheme, tt.flags...)
		require.Equal(t, tt.code, check.Exit(), tt.says)
		require.Contains(t, strings.Join(check.Stdout.All(), "\n"), tt.says)
	}
	tcp := s.urls["tcp"]
	s.urls["tcp"] = "tls" + strings.TrimPrefix(tcp, "tcp")
	check := s.sender("check", "tcp")
	require.Equal(t, 1, check.Exit())
	require.Contains(t, strings.Join(check.Stdout.All(), "\n"), "failed: TLS: the other side closed the connection in the handshake (is it a port without TLS?)")

	unsigned := testkit.StartProgram(t, "heartbeat-sender", "once", "-config", os.DevNull, "-server", tcp, "-host", "web-1")
	require.Equal(t, 4, unsigned.Exit())
	require.Contains(t, strings.Join(unsigned.Stderr.All(), "\n"), "beat is not signed")
	require.Empty(t, s.told("host"))
}

// Certificates are renewed, and keys replaced, while both sides go on.
func TestCertificatesAndKeysAreReplaced(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.sender("run", "tls", "-service", "steady", "-interval", "200ms")
	s.plugin.Until("it to be alive", func() bool { return len(s.told("steady")) == 1 })
	s.certify() // everybody anew, the authority too
	require.Zero(t, s.sender("once", "tls", "-service", "new").Exit(), "both sides take the new ones")
	require.True(t, run.Running())

	s.write("web-1.secret", "# since today\na staple of new batteries\ncorrect horse battery staple\n")
	s.plugin.Until("the key to be read again", func() bool { return s.plugin.Stderr.Says("Reloaded key") })
	require.Zero(t, s.sender("once", "tcp", "-service", "new").Exit(), "the first one is the new one")
	require.Equal(t, []string{"alive"}, s.told("steady"))
}

// The secret is never shown.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	check := s.sender("check", "tls")
	require.Zero(t, check.Exit())
	all := strings.Join(append(check.Stdout.All(), append(check.Stderr.All(), s.plugin.Stderr.All()...)...), "\n")
	require.Contains(t, all, "signed     with the key web-1")
	require.Contains(t, all, fmt.Sprintf("issued by %s, valid until ", "Example Authority"))
	require.NotContains(t, all, "battery")
	_, err := os.Stat(filepath.Join(s.dir, "s"))
	require.NoError(t, err)
}
