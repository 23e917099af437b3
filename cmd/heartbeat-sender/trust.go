package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// credential is the name of the secret in systemd (systemd.exec(5), LoadCredential=).
const credential = "heartbeat.key"

// trust has the settings by which collectors and this host authenticate each other.
type trust struct {
	ca, cert, key, serverName string // of TLS
	signKey, signID           string
}

// apply sets the TLS settings and the key of s. The TLS files are read again for each
// connection, so that certificates can be renewed.
func (t *trust) apply(ctx context.Context, s *sender.Sender, environ []string) (err error) {
	if slices.ContainsFunc(s.Servers, func(url string) bool { return strings.HasPrefix(url, "tls://") }) {
		files := newTLSFiles(t)
		if _, err := files.config(ctx); err != nil {
			return err
		}
		s.TLS = files.renewed
	}
	s.Key, err = t.signingKey(ctx, s.Peers[0].Host, environ)
	return err
}

// signingKey returns the key to sign with, or a zero Key if there is no file.
func (t *trust) signingKey(ctx context.Context, host string, environ []string) (sender.Key, error) {
	name, given := t.signKey, t.signKey != ""
	if dir, ok := lookup(environ, "CREDENTIALS_DIRECTORY"); ok && !given {
		name = filepath.Join(dir, credential)
	}
	var secret []byte
	err := fs.ErrNotExist
	if name != "" {
		secret, err = readSecret(ctx, name)
	}
	switch none := !given && errors.Is(err, fs.ErrNotExist); {
	case none && t.signID != "":
		return sender.Key{}, errors.New("key-id: its secret is missing: give the file with key-file")
	case none:
		return sender.Key{}, nil
	case err != nil:
		return sender.Key{}, fmt.Errorf("key-file: %w", err)
	}
	key := sender.Key{ID: cmp.Or(t.signID, host), Secret: secret}
	return key, key.Validate()
}

// readSecret returns the first secret of a file that other users cannot access.
func readSecret(ctx context.Context, name string) ([]byte, error) {
	content, err := readOnce(ctx, name)
	if err != nil {
		return nil, err
	}
	if mode := content.Info.Mode().Perm(); mode&0o007 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("other users can access %q (mode %#o): make it 0600 or 0640", name, mode)
	}
	secrets, err := wire.Secrets(content.Text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return secrets[0], nil
}

// renewTime is how long a connection waits for the TLS files.
const renewTime = time.Second

// tlsFiles reads the TLS settings from their files.
type tlsFiles struct {
	trust *trust

	mu            sync.Mutex // guards what follows
	ca, cert, key regular.Reader
	last          *tls.Config // from the last successful read
}

func newTLSFiles(t *trust) *tlsFiles {
	reader := func(name string) regular.Reader { return regular.Reader{Name: name, Limit: maxFile} }
	return &tlsFiles{trust: t, ca: reader(t.ca), cert: reader(t.cert), key: reader(t.key)}
}

// renewed reads the files again. If that takes too long, it returns the last
// settings: the mount of the files may hang, and beats must go on.
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
			return nil, fmt.Errorf("tls-ca: %q contains no PEM certificate", f.ca.Name)
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

// own returns the client certificate, if there is one.
func (f *tlsFiles) own(ctx context.Context) ([]tls.Certificate, error) {
	switch {
	case f.cert.Name == "" && f.key.Name == "":
		return nil, nil
	case f.cert.Name == "" || f.key.Name == "":
		return nil, errors.New("give tls-cert and tls-key together")
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

// read returns the content of the file of an option.
func read(ctx context.Context, file *regular.Reader, option string) ([]byte, error) {
	content, err := file.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return content.Text, nil
}
