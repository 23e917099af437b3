package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// keyFile is the prefix of a value of 'keys' that names a file instead of a secret.
const keyFile = "file:"

const (
	// maxKeyFile is the maximum size of a file of secrets in bytes.
	maxKeyFile = 64 << 10
	// rereadWait is how long reading the files named in 'keys' may take.
	rereadWait = 2 * time.Second
)

// Logger receives log messages about keys.
type Logger interface {
	// Infof logs which keys were read or reloaded.
	Infof(format string, args ...any)
	// Warnf logs a problem with a file, or that a key was revoked.
	Warnf(format string, args ...any)
}

// Keys are the keys with which beats may be signed, and their secrets. The files of secrets are
// reread regularly.
type Keys struct {
	log Logger

	dir *directory // nil for none

	reading sync.Mutex // guards files
	files   []*secretFile

	mu      sync.RWMutex // guards the rest
	secrets map[string][][]byte
}

// OpenKeys reads all secrets. texts maps key ids to secrets, or to files of secrets as
// "file:/path". dir is a directory of such files, or "".
func OpenKeys(texts map[string]string, dir string, log Logger) (*Keys, error) {
	k := &Keys{log: log, secrets: make(map[string][][]byte)}
	for id, text := range texts {
		if err := k.add(id, text); err != nil {
			return nil, fmt.Errorf("key %q of 'keys': %w", id, err)
		}
	}
	if dir == "" {
		return k, nil
	}
	err := k.addDirectory(dir, slices.Collect(maps.Keys(texts)))
	return k, err
}

func (k *Keys) add(id, text string) (err error) {
	file := newSecretFile(id, text)
	if file != nil {
		k.files = append(k.files, file)
	}
	k.secrets[KeyName(id)], err = secretsOf(file, text)
	return err
}

// ReadSecret returns the secret in text, or in the file that text names as "file:/path".
func ReadSecret(text string) ([]byte, error) {
	secrets, err := secretsOf(newSecretFile("", text), text)
	if err != nil {
		return nil, err
	}
	if len(secrets) > 1 {
		return nil, fmt.Errorf("it has %d secrets, one per line, but only one is allowed", len(secrets))
	}
	return secrets[0], nil
}

// newSecretFile returns the file that text names, or nil if text is a secret.
func newSecretFile(id, text string) *secretFile {
	name, named := strings.CutPrefix(text, keyFile)
	if !named {
		return nil
	}
	return &secretFile{source{id: KeyName(id), option: "keys"}, regular.Reader{Name: name, Limit: maxKeyFile}}
}

// secretsOf returns the secrets in file, or in text if file is nil.
func secretsOf(file *secretFile, text string) ([][]byte, error) {
	if file == nil {
		return wire.Secrets([]byte(text))
	}
	ctx, cancel := context.WithTimeout(context.Background(), rereadWait)
	defer cancel()
	return file.read(ctx)
}

// KeyName returns the canonical form of a key id. The id may be a host name.
func KeyName(id string) string {
	if name, err := wire.Host(id); err == nil {
		return name
	}
	return strings.ToLower(id)
}

// A source is a file with the secrets of one key, and the state of reading it.
type source struct {
	id     string
	option string // the option that names the file
	empty  bool   // it had no secret when it was last read
	logged string // the last logged error
}

// A readResult is the result of reading the file of a key.
type readResult struct {
	secrets [][]byte
	err     error
}

// A secretFile is a file named in 'keys'.
type secretFile struct {
	source
	file regular.Reader
}

func (f *secretFile) read(ctx context.Context) ([][]byte, error) {
	content, err := f.file.Read(ctx)
	if err != nil {
		return nil, err
	}
	return secretsIn(f.file.Name, &content)
}

// secretsIn returns the secrets of a file. It returns an error if other users can access the file.
// For a file without a secret it does not check the mode: such a file revokes its key.
func secretsIn(name string, content *regular.Content) ([][]byte, error) {
	secrets, err := wire.Secrets(content.Text)
	mode := content.Info.Mode().Perm()
	switch {
	case errors.Is(err, wire.ErrNoSecret):
	case mode&0o007 != 0 && runtime.GOOS != "windows":
		return nil, fmt.Errorf("other users can access %q (mode %#o): make it 0600 or 0640", name, mode)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return secrets, nil
}

// verifySignature verifies the signature of a payload, if it has one. It returns the JSON object of
// the payload and the id of the key that signed it, or "" if the payload is not signed.
func (k *Keys) verifySignature(payload []byte) (object []byte, signer string, refusal *wire.Refusal) {
	signed, err := wire.OpenSigned(payload)
	if err != nil {
		return nil, "", wire.AsRefusal(err)
	}
	if signed == nil {
		return payload, "", nil
	}
	id := KeyName(string(signed.KeyID))
	secrets := k.secretsFor(id)
	if len(secrets) == 0 {
		return nil, "", &wire.Refusal{Reason: wire.ReasonSignature, Text: fmt.Sprintf("key %q is not in '%s'", id, k.option())}
	}
	if !slices.ContainsFunc(secrets, signed.By) {
		return nil, "", &wire.Refusal{Reason: wire.ReasonSignature, Text: fmt.Sprintf("signature does not match key %q", id)}
	}
	return signed.Object, id, nil
}

// option returns the name of the option to which an operator can add keys.
func (k *Keys) option() string {
	if k.dir != nil {
		return "keys_dir"
	}
	return "keys"
}

func (k *Keys) secretsFor(id string) [][]byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.secrets[id]
}

// KeepReading logs which keys were read from the directory, and rereads all files until ctx ends.
// The directory may be slow, so it is read separately from the files named in 'keys'.
func (k *Keys) KeepReading(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	if len(k.files) > 0 {
		all.Go(func() { regular.Reread(ctx, k.rereadFiles) }) // ends with ctx
	}
	if k.dir != nil {
		k.logStart()
		k.readAgainSoon(ctx)
		regular.Reread(ctx, k.readDirectory)
	}
}

// Reread rereads all files concurrently. A file that hangs or is invalid does not affect others.
func (k *Keys) Reread(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { k.rereadFiles(ctx) }) // ends with ctx
	if k.dir != nil {
		k.readDirectory(ctx)
	}
}

func (k *Keys) rereadFiles(ctx context.Context) {
	k.reading.Lock()
	defer k.reading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, rereadWait)
	defer cancel()
	var all sync.WaitGroup
	for _, file := range k.files {
		all.Go(func() { k.readKey(ctx, file) }) // ends with ctx
	}
	all.Wait()
}

func (k *Keys) readKey(ctx context.Context, file *secretFile) {
	secrets, err := file.read(ctx)
	if !errors.Is(ctx.Err(), context.Canceled) {
		k.apply(&file.source, readResult{secrets, err})
	}
}

// apply puts the secrets of one file into use. While the file is invalid, the previous secrets stay
// in use. If the file is missing or has no secret twice in a row, the key is revoked. Once is not
// enough, because some programs remove or empty a file for a moment before they write it.
func (k *Keys) apply(s *source, found readResult) {
	gone := errors.Is(found.err, fs.ErrNotExist)
	empty := gone || errors.Is(found.err, wire.ErrNoSecret)
	first := empty && !s.empty
	s.empty = empty
	switch {
	case first:
		return
	case empty && k.set(s.id, nil):
		k.log.Warnf("Revoked key %q of '%s': %v", s.id, s.option, found.err)
		s.logged = found.err.Error()
		return
	case gone:
	case found.err != nil:
		k.logProblem(s, found.err)
		return
	case k.set(s.id, found.secrets):
		k.log.Infof("Reloaded key %q of '%s'", s.id, s.option)
	}
	s.logged = ""
}

// logProblem logs a problem with a file, unless it was the last problem logged about the file.
func (k *Keys) logProblem(s *source, err error) {
	text := err.Error()
	switch {
	case text == s.logged:
	case len(k.secretsFor(s.id)) == 0, errors.Is(err, errTaken):
		k.log.Warnf("Ignored key %q of '%s': %v", s.id, s.option, err)
	default:
		k.log.Warnf("Kept the previous secret of key %q of '%s': %v", s.id, s.option, err)
	}
	s.logged = text
}

// set replaces the secrets of a key. It reports whether the previous secrets were different.
func (k *Keys) set(id string, secrets [][]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.EqualFunc(k.secrets[id], secrets, bytes.Equal) {
		return false
	}
	k.secrets[id] = secrets
	return true
}
