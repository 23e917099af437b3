package bus

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// says listens and sends the same text on every connection.
func says(t *testing.T, text string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
			conn.Write([]byte(text)) //nolint:errcheck // whoever has gone needs no answer
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
		for _, conn := range conns {
			conn.Close()
		}
	})
	return l.Addr().String()
}

func TestProbe(t *testing.T) {
	authority := newAuthority(t)
	secured := authority.config(t)
	bare := secured.Clone()
	bare.Certificates = nil
	plain := options()
	a := opened(t, plain)
	withTLS := options()
	withTLS.TLS = secured
	b := opened(t, withTLS)
	other, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	require.NoError(t, err)
	other.Start()
	t.Cleanup(func() { stopServer(other) })

	for _, tt := range []struct {
		name, address, secret string
		tls                   *tls.Config
		want                  string
	}{
		{"the same secret", address(a), "of all", nil, ""},
		{"the same secret and TLS", address(b), "of all", secured, ""},
		{"another secret", address(a), "of others", nil, "its 'secret' is different"},
		{"another secret and TLS", address(b), "of others", secured, "its 'secret' is different"},
		{"nobody", freeAddress(t), "of all", nil, "no collector listens on 127.0.0.1:"},
		{"no host", "nowhere.invalid:6222", "of all", nil, "no collector listens on nowhere.invalid:6222: lookup"},
		{"TLS there only", address(b), "of all", nil, "it requires TLS: set tls_cert"},
		{"TLS here only", address(a), "of all", secured, "it does not use TLS"},
		{"no certificate", address(b), "of all", bare, "it rejects the certificate of this collector"},
		{"another authority", address(b), "of all", newAuthority(t).config(t), "certificate"},
		{"another NATS server", other.Addr().String(), "of all", nil, "it is not a collector but another NATS server"},
		{"the port for clients", a.server.Addr().String(), "of all", nil, "this is the port for NATS clients"},
		{"another protocol", says(t, "220 mail\r\n"), "of all", nil, `it is not a collector: it sends "220 mail\r\n"`},
		{"another protocol, TLS here", says(t, "220 mail\r\n"), "of all", secured, "it does not speak TLS"},
		{"silence", says(t, ""), "of all", nil, "it accepts connections but sends nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Probe(t.Context(), tt.address, []byte(tt.secret), tt.tls)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// A Probe leaves nothing behind, and the collector logs nothing unless the secret is different.
func TestProbeDisturbsNothing(t *testing.T) {
	o := options()
	a := opened(t, o)
	b := opened(t, options(address(a)))
	meet(t, a, b)
	for range 20 {
		require.NoError(t, Probe(t.Context(), address(a), o.Secret, nil))
	}
	require.Equal(t, 1, a.server.NumRoutes())
	meet(t, a, b)
	require.Empty(t, o.Log.(*lines).with(""))
}
