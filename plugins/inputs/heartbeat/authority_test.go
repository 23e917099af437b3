package heartbeat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An authority issues certificates.
type authority struct {
	t      testing.TB
	dir    string
	file   string // its own certificate
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(t testing.TB) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{t: t, dir: t.TempDir(), key: key}
	a.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, SerialNumber: big.NewInt(1),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.file = filepath.Join(a.dir, "authority.pem")
	a.write(a.file, a.cert, key)
	return a
}

// write signs a certificate and writes it.
func (a *authority) write(file string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

// A pair is the files of a certificate and its key.
type pair struct{ cert, key string }

// issue certifies a common name, and DNS names beside it.
func (a *authority) issue(name string, dnsNames ...string) pair {
	return a.issueUntil(time.Now().Add(time.Hour), name, dnsNames...)
}

func (a *authority) issueUntil(end time.Time, name string, dnsNames ...string) pair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	a.serial++
	files := pair{filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")}
	a.write(files.cert, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: dnsNames, SerialNumber: big.NewInt(1 + a.serial),
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, key)
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	require.NoError(a.t, os.WriteFile(files.key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600))
	return files
}

// load returns p as the client shows it.
func (p pair) load(t testing.TB) tls.Certificate {
	cert, err := tls.LoadX509KeyPair(p.cert, p.key)
	require.NoError(t, err)
	return cert
}

// trust returns the configuration of a client that trusts the authority and presents shown.
func (a *authority) trust(shown ...pair) *tls.Config {
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "collector", MinVersion: tls.VersionTLS12}
	text, err := os.ReadFile(a.file)
	require.NoError(a.t, err)
	require.True(a.t, config.RootCAs.AppendCertsFromPEM(text))
	for _, p := range shown {
		config.Certificates = append(config.Certificates, p.load(a.t))
	}
	return config
}
