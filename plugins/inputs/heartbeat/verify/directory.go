package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	// maxKeys is how many entries a directory of keys may have.
	maxKeys = 100_000
	// maxSmallFile is how long each of its files may be, in bytes: there may be many.
	maxSmallFile = 4 << 10
	// directoryWait is how long it may take to be read.
	directoryWait = 10 * time.Second
)

// errTaken is the error about a file of a key that 'keys' names.
var errTaken = errors.New("'keys' names it, too: remove it there, or the file")

// A directory holds files of secrets, each named by the id of its key.
type directory struct {
	files regular.Directory
	taken map[string]bool    // ids that 'keys' names
	known map[string]*source // by id
	said  string             // what is wrong with all of it
}

// newDirectory returns the one of a path. taken are the ids that 'keys' names.
func newDirectory(path string, taken []string) *directory {
	d := &directory{
		files: regular.Directory{Name: path, Skip: isUnfinished, Limit: maxSmallFile, Most: maxKeys},
		taken: make(map[string]bool), known: make(map[string]*source),
	}
	for _, id := range taken {
		d.taken[KeyName(id)] = true
	}
	return d
}

// isUnfinished reports whether a file is one that is being written, or what was left of
// it when it was replaced: by the names that Ansible, rsync and editors use.
func isUnfinished(name string) bool {
	return strings.HasPrefix(name, ".") ||
		slices.ContainsFunc([]string{"~", ".tmp", ".bak"}, func(end string) bool { return strings.HasSuffix(name, end) })
}

// read returns what the files say now, by key id.
func (d *directory) read(ctx context.Context) (map[string]finding, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryWait)
	defer cancel()
	contents, err := d.files.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read 'keys_dir': %w", err)
	}
	names := make(map[string]string, len(contents)) // by id
	found := make(map[string]finding, len(contents))
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		id, content := KeyName(name), contents[name]
		if twin, twice := names[id]; twice {
			found[id] = finding{err: fmt.Errorf("%q and %q are one key id, as case and a final dot do not count: remove one of them", twin, name)}
			continue
		}
		names[id] = name
		secrets, err := d.secrets(name, &content)
		found[id] = finding{secrets, err}
	}
	return found, nil
}

func (d *directory) secrets(name string, content *regular.Content) ([][]byte, error) {
	if err := (wire.Key{ID: name, Secret: make([]byte, wire.MinSecret)}).Validate(); err != nil {
		return nil, err
	}
	if content.Err != nil {
		return nil, content.Err
	}
	return secretsIn(filepath.Join(d.files.Name, name), content)
}

// source returns what is known of the file of a key.
func (d *directory) source(id string) *source {
	if d.known[id] == nil {
		d.known[id] = &source{id: id, option: "keys_dir"}
	}
	return d.known[id]
}

// open reads the directory for the first time, and returns the secrets and what is wrong.
// The log says how many keys there are, and one, which shows how the files are named.
func (d *directory) open(log Logger) (secrets map[string][][]byte, wrong []error, err error) {
	found, err := d.read(context.Background())
	if err != nil {
		return nil, nil, err
	}
	secrets = make(map[string][][]byte, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		f, source := found[id], d.source(id)
		if d.taken[id] {
			f.err = errTaken
		}
		if f.err == nil {
			secrets[id] = f.secrets
			continue
		}
		source.said = f.err.Error()
		wrong = append(wrong, fmt.Errorf("key %q of 'keys_dir': %w", id, f.err))
	}
	if ids := slices.Sorted(maps.Keys(secrets)); len(ids) > 0 {
		log.Infof("Keys in 'keys_dir': %d, the first is %q", len(ids), ids[0])
	} else {
		log.Infof("Keys in 'keys_dir': none")
	}
	return secrets, wrong, nil
}

// DirectoryProblems returns what is wrong with a directory of keys now, each file for
// itself. taken are the ids that 'keys' names.
func DirectoryProblems(path string, taken []string, log Logger) []error {
	_, wrong, err := newDirectory(path, taken).open(log)
	if err != nil {
		return []error{err}
	}
	return wrong
}

// addDirectory adds the keys of a directory. A file that is wrong costs its own key, but
// for one that 'keys' names: nobody knows which of the two is meant.
func (k *Keys) addDirectory(path string, taken []string) error {
	d := newDirectory(path, taken)
	secrets, wrong, err := d.open(k.log)
	if err != nil {
		return err
	}
	for _, err := range wrong {
		if errors.Is(err, errTaken) {
			return err
		}
	}
	for _, err := range wrong {
		k.log.Warnf("Ignored %v", err)
	}
	maps.Copy(k.secrets, secrets)
	k.dir = d
	return nil
}

// lookInto lets the secrets of all files hold. While the directory as a whole cannot be
// read, those of before do.
func (k *Keys) lookInto(ctx context.Context, d *directory) {
	found, err := d.read(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	if err != nil {
		if text := err.Error(); text != d.said {
			k.log.Warnf("Kept all keys of 'keys_dir': %v", err)
			d.said = text
		}
		return
	}
	d.said = ""
	for id := range found {
		d.source(id)
	}
	for id, source := range d.known {
		f, there := found[id]
		switch {
		case d.taken[id] && there:
			f.err = errTaken
		case d.taken[id]:
			source.said = ""
			continue
		case !there:
			f.err = &fs.PathError{Op: "open", Path: filepath.Join(d.files.Name, id), Err: fs.ErrNotExist}
		}
		k.apply(source, f)
	}
}
