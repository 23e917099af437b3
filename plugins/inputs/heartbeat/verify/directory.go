package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	// maxKeys is the maximum number of entries in a directory of keys.
	maxKeys = 100_000
	// maxSmallFile is the maximum size in bytes of each file in a directory of keys. It is small
	// because there may be many files.
	maxSmallFile = 4 << 10
	// directoryWait is how long reading the directory may take.
	directoryWait = 10 * time.Second
	// secondRead is how long after the start the directory is read for the second time. During the
	// first read, a file may have been missing for a moment because it was being replaced.
	secondRead = time.Second
	// maxNamed is the maximum number of skipped files that the log names.
	maxNamed = 5
)

// errTaken means that a key is both in 'keys_dir' and in 'keys'.
var errTaken = errors.New("it is also in 'keys': remove it from 'keys', or remove the file")

var errEmptied = errors.New("the directory is empty or not mounted: to revoke its keys, reload Telegraf")

var errMoved = errors.New("the directory is on a different device than before: if that is intended, reload Telegraf")

// A directory is a directory of files with secrets. Each file is named after the id of its key.
type directory struct {
	taken map[string]bool // ids of the keys in 'keys'
	about string          // for the log: text about the keys at the start
	wrong []error         // problems at the start

	reading sync.Mutex // guards the rest
	files   regular.Directory
	info    fs.FileInfo        // of the directory whose keys are in use
	known   map[string]*source // by id
	logged  string             // the last logged error about the directory as a whole
	slow    bool               // the last read timed out, so the next result is from that read
}

// newDirectory returns the directory at path without reading it. taken are the ids of the keys in
// 'keys'.
func newDirectory(path string, taken []string) *directory {
	d := &directory{
		files: regular.Directory{Name: path, Skip: isIgnored, Limit: maxSmallFile, Most: maxKeys},
		taken: make(map[string]bool), known: make(map[string]*source),
	}
	for _, id := range taken {
		d.taken[KeyName(id)] = true
	}
	return d
}

// isIgnored reports whether a file is temporary or a backup, judging by its name. It knows the
// names that Ansible, rsync, packages and editors use.
func isIgnored(name string) bool {
	return strings.HasPrefix(name, ".") || sedTemp.MatchString(name) ||
		slices.ContainsFunc(ignoredEndings, func(end string) bool { return strings.HasSuffix(name, end) })
}

// ignoredEndings are the endings of the names of ignored files.
var ignoredEndings = []string{
	"~", ".tmp", ".bak", ".orig", ".old", ".save",
	".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-tmp", ".rpmsave", ".rpmnew", ".rpmorig",
}

// sedTemp matches the temporary files of sed -i.
var sedTemp = regexp.MustCompile("^sed[0-9A-Za-z]{6}$")

// read reads the directory and returns its current contents.
func (d *directory) read(ctx context.Context) (regular.Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryWait)
	defer cancel()
	listing, err := d.files.Read(ctx)
	if err != nil {
		err = fmt.Errorf("cannot read 'keys_dir': %w", err)
	}
	return listing, err
}

// secretsByID returns the secrets in files with the given contents, by key id.
func (d *directory) secretsByID(contents map[string]regular.Content) map[string]readResult {
	names := make(map[string]string, len(contents)) // by id
	found := make(map[string]readResult, len(contents))
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		id, content := KeyName(name), contents[name]
		if twin, twice := names[id]; twice {
			found[id] = readResult{err: fmt.Errorf(
				"%q and %q are the same key id, because case and a final dot are ignored: remove one of the files", twin, name)}
			continue
		}
		names[id] = name
		secrets, err := d.secrets(name, &content)
		found[id] = readResult{secrets, err}
	}
	return found
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

// source returns the source of the key with the given id. It adds the source if it is new.
func (d *directory) source(id string) *source {
	if d.known[id] == nil {
		d.known[id] = &source{id: id, option: "keys_dir"}
	}
	return d.known[id]
}

// readFirst reads the directory for the first time, and returns the secrets by key id.
func (d *directory) readFirst() (secrets map[string][][]byte, err error) {
	listing, err := d.read(context.Background())
	if err != nil {
		return nil, err
	}
	d.info = listing.Info
	found := d.secretsByID(listing.Files)
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
		source.logged = f.err.Error()
		d.wrong = append(d.wrong, fmt.Errorf("key %q of 'keys_dir': %w", id, f.err))
	}
	d.about = "Keys in 'keys_dir': " + describeCount(secrets) + describeSkipped(listing.Skipped)
	return secrets, nil
}

// describeCount returns text with the number of keys, and the first id as an example.
func describeCount(secrets map[string][][]byte) string {
	if len(secrets) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, the first is %q", len(secrets), slices.Min(slices.Collect(maps.Keys(secrets))))
}

// describeSkipped returns text with the names of some skipped files, because a host may have a name
// like that. It omits hidden files, because no host name begins with a dot.
func describeSkipped(names []string) string {
	names = slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(name string) bool { return name[0] == '.' })
	switch more := len(names) - maxNamed; {
	case len(names) == 0:
		return ""
	case more > 0:
		return fmt.Sprintf("; skipped because of their names: %q and %d more", names[:maxNamed], more)
	default:
		return fmt.Sprintf("; skipped because of their names: %q", names)
	}
}

// DirectoryProblems returns one error for each invalid file in a directory of keys, and logs how
// many keys it has. taken are the ids of the keys in 'keys'.
func DirectoryProblems(path string, taken []string, log Logger) []error {
	d := newDirectory(path, taken)
	if _, err := d.readFirst(); err != nil {
		return []error{err}
	}
	log.Infof("%s", d.about)
	return d.wrong
}

// addDirectory adds the keys of a directory. It skips the keys of invalid files. If a key is also
// in 'keys', it returns an error, because it is not clear which of the two to use.
func (k *Keys) addDirectory(path string, taken []string) error {
	d := newDirectory(path, taken)
	secrets, err := d.readFirst()
	if err != nil {
		return err
	}
	for _, err := range d.wrong {
		if errors.Is(err, errTaken) {
			return err
		}
	}
	maps.Copy(k.secrets, secrets)
	k.dir = d
	return nil
}

// logStart logs how many keys were read at the start, and which files were invalid. It is called
// only after a successful start, because Telegraf repeats failed starts.
func (k *Keys) logStart() {
	k.log.Infof("%s", k.dir.about)
	for _, err := range k.dir.wrong {
		k.log.Warnf("Ignored %v", err)
	}
}

// readAgainSoon waits for secondRead, and reads the directory for the second time.
func (k *Keys) readAgainSoon(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(secondRead):
		k.readDirectory(ctx)
	}
}

// readDirectory reads the directory and applies the secrets of all files. If the directory cannot
// be read, or was replaced by another one, all keys stay as they are.
func (k *Keys) readDirectory(ctx context.Context) {
	d := k.dir
	d.reading.Lock()
	defer d.reading.Unlock()
	listing, err := d.read(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	late := d.slow
	d.slow = errors.Is(err, regular.ErrSlow)
	if err == nil {
		err = k.checkMounted(&listing)
	}
	if err != nil {
		if text := err.Error(); text != d.logged {
			k.log.Warnf("Kept all keys of 'keys_dir': %v", err)
			d.logged = text
		}
		return
	}
	if !late { // otherwise every slow read would be logged
		d.logged = ""
	}
	d.info = listing.Info
	k.applyAll(d.secretsByID(listing.Files))
}

// checkMounted returns an error if the directory was probably unmounted, so that the previous keys
// stay in use.
func (k *Keys) checkMounted(listing *regular.Listing) error {
	holds := func(id string) bool { return !k.dir.taken[id] && len(k.secretsFor(id)) > 0 }
	switch {
	case !slices.ContainsFunc(slices.Collect(maps.Keys(k.dir.known)), holds):
		return nil
	case !regular.SameDevice(k.dir.info, listing.Info):
		return errMoved
	case len(listing.Files) == 0:
		return errEmptied
	}
	return nil
}

// applyAll puts the secrets found in the directory into use.
func (k *Keys) applyAll(found map[string]readResult) {
	d := k.dir
	for id := range found {
		d.source(id)
	}
	for id, source := range d.known {
		f, there := found[id]
		switch {
		case d.taken[id] && there:
			f.err = errTaken
		case d.taken[id]:
			source.logged = ""
			continue
		case !there:
			f.err = &fs.PathError{Op: "open", Path: filepath.Join(d.files.Name, id), Err: fs.ErrNotExist}
		}
		k.apply(source, f)
	}
}
