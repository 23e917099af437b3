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
	// maxKeys is how many entries a directory of keys may have.
	maxKeys = 100_000
	// maxSmallFile is how long each of its files may be, in bytes: there may be many.
	maxSmallFile = 4 << 10
	// directoryWait is how long it may take to be read.
	directoryWait = 10 * time.Second
	// soon is when it is read for the second time: one of its files may have been
	// replaced while the collector began.
	soon = time.Second
	// mostNamed is how many of the files that are skipped the log names.
	mostNamed = 5
)

// errTaken is the error about a file of a key that 'keys' names.
var errTaken = errors.New("'keys' has it too: remove it from 'keys', or remove the file")

var errEmptied = errors.New("the directory is empty or not mounted: to revoke its keys, reload Telegraf")

var errMoved = errors.New("the directory is on a different device than before: if that is intended, reload Telegraf")

// A directory holds files of secrets, each named by the id of its key.
type directory struct {
	taken map[string]bool // ids that 'keys' names
	about string          // how many keys it had at the start
	wrong []error         // then

	looking sync.Mutex // guards the rest
	files   regular.Directory
	info    fs.FileInfo        // of the directory whose keys hold
	known   map[string]*source // by id
	said    string             // what is wrong with all of it
	slow    bool               // the next result was asked for at a look that is over
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
// it when it was replaced: by the names that Ansible, rsync, packages and editors use.
func isUnfinished(name string) bool {
	return strings.HasPrefix(name, ".") || ofSed.MatchString(name) ||
		slices.ContainsFunc(unfinished, func(end string) bool { return strings.HasSuffix(name, end) })
}

// unfinished are the endings of such names, also of those that packages use.
var unfinished = []string{
	"~", ".tmp", ".bak", ".orig", ".old", ".save",
	".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-tmp", ".rpmsave", ".rpmnew", ".rpmorig",
}

// ofSed are the names of what sed -i writes.
var ofSed = regexp.MustCompile("^sed[0-9A-Za-z]{6}$")

// read returns what the directory has now.
func (d *directory) read(ctx context.Context) (regular.Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryWait)
	defer cancel()
	listing, err := d.files.Read(ctx)
	if err != nil {
		err = fmt.Errorf("cannot read 'keys_dir': %w", err)
	}
	return listing, err
}

// find returns what the files say, by key id.
func (d *directory) find(contents map[string]regular.Content) map[string]finding {
	names := make(map[string]string, len(contents)) // by id
	found := make(map[string]finding, len(contents))
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		id, content := KeyName(name), contents[name]
		if twin, twice := names[id]; twice {
			found[id] = finding{err: fmt.Errorf("%q and %q are the same key id, because case and a final dot do not count: remove one of them", twin, name)}
			continue
		}
		names[id] = name
		secrets, err := d.secrets(name, &content)
		found[id] = finding{secrets, err}
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

// source returns what is known of the file of a key.
func (d *directory) source(id string) *source {
	if d.known[id] == nil {
		d.known[id] = &source{id: id, option: "keys_dir"}
	}
	return d.known[id]
}

// open reads the directory for the first time, and returns the secrets.
func (d *directory) open() (secrets map[string][][]byte, err error) {
	listing, err := d.read(context.Background())
	if err != nil {
		return nil, err
	}
	d.info = listing.Info
	found := d.find(listing.Files)
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
		d.wrong = append(d.wrong, fmt.Errorf("key %q of 'keys_dir': %w", id, f.err))
	}
	d.about = "Keys in 'keys_dir': " + counted(secrets) + skipped(listing.Skipped)
	return secrets, nil
}

// counted tells how many keys there are, and one, which shows how the files are named.
func counted(secrets map[string][][]byte) string {
	if len(secrets) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, the first is %q", len(secrets), slices.Min(slices.Collect(maps.Keys(secrets))))
}

// skipped names some of the files that are skipped: a host may be called so. None is
// called as a hidden file.
func skipped(names []string) string {
	names = slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(name string) bool { return name[0] == '.' })
	switch more := len(names) - mostNamed; {
	case len(names) == 0:
		return ""
	case more > 0:
		return fmt.Sprintf("; skipped because of their names: %q and %d more", names[:mostNamed], more)
	default:
		return fmt.Sprintf("; skipped because of their names: %q", names)
	}
}

// DirectoryProblems returns what is wrong with a directory of keys now, each file for
// itself. taken are the ids that 'keys' names. The log says how many keys there are.
func DirectoryProblems(path string, taken []string, log Logger) []error {
	d := newDirectory(path, taken)
	if _, err := d.open(); err != nil {
		return []error{err}
	}
	log.Infof("%s", d.about)
	return d.wrong
}

// addDirectory adds the keys of a directory. A file that is wrong costs its own key, but
// for one that 'keys' names: nobody knows which of the two is meant.
func (k *Keys) addDirectory(path string, taken []string) error {
	d := newDirectory(path, taken)
	secrets, err := d.open()
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

// tell says what was read at the start. A start that failed is tried again and again, and
// has said nothing of it.
func (k *Keys) tell() {
	k.log.Infof("%s", k.dir.about)
	for _, err := range k.dir.wrong {
		k.log.Warnf("Ignored %v", err)
	}
}

// lookSoon looks for the second time.
func (k *Keys) lookSoon(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(soon):
		k.lookInto(ctx)
	}
}

// lookInto lets the secrets of all files hold. While the directory as a whole cannot be
// read, or is another one, those of before do.
func (k *Keys) lookInto(ctx context.Context) {
	d := k.dir
	d.looking.Lock()
	defer d.looking.Unlock()
	listing, err := d.read(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	late := d.slow
	d.slow = errors.Is(err, regular.ErrSlow)
	if err == nil {
		err = k.doubt(&listing)
	}
	if err != nil {
		if text := err.Error(); text != d.said {
			k.log.Warnf("Kept all keys of 'keys_dir': %v", err)
			d.said = text
		}
		return
	}
	if !late { // else each look that is slow would be said
		d.said = ""
	}
	d.info = listing.Info
	k.take(d.find(listing.Files))
}

// doubt returns why the keys of before hold, not what is there now: what was mounted
// there is probably gone.
func (k *Keys) doubt(listing *regular.Listing) error {
	holds := func(id string) bool { return !k.dir.taken[id] && len(k.of(id)) > 0 }
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

// take lets the secrets hold that were found.
func (k *Keys) take(found map[string]finding) {
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
			source.said = ""
			continue
		case !there:
			f.err = &fs.PathError{Op: "open", Path: filepath.Join(d.files.Name, id), Err: fs.ErrNotExist}
		}
		k.apply(source, f)
	}
}
