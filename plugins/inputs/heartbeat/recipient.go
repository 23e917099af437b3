package heartbeat

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

	"github.com/influxdata/telegraf"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A recipient is what this collector is called by signed beats that are for it:
// what is recorded on the way to another one is not (PROTOCOL.md, 12.4).
type recipient struct {
	id       string
	names    []string // as wire.Host returns them
	required bool     // a signed beat has to name it
	log      telegraf.Logger

	unnamed atomic.Int64 // signed beats that did not name their collector
	warned  sync.Once
}

// newRecipient takes its id from beside the state file, or draws one.
func newRecipient(h *Heartbeat) *recipient {
	r := &recipient{names: h.ownNames, required: h.RequireRecipient, log: h.Log}
	path := h.StatePath()
	if path == "" {
		r.id = drawID()
		return r
	}
	id, err := keepID(path + idSuffix)
	if err != nil && len(h.Keys) > 0 {
		h.Log.Warnf("The id of this collector does not survive a restart, after which each signed beat is refused once: %v", err)
	}
	r.id = id
	return r
}

// refuses returns why a signed beat that names to is not for this collector, or
// "". Nobody learns an id from datagrams: there names alone count.
func (r *recipient) refuses(to string, datagram bool) string {
	switch {
	case to == "" && r.required:
		return "to: missing, signed beats have to name their collector ('require_recipient')"
	case to == "", slices.Contains(r.names, to), datagram && len(r.names) == 0:
		return ""
	case datagram:
		return fmt.Sprintf("to: %q is not in 'names'", to)
	case to == r.id:
		return ""
	}
	return fmt.Sprintf("to: %q is not this collector: it is %q ('names')", to, r.id)
}

// note counts a signed beat that was taken though it names no collector, and
// warns of the first one.
func (r *recipient) note(to, host, from string) {
	if to != "" {
		return
	}
	r.unnamed.Add(1)
	r.warned.Do(func() {
		r.log.Warnf("A signed beat of %q from %s does not name its collector, so a recording of it would be accepted by other collectors with the same keys. "+
			"Upgrade the sender; field unnamed_total counts such beats, 'require_recipient' refuses them", host, from)
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

// drawID returns an id that no other collector has.
func drawID() string { return strings.ToLower(rand.Text()) }

// keepID returns the id in a file, or one that it writes there. With an error
// the id is only for now.
func keepID(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), idWait)
	defer cancel()
	content, err := (&regular.Reader{Name: path, Limit: idLimit}).Read(ctx)
	if errors.Is(err, os.ErrNotExist) {
		return writeID(path)
	}
	if err != nil {
		return drawID(), err
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
	id := drawID()
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return id, err
	}
	_, err = file.WriteString(id + "\n")
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	giveAway(file.Name())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return id, err
}

// parseNames reads what this collector is called.
func parseNames(names []string) ([]string, error) {
	all := make([]string, 0, len(names))
	for _, text := range names {
		name, err := wire.Host(text)
		if err != nil {
			return nil, fmt.Errorf("'names': %q is not the name of a host: %w", text, err)
		}
		all = append(all, name)
	}
	return all, nil
}
