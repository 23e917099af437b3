package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
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
func (t *trust) apply(ctx context.Context, s *sender.Sender, environ []string) (err error) {
	if slices.ContainsFunc(s.Servers, func(url string) bool { return strings.HasPrefix(url, "tls://") }) {
		files := newTLSFiles(t)
		if _, err := files.config(ctx); err != nil {
			return err
		}
		s.TLS = files.renewed
	}
	s.Key, err = t.signing(ctx, s.Peers[0].Host, environ)
	return err
}

// signing returns the key to sign with, which is none if there is no file.
func (t *trust) signing(ctx context.Context, host string, environ []string) (sender.Key, error) {
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
		return sender.Key{}, errors.New("key-id: there is no secret of that name: give its file with key-file")
	case none:
		return sender.Key{}, nil
	case err != nil:
		return sender.Key{}, fmt.Errorf("key-file: %w", err)
	}
	key := sender.Key{ID: cmp.Or(t.signID, host), Secret: secret}
	return key, key.Validate()
}

// readSecret returns the first secret of a file that nobody else may read.
func readSecret(ctx context.Context, name string) ([]byte, error) {
	content, err := readOnce(ctx, name)
	if err != nil {
		return nil, err
	}
	if mode := content.Info.Mode().Perm(); mode&0o007 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("others may use %q, whose mode is %#o: make it 0600 or 0640", name, mode)
	}
	secrets, err := wire.Secrets(content.Text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return secrets[0], nil
}
