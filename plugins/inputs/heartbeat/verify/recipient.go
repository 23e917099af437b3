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

// A Recipient has the id and the names of this collector. Signed beats name their recipient, so
// beats recorded on the way to another collector are refused here (PROTOCOL.md, 12.4).
type Recipient struct {
	id       string
	names    []string
	required bool
	log      Logger

	unnamed atomic.Int64
	warned  sync.Once
}

// NewRecipient returns the Recipient of a collector with the given id and names, both in the form
// of wire.Host. If required is set, signed beats must name the collector.
func NewRecipient(id string, names []string, required bool, log Logger) *Recipient {
	return &Recipient{id: id, names: names, required: required, log: log}
}

// ID returns the id of the collector.
func (r *Recipient) ID() string { return r.id }

// Unnamed returns how many accepted signed beats did not name their collector.
func (r *Recipient) Unnamed() int64 { return r.unnamed.Load() }

// refusalText returns why a signed beat is not for this collector, or "" if it is. The beat names
// the recipient to. A datagram must have one of the names, because senders of datagrams cannot
// learn the id.
func (r *Recipient) refusalText(to string, datagram bool) string {
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

// Note counts an accepted signed beat if the beat does not name its collector. It warns about the
// first such beat.
func (r *Recipient) Note(to, host, from string) {
	if to != "" {
		return
	}
	r.unnamed.Add(1)
	r.warned.Do(func() {
		r.log.Warnf("A signed beat of %q from %s does not name its collector, "+
			"so it could be replayed to other collectors with the same keys. "+
			"Upgrade the sender. The field unnamed_total counts such beats. Set 'require_recipient' to refuse them", host, from)
	})
}

const (
	// idSuffix is appended to the path of the state file to get the path of the file with the id.
	idSuffix = ".id"
	// idLimit is the maximum size of the file with the id in bytes.
	idLimit = 300
	// idWait is how long reading the file with the id may take.
	idWait = 2 * time.Second
)

// DrawID returns a new random id.
func DrawID() string { return strings.ToLower(rand.Text()) }

// KeepID returns the id from the file next to the state file. If there is none, it draws a new id
// and saves it there. If it returns an error, the id is new and could not be saved.
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
	return writeID(path) // the file is damaged: replace it
}

// writeID draws an id and writes it to a file atomically. All users may read the file, because the
// id is no secret: each answer to a beat contains it.
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
