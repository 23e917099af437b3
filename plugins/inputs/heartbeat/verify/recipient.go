package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A Recipient is what this collector is called by signed beats that are for it:
// what is recorded on the way to another one is not (PROTOCOL.md, 12.4).
type Recipient struct {
	id       string
	names    []string
	required bool
	log      Logger

	unnamed atomic.Int64
	warned  sync.Once
}

// NewRecipient returns the one of a collector that is called by its id and by
// names, as wire.Host returns them. If required, signed beats have to name it.
func NewRecipient(id string, names []string, required bool, log Logger) *Recipient {
	return &Recipient{id: id, names: names, required: required, log: log}
}

// ID returns the id.
func (r *Recipient) ID() string { return r.id }

// Unnamed returns how many signed beats were taken that did not name their
// collector.
func (r *Recipient) Unnamed() int64 { return r.unnamed.Load() }

// refuses returns why a signed beat that names to is not for this collector, or
// "". Nobody learns an id from datagrams: there names alone count.
func (r *Recipient) refuses(to string, datagram bool) string {
	switch {
	case to == "" && r.required:
		return "to: missing, a signed beat must name its collector ('require_recipient')"
	case to == "", slices.Contains(r.names, to), datagram && len(r.names) == 0:
		return ""
	case datagram:
		return fmt.Sprintf("to: %q is not in 'names'", to)
	case to == r.id:
		return ""
	}
	return fmt.Sprintf("to: %q is not this collector: its id is %q, its names are in 'names'", to, r.id)
}

// Note counts a signed beat that was taken though it names no collector, and
// warns of the first one.
func (r *Recipient) Note(to, host, from string) {
	if to != "" {
		return
	}
	r.unnamed.Add(1)
	r.warned.Do(func() {
		r.log.Warnf("A signed beat of %q from %s does not name its collector, "+
			"so it could be replayed to other collectors with the same keys. "+
			"Upgrade the sender. The field unnamed_total counts such beats, 'require_recipient' refuses them", host, from)
	})
}

const (
	// idSuffix is what the file of the id is called, behind the state file.
	idSuffix = ".id"
	// idLimit bounds that file, in bytes.
	idLimit = 300
	// idWait is how long it is waited for.
	idWait = 2 * time.Second
)

// DrawID returns an id that no other collector has.
func DrawID() string { return strings.ToLower(rand.Text()) }

// KeepID returns the id in the file beside a state file, or one that it writes there.
// With an error the id is only for now.
func KeepID(statePath string) (string, error) {
	path := statePath + idSuffix
	ctx, cancel := context.WithTimeout(context.Background(), idWait)
	defer cancel()
	content, err := (&regular.Reader{Name: path, Limit: idLimit}).Read(ctx)
	if errors.Is(err, os.ErrNotExist) {
		return writeID(path)
	}
	if err != nil {
		return DrawID(), err
	}
	text := strings.TrimSpace(string(content.Text))
	if id, err := wire.Host(text); err == nil && id == text {
		return id, nil
	}
	return writeID(path) // it is damaged, and worth no more than a new one
}

// writeID draws an id and writes it, whole or not at all. Everybody may read it:
// it is told in each answer.
func writeID(path string) (string, error) {
	id := DrawID()
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return id, err
	}
	_, err = file.WriteString(id + "\n")
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	regular.GiveAway(file.Name())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return id, err
}
