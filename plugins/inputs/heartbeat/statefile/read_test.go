package statefile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// goldens are a file of each version, and several of version 2: as written now, with the zeros
// that were written before, and without the keys that were added since. Every build must read the
// last two versions and write the last one in the same way. If that fails, a new version of the
// format is needed, not a new golden file.
var goldens = []string{
	"testdata/version1.state", "testdata/version2.state", "testdata/version2_without_events.state", "testdata/version2_numbered.state",
	"testdata/version2_with_zeros.state",
}

// goldenRecords are the records in goldens.
func goldenRecords() []liveness.Record {
	return []liveness.Record{fullRecord(), namelessRecord()}
}

func TestFileOfEachVersionIsRead(t *testing.T) {
	for _, golden := range goldens {
		text, err := os.ReadFile(golden)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "heartbeat.state")
		require.NoError(t, os.WriteFile(path, text, mode))
		f, state := opened(t, path)
		require.NoError(t, state.Trouble)
		require.Equal(t, savedAt, state.Last)
		want := goldenRecords()
		rest := time.Minute
		if golden == goldens[0] { // which knew nothing of that
			old := &want[0]
			old.Fresh, old.Lone, old.Crowded, old.Margin, old.Shared, rest = false, false, false, 0, false, 0
			old.Others, old.Replaced, old.Speakers, old.Signed, old.Owner = nil, nil, nil, nil, 0
		}
		if golden != goldens[1] && golden != goldens[4] { // nor did the others
			want[0].Foreign, want[0].HeardBy, want[0].EndedBy, want[0].Events, want[0].Promise = false, "", "", liveness.Trail{}, time.Time{}
			want[0].Jobs, want[0].JobsEnded, want[0].Lag, want[0].Carried, want[0].Due, want[0].Patience = nil, nil, 0, 0, time.Time{}, 0
		}
		if golden == goldens[0] || golden == goldens[2] {
			want[0].Health = liveness.HealthUnreported
		}
		for i := range want {
			want[i] = want[i].After(rest, 0)
		}
		requireRecords(t, want, state.Peers)

		// The next save writes the current version, and nothing is lost.
		if f.Outgrown() {
			require.Equal(t, goldens[0], golden)
			saveState(t, f, state.Peers...)
		}
		require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Listened: time.Second}))
		require.NoError(t, f.Close())
		_, again := opened(t, path)
		require.NoError(t, again.Trouble)
		require.Len(t, again.Peers, len(want))
	}
}

func TestFormatDoesNotChangeByAccident(t *testing.T) {
	f := newState(t)
	saveState(t, f, goldenRecords()...)
	gone := liveness.ID{Source: "web-2", Service: "job"}
	require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Listened: time.Minute, Gone: []liveness.ID{gone}, End: true}))
	written, err := os.ReadFile(f.path)
	require.NoError(t, err)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(goldens[1], written, 0o600))
	}
	golden, err := os.ReadFile(goldens[1])
	require.NoError(t, err)
	require.Equal(t, string(golden), string(written))
	require.Equal(t, journalOf(), header) //nolint:testifylint // byte for byte, not what it means as JSON
}

// A journal may end at any byte: a crash costs only what was being written. The next collector
// appends after the last whole line.
func TestCrashAtAnyByteCostsTheTailAlone(t *testing.T) {
	f := newState(t)
	saveState(t, f, numbered(2, "first")...)
	ends := make([]int64, 0, 4)
	ends = append(ends, f.size)
	for i := range 3 {
		require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Listened: time.Duration(i + 1), Records: numbered(i+3, "then")[i+2:]}))
		ends = append(ends, f.size)
	}
	whole, err := os.ReadFile(f.path)
	require.NoError(t, err)
	require.EqualValues(t, len(whole), f.size)
	path := filepath.Join(t.TempDir(), "heartbeat.state")
	for length := int(ends[0]); length <= len(whole); length++ {
		known, begun := 2, 0 // how long the last line is so far
		for _, record := range bytes.SplitAfter(whole[ends[0]:length], []byte("\n")) {
			begun = len(record)
			if bytes.HasSuffix(record, []byte("\n")) && bytes.Contains(record, []byte(`"peer"`)) {
				known++
			}
		}
		c, err := readContents(bytes.NewReader(whole[:length]))
		require.NoError(t, err)
		require.Zero(t, c.unreadable, "cut off at %d", length)
		require.Len(t, c.at, known, "cut off at %d", length)
		require.EqualValues(t, length-begun, int64(len(header))+c.size, "where the next one goes on")
		switch cut := c.cutOff(); {
		case begun > 0:
			require.EqualError(t, cut, "it ends in the middle of a line: everything saved after 2026-08-22T03:00:00Z is lost", "cut off at %d", length)
		case slices.Contains(ends, int64(length)):
			require.NoError(t, cut, "nothing is missing at %d", length)
		default:
			require.EqualError(t, cut, "it ends in the middle of a change: everything saved after 2026-08-22T03:00:00Z is lost", "cut off at %d", length)
		}
		if begun > 2 && length%97 > 0 { // a disk takes longer
			continue
		}
		require.NoError(t, os.WriteFile(path, whole[:length], mode))
		again, state := opened(t, path)
		require.NoError(t, state.Trouble, "cut off at %d", length)
		require.Len(t, state.Peers, known, "cut off at %d", length)
		require.NoError(t, again.Append(&liveness.Changes{At: savedAt, Records: numbered(9, "last")[8:]}))
		require.NoError(t, again.Close())
		after, err := Read(path, savedAt)
		require.NoError(t, err)
		require.NoError(t, after.Trouble, "the next collector wrote into what was cut off at %d", length)
		require.Len(t, after.Peers, known+1)
	}
}

// A flipped bit costs only its line.
func TestFileWithoutLinesIsCut(t *testing.T) {
	c, err := readContents(strings.NewReader(header))
	require.NoError(t, err)
	require.EqualError(t, c.cutOff(), "it ends after its first line: everything after that is lost")
	require.NoError(t, newContents().cutOff(), "there was no file")
}

func TestDamageCostsOneLine(t *testing.T) {
	f := newState(t)
	saveState(t, f, numbered(3, "x")...)
	whole, err := os.ReadFile(f.path)
	require.NoError(t, err)
	for i := range whole[:len(whole)-1] {
		for bit := range 8 {
			damaged := slices.Clone(whole)
			damaged[i] ^= 1 << bit
			c, err := readContents(bytes.NewReader(damaged))
			require.NoError(t, err, "bit %d of byte %d", bit, i)
			first := bytes.Count(whole[:i], []byte("\n"))
			last := first
			if whole[i] == '\n' { // two lines became one
				last++
			}
			lost := max(min(last, 3)-max(first, 1)+1, 0)
			require.Len(t, c.records(), 3-lost, "bit %d of byte %d", bit, i)
			require.Positive(t, c.unreadable)
		}
	}
}

// Readable lines are used. Damage is reported, and the damaged file is kept.
func TestDamagedFileIsRewrittenAndKept(t *testing.T) {
	f := newState(t)
	saveState(t, f, numbered(3, "x")...)
	require.NoError(t, f.Close())
	text, err := os.ReadFile(f.path)
	require.NoError(t, err)
	bad := bytes.Replace(text, []byte("host-1"), []byte("host-7"), 1)
	require.NoError(t, os.WriteFile(f.path, bad, mode))

	again, state := opened(t, f.path)
	require.EqualError(t, state.Trouble, "skipped 1 lines that could not be read, the first is line 3: its checksum is wrong")
	require.Len(t, state.Peers, 2)
	require.True(t, again.Outgrown(), "it is to be made anew")
	saveState(t, again, state.Peers...)
	require.NoError(t, again.Close())
	kept, err := os.ReadFile(f.path + ".bad")
	require.NoError(t, err)
	require.Equal(t, string(bad), string(kept))
	_, state = opened(t, f.path)
	require.NoError(t, state.Trouble)
	require.Len(t, state.Peers, 2)
}

func TestForeignFileIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heartbeat.state")
	for _, c := range []struct{ want, text string }{
		{"it is empty", ""},
		{"it is not a heartbeat state file", "PK\x03\x04\n"},
		{"it is not a heartbeat state file", "[global_tags]\n  user = \"x\"\n"},
		{"it is not a heartbeat state file", sealedState(`{"format":"backup","version":1}`)},
		{"it is not a heartbeat state file", sealedState(`null`)},
		{"it is not a heartbeat state file", sealedState(`{"format":"heartbeat state"}`)},
		{"it is not a heartbeat state file", `{"format":"heartbeat state","version":3}` + "\n"},
		{
			"another version of the plugin wrote it: its format is 3, not 2",
			fmt.Sprintf(`{"format":"heartbeat state","version":3,"crc32c":"%08x","more":[]}`+"\n", sum("heartbeat state 3")),
		},

		{`line 1: json: unknown field "more"`, sealedState(strings.Replace(goodHeader, "}", `,"more":1}`, 1))},
		{"the year of saved is out of range: 1;", sealedState(`{"format":"heartbeat state","version":1}`)},
		{"the year of saved is out of range: 2201", sealedState(strings.Replace(goodHeader, "2026", "2201", 1))},
		{"its checksum or its number", strings.Replace(sealedState(goodHeader, goodPeer), `"peers":1`, `"peers":2`, 1)},
		{"its checksum or its number", strings.Replace(sealedState(goodHeader, goodPeer), "nginx", "nginy", 1)},
		{"its checksum or its number", strings.ReplaceAll(sealedState(goodHeader, goodPeer), "\n", "\r\n")},
		{"there is text after its end", sealedState(goodHeader, goodPeer) + "\n"},
		{"there is text after its end", sealedState(goodHeader) + sealedState(goodHeader)},
		{"its last line is missing", goodHeader + "\n" + goodPeer + "\n"},
		{"its last line is missing", goodHeader + "\n"},
	} {
		said := requireSetAside(t, path, []byte(c.text))
		require.Contains(t, said, c.want, "%q", c.text)
		require.Less(t, len(said), 1000, "too long for a log")
		require.NotContains(t, said, "\n")
	}
	// The newer bad file has replaced the older one. If that is not possible, the text says
	// so.
	require.NoError(t, os.Remove(path+".bad"))
	require.NoError(t, os.MkdirAll(filepath.Join(path+".bad", "x"), 0o750))
	require.NoError(t, os.WriteFile(path, []byte("bad"), mode))
	_, state := opened(t, path)
	require.ErrorContains(t, state.Trouble, "it is not a heartbeat state file; moving it aside failed: ")
}

// A file of version 1 without its seal is not used at all.
func TestTruncatedVersion1IsSetAside(t *testing.T) {
	whole, err := os.ReadFile(goldens[0])
	require.NoError(t, err)
	for length := range whole {
		_, err := readContents(bytes.NewReader(whole[:length]))
		require.Error(t, err, "cut off at %d", length)
	}
	for i := range whole {
		for bit := range 8 {
			damaged := slices.Clone(whole)
			damaged[i] ^= 1 << bit
			_, err := readContents(bytes.NewReader(damaged))
			require.Error(t, err, "bit %d of byte %d", bit, i)
		}
	}
}

// A line that no collector can have written costs only itself, in files of both versions.
func TestForgedRecordCostsThatRecord(t *testing.T) {
	// peer returns a line with a peer that has these keys beside its id.
	peer := func(keys string) string {
		return `{"id":{"Source":"a","PID":1},` + instants + "," + keys + `}`
	}
	for _, c := range []struct{ want, peer string }{
		{"there is text after the JSON object", goodPeer + goodPeer},
		{"json: unknown field \"color\"", strings.Replace(goodPeer, "state", "color", 1)},
		{`unknown field "Color"`, strings.Replace(goodPeer, "Source", "Color", 1)},
		{"it is not UTF-8", strings.Replace(goodPeer, "nginx", "ngin\xff", 1)},
		{`json: unknown field "xxx`, `{"` + strings.Repeat("x", maxLine/2) + `":1}`},
		{"id is invalid", `{"id":{"Service":"host"}}`},
		{"id is invalid", `{"id":{"Source":"a","Service":"host","PID":1}}`},
		{"state 5 is unknown", peer(`"state":5`)},
		{"number 256", peer(`"state":256`)},
		{"reason 255 is unknown", peer(`"reason":255`)},
		{"reason 255 is unknown", peer(`"evidence":255`)},
		{"interval_ns is 1, the range is 100000000 to", peer(`"interval_ns":1`)},
		{"interval_ns is 630720000000000001, the range is", peer(`"interval_ns":630720000000000001`)},
		{"used_ns is -1, the range is 0 to", peer(`"used_ns":-1`)},
		{"phase_ns is -9223372036854775808", peer(`"phase_ns":-9223372036854775808`)},
		{"the highest seq of a run is out of range: -9", peer(`"runs":[{"Name":"r","High":-9}]`)},
		{"addr", peer(`"addr":"10.0.0"`)},
		{"a counter is out of range: 18446744073709551615", peer(`"counters":{"Late":18446744073709551615}`)},
		{"the year of since is out of range: 1959", peer(`"since":"1959-12-31T23:59:59Z"`)},
		{"the year of since is out of range: 1959", peer(`"since":"1960-01-01T00:59:59+01:00"`)},
		{"the year of heard is out of range: 1", `{"id":{"Source":"a","PID":1},"since":"2026-08-22T02:00:00Z"}`},
		{"the year of flaps is out of range: 9999", peer(`"flaps":["9999-01-01T00:00:00Z"]`)},
	} {
		for _, text := range []string{
			sealedState(goodHeader, c.peer, goodPeer),
			journalOf(`{"life":1,"listened_ns":5,"peer":`+c.peer+`}`, `{"life":1,"listened_ns":5,"peer":`+goodPeer+`}`, goodMark),
		} {
			contents, err := readContents(strings.NewReader(text))
			require.NoError(t, err, c.want)
			state := contents.fullState(savedAt)
			require.ErrorContains(t, state.Trouble, "skipped 1 lines that could not be read, the first is line 2: ")
			if !strings.HasSuffix(c.peer, goodPeer+goodPeer) { // in a line there is a key after it
				require.ErrorContains(t, state.Trouble, c.want)
			}
			require.Less(t, len(state.Trouble.Error()), 1000, "too long for a log")
			require.Len(t, state.Peers, 1)
			require.Equal(t, "web-1", state.Peers[0].ID.Source)
		}
	}
	for _, object := range []string{
		`{"life":1,"listened_ns":-1,"at":"2026-08-22T03:00:00Z"}`,
		`{"life":1,"listened_ns":630720000000000001,"at":"2026-08-22T03:00:00Z"}`,
		`{"life":1,"listened_ns":5}`,
		`{"life":-1,"listened_ns":5,"at":"2026-08-22T03:00:00Z"}`,
		`{"life":1,"listened_ns":5,"at":"2026-08-22T03:00:00Z","color":1}`,
		strings.Repeat(" ", maxLine),
		``,
	} {
		contents, err := readContents(strings.NewReader(journalOf(`{"life":1,"listened_ns":5,"peer":`+goodPeer+`}`, object, goodMark)))
		require.NoError(t, err)
		require.Equal(t, 1, contents.unreadable, object)
		require.Len(t, contents.records(), 1)
	}
}

// A peer that was forgotten and came back is known: its later line counts.
func TestLaterLineCounts(t *testing.T) {
	f := newState(t)
	records := numbered(3, "old")
	saveState(t, f, records...)
	again := records[1]
	again.Rule = "new"
	require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Gone: []liveness.ID{records[0].ID, again.ID}, Records: []liveness.Record{again}}))
	requireSaved(t, f, again, records[2])
	require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Gone: []liveness.ID{again.ID, {Source: "never known"}}}))
	requireSaved(t, f, records[2])
}

// While the journal is rewritten, changes go to the old one and to the new one.
func TestChangesDuringARewriteAreInBoth(t *testing.T) {
	f := newState(t)
	old := numbered(2, "old")
	saveState(t, f, old...)
	newer := numbered(3, "new")
	require.NoError(t, f.Begin())
	require.NoError(t, f.Add(&liveness.Changes{At: savedAt, Records: old[:1]}))
	require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Records: newer[:1]}))
	requireSaved(t, f, newer[0], old[1])
	require.NoError(t, f.Add(&liveness.Changes{At: savedAt, Records: newer[2:]}))
	require.NoError(t, f.Replace())
	requireSaved(t, f, newer[0], newer[2])
	require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Records: newer[1:2]}))
	requireSaved(t, f, newer[0], newer[2], newer[1])
}

// Changes that follow at once are written together.
func TestBatchesAreWrittenTogether(t *testing.T) {
	f := newState(t)
	saveState(t, f)
	before := f.size
	for i := range 3 {
		require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Records: numbered(i+1, "x")[i:], More: true}))
		require.Equal(t, before, f.size)
	}
	require.NoError(t, f.Append(&liveness.Changes{At: savedAt}))
	requireSaved(t, f, numbered(3, "x")...)
	for f.size < 2*maxPending { // but not without end
		before := f.size
		for f.size == before {
			require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Records: numbered(500, "x"), More: true}))
		}
	}
}

// A journal is rewritten before it has more outdated than current lines.
func TestJournalDoesNotGrowWithoutEnd(t *testing.T) {
	f := newState(t)
	require.True(t, f.Outgrown(), "there is none")
	saveState(t, f, numbered(2000, "x")...)
	require.False(t, f.Outgrown())
	needed := f.size
	require.Greater(t, needed, int64(maxOutdated))
	for !f.Outgrown() {
		require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Records: numbered(200, "y")}))
	}
	require.InDelta(t, 2*needed, f.size, 0.1*float64(needed))
	require.NoError(t, f.Close())
	again := openedState(t, f.path)
	require.InDelta(t, needed, again.base, 0.01*float64(needed), "what is needed is found again")
	require.True(t, again.Outgrown())
}

const second = time.Second

// What is restored of a peer after a crash or a stop. A life is what one collector wrote: records
// at some time, and its last mark.
func TestSilenceContinuesAcrossLives(t *testing.T) {
	type written struct {
		at   time.Duration // listened
		used time.Duration // of the record; negative for a mark
		end  bool
	}
	heard := func(at, used time.Duration) written { return written{at: at, used: used} }
	mark := func(at time.Duration) written { return written{at: at, used: -1} }
	stop := func(at time.Duration) written { return written{at: at, used: -1, end: true} }
	for _, c := range []struct {
		name    string
		fresh   bool // it was heard in that life, and not late
		lives   [][]written
		want    time.Duration
		guessed bool
	}{
		{"at once", false, [][]written{{heard(5*second, 2*second)}}, 2 * second, false},
		{"late, and a mark", false, [][]written{{heard(5*second, 2*second), mark(9 * second)}}, 6 * second, false},
		{"late, a mark and two lives", false, [][]written{
			{heard(5*second, 2*second), mark(9 * second)}, {mark(3 * second)}, {mark(second)},
		}, 10 * second, false},
		{"well, and just heard", true, [][]written{{heard(5*second, 0), mark(7 * second)}}, 2 * second, true},
		{"well, and a mark much later", true, [][]written{{heard(5*second, 0), mark(600 * second)}}, 10 * second, true},
		{"well, and silent in the lives since", true, [][]written{
			{heard(5*second, 0), mark(600 * second)}, {mark(20 * second)}, {stop(4 * second)},
		}, 34 * second, true},
		{"stopped", false, [][]written{{heard(5*second, 2*second), stop(5 * second)}}, 2 * second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "heartbeat.state")
			for i, life := range c.lives {
				f := openedState(t, path)
				if i == 0 {
					saveState(t, f)
				}
				for _, w := range life {
					b := liveness.Changes{At: savedAt.Add(w.at), Listened: w.at, End: w.end}
					if w.used >= 0 {
						r := fullRecord()
						r.State, r.Fresh, r.Used, r.Heard = liveness.Alive, c.fresh, w.used, savedAt
						b.Records = []liveness.Record{r}
					}
					require.NoError(t, f.Append(&b))
				}
				require.NoError(t, f.Close())
			}
			for range 2 { // reading it again changes nothing
				state, err := Read(path, savedAt.Add(time.Hour))
				require.NoError(t, err)
				require.NoError(t, state.Trouble)
				require.Equal(t, c.want, state.Peers[0].Used)
				require.Equal(t, c.guessed, state.Peers[0].Guessed)
				crashed := liveness.LongestPace // of which it is not known that it has listened
				if last := c.lives[len(c.lives)-1]; last[len(last)-1].end {
					crashed = 0
				}
				require.Equal(t, crashed, state.Peers[0].Crashed)
			}
		})
	}
}

// How long a collector listened before a crash is known only to within its pace.
func TestCrashIsNotALongPause(t *testing.T) {
	for _, end := range []bool{false, true} {
		f := newState(t)
		saveState(t, f)
		require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Listened: second, End: end}))
		saved := func(after time.Duration) time.Duration {
			state, err := Read(f.path, savedAt.Add(after))
			require.NoError(t, err)
			require.Equal(t, savedAt, state.Last)
			return state.Saved.Sub(savedAt)
		}
		require.Zero(t, saved(-time.Hour), "the clock was set back")
		if end {
			require.Zero(t, saved(time.Minute))
			continue
		}
		require.Equal(t, time.Minute, saved(time.Minute))
		require.Equal(t, liveness.LongestPace, saved(time.Hour))
	}
}
