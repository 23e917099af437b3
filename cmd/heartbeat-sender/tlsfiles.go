package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

// renewTime is how long a connection waits for the files of TLS.
const renewTime = time.Second

// tlsFiles are the files of TLS.
type tlsFiles struct {
	trust *trust

	mu            sync.Mutex // guards what follows
	ca, cert, key regular.Reader
	last          *tls.Config // as they were read last
}

func newTLSFiles(t *trust) *tlsFiles {
	reader := func(name string) regular.Reader { return regular.Reader{Name: name, Limit: maxFile} }
	return &tlsFiles{trust: t, ca: reader(t.ca), cert: reader(t.cert), key: reader(t.key)}
}

// renewed reads the files again. While they do not answer, what was read last
// holds: their mount may hang, and this host would be cut off too.
func (f *tlsFiles) renewed() (*tls.Config, error) {
	ctx, cancel := context.WithTimeout(context.Background(), renewTime)
	defer cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	config, err := f.config(ctx)
	if errors.Is(err, regular.ErrSlow) {
		return f.last, nil
	}
	return config, err
}

// config reads the files.
func (f *tlsFiles) config(ctx context.Context) (*tls.Config, error) {
	config := &tls.Config{ServerName: f.trust.serverName, MinVersion: tls.VersionTLS12}
	if f.ca.Name != "" {
		ca, err := read(ctx, &f.ca, "tls-ca")
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("tls-ca: %q holds no certificate in PEM", f.ca.Name)
		}
	}
	own, err := f.own(ctx)
	if err != nil {
		return nil, err
	}
	config.Certificates = own
	f.last = config
	return config, nil
}

// own returns the certificate to show, if there is one.
func (f *tlsFiles) own(ctx context.Context) ([]tls.Certificate, error) {
	switch {
	case f.cert.Name == "" && f.key.Name == "":
		return nil, nil
	case f.cert.Name == "" || f.key.Name == "":
		return nil, errors.New("tls-cert and tls-key need each other")
	}
	cert, err := read(ctx, &f.cert, "tls-cert")
	if err != nil {
		return nil, err
	}
	key, err := read(ctx, &f.key, "tls-key")
	if err != nil {
		return nil, err
	}
	own, err := tls.X509KeyPair(cert, key)
	if err != nil {
		err = fmt.Errorf("tls-cert: %w", err)
	}
	return []tls.Certificate{own}, err
}

// read returns what is in the file of an option.
func read(ctx context.Context, file *regular.Reader, option string) ([]byte, error) {
	content, err := file.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return content.Text, nil
}
