package heartbeat

import (
	"bytes"
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

// goldenState is a file that every build has to understand, and to write in
// the same way.
const goldenState = "testdata/state/version1.state"

var savedAt = time.Date(2026, 8, 22, 3, 0, 0, 123456789, time.UTC)

// fullRecord returns a record with as few zeros as there can be.
func fullRecord() liveness.Record {
	return liveness.Record{
		ID:     liveness.ID{Source: "web-1", Service: "nginx"},
		Addr:   netip.MustParseAddr("10.0.0.5"),
		Labels: []liveness.Label{{Key: "site", Value: "Zürich <west> & co"}},
		State:  liveness.Dead, Reason: liveness.ReasonForgotten, Since: savedAt.Add(-time.Hour),
		Evidence: liveness.ReasonSilence, Expected: true, Watched: true, Long: true,
		Interval: 10 * time.Second, Heard: savedAt.Add(-time.Minute), Used: time.Minute + 1,
		Dead: 35 * time.Second, Extended: true, Bonus: 3 * time.Second, Held: 7 * time.Second, HeldPartly: 5 * time.Second, Spared: 9 * time.Second,
		Window: 20 * time.Minute, WindowBy: "a0", Rule: "interval",
		Phase: -7 * time.Millisecond, Learnt: 10001 * time.Millisecond, Lateness: 3 * time.Millisecond, Taught: 33,
		Process: liveness.Process{Boot: "6d1c0f5e", PID: 4711, Start: 90 * time.Second},
		Runs:    []liveness.Run{{Name: "k3v9", High: 1<<53 - 1}, {Name: "a0", High: 1}}, SentMS: 1795000000000, Speaker: "k3v9",
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

// numbered returns n records that are told apart by their names.
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

func newState(t testing.TB) *stateFile {
	return openedState(t, filepath.Join(t.TempDir(), "heartbeat.state"))
}

func openedState(t testing.TB, path string) *stateFile {
	f, err := openState(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.lock.Close() }) // the test may have done so
	return f
}

func saveState(t *testing.T, f *stateFile, records ...liveness.Record) {
	t.Helper()
	require.NoError(t, f.save(savedAt, slices.Values(records)))
}

// requireSaved checks that f holds these records, whole and well.
func requireSaved(t *testing.T, f *stateFile, want ...liveness.Record) {
	t.Helper()
	got, err := f.load()
	require.NoError(t, err)
	require.True(t, savedAt.Equal(got.saved))
	requireRecords(t, want, got.peers)
}

// requireSetAside checks that load takes nothing from a file with these
// contents, says so, and keeps them. It returns what load says.
func requireSetAside(t *testing.T, f *stateFile, contents []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(f.path, contents, stateMode))
	got, err := f.load()
	require.Error(t, err)
	require.Zero(t, got)
	require.NoFileExists(t, f.path)
	aside, readErr := os.ReadFile(f.path + ".bad")
	require.NoError(t, readErr)
	require.True(t, bytes.Equal(contents, aside), "what was set aside is something else")
	require.ErrorContains(t, err, fmt.Sprintf("reading state from %q failed: ", f.path))
	require.ErrorContains(t, err, fmt.Sprintf("; it is now %q", f.path+".bad"))
	return err.Error()
}

// names returns what is in a directory.
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

func TestStateOutlivesTheCollector(t *testing.T) {
	full := fullRecord()
	nameless := namelessRecord()
	zoned := namelessRecord()
	zoned.ID.Source, zoned.Addr = "fe80::1%eth0", netip.MustParseAddr("fe80::1%eth0")
	filled := full
	filled.ID.PID = nameless.ID.PID // no peer has both
	requireFilled(t, reflect.ValueOf(filled), "Record")
	f := newState(t)
	requireEmptyState(t, f)
	saveState(t, f, full, nameless, zoned)
	requireSaved(t, f, full, nameless, zoned)
	requireSaved(t, f, full, nameless, zoned)

	saveState(t, f)
	requireSaved(t, f)
	require.ElementsMatch(t, []string{"heartbeat.state", "heartbeat.state.lock"}, names(t, filepath.Dir(f.path)))
}

func requireEmptyState(t *testing.T, f *stateFile) {
	t.Helper()
	got, err := f.load()
	require.NoError(t, err)
	require.Zero(t, got)
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

// Instants of any zone are the same instants afterwards, and the caller's
// record is not written to.
func TestStateIsInUTC(t *testing.T) {
	odd := time.FixedZone("of 1900", 34*60+8)
	record := fullRecord()
	record.Since, record.Heard = record.Since.In(odd), record.Heard.In(odd)
	record.Flaps[0] = record.Flaps[0].In(odd)
	f := newState(t)
	require.NoError(t, f.save(savedAt.In(odd), slices.Values([]liveness.Record{record})))
	requireSaved(t, f, fullRecord())
	require.Equal(t, odd, record.Flaps[0].Location())
}

// If this fails, another version of the format is needed, not another golden
// file.
func TestStateFormatDoesNotChangeByAccident(t *testing.T) {
	records := []liveness.Record{fullRecord(), namelessRecord()}
	golden, err := os.ReadFile(goldenState)
	require.NoError(t, err)
	var written bytes.Buffer
	leftOut, err := encodeState(&written, savedAt, slices.Values(records))
	require.NoError(t, errors.Join(leftOut, err))
	require.Equal(t, string(golden), written.String())

	saved, peers, err := ReadState(goldenState)
	require.NoError(t, err)
	require.Equal(t, savedAt, saved)
	requireRecords(t, records, peers)
}

func TestStateCutOffAnywhereIsSetAside(t *testing.T) {
	whole, err := os.ReadFile(goldenState)
	require.NoError(t, err)
	f := newState(t)
	for length := range whole {
		requireSetAside(t, f, whole[:length])
	}
	require.Contains(t, requireSetAside(t, f, nil), "it is empty")
	require.Contains(t, requireSetAside(t, f, whole[:len(whole)-1]), "it is cut off in line 4")
	end := bytes.LastIndexByte(whole[:len(whole)-1], '\n')
	require.Contains(t, requireSetAside(t, f, whole[:end+1]), "it is cut off in line 4")
}

func TestStateWithAnyBitFlippedIsSetAside(t *testing.T) {
	whole, err := os.ReadFile(goldenState)
	require.NoError(t, err)
	f := newState(t)
	for i := range whole {
		for bit := range 8 {
			damaged := slices.Clone(whole)
			damaged[i] ^= 1 << bit
			got, err := decodeState(bytes.NewReader(damaged))
			require.Error(t, err, "bit %d of byte %d", bit, i)
			require.Zero(t, got)
			if bit == i%8 { // files take longer
				said := requireSetAside(t, f, damaged)
				require.Less(t, len(said), 1000, "too long for a log")
				require.NotContains(t, said, "\n")
			}
		}
	}
}

// sealedState returns a file of these lines with the last line they need.
// It is written down here once more, apart from what it tests.
func sealedState(lines ...string) string {
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(line + "\n")
	}
	sum := crc32.Checksum([]byte(text.String()), crc32.MakeTable(crc32.Castagnoli))
	return fmt.Sprintf(`%s{"peers":%d,"crc32c":"%08x"}`+"\n", text.String(), len(lines)-1, sum)
}

const (
	goodHeader = `{"format":"heartbeat state","version":1,"saved":"2026-08-22T03:00:00Z"}`
	goodPeer   = `{"id":{"Source":"web-1","Service":"nginx"},"state":1,"reason":1,` + instants + `}`
	instants   = `"since":"2026-08-22T02:00:00Z","heard":"2026-08-22T02:59:00Z"`
)

func TestForeignAndForgedStateIsSetAside(t *testing.T) {
	// peer returns a file whose only peer has these keys beside its id.
	peer := func(keys string) string {
		return sealedState(goodHeader, `{"id":{"Source":"a","PID":1},`+instants+","+keys+`}`)
	}
	f := newState(t)
	for _, c := range []struct{ want, contents string }{
		{"it is no state file of heartbeat", "PK\x03\x04\n"},
		{"it is no state file of heartbeat", "[global_tags]\n  user = \"x\"\n"},
		{"it is no state file of heartbeat", sealedState(`{"format":"backup","version":1}`)},
		{"it is no state file of heartbeat", sealedState(`null`)},
		{"another version of heartbeat: its format is 2, not 1", sealedState(`{"format":"heartbeat state","version":2,"more":[]}`)},
		{"another version of heartbeat: its format is 0, not 1", sealedState(`{"format":"heartbeat state"}`)},
		{`line 1: json: unknown field "more"`, sealedState(strings.Replace(goodHeader, "}", `,"more":1}`, 1))},
		{"saved is in the year 1;", sealedState(`{"format":"heartbeat state","version":1}`)},
		{"saved is in the year 2201", sealedState(strings.Replace(goodHeader, "2026", "2201", 1))},
		{"it is no state file of heartbeat", sealedState(goodHeader + "{}")},

		{"its checksum or its count", strings.Replace(sealedState(goodHeader, goodPeer), `"peers":1`, `"peers":2`, 1)},
		{"its checksum or its count", strings.Replace(sealedState(goodHeader, goodPeer), "nginx", "nginy", 1)},
		{"its checksum or its count", strings.ReplaceAll(sealedState(goodHeader, goodPeer), "\n", "\r\n")},
		{"it goes on after its end", sealedState(goodHeader, goodPeer) + "\n"},
		{"it goes on after its end", sealedState(goodHeader) + sealedState(goodHeader)},
		{"it is cut off in line 3", goodHeader + "\n" + goodPeer + "\n"},

		{"line 2: EOF", sealedState(goodHeader, "")},
		{"line 2: it goes on after its object", sealedState(goodHeader, goodPeer+goodPeer)},
		{"line 3: json: unknown field \"color\"", sealedState(goodHeader, goodPeer, strings.Replace(goodPeer, "state", "color", 1))},
		{`unknown field "Color"`, sealedState(goodHeader, strings.Replace(goodPeer, "Source", "Color", 1))},
		{"line 2: it is not UTF-8", sealedState(goodHeader, strings.Replace(goodPeer, "nginx", "ngin\xff", 1))},
		{"line 2 has more than 1048576 bytes", sealedState(goodHeader, strings.Replace(goodPeer, "nginx", strings.Repeat("x", maxStateLine), 1))},
		{`line 2: json: unknown field "xxx`, sealedState(goodHeader, `{"`+strings.Repeat("x", maxStateLine/2)+`":1}`)},

		{"id is nobody's", sealedState(goodHeader, `null`)},
		{"id is nobody's", sealedState(goodHeader, `{"id":{"Service":"host"}}`)},
		{"id is nobody's", sealedState(goodHeader, `{"id":{"Source":"a","Service":"host","PID":1}}`)},
		{"state 5 is unknown", peer(`"state":5`)},
		{"number 256", peer(`"state":256`)},
		{"reason 17 is unknown", peer(`"reason":17`)},
		{"reason 255 is unknown", peer(`"evidence":255`)},
		{"interval_ns is 1, allowed are 100000000 to", peer(`"interval_ns":1`)},
		{"interval_ns is 34560000000000001, allowed are", peer(`"interval_ns":34560000000000001`)},
		{"used_ns is -1, allowed are 0 to", peer(`"used_ns":-1`)},
		{"phase_ns is -9223372036854775808", peer(`"phase_ns":-9223372036854775808`)},
		{"a run is at -9", peer(`"runs":[{"Name":"r","High":-9}]`)},
		{"addr", peer(`"addr":"10.0.0"`)},
		{"a counter is at 18446744073709551615", peer(`"counters":{"Late":18446744073709551615}`)},
		{"since is in the year 1959", peer(`"since":"1959-12-31T23:59:59Z"`)},
		{"since is in the year 1959", peer(`"since":"1960-01-01T00:59:59+01:00"`)},
		{"heard is in the year 1;", sealedState(goodHeader, `{"id":{"Source":"a","PID":1},"since":"2026-08-22T02:00:00Z"}`)},
		{"flaps is in the year 9999", peer(`"flaps":["9999-01-01T00:00:00Z"]`)},
	} {
		said := requireSetAside(t, f, []byte(c.contents))
		require.Contains(t, said, c.want)
		require.Less(t, len(said), 1000, "too long for a log")
	}
	// The helpers above forge well enough to be believed.
	require.NoError(t, os.WriteFile(f.path, []byte(sealedState(goodHeader, goodPeer)), stateMode))
	got, err := f.load()
	require.NoError(t, err)
	require.Len(t, got.peers, 1)
}

func TestHugeStateIsNotRead(t *testing.T) {
	f := newState(t)
	require.NoError(t, os.WriteFile(f.path, nil, stateMode))
	require.NoError(t, os.Truncate(f.path, maxStateFile+1)) // takes no room on the disk
	_, err := f.load()
	require.ErrorContains(t, err, "it has 4294967297 bytes, allowed are 4294967296")
	require.NoFileExists(t, f.path)
	require.FileExists(t, f.path+".bad")
}

// A number without a limit is one that a forged file can make absurd.
func TestEveryNumberThatIsAddedToIsChecked(t *testing.T) {
	record := fullRecord()
	require.NoError(t, checkRecord(&record))
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
			require.Error(t, checkRecord(&record), name)
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
	require.NoError(t, checkRecord(&record))
}

// One peer with a number that load refuses would cost all others.
func TestPeerThatCouldNotBeLoadedIsNotSaved(t *testing.T) {
	negative, long, late := fullRecord(), fullRecord(), fullRecord()
	negative.Dead = -1
	long.Rule = strings.Repeat("x", maxStateLine)
	late.Flaps[1] = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newState(t)
	err := f.save(savedAt, slices.Values([]liveness.Record{negative, fullRecord(), long, late}))
	require.EqualError(t, err, fmt.Sprintf(`saving state to %q left out 3 peers, the first is "web-1/nginx": `+
		`dead_ns is -1, allowed are 0 to 630720000000000000`, f.path))
	requireSaved(t, f, fullRecord())
	err = f.save(savedAt, slices.Values([]liveness.Record{long}))
	require.ErrorContains(t, err, "its line has 104")
	requireSaved(t, f)
}

func TestLongestLineIsSavedAndLoaded(t *testing.T) {
	record := fullRecord()
	line, err := newLineWriter(nil).encodePeer(record)
	require.NoError(t, err)
	record.Rule += strings.Repeat("x", maxStateLine-len(line))
	f := newState(t)
	saveState(t, f, fullRecord(), record)
	requireSaved(t, f, record)
	record.Rule += "x"
	require.ErrorContains(t, f.save(savedAt, slices.Values([]liveness.Record{record})), "its line has 1048577 bytes, allowed are 1048576")
}

// A saving takes time, and beats do not wait for it.
func TestPeerThatBeatDuringTheSavingIsSaved(t *testing.T) {
	record := fullRecord()
	record.Used, record.Heard = -time.Millisecond, savedAt.Add(time.Millisecond)
	f := newState(t)
	saveState(t, f, record)
	record.Used = 0
	requireSaved(t, f, record)
}

// A collector without a battery for its clock is in 1970 until it is told the
// time.
func TestJumpOfTheClockCostsNoPeer(t *testing.T) {
	then := time.Unix(3, 0).UTC()
	record := fullRecord()
	record.Since, record.Heard = then, then
	record.Phase, record.DeadFor = then.Sub(savedAt), savedAt.Sub(then)
	f := newState(t)
	saveState(t, f, record)
	requireSaved(t, f, record)
}

// What a beat may say fits.
func TestExtremesOfABeatAreSaved(t *testing.T) {
	extreme := fullRecord()
	extreme.Process.Start = milliseconds(1<<53 - 1)
	extreme.Interval = 31 * 24 * time.Hour
	extreme.Window = 31 * 24 * time.Hour
	extreme.Dead = longest + time.Hour
	extreme.Runs[0].High = 1<<53 - 1
	f := newState(t)
	saveState(t, f, extreme)
	requireSaved(t, f, extreme)
	extreme.Interval = 100 * time.Millisecond
	saveState(t, f, extreme)
	requireSaved(t, f, extreme)
}

// A peer that is forgotten and heard again during a saving is saved twice.
func TestLaterLineOfOnePeerHolds(t *testing.T) {
	records := numbered(3, "old")
	again := records[1]
	again.Rule = "new"
	f := newState(t)
	saveState(t, f, append(records, again)...)
	requireSaved(t, f, records[0], again, records[2])
}

func TestNewerBadFileReplacesTheOlderOne(t *testing.T) {
	f := newState(t)
	requireSetAside(t, f, []byte("old"))
	requireSetAside(t, f, []byte("new"))

	require.NoError(t, os.Remove(f.path+".bad"))
	require.NoError(t, os.MkdirAll(filepath.Join(f.path+".bad", "x"), 0o750))
	require.NoError(t, os.WriteFile(f.path, []byte("bad"), stateMode))
	got, err := f.load()
	require.ErrorContains(t, err, "it is cut off in line 1; setting it aside failed: ")
	require.Zero(t, got)
}

// Links, directories and the like are neither followed, nor replaced, nor
// set aside: the path of the option is a mistake then.
func TestPathThatIsNoFileIsLeftAlone(t *testing.T) {
	for name, kind := range irregulars {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "heartbeat.state")
			for _, place := range []string{path, path + ".lock"} {
				kind.make(t, place)
				before := names(t, dir)
				_, err := openState(path)
				require.EqualError(t, err, fmt.Sprintf("using state file %q failed: %q %s", path, place, kind.want))
				require.Equal(t, before, names(t, dir))
				for _, flag := range []int{os.O_RDONLY, os.O_RDWR | os.O_CREATE} { // it came there since
					_, err = openUnchecked(place, flag)
					require.Error(t, err)
				}
				require.NoError(t, os.Remove(place))
			}

			f := openedState(t, path)
			kind.make(t, path) // while it runs
			before := names(t, dir)
			got, err := f.load()
			require.EqualError(t, err, fmt.Sprintf("reading state from %q failed: %q %s", path, path, kind.want))
			require.Zero(t, got)
			_, _, err = ReadState(path)
			require.EqualError(t, err, fmt.Sprintf("reading state from %q failed: %q %s", path, path, kind.want))
			require.Equal(t, before, names(t, dir))
		})
	}
}

// irregulars are what is not a file, by name.
var irregulars = map[string]irregular{
	"directory": {"is a directory", func(t *testing.T, path string) {
		require.NoError(t, os.Mkdir(path, 0o750))
	}},
	"symbolic link": {"is a symbolic link", func(t *testing.T, path string) {
		target := filepath.Join(t.TempDir(), "target")
		require.NoError(t, os.WriteFile(target, []byte(sealedState(goodHeader, goodPeer)), stateMode))
		require.NoError(t, os.Symlink(target, path))
	}},
	"link to nothing": {"is a symbolic link", func(t *testing.T, path string) {
		require.NoError(t, os.Symlink("nothing", path))
	}},
}

type irregular struct {
	want string
	make func(t *testing.T, path string)
}

func TestStateFileThatCannotBeUsedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, stateMode))
	missing := filepath.Join(dir, "missing", "heartbeat.state")
	_, err := openState(missing)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, fmt.Sprintf("using state file %q failed: ", missing))
	_, err = openState(filepath.Join(file, "heartbeat.state"))
	require.Error(t, err, "in something that is no directory")
	require.Equal(t, []string{"file"}, names(t, dir))

	path := filepath.Join(dir, "heartbeat.state")
	require.NoError(t, os.MkdirAll(filepath.Join(path+".tmp", "x"), 0o750))
	_, err = openState(path)
	require.ErrorContains(t, err, "heartbeat.state.tmp", "it could never be saved")
	require.NoError(t, os.RemoveAll(path+".tmp"))
	openedState(t, path) // so the lock was released
}

func TestFailedSavingLeavesTheOldFile(t *testing.T) {
	f := newState(t)
	saveState(t, f, numbered(2, "old")...)
	require.NoError(t, os.MkdirAll(filepath.Join(f.path+".tmp", "x"), 0o750))
	err := f.save(savedAt, slices.Values(numbered(3, "new")))
	require.ErrorContains(t, err, fmt.Sprintf("saving state to %q failed: ", f.path))
	requireSaved(t, f, numbered(2, "old")...)
	require.NoError(t, os.RemoveAll(f.path+".tmp"))
	saveState(t, f, numbered(3, "new")...)
	requireSaved(t, f, numbered(3, "new")...)

	// The last step fails: what was written is removed.
	require.NoError(t, os.Remove(f.path))
	require.NoError(t, os.MkdirAll(filepath.Join(f.path, "x"), 0o750))
	err = f.save(savedAt, slices.Values(numbered(3, "new")))
	require.ErrorContains(t, err, fmt.Sprintf("saving state to %q failed: rename ", f.path))
	require.NoFileExists(t, f.path+".tmp")
	require.DirExists(t, filepath.Join(f.path, "x"))
}

// A writer may fail at any byte.
func TestErrorsOfWritingAreNotLost(t *testing.T) {
	var whole bytes.Buffer
	leftOut, err := encodeState(&whole, savedAt, slices.Values(numbered(200, "x")))
	require.NoError(t, errors.Join(leftOut, err))
	full := errors.New("full")
	for size := 0; size < whole.Len(); size += 1 + size/7 {
		leftOut, err := encodeState(&limitedWriter{size, full}, savedAt, slices.Values(numbered(200, "x")))
		require.NoError(t, leftOut)
		require.ErrorIs(t, err, full)
	}
}

type limitedWriter struct {
	room int
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.room {
		n := w.room
		w.room = 0
		return n, w.err
	}
	w.room -= len(p)
	return len(p), nil
}

func TestWhatAKilledSavingLeftIsRemoved(t *testing.T) {
	f := newState(t)
	saveState(t, f, fullRecord())
	require.NoError(t, f.close())
	require.NoError(t, os.WriteFile(f.path+".tmp", []byte("half of a f"), stateMode))
	again := openedState(t, f.path)
	require.NoFileExists(t, f.path+".tmp")
	requireSaved(t, again, fullRecord())

	// Somebody else's link in its place is not written through.
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), stateMode))
	require.NoError(t, os.Symlink(victim, f.path+".tmp"))
	saveState(t, again, fullRecord())
	requireSaved(t, again, fullRecord())
	contents, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "mine", string(contents))
}

func TestSecondInputOfAProcessIsRefused(t *testing.T) {
	f := newState(t)
	for range 2 {
		_, err := openState(f.path)
		require.EqualError(t, err, fmt.Sprintf("using state file %q failed: it is used by another input (process %d)", f.path, os.Getpid()))
	}
	saveState(t, f, fullRecord())
	require.NoError(t, f.close())
	again := openedState(t, f.path)
	requireSaved(t, again, fullRecord())
}

func TestOwnerOfTheLockIsNamed(t *testing.T) {
	f := newState(t)
	for contents, want := range map[string]string{
		"4711\n":               "it is used by another process (process 4711)",
		"99\n711\n":            "it is used by another process (process 99)", // while it is being written
		"":                     "it is used by another process",
		"who\n":                "it is used by another process",
		"99999999999999999999": "it is used by another process",
		"-1\n":                 "it is used by another process",
	} {
		require.NoError(t, os.WriteFile(f.path+".lock", []byte(contents), stateMode))
		_, err := openState(f.path)
		require.EqualError(t, err, fmt.Sprintf("using state file %q failed: %s", f.path, want))
	}
	require.NoError(t, os.WriteFile(f.path+".lock", []byte("a former one with a long pid\n"), stateMode))
	require.NoError(t, f.close())
	openedState(t, f.path)
	contents, err := os.ReadFile(f.path + ".lock")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintln(os.Getpid()), string(contents))
}

// Whoever looks at 3 a.m. neither waits for the collector nor disturbs it.
func TestReadStateChangesNothing(t *testing.T) {
	f := newState(t)
	dir := filepath.Dir(f.path)
	_, _, err := ReadState(f.path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, []string{"heartbeat.state.lock"}, names(t, dir))

	saveState(t, f, fullRecord())
	saved, peers, err := ReadState(f.path)
	require.NoError(t, err)
	require.Equal(t, savedAt, saved)
	requireRecords(t, []liveness.Record{fullRecord()}, peers)

	require.NoError(t, os.WriteFile(f.path, []byte("bad\n"), stateMode))
	saved, peers, err = ReadState(f.path)
	require.EqualError(t, err, fmt.Sprintf("reading state from %q failed: it is no state file of heartbeat", f.path))
	require.Zero(t, saved)
	require.Empty(t, peers)
	require.Equal(t, []string{"heartbeat.state", "heartbeat.state.lock"}, names(t, dir))
}

func TestStatePath(t *testing.T) {
	for _, c := range []struct{ option, directory, want string }{
		{"none", "/run/x", ""},
		{"/srv/h.state", "/run/x", "/srv/h.state"},
		{"", "/var/lib/private/telegraf", "/var/lib/private/telegraf/heartbeat.state"},
		{"", "/a:/b", "/a/heartbeat.state"},
		{"", "", "/var/lib/telegraf/heartbeat.state"},
	} {
		got := statePath(c.option, func(name string) string {
			require.Equal(t, "STATE_DIRECTORY", name)
			return c.directory
		})
		require.Equal(t, c.want, filepath.ToSlash(got), "%+v", c)
	}
}

// Whatever is accepted, written again, reads as the same. As few inputs have
// a right checksum, each is tried as a file and as the peers of one.
func FuzzStateFile(f *testing.F) {
	golden, err := os.ReadFile(goldenState)
	require.NoError(f, err)
	f.Add(golden)
	f.Add([]byte(goodPeer))
	f.Add([]byte(goodPeer + "\n" + goodPeer))
	f.Add([]byte("{\"since\":\"\x7f\"}"))
	for line := range bytes.Lines(golden) {
		f.Add(bytes.TrimSpace(line))
	}
	f.Fuzz(func(t *testing.T, contents []byte) {
		checkAgain(t, contents)
		lines := strings.Split(string(contents), "\n")
		checkAgain(t, []byte(sealedState(append([]string{goodHeader}, lines...)...)))
	})
}

func checkAgain(t *testing.T, contents []byte) {
	t.Helper()
	first, err := decodeState(bytes.NewReader(contents))
	if err != nil {
		require.Zero(t, first)
		require.Less(t, len(err.Error()), 1000)
		require.False(t, strings.ContainsFunc(err.Error(), unicode.IsControl), "%q", err)
		return
	}
	var written bytes.Buffer
	leftOut, err := encodeState(&written, first.saved, slices.Values(first.peers))
	require.NoError(t, errors.Join(leftOut, err))
	second, err := decodeState(&written)
	require.NoError(t, err)
	require.True(t, first.saved.Equal(second.saved))
	requireRecords(t, first.peers, second.peers)
}
