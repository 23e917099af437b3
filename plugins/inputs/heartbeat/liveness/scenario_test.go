package liveness

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what happens into the scenarios; read the difference before you commit it")

// TestScenarios plays each file of testdata. A line there is an option, or a
// time and what happens then; below it stands, after "->", what the tracker
// says. Between the lines the tracker ticks as in real life. A time of +50s is
// counted from the line before.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			s := newScenario(t)
			for line := range strings.Lines(string(want)) {
				if !strings.HasPrefix(line, "  -> ") {
					s.play(strings.TrimRight(line, "\n"))
				}
			}
			if *update {
				require.NoError(t, os.WriteFile(file, s.script.Bytes(), 0o600))
			}
			require.Equal(t, string(want), s.script.String())
		})
	}
}

type scenario struct {
	t       *testing.T
	opts    Options
	tracker *Tracker
	now     time.Duration
	kept    []*kept
	path    Path
	from    map[ConnID]netip.Addr // where connections come from: where the beats over them do, if those say it
	script  bytes.Buffer          // the lines played and what they caused
	told    []string              // what happened since the last line
	ids     map[int64]string      // what happened in all, by the id of the event
}

func defaults() Options {
	return Options{
		Terms:    Terms{DeadAfter: 210 * time.Second, Margin: MarginOf(3), Grace: 5 * time.Second, ForgetDead: 72 * time.Hour},
		Adaptive: true, MinSilence: MinSilence, ForgetLeft: time.Hour,
		IsolationPercent: 30, IsolationHold: time.Minute,
		MaxPeers: 1000, MaxBeatsPerSecond: 10,
	}
}

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newScenario(t *testing.T) *scenario {
	return &scenario{t: t, opts: defaults(), from: make(map[ConnID]netip.Addr), ids: make(map[int64]string)}
}

func (s *scenario) play(line string) {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || words[0] == "#":
	case words[0] == "option":
		s.option(words[1], words[2])
	default:
		s.start()
		s.until(s.time(words[0]), words[1] == "stall")
		s.event(words[1:])
	}
	fmt.Fprintln(&s.script, line)
	for _, text := range s.told {
		fmt.Fprintln(&s.script, "  ->", text)
	}
	s.told = nil
}

func (s *scenario) option(name, value string) {
	number := integer(s.t, name, value, "max_peers", "missed_beats", "isolation_percent")
	span, _ := time.ParseDuration(value) //nolint:errcheck // others are numbers or words
	switch name {
	case "dead_after":
		s.opts.DeadAfter = span
	case "max_dead_after":
		s.opts.MaxDeadAfter = span
	case "missed_beats":
		s.opts.Margin = MarginOf(int(number))
	case "forget_dead_after":
		s.opts.ForgetDead = span
	case "forget_left_after":
		s.opts.ForgetLeft = span
	case "disconnect_grace":
		s.opts.Grace = span
	case "isolation_percent":
		s.opts.IsolationPercent = int(number)
	case "isolation_hold":
		s.opts.IsolationHold = span
	case "detector":
		s.opts.Adaptive = value == "adaptive"
	case "rule": // for one source: its dead_after
		source, dead, _ := strings.Cut(value, "=")
		terms := s.opts.Terms
		terms.DeadAfter, terms.Fixed, terms.Rule = duration(s.t, source, dead, source), true, "rule 1"
		s.opts.TermsOf = func(id ID, _ netip.Addr) *Terms {
			if id.Source == source {
				return &terms
			}
			return nil
		}
	case "max_peers":
		s.opts.MaxPeers = int(number)
	default:
		s.t.Fatalf("option %q", name)
	}
}

func (s *scenario) start() {
	if s.tracker == nil {
		s.opts.Ask = func(conn ConnID) (Path, netip.Addr) { return s.path, s.from[conn] }
		s.tracker = New(s.opts, epoch)
	}
}

func (s *scenario) time(word string) time.Duration {
	span, err := time.ParseDuration(strings.TrimPrefix(word, "+"))
	require.NoError(s.t, err)
	if word[0] == '+' {
		span += s.now
	}
	return span
}

// until lets time pass: with ticks and beats that are kept up, or in a stall
// without; what was sent in a stall is received when it ends.
func (s *scenario) until(end time.Duration, stall bool) {
	require.GreaterOrEqual(s.t, end, s.now, "time goes on")
	for !stall && s.now+TickInterval <= end {
		s.now += TickInterval - s.now%TickInterval
		s.tell(s.tracker.Tick(epoch.Add(s.now)))
		s.keepUp()
	}
	s.now = end
	s.keepUp()
}

// A kept is a beat that is sent again and again.
type kept struct {
	beat Beat
	next time.Duration
}

func (s *scenario) keepUp() {
	for _, k := range s.kept {
		for ; k.next <= s.now; k.next += k.beat.Interval {
			k.beat.Seq++
			s.observe(k.beat)
		}
	}
}

func (s *scenario) event(words []string) {
	switch words[0] {
	case "beat", "leave", "exit":
		for _, id := range parseIDs(s.t, words[1]) {
			s.observe(s.beat(words[0], id, words[2:]))
		}
	case "keep":
		ids := parseIDs(s.t, words[1])
		for i, id := range ids {
			b := s.beat("beat", id, words[2:])
			s.kept = append(s.kept, &kept{beat: b, next: s.now + b.Interval*time.Duration(i)/time.Duration(len(ids))})
		}
		s.keepUp()
	case "stop":
		for _, word := range words[1:] {
			ids := parseIDs(s.t, word)
			s.kept = slices.DeleteFunc(s.kept, func(k *kept) bool { return slices.Contains(ids, k.beat.ID) })
		}
	case "closed", "reset", "given_up", "by_us":
		end := map[string]End{"closed": Closed, "reset": Reset, "given_up": GivenUp, "by_us": EndedByUs}[words[0]]
		conn := connID(s.t, words[1])
		s.tell(s.tracker.ConnEnded(epoch.Add(s.now), conn, end, s.from[conn]))
	case "path":
		s.path = map[string]Path{"answers": PathAnswers, "silent": PathIsSilent, "unknown": PathUnknown}[words[1]]
	case "restart":
		s.restart(s.time(words[1]))
	case "expect":
		s.expect(words[1:])
	case "near":
		s.told = append(s.told, fmt.Sprint(s.tracker.Near(parseID(s.t, words[1]))))
	case "show":
		for _, id := range parseIDs(s.t, words[1]) {
			s.show(id)
		}
	case "isolated":
		s.told = append(s.told, fmt.Sprintf("isolated: %v", s.tracker.Isolated()))
	case "wait", "stall":
	default:
		s.t.Fatalf("event %q", words[0])
	}
}

// restart lets another collector go on from what this one records. What is
// sent meanwhile is lost.
func (s *scenario) restart(back time.Duration) {
	saved := epoch.Add(s.now)
	records := make([]Record, 0, s.tracker.Len())
	for i := range s.tracker.Len() {
		records = append(records, s.tracker.Record(i, saved))
	}
	s.now = back
	s.tracker = New(s.opts, epoch.Add(s.now))
	for i := range records {
		s.tracker.Restore(&records[i], saved, epoch.Add(s.now))
	}
	for _, k := range s.kept {
		for ; k.next < s.now; k.next += k.beat.Interval {
			k.beat.Seq++
		}
	}
}

func (s *scenario) expect(words []string) {
	all := make([]Expected, 0, len(words))
	for _, word := range words {
		source, service, _ := strings.Cut(word, "/")
		all = append(all, Expected{Source: source, Service: service})
	}
	s.tell(s.tracker.Expect(all, epoch.Add(s.now)))
}

func (s *scenario) beat(verb string, id ID, words []string) Beat {
	b := Beat{ID: id, Status: map[string]Status{"beat": SaysAlive, "leave": SaysLeaving, "exit": SaysDead}[verb]}
	b.Process.PID = b.ID.PID
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		number := integer(s.t, key, value, "code", "seq", "pid")
		span := duration(s.t, key, value, "every", "back_in", "start", "margin")
		switch key {
		case "every":
			b.Interval = span
		case "back_in":
			b.BackIn = span
		case "code":
			b.ExitCode, b.HasExitCode = number, true
		case "run":
			b.Run = value
		case "seq":
			b.Seq = number
		case "pid":
			b.Process.PID = uint32(number)
		case "boot":
			b.Process.Boot = value
		case "start":
			b.Process.Start = span
		case "from":
			b.Addr = netip.MustParseAddr(value)
		case "conn":
			b.Conn = connID(s.t, value)
		case "watched":
			b.Watched = true
		case "cancel":
			b.Cancel = true
		case "margin":
			b.Margin = span
		case "says":
			b.Health = map[string]Health{"ok": HealthOK, "warning": HealthWarning, "critical": HealthCritical, "busy": HealthOther}[value]
		default:
			s.t.Fatalf("part %q of a beat", word)
		}
	}
	return b
}

func (s *scenario) observe(b Beat) {
	s.from[b.Conn] = b.Addr
	if !b.Addr.IsValid() {
		s.from[b.Conn] = addrOf(b.Conn)
	}
	out := s.tracker.Observe(epoch.Add(s.now), &b)
	if out.Fate != Accepted {
		s.told = append(s.told, [...]string{"", "limited", "duplicate", "late", "full", "host is full", "replayed", "foreign", "nobody"}[out.Fate])
	}
	s.tell(out.Transitions)
}

func connID(t *testing.T, text string) ConnID { return ConnID(integer(t, "conn", text, "conn")) }

// integer returns value as a number if key is one of those that are.
func integer(t *testing.T, key, value string, keys ...string) int64 {
	if !slices.Contains(keys, key) {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 64)
	require.NoError(t, err)
	return n
}

// duration returns value as a time if key is one of those that are.
func duration(t *testing.T, key, value string, keys ...string) time.Duration {
	if !slices.Contains(keys, key) {
		return 0
	}
	d, err := time.ParseDuration(value)
	require.NoError(t, err)
	return d
}

// parseIDs returns the peer that text names, or several: "web-1..12/host".
func parseIDs(t *testing.T, text string) []ID {
	before, after, several := strings.Cut(text, "..")
	if !several {
		return []ID{parseID(t, text)}
	}
	digits := strings.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' })
	require.Positive(t, digits, text)
	stem := strings.TrimRight(before, "0123456789")
	first, last := integer(t, "", before[len(stem):], ""), integer(t, "", after[:digits], "")
	ids := make([]ID, 0, last-first+1)
	for n := first; n <= last; n++ {
		ids = append(ids, parseID(t, fmt.Sprint(stem, n, after[digits:])))
	}
	return ids
}

func parseID(t *testing.T, text string) ID {
	source, rest, ok := strings.Cut(text, "/")
	require.True(t, ok, text)
	if pid, err := strconv.ParseUint(rest, 10, 32); err == nil {
		return ID{Source: source, PID: uint32(pid)}
	}
	return ID{Source: source, Service: rest}
}

func (s *scenario) tell(transitions []Transition) {
	for _, tr := range transitions {
		text := describe(s.now, tr)
		require.Empty(s.t, s.ids[tr.EventID], "has the id of: %s", text)
		s.ids[tr.EventID] = text
		s.told = append(s.told, text)
	}
}

func describe(now time.Duration, tr Transition) string {
	switch tr.Event {
	case Conflict:
		return fmt.Sprintf("%v %v: conflict of %v and %v", now, tr.ID, tr.Addr, tr.Other)
	case Changed:
		text := fmt.Sprintf("%v %v: %v, was %v", now, tr.ID, tr.State, tr.Previous)
		if tr.Lasted > 0 {
			text += fmt.Sprintf(" for %v", tr.Lasted)
		}
		return fmt.Sprintf("%s (%v)", text, tr.Reason)
	case Ended:
		text := fmt.Sprintf("%v %v: %d ended (%v)", now, tr.ID, tr.Ending.PID, tr.Ending.Reason)
		if tr.Ending.HasExitCode {
			text += fmt.Sprintf(" with %d", tr.Ending.ExitCode)
		}
		return text
	default:
		return fmt.Sprintf("%v %v: %v", now, tr.ID, tr.Event)
	}
}

// show prints a peer's state and those of its counters that are not 0.
func (s *scenario) show(id ID) {
	v, ok := viewOf(s.tracker, id, epoch.Add(s.now))
	if !ok {
		s.told = append(s.told, fmt.Sprintf("%v is not known", id))
		return
	}
	text := fmt.Sprintf("%v %v %v, %v since %v", id, v.State, v.Reason, v.Age, v.Since.Format(time.TimeOnly))
	if v.Deadline > 0 {
		text += fmt.Sprintf(", deadline in %v, suspicion %.2f", v.Deadline, v.Suspicion)
	}
	if code, told := v.Health.Code(); told {
		text += fmt.Sprintf(", status_code %d", code)
	}
	var counts []string
	for _, c := range []struct {
		name string
		n    uint64
	}{
		{"beats", v.Beats},
		{"lost", v.Lost},
		{"late", v.Late},
		{"duplicates", v.Duplicates},
		{"limited", v.Limited},
		{"restarts", v.Restarts},
		{"deaths", v.Deaths},
		{"mistakes", v.Mistakes},
		{"conflicts", v.Conflicts},
	} {
		if c.n > 0 {
			counts = append(counts, fmt.Sprintf(", %s %d", c.name, c.n))
		}
	}
	text += strings.Join(counts, "")
	if v.DeadFor > 0 {
		text += fmt.Sprintf(", dead for %v", v.DeadFor)
	}
	if v.Flapping {
		text += ", flapping"
	}
	s.told = append(s.told, text)
}

func viewOf(t *Tracker, id ID, now time.Time) (View, bool) {
	at := slices.IndexFunc(t.order, func(p *peer) bool { return p.id == id })
	if at < 0 {
		return View{}, false
	}
	return t.View(at, now), true
}

// Every rule has its scenario; a file that plays nothing would hide that.
func TestScenariosTellSomething(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(text), "  -> ", file)
		require.True(t, strings.HasPrefix(string(text), "# "), "%s has to say what it shows", file)
	}
}

// addrOf returns an address that no other connection comes from.
func addrOf(conn ConnID) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(conn >> 16), byte(conn >> 8), byte(conn)})
}
