package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// credential is what systemd calls the secret (systemd.exec(5), LoadCredential=).
const credential = "heartbeat.key"

// trust is how collectors and this host know each other.
type trust struct {
	ca, cert, key, serverName string // of TLS
	signKey, signID           string
}

// apply sets s up. Files of TLS are read again for each connection, so that
// certificates may be renewed.
func (t *trust) apply(s *sender.Sender, environ []string) (err error) {
	if slices.ContainsFunc(s.Servers, func(url string) bool { return strings.HasPrefix(url, "tls://") }) {
		s.TLS = t.config
		if _, err := t.config(); err != nil {
			return err
		}
	}
	s.Key, err = t.signing(s.Peers[0].Host, environ)
	return err
}

// config reads the files of TLS.
func (t *trust) config() (*tls.Config, error) {
	config := &tls.Config{ServerName: t.serverName, MinVersion: tls.VersionTLS12}
	if t.ca != "" {
		text, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, fmt.Errorf("tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls-ca: %q holds no certificate in PEM", t.ca)
		}
	}
	if t.cert == "" && t.key == "" {
		return config, nil
	}
	if t.cert == "" || t.key == "" {
		return nil, errors.New("tls-cert and tls-key need each other")
	}
	own, err := tls.LoadX509KeyPair(t.cert, t.key)
	if err != nil {
		return nil, fmt.Errorf("tls-cert: %w", err)
	}
	config.Certificates = []tls.Certificate{own}
	return config, nil
}

// signing returns the key to sign with, which is none if there is no file.
func (t *trust) signing(host string, environ []string) (wire.Key, error) {
	name := t.signKey
	if dir, ok := lookup(environ, "CREDENTIALS_DIRECTORY"); ok && name == "" {
		if name = filepath.Join(dir, credential); !exists(name) {
			name = ""
		}
	}
	switch {
	case name == "" && t.signID != "":
		return wire.Key{}, errors.New("key-id: there is no secret of that name: give its file with key-file")
	case name == "":
		return wire.Key{}, nil
	}
	secret, err := readSecret(name)
	if err != nil {
		return wire.Key{}, fmt.Errorf("key-file: %w", err)
	}
	key := wire.Key{ID: t.signID, Secret: secret}
	if key.ID == "" {
		key.ID = host
	}
	return key, key.Validate()
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// readSecret returns the first secret of a file that nobody else may read.
func readSecret(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("others may use %q, whose mode is %#o: make it 0600 or 0640", name, info.Mode().Perm())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	secrets, err := wire.Secrets(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return secrets[0], nil
}
