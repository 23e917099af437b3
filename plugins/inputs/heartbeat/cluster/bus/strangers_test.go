package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestOtherSecret(t *testing.T) {
	ours := options()
	a := opened(t, ours)
	theirs := options(address(a))
	theirs.Secret = []byte("of others")
	b := opened(t, theirs)
	friend := opened(t, options(address(a)))
	refused := func(o *Options) int { return len(o.Log.(*lines).with("127.0.0.1:")) }
	eventually(t, func() bool {
		a.Send([]byte("hello of 0"))
		b.Send([]byte("secret"))
		return refused(ours) > 0 && refused(theirs) > 0
	}, "a secret that differs is not named")
	require.Contains(t, ours.Log.(*lines).with("")[0], "has a different 'secret'")
	require.Contains(t, theirs.Log.(*lines).with("")[0], "has a different 'secret'")
	require.LessOrEqual(t, a.server.NumRoutes(), 1)
	require.Empty(t, b.Received())
	meet(t, a, friend) // which gets nothing of b
}

func TestOtherSecretIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said lines
		log := newServerLog(&said)
		for i := range 120 {
			log.warnOtherSecret(fmt.Sprintf("192.0.2.1:%d", 10_000+i))
			log.Errorf("192.0.2.1:6222 - rid:%d - Route Error %s", i, "'Authorization Violation'")
			log.Errorf("192.0.2.2:6222 - rid:7 - Route Error %s", "'Stale Connection'")
			log.Errorf("192.0.2.2:6222 - rid:7 - authentication error")
			time.Sleep(time.Second)
		}
		require.Len(t, said.all, 2)
		require.Contains(t, said.all[0], "192.0.2.1:10000 has a different 'secret'")
	})
}

func TestUnreachableIsLoggedOnceAnHour(t *testing.T) {
	var said lines
	log := newServerLog(&said)
	for i := range 7300 {
		log.Errorf("Error trying to connect to route (attempt %v): %v", i+1, io.EOF)
	}
	require.Len(t, said.all, 3)
}

// An occasional port scan does not count as a failure of TLS.
func TestTLSFailuresInARow(t *testing.T) {
	var said lines
	log := newServerLog(&said)
	now := time.Now()
	for i := range 300 {
		log.warnTLSFailed(fmt.Sprintf("192.0.2.1:%d", i), "EOF", now.Add(time.Duration(i)*time.Minute))
		log.warnTLSFailed(fmt.Sprintf("[2001:db8::%x]:1", i), "EOF", now)
	}
	require.Empty(t, said.all)
	require.LessOrEqual(t, len(log.tls), maxTLSHosts)
	log.Errorf("192.0.2.9:1 - rid:1 - TLS route handshake error: %v%s", io.EOF, "")
	log.Errorf("192.0.2.9:2 - rid:2 - TLS route handshake error: %v%s", io.EOF, "")
	require.Equal(t, []string{"TLS with the collector at 192.0.2.9:2 failed: EOF"}, said.all)
}

// counter counts what is refused to a foreign server.
type counter struct{ refused atomic.Int32 }

func (c *counter) Errorf(format string, args ...any) {
	if strings.Contains(fmt.Sprintf(format, args...), "Authorization Violation") {
		c.refused.Add(1)
	}
}

func (*counter) Noticef(string, ...any) {}
func (*counter) Warnf(string, ...any)   {}
func (*counter) Fatalf(string, ...any)  {}
func (*counter) Debugf(string, ...any)  {}
func (*counter) Tracef(string, ...any)  {}

// A NATS server that knows our cluster name but not the password can send and receive nothing.
func TestForeignServer(t *testing.T) {
	a := opened(t, options())
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true,
		Cluster: server.ClusterOpts{Name: cluster, Host: "127.0.0.1", Port: -1, PoolSize: -1},
		Routes:  []*url.URL{{Scheme: "nats-route", Host: address(a)}},
	})
	require.NoError(t, err)
	var refusals counter
	s.SetLoggerV2(&refusals, false, false, false)
	s.Start()
	defer stopServer(s)
	client, err := nats.Connect("", nats.InProcessServer(s))
	require.NoError(t, err)
	defer client.Close()
	heard, err := client.SubscribeSync(">")
	require.NoError(t, err)
	eventually(t, func() bool {
		a.Send([]byte("of us"))
		require.NoError(t, client.Publish(subject, []byte("of others")))
		return refusals.refused.Load() >= 2
	}, "it is not refused")
	for {
		m, err := heard.NextMsg(time.Millisecond)
		if err != nil {
			break
		}
		require.Equal(t, "of others", string(m.Data))
	}
	require.Empty(t, a.Received())
	require.Zero(t, a.server.NumRoutes())
}

func TestClientsAreRefused(t *testing.T) {
	a := opened(t, options())
	_, err := nats.Connect("nats://" + address(a))
	require.Error(t, err)
	_, err = nats.Connect(a.server.ClientURL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	_, err = nats.Connect(a.server.ClientURL(), nats.UserInfo(user, password([]byte("of all"))))
	require.ErrorIs(t, err, nats.ErrAuthorization)
}

// Whatever is sent to the port, the answer is a line that describes the server, and an error.
func TestBytesOfStrangers(t *testing.T) {
	a := opened(t, options())
	noise := make([]byte, 1<<20)
	_, err := rand.Read(noise)
	require.NoError(t, err)
	info := fmt.Sprintf(`INFO {"server_id":"stranger","server_name":"stranger","cluster":%q,"proto":1,"lnoc":true}`, cluster)
	for name, sent := range map[string]string{
		"noise":            string(noise),
		"zeros":            strings.Repeat("\x00", 1<<20),
		"an endless line":  "CONNECT " + strings.Repeat("{", 8<<20),
		"no CONNECT":       info + "\r\nRS+ $G heartbeat\r\nRMSG $G heartbeat 2\r\nhi\r\n",
		"no password":      `CONNECT {"cluster":"heartbeat"}` + "\r\n" + info + "\r\nRS+ $G >\r\nRMSG $G heartbeat 2\r\nhi\r\n",
		"another password": `CONNECT {"user":"collector","pass":"x","cluster":"heartbeat"}` + "\r\n" + info + "\r\nRS+ $G >\r\nRMSG $G heartbeat 2\r\nhi\r\n",
		"HTTP":             "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"half a line":      "CONN",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address(a))
			require.NoError(t, err)
			defer conn.Close()
			go conn.Write([]byte(sent)) //nolint:errcheck // it is cut off
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
			answer, err := io.ReadAll(conn) // ends by itself: nobody stays connected
			if err != nil {
				require.ErrorContains(t, err, "reset")
			}
			for line := range strings.Lines(string(answer)) {
				require.Regexp(t, `^(INFO \{.*"cluster":"heartbeat".*\}|-ERR '.*'|PING)\s*$`, line)
			}
			require.NotContains(t, string(answer), password([]byte("of all")))
		})
	}
	require.Empty(t, a.Received())
	require.Zero(t, a.server.NumRoutes())
	meet(t, a, opened(t, options(address(a))))
}

// An authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key, a.cert = sign(t, template, template, nil)
	a.pool.AddCert(a.cert)
	return a
}

// config is for both directions of collectors on 127.0.0.1 and requires a certificate of the other side.
func (a *authority) config(t testing.TB) *tls.Config {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "collector"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	key, cert := sign(t, template, a.cert, a.key)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		RootCAs:      a.pool,
		ClientCAs:    a.pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS12,
	}
}

// sign creates a key and its certificate, which is self-signed if there is no other key.
func sign(t testing.TB, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	if by == nil {
		by = key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	return key, cert
}

func TestTLS(t *testing.T) {
	with := func(config *tls.Config, mates ...string) *Options {
		o := options(mates...)
		o.TLS = config
		return o
	}
	all := newAuthority(t)
	bare := all.config(t)
	bare.Certificates = nil
	for name, theirs := range map[string]*tls.Config{
		"plaintext":         nil,
		"no certificate":    bare,
		"another authority": newAuthority(t).config(t),
	} {
		t.Run(name, func(t *testing.T) {
			ours := with(all.config(t))
			a := opened(t, ours)
			b := opened(t, with(all.config(t), address(a)))
			meet(t, a, b)
			c := opened(t, with(theirs, address(a)))
			eventually(t, func() bool {
				c.Send([]byte("of others"))
				return len(ours.Log.(*lines).with("TLS with the collector at 127.0.0.1")) > 0
			}, "nothing is said of TLS")
			require.Zero(t, c.server.NumRoutes())
			require.Empty(t, c.Received())
			meet(t, a, b)
		})
	}
}
