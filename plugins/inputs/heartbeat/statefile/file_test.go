package statefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

var savedAt = time.Date(2026, 8, 22, 3, 0, 0, 123456789, time.UTC)

// fullRecord returns a record with as few zeros as there can be.
func fullRecord() liveness.Record {
	return liveness.Record{
		ID:     liveness.ID{Source: "web-1", Service: "nginx"},
		Addr:   netip.MustParseAddr("10.0.0.5"),
		Labels: []liveness.Label{{Key: "site", Value: "Zürich <west> & co"}},
		State:  liveness.Dead, Reason: liveness.ReasonForgotten, Since: savedAt.Add(-time.Hour),
		Health: liveness.HealthOther, Events: liveness.Trail{Counts: [10]uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		Evidence: liveness.ReasonSilence, Expected: true, Watched: true, Long: true, Lone: true, Crowded: true,
		Interval: 10 * time.Second, Margin: 4 * time.Second, Heard: savedAt.Add(-time.Minute), Used: time.Minute + 1,
		Dead: 35 * time.Second, Extended: true, Fresh: true, Bonus: 3 * time.Second,
		Due: time.Date(2026, 8, 2, 2, 15, 0, 0, time.UTC), Patience: time.Hour,
		Held: 7 * time.Second, HeldPartly: 5 * time.Second, Spared: 9 * time.Second,
		Window: 20 * time.Minute, Promise: time.Date(2026, 8, 1, 11, 50, 0, 0, time.UTC),
		WindowBy: "a0", Foreign: true, HeardBy: "collector-2", EndedBy: "a0", Shared: true, Rule: "interval",
		Phase: -7 * time.Millisecond, Learnt: 10001 * time.Millisecond, Lateness: 3 * time.Millisecond, Taught: 33,
		Jobs:      []liveness.Job{{ID: "c0ffee", Ago: time.Minute, Limit: time.Hour, Unsure: true}},
		JobsEnded: []liveness.EndedJob{{ID: "decade", Failed: true, Ago: time.Hour}},
		Process:   liveness.Process{Boot: "6d1c0f5e", PID: 4711, Start: 90 * time.Second},
		Others: []liveness.Other{{
			Process:  liveness.Process{Boot: "6d1c0f5e", PID: 4710, Start: 80 * time.Second},
			Life:     "a0",
			Interval: 5 * time.Second, Margin: time.Second, Used: 7 * time.Second, Dead: 17 * time.Second, Watched: true,
			Evidence: liveness.ReasonHung, Insists: true, Lives: true, Ended: liveness.ReasonExited,
		}},
		Replaced: []liveness.Replaced{{PID: 4709, Used: time.Minute, Dead: 210 * time.Second}},
		Speakers: []liveness.Speaker{{Life: "k3", SinceNS: 1_700_000_000_000_000_005}},
		Runs:     []liveness.Run{{Name: "k3v9", High: 1<<53 - 1}, {Name: "a0", High: 1}}, SentMS: 1795000000000,
		Signed: []liveness.SignedRun{{Name: "k3v9", High: 1<<53 - 1, SentMS: 1795000000000, HeardMS: 1795000000001}},
		Owner:  1000, Lag: 7, Carried: 1795000000002, Speaker: "k3v9",
		ExitCode: -1, HasExitCode: true, DeadFor: 2 * time.Hour,
		Flaps: []time.Time{savedAt.Add(-2 * time.Hour), savedAt.Add(-time.Hour)},
		Counters: liveness.Counters{Beats: 1, Mishaps: liveness.Mishaps{
			Lost: 2, Late: 3, Duplicates: 4, Limited: 5, Restarts: 6, Deaths: 7, Mistakes: 8, Conflicts: 9,
		}},
	}
}

// namelessRecord returns a record with as many zeros as there can be.
func namelessRecord() liveness.Record {
	return liveness.Record{
		ID: liveness.ID{Source: "10.0.0.5", PID: 4711}, State: liveness.Unknown, Reason: liveness.ReasonNone,
		Since: time.Unix(0, 0).UTC(), Heard: savedAt,
	}
}

// numbered returns n records with different names.
func numbered(n int, rule string) []liveness.Record {
	records := make([]liveness.Record, n)
	for i := range records {
		records[i] = fullRecord()
		records[i].ID.Source = fmt.Sprintf("host-%d", i)
		records[i].Rule = rule
	}
	return records
}

var sameRecords = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

func requireRecords(t *testing.T, want, got []liveness.Record) {
	t.Helper()
	if !reflect.DeepEqual(want, got) { // which is quicker, but would not say where
		require.Empty(t, cmp.Diff(want, got, sameRecords))
	}
}

func newState(t testing.TB) *File {
	return openedState(t, filepath.Join(t.TempDir(), "heartbeat.state"))
}

func openedState(t testing.TB, path string) *File {
	f, _ := opened(t, path)
	return f
}

func opened(t testing.TB, path string) (*File, State) {
	f, state, err := Open(path, savedAt)
	require.NoError(t, err)
	t.Cleanup(func() { f.lock.Close() }) // the test may have done so
	return f, state
}

// save rewrites the journal with these records.
func (f *File) save(records []liveness.Record) error {
	if err := f.Begin(); err != nil {
		return err
	}
	leftOut := f.Add(&liveness.Changes{At: savedAt, Records: records})
	if leftOut != nil && !errors.Is(leftOut, ErrLeftOut) {
		return leftOut
	}
	return errors.Join(f.Replace(), leftOut)
}

func saveState(t *testing.T, f *File, records ...liveness.Record) {
	t.Helper()
	require.NoError(t, f.save(records))
}

// recordsIn returns the records in a file, as they were written.
func recordsIn(path string) ([]liveness.Record, error) {
	c, err := readFile(context.Background(), path)
	if err != nil {
		return nil, err
	}
	return c.records(), nil
}

func (c *contents) records() []liveness.Record {
	var all []liveness.Record
	for i := range c.entries {
		if e := &c.entries[i]; e.text != nil {
			all = append(all, *e.record(new(savedPeer)))
		}
	}
	return all
}

// requireSaved checks that f contains exactly these records, without damage.
func requireSaved(t *testing.T, f *File, want ...liveness.Record) {
	t.Helper()
	c, err := readFile(context.Background(), f.path)
	require.NoError(t, err)
	require.Zero(t, c.unreadable, "%v", c.first)
	require.True(t, savedAt.Equal(c.last))
	requireRecords(t, want, c.records())
}

// requireSetAside checks that a file with these contents is not used but kept aside, and that
// State.Trouble says so. It returns that text.
func requireSetAside(t *testing.T, path string, text []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, text, mode))
	f, state := opened(t, path)
	require.NoError(t, f.Close())
	require.Error(t, state.Trouble)
	require.Empty(t, state.Peers)
	require.NoFileExists(t, path)
	aside, err := os.ReadFile(path + ".bad")
	require.NoError(t, err)
	require.True(t, bytes.Equal(text, aside), "what was set aside is something else")
	require.ErrorContains(t, state.Trouble, "cannot read it: ")
	require.ErrorContains(t, state.Trouble, fmt.Sprintf("; moved it to %q", path+".bad"))
	return state.Trouble.Error()
}

// names returns the names in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	found := make([]string, 0, len(entries))
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	return found
}

func TestStateSurvivesTheCollector(t *testing.T) {
	full := fullRecord()
	nameless := namelessRecord()
	zoned := namelessRecord()
	zoned.ID.Source, zoned.Addr = "fe80::1%eth0", netip.MustParseAddr("fe80::1%eth0")
	filled := full
	filled.ID.PID = nameless.ID.PID          // no peer has both
	filled.Guessed, filled.Crashed = true, 1 // nor is this saved
	requireFilled(t, reflect.ValueOf(filled), "Record")
	f, state := opened(t, filepath.Join(t.TempDir(), "heartbeat.state"))
	require.Zero(t, state)
	saveState(t, f, full, nameless, zoned)
	requireSaved(t, f, full, nameless, zoned)
	requireSaved(t, f, full, nameless, zoned)

	saveState(t, f)
	requireSaved(t, f)
	require.ElementsMatch(t, []string{"heartbeat.state", "heartbeat.state.lock"}, names(t, filepath.Dir(f.path)))
}

// requireFilled finds a field that a test of saving would not notice.
func requireFilled(t *testing.T, v reflect.Value, name string) {
	require.False(t, v.IsZero(), "set %s in fullRecord, so that saving it is tested", name)
	switch {
	case v.Type() == reflect.TypeFor[time.Time](), v.Type() == reflect.TypeFor[netip.Addr]():
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			requireFilled(t, v.Field(i), name+"."+v.Type().Field(i).Name)
		}
	case v.Kind() == reflect.Slice:
		requireFilled(t, v.Index(0), name+"[0]")
	}
}

// Times of any zone are the same instants afterwards, and the caller's record is not modified.
func TestStateIsInUTC(t *testing.T) {
	odd := time.FixedZone("of 1900", 34*60+8)
	record := fullRecord()
	record.Since, record.Heard = record.Since.In(odd), record.Heard.In(odd)
	record.Flaps[0] = record.Flaps[0].In(odd)
	f := newState(t)
	saveState(t, f)
	require.NoError(t, f.Append(&liveness.Changes{At: savedAt.In(odd), Records: []liveness.Record{record}}))
	requireSaved(t, f, fullRecord())
	require.Equal(t, odd, record.Flaps[0].Location())
}

func TestHugeStateIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heartbeat.state")
	require.NoError(t, os.WriteFile(path, nil, mode))
	require.NoError(t, os.Truncate(path, maxFile+1)) // takes no room on the disk
	_, state := opened(t, path)
	require.ErrorContains(t, state.Trouble, "it has 17179869185 bytes, the limit is 17179869184")
	require.NoFileExists(t, path)
	require.FileExists(t, path+".bad")
}

// A forged file could set a number without a limit to an absurd value.
func TestEveryNumberThatIsAddedToIsChecked(t *testing.T) {
	record := fullRecord()
	require.NoError(t, CheckRecord(&record))
	checked := 0
	var visit func(v reflect.Value, name string)
	visit = func(v reflect.Value, name string) {
		absurd := reflect.Value{}
		switch v.Type() {
		case reflect.TypeFor[time.Duration]():
			absurd = reflect.ValueOf(time.Duration(-1 << 62))
		case reflect.TypeFor[time.Time]():
			absurd = reflect.ValueOf(time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC))
		case reflect.TypeFor[uint64]():
			absurd = reflect.ValueOf(uint64(1 << 63))
		}
		switch {
		case absurd.IsValid():
			good := reflect.New(v.Type()).Elem()
			good.Set(v)
			v.Set(absurd)
			require.Error(t, CheckRecord(&record), name)
			v.Set(good)
			checked++
		case v.Type() == reflect.TypeFor[netip.Addr]():
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				visit(v.Field(i), name+"."+v.Type().Field(i).Name)
			}
		case v.Kind() == reflect.Slice:
			visit(v.Index(0), name+"[0]")
		}
	}
	visit(reflect.ValueOf(&record).Elem(), "Record")
	require.Greater(t, checked, 10)
	require.NoError(t, CheckRecord(&record))
}

// A peer with a number that reading would reject does not affect others.
func TestPeerThatCouldNotBeLoadedIsNotSaved(t *testing.T) {
	negative, long, late := fullRecord(), fullRecord(), fullRecord()
	negative.Dead = -1
	long.Rule = strings.Repeat("x", maxLine)
	late.Flaps[1] = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newState(t)
	err := f.save([]liveness.Record{negative, fullRecord(), long, late})
	require.ErrorIs(t, err, ErrLeftOut)
	require.EqualError(t, err, fmt.Sprintf(`saving state to %q left out 3 peers, the first is "web-1/nginx": `+
		`dead_ns is -1, the range is 0 to 630720000000000000`, f.path))
	requireSaved(t, f, fullRecord())
	require.ErrorIs(t, f.Append(&liveness.Changes{At: savedAt, Records: []liveness.Record{long, namelessRecord()}}), ErrLeftOut)
	requireSaved(t, f, fullRecord(), namelessRecord())
}

func TestLongestLineIsSavedAndRead(t *testing.T) {
	record := fullRecord()
	var w lineWriter
	require.NoError(t, w.addPeer(line{Life: 1}, &record))
	record.Rule += strings.Repeat("x", maxLine-len(w.out))
	f := newState(t)
	saveState(t, f, fullRecord(), record)
	requireSaved(t, f, record)
	record.Rule += "x"
	require.ErrorContains(t, f.save([]liveness.Record{record}), "its line has 1048577 bytes, the limit is 1048576")
}

// The clock of a collector without a battery is in 1970 until it is set.
func TestJumpOfTheClockCostsNoPeer(t *testing.T) {
	then := time.Unix(3, 0).UTC()
	record := fullRecord()
	record.Since, record.Heard = then, then
	record.Phase, record.DeadFor = then.Sub(savedAt), savedAt.Sub(then)
	f := newState(t)
	saveState(t, f, record)
	requireSaved(t, f, record)
}

// The extreme values of a beat, and what is added to them, can be saved.
func TestExtremesOfABeatAreSaved(t *testing.T) {
	const day = 24 * time.Hour
	extreme := fullRecord()
	extreme.Process.Start = time.Duration((1<<63 - 1) / int64(time.Millisecond) * int64(time.Millisecond))
	extreme.Interval = 400 * day
	extreme.Learnt, extreme.Lateness = 500*day, 4*400*day
	extreme.Window = 400 * day
	extreme.Dead = longest + time.Hour
	extreme.Runs[0].High = 1<<53 - 1
	f := newState(t)
	saveState(t, f, extreme)
	requireSaved(t, f, extreme)
	extreme.Interval = 100 * time.Millisecond
	saveState(t, f, extreme)
	requireSaved(t, f, extreme)
}

// A peer that beats far more often than it must is early each time. What is learned from that is
// not rejected in its record.
func TestBeatsFarAheadOfTheirTimeAreSaved(t *testing.T) {
	begin := time.Unix(0, savedAt.UnixNano())
	tracker := liveness.New(liveness.Options{
		Terms:      liveness.Terms{DeadAfter: time.Minute, Margin: liveness.MarginOf(3)},
		MinSilence: liveness.MinSilence, MaxPeers: 1,
	}, begin)
	for n := range 500 {
		now := begin.Add(time.Duration(n) * liveness.TickInterval)
		tracker.Tick(now)
		tracker.Observe(now, &liveness.Beat{ID: liveness.ID{Source: "db-1", Service: "inventory"}, Interval: 400 * 24 * time.Hour})
		record := tracker.Record(0, now)
		require.NoError(t, CheckRecord(&record), n)
	}
}

// Links, directories and the like are neither followed nor replaced nor moved aside: then the
// option has a wrong path.
func TestPathThatIsNotAFileIsLeftAlone(t *testing.T) {
	for name, kind := range map[string]irregular{
		"directory": {"is a directory", func(t *testing.T, path string) {
			require.NoError(t, os.Mkdir(path, 0o750))
		}},
		"symbolic link": {"is a symbolic link", func(t *testing.T, path string) {
			target := filepath.Join(t.TempDir(), "target")
			require.NoError(t, os.WriteFile(target, []byte(header), mode))
			require.NoError(t, os.Symlink(target, path))
		}},
		"link to nothing": {"is a symbolic link", func(t *testing.T, path string) {
			require.NoError(t, os.Symlink("nothing", path))
		}},
	} {
		t.Run(name, func(t *testing.T) { requireLeftAlone(t, kind) })
	}
}

// An irregular is something other than a regular file, and the error about it.
type irregular struct {
	want string
	make func(t *testing.T, path string)
}

// requireLeftAlone puts kind at the path of a state file, and of its lock.
func requireLeftAlone(t *testing.T, kind irregular) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "heartbeat.state")
	for _, place := range []string{path, path + ".lock"} {
		kind.make(t, place)
		before := names(t, dir)
		_, _, err := Open(path, savedAt)
		require.EqualError(t, err, fmt.Sprintf("cannot use state file %q: %q %s", path, place, kind.want))
		require.Equal(t, before, names(t, dir))
		for _, flag := range []int{os.O_RDONLY, os.O_RDWR | os.O_CREATE} { // it came there since
			_, err = openUnchecked(place, flag)
			require.Error(t, err)
		}
		require.NoError(t, os.Remove(place))
	}
	kind.make(t, path)
	before := names(t, dir)
	_, err := Read(path, savedAt)
	require.EqualError(t, err, fmt.Sprintf("reading state from %q failed: %q %s", path, path, kind.want))
	require.Equal(t, before, names(t, dir))
}

func TestStateFileThatCannotBeUsedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, mode))
	missing := filepath.Join(dir, "missing", "heartbeat.state")
	_, _, err := Open(missing, savedAt)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, fmt.Sprintf("cannot use state file %q: ", missing))
	_, _, err = Open(filepath.Join(file, "heartbeat.state"), savedAt)
	require.Error(t, err, "in something that is no directory")
	require.Equal(t, []string{"file"}, names(t, dir))

	path := filepath.Join(dir, "heartbeat.state")
	require.NoError(t, os.MkdirAll(filepath.Join(path+".tmp", "x"), 0o750))
	_, _, err = Open(path, savedAt)
	require.ErrorContains(t, err, "heartbeat.state.tmp", "it could never be saved")
	require.NoError(t, os.RemoveAll(path+".tmp"))
	openedState(t, path) // so the lock was released
}

func TestFailedSaveLeavesTheOldFile(t *testing.T) {
	f := newState(t)
	saveState(t, f, numbered(2, "old")...)
	require.NoError(t, os.MkdirAll(filepath.Join(f.path+".tmp", "x"), 0o750))
	err := f.save(numbered(3, "new"))
	require.ErrorContains(t, err, fmt.Sprintf("saving state to %q failed: ", f.path))
	requireSaved(t, f, numbered(2, "old")...)
	require.True(t, f.Sound(), "the old one goes on")
	require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Records: numbered(3, "old")[2:]}))
	requireSaved(t, f, numbered(3, "old")...)
	require.NoError(t, os.RemoveAll(f.path+".tmp"))
	saveState(t, f, numbered(3, "new")...)
	requireSaved(t, f, numbered(3, "new")...)

	// The last step fails: what was written is removed.
	require.NoError(t, os.Remove(f.path))
	require.NoError(t, os.MkdirAll(filepath.Join(f.path, "x"), 0o750))
	err = f.save(numbered(3, "new"))
	require.ErrorContains(t, err, fmt.Sprintf("saving state to %q failed: rename ", f.path))
	require.NoFileExists(t, f.path+".tmp")
	require.DirExists(t, filepath.Join(f.path, "x"))
}

func TestLeftoversOfAKilledSaveAreRemoved(t *testing.T) {
	f := newState(t)
	saveState(t, f, fullRecord())
	require.NoError(t, f.Close())
	require.NoError(t, os.WriteFile(f.path+".tmp", []byte("half of a f"), mode))
	again := openedState(t, f.path)
	require.NoFileExists(t, f.path+".tmp")
	requireSaved(t, again, fullRecord())

	// A link that somebody else put there is not followed.
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), mode))
	require.NoError(t, os.Symlink(victim, f.path+".tmp"))
	saveState(t, again, fullRecord())
	requireSaved(t, again, fullRecord())
	text, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "mine", string(text))
}

func TestSecondInputOfAProcessIsRefused(t *testing.T) {
	f := newState(t)
	for range 2 {
		_, _, err := Open(f.path, savedAt)
		require.EqualError(t, err, fmt.Sprintf("cannot use state file %q: another heartbeat input of this process (pid %d) uses it", f.path, os.Getpid()))
		var locked *LockedError
		require.ErrorAs(t, err, &locked)
		require.True(t, locked.Own())
	}
	saveState(t, f, fullRecord())
	require.NoError(t, f.Close())
	again := openedState(t, f.path)
	requireSaved(t, again, fullRecord())
}

func TestOwnerOfTheLockIsNamed(t *testing.T) {
	f := newState(t)
	for text, want := range map[string]string{
		"4711\n":               "another process (pid 4711) uses it",
		"99\n711\n":            "another process (pid 99) uses it", // while it is being written
		"":                     "another process uses it",
		"who\n":                "another process uses it",
		"99999999999999999999": "another process uses it",
		"-1\n":                 "another process uses it",
	} {
		require.NoError(t, os.WriteFile(f.path+".lock", []byte(text), mode))
		_, _, err := Open(f.path, savedAt)
		require.EqualError(t, err, fmt.Sprintf("cannot use state file %q: %s", f.path, want))
	}
	require.NoError(t, os.WriteFile(f.path+".lock", []byte("a former one with a long pid\n"), mode))
	require.NoError(t, f.Close())
	openedState(t, f.path)
	text, err := os.ReadFile(f.path + ".lock")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintln(os.Getpid()), string(text))
}

// Reading the file neither waits for the collector nor disturbs it.
func TestReadChangesNothing(t *testing.T) {
	f := newState(t)
	dir := filepath.Dir(f.path)
	_, err := Read(f.path, savedAt)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, []string{"heartbeat.state.lock"}, names(t, dir))

	saveState(t, f, namelessRecord())
	state, err := Read(f.path, savedAt)
	require.NoError(t, err)
	require.Equal(t, savedAt, state.Last)
	requireRecords(t, []liveness.Record{namelessRecord()}, state.Peers)

	require.NoError(t, os.WriteFile(f.path, []byte("bad\n"), mode))
	state, err = Read(f.path, savedAt)
	require.EqualError(t, err, fmt.Sprintf("reading state from %q failed: it is not a heartbeat state file", f.path))
	require.Zero(t, state)
	require.Equal(t, []string{"heartbeat.state", "heartbeat.state.lock"}, names(t, dir))
}

// Everything that is accepted is the same after writing and reading it again. Because few inputs
// have a correct checksum, each is tried as a file and as the lines of a file.
func FuzzStateFile(f *testing.F) {
	for _, golden := range goldens {
		text, err := os.ReadFile(golden)
		require.NoError(f, err)
		f.Add(text)
		for line := range bytes.Lines(text) {
			f.Add(bytes.TrimSpace(line))
		}
	}
	f.Add([]byte(goodPeer))
	f.Add([]byte(goodPeer + "\n" + goodPeer))
	f.Add([]byte("{\"since\":\"\x7f\"}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		checkAgain(t, text)
		lines := strings.Split(string(text), "\n")
		checkAgain(t, []byte(sealedState(append([]string{goodHeader}, lines...)...)))
		checkAgain(t, []byte(journalOf(lines...)))
	})
}

func checkAgain(t *testing.T, text []byte) {
	t.Helper()
	first, err := readContents(bytes.NewReader(text))
	if err != nil {
		require.Less(t, len(err.Error()), 1000)
		require.False(t, strings.ContainsFunc(err.Error(), unicode.IsControl), "%q", err)
		return
	}
	state := first.fullState(savedAt)
	if state.Trouble != nil {
		require.Less(t, len(state.Trouble.Error()), 1000)
		require.False(t, strings.ContainsFunc(state.Trouble.Error(), unicode.IsControl), "%q", state.Trouble)
	}
	for i := range state.Peers {
		require.NoError(t, CheckRecord(&state.Peers[i]), "what is restored can be saved again")
	}
	first, err = readContents(bytes.NewReader(text))
	require.NoError(t, err)
	records := first.records()
	written, leftOut := (&File{life: 1}).encode(nil, &liveness.Changes{At: savedAt, Records: records})
	require.NoError(t, leftOut)
	second, err := readContents(bytes.NewReader(slices.Concat([]byte(header), written)))
	require.NoError(t, err)
	require.Zero(t, second.unreadable, "%v", second.first)
	requireRecords(t, records, second.records())
}

// sealedState returns a file of version 1 with its last line. It does not use the code under test.
func sealedState(lines ...string) string {
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(line + "\n")
	}
	return fmt.Sprintf(`%s{"peers":%d,"crc32c":"%08x"}`+"\n", text.String(), len(lines)-1, sum(text.String()))
}

// journalOf returns a file of these objects, also without the code under test.
func journalOf(objects ...string) string {
	var text strings.Builder
	text.WriteString(`{"format":"heartbeat state","version":2,"crc32c":"7655e8c9"}` + "\n")
	for _, object := range objects {
		fmt.Fprintf(&text, "%08x %s\n", sum(object), object)
	}
	return text.String()
}

func sum(text string) uint32 { return crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)) }

const (
	goodHeader = `{"format":"heartbeat state","version":1,"saved":"2026-08-22T03:00:00Z"}`
	goodPeer   = `{"id":{"Source":"web-1","Service":"nginx"},"state":1,"reason":1,` + instants + `}`
	instants   = `"since":"2026-08-22T02:00:00Z","heard":"2026-08-22T02:59:00Z"`
	goodMark   = `{"life":1,"listened_ns":5,"at":"2026-08-22T03:00:00Z"}`
)
