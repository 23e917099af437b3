package heartbeat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// keyFile begins a value of 'keys' that names a file instead of a secret.
const keyFile = "file:"

// A keyRing knows the secrets of those who may sign. Files are read again when
// they change.
type keyRing struct {
	options map[string]*config.Secret
	log     telegraf.Logger

	mu      sync.RWMutex // guards the rest
	secrets map[string][][]byte
	files   watched
	look    time.Time // when to look at the files again
	wrong   rarely
}

// openKeys reads all secrets.
func openKeys(options map[string]*config.Secret, log telegraf.Logger) (*keyRing, error) {
	k := &keyRing{options: options, log: log, look: time.Now().Add(rereadFiles)}
	secrets, files, err := k.read()
	if err != nil {
		return nil, err
	}
	k.secrets, k.files = secrets, files
	return k, nil
}

func (k *keyRing) read() (map[string][][]byte, watched, error) {
	all := make(map[string][][]byte)
	var names []string
	for id, option := range k.options {
		buffer, err := option.Get()
		if err != nil {
			return nil, nil, fmt.Errorf("key %q of 'keys': %w", id, err)
		}
		text := strings.Clone(buffer.String())
		buffer.Destroy()
		if name, named := strings.CutPrefix(text, keyFile); named {
			names = append(names, name)
			if text, err = readSecret(name); err != nil {
				return nil, nil, fmt.Errorf("key %q of 'keys': %w", id, err)
			}
		}
		if all[strings.ToLower(id)], err = wire.Secrets([]byte(text)); err != nil {
			return nil, nil, fmt.Errorf("key %q of 'keys': %w", id, err)
		}
	}
	return all, watch(names), nil
}

// readSecret reads a file that nobody else may read.
func readSecret(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if others := info.Mode().Perm() & 0o007; others != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("others may use %q, whose mode is %#o: make it 0600 or 0640", name, info.Mode().Perm())
	}
	text, err := readRegular(name)
	return string(text), err
}

// open returns the object of a payload, and the id of the key that has signed
// it, or "" if none has.
func (k *keyRing) open(payload []byte) (object []byte, signer string, refusal *wire.Refusal) {
	signed, err := wire.OpenSigned(payload)
	if err != nil {
		return nil, "", wire.AsRefusal(err)
	}
	if signed == nil {
		return payload, "", nil
	}
	id := strings.ToLower(string(signed.KeyID))
	secrets := k.of(id)
	if len(secrets) == 0 {
		return nil, "", &wire.Refusal{Reason: wire.ReasonSignature, Text: fmt.Sprintf("key %q is unknown ('keys')", id)}
	}
	if !slices.ContainsFunc(secrets, signed.By) {
		return nil, "", &wire.Refusal{Reason: wire.ReasonSignature, Text: fmt.Sprintf("signature is not that of key %q", id)}
	}
	return signed.Object, id, nil
}

func (k *keyRing) of(id string) [][]byte {
	k.reread(time.Now())
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.secrets[id]
}

// reread reads the files again if one has changed. While one is wrong, the
// secrets that were right hold.
func (k *keyRing) reread(now time.Time) {
	k.mu.RLock()
	due := now.After(k.look)
	k.mu.RUnlock()
	if !due {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !now.After(k.look) {
		return // another one was faster
	}
	k.look = now.Add(rereadFiles)
	if !k.files.changed() {
		return
	}
	secrets, files, err := k.read()
	if err != nil {
		if more, ok := k.wrong.allow(now); ok {
			k.log.Warnf("Keys stay as they were: %v%s", err, more)
		}
		return
	}
	k.secrets, k.files = secrets, files
	k.log.Infof("Keys are read again")
}

// watched are files as they were when they were read.
type watched []watchedFile

type watchedFile struct {
	name string
	info fs.FileInfo // nil if there was none
}

func watch(names []string) watched {
	files := make(watched, 0, len(names))
	for _, name := range names {
		info, _ := os.Stat(name) //nolint:errcheck // then there is none
		files = append(files, watchedFile{name, info})
	}
	return files
}

// changed tells whether any of the files is another one now.
func (w watched) changed() bool {
	return slices.ContainsFunc(w, func(f watchedFile) bool {
		now, err := os.Stat(f.name)
		switch {
		case err != nil:
			return f.info != nil
		case f.info == nil:
			return true
		}
		return !os.SameFile(now, f.info) || !now.ModTime().Equal(f.info.ModTime()) || now.Size() != f.info.Size()
	})
}

// checkKeys says what is wrong with the options about signatures.
func (h *Heartbeat) checkKeys() error {
	for id := range h.Keys {
		if err := (wire.Key{ID: id, Secret: make([]byte, wire.MinSecret)}).Validate(); err != nil {
			return fmt.Errorf("'keys': %w", err)
		}
	}
	if h.RequireSignature && len(h.Keys) == 0 {
		return errors.New("'require_signature' needs 'keys'")
	}
	if len(h.Keys) == 0 {
		return nil
	}
	// Who was forgotten is a stranger. What it said last may have been sent by a
	// clock that was ahead by the window, and is not too old for as long again.
	least := 2 * h.ReplayWindow
	check := func(name string, forget config.Duration) error {
		if forget == 0 || forget >= least {
			return nil
		}
		return fmt.Errorf("'%s' has to be at least twice 'replay_window', %s", name, time.Duration(least))
	}
	for i := range h.Rules {
		if forget := h.Rules[i].ForgetDeadAfter; forget != nil {
			if err := check("forget_dead_after", *forget); err != nil {
				return inRule(i+1, err)
			}
		}
	}
	return firstOf(check("forget_dead_after", h.ForgetDeadAfter), check("forget_left_after", h.ForgetLeftAfter))
}
