package liveness

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what happens into the scenarios; read the difference before you commit it")

// TestScenarios plays the scripts of testdata. A line of a script is an option, or a time and
// an event; the lines below it, after "->", are the reports of the tracker. Between the lines
// the collector ticks and senders beat. A time like +50s is counted from the line before;
// without a time, the event happens at once. A line "== TITLE" starts over, with the options
// from the beginning.
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

// Every script begins with its purpose, and every part of it has some result: otherwise a
// script that plays nothing would not be noticed.
func TestScenariosHaveResults(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(text), "# "), "%s must state what it shows", file)
		for i, part := range strings.Split(string(text), "\n== ") {
			if i > 0 || !strings.Contains(string(text), "\n== ") {
				require.Contains(t, part, "  -> ", "%s, part %d", file, i)
			}
		}
	}
}

// A scenario is a script that is being played.
type scenario struct {
	*rig
	t      *testing.T
	path   map[ConnID]Path       // the path that the kernel reports for a connection; 0 stands for all others
	from   map[ConnID]netip.Addr // the address of each connection: that of the beats over it, if they have one
	script bytes.Buffer          // the lines that were played and their results
	shown  []shown               // results since the last line
	ids    map[int64]string      // the reports, by event ID
}

func newScenario(t *testing.T) *scenario {
	s := &scenario{t: t}
	s.begin()
	return s
}

func (s *scenario) begin() {
	s.rig, s.from, s.path = newRig(s.t), make(map[ConnID]netip.Addr), make(map[ConnID]Path)
	s.opts.Ask = func(conn ConnID) (Path, netip.Addr) {
		if path, yes := s.path[conn]; yes {
			return path, s.from[conn]
		}
		return s.path[0], s.from[conn]
	}
	s.hook, s.tracker, s.ids = s.tell, nil, make(map[int64]string)
}

func (s *scenario) play(line string) {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || words[0] == "#":
	case words[0] == "==":
		s.begin()
	case words[0] == "option":
		s.option(words[1], words[2])
	default:
		if s.tracker == nil {
			s.tracker = New(s.opts, s.now)
		}
		if words[0][0] == '+' || words[0][0] >= '0' && words[0][0] <= '9' {
			s.until(s.time(words[0]), words[1] == "stall")
			words = words[1:]
		}
		s.event(words)
	}
	fmt.Fprintln(&s.script, line)
	for _, text := range collapsed(s.shown) {
		fmt.Fprintln(&s.script, "  ->", text)
	}
	s.shown = nil
	if s.tracker != nil {
		checkInvariants(s.t, s.tracker)
	}
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
	case "margin":
		s.fixed = value == "fixed"
	case "rule":
		s.rule(value)
	case "max_peers":
		s.opts.MaxPeers = int(number)
	case "accept":
		s.opts.KnownOnly = value == "known"
	default:
		s.t.Fatalf("option %q", name)
	}
}

// rule sets the dead_after of one source, one service or one address:
// web-1=1m, /slow=1m, @10.0.0.9=1m.
func (s *scenario) rule(text string) {
	who, dead, _ := strings.Cut(text, "=")
	terms, others := s.opts.Terms, s.opts.TermsOf
	terms.DeadAfter, terms.Fixed, terms.Rule = duration(s.t, who, dead, who), true, "rule 1"
	s.opts.TermsOf = func(id ID, addr netip.Addr) *Terms {
		switch {
		case who == id.Source, who == "/"+id.Service, who == "@"+addr.String():
			return &terms
		case others != nil:
			return others(id, addr)
		}
		return nil
	}
}

// time returns the time in word, since the epoch.
func (s *scenario) time(word string) time.Duration {
	span, err := time.ParseDuration(strings.TrimPrefix(word, "+"))
	require.NoError(s.t, err)
	if word[0] == '+' {
		span += s.now.Sub(epoch)
	}
	return span
}

func (s *scenario) until(end time.Duration, stall bool) {
	d := epoch.Add(end).Sub(s.now)
	require.GreaterOrEqual(s.t, d, time.Duration(0), "time goes on")
	if stall {
		s.stall(d)
		return
	}
	s.pass(d)
}

func (s *scenario) event(words []string) {
	switch words[0] {
	case "beat", "leave", "exit", "begin":
		for _, id := range parseIDs(s.t, words[1]) {
			b := s.beat(words[0], id, words[2:])
			s.locate(&b)
			s.observe(b)
		}
	case "keep":
		s.keep(words[1:])
	case "stop":
		pause(s.sendersOf(words[1:])...)
	case "resume", "change":
		ids, parts := splitNames(words[1:])
		senders := s.sendersOf(ids)
		for i, k := range senders {
			s.fill(&k.beat, parts, i)
			s.locate(&k.beat)
			k.paused = k.paused && words[0] == "change"
		}
	case "closed", "reset", "given_up", "by_us":
		s.end(words)
	case "path":
		conns := []ConnID{0}
		if len(words) > 2 {
			conns = parseConns(s.t, words[2])
		}
		for _, conn := range conns {
			s.path[conn] = map[string]Path{"answers": PathAnswers, "silent": PathIsSilent, "unknown": PathUnknown}[words[1]]
		}
	case "restart":
		s.restart(s.time(words[1]) - s.now.Sub(epoch))
	case "expect":
		all := make([]Expected, 0, len(words))
		for _, word := range words[1:] {
			source, service, _ := strings.Cut(word, "/")
			all = append(all, Expected{Source: source, Service: service})
		}
		s.expect(all...)
	case "wait", "stall":
	default:
		s.look(words)
	}
}

// look shows the state of the tracker.
func (s *scenario) look(words []string) {
	switch words[0] {
	case "near":
		s.show(fmt.Sprint(s.tracker.Near(parseID(s.t, words[1]))))
	case "show":
		for _, id := range parseIDs(s.t, words[1]) {
			if v, ok := viewOf(s.tracker, id, s.now); ok {
				s.show(describeView(v))
			} else {
				s.show(fmt.Sprintf("%v is not known", id))
			}
		}
	case "isolated":
		s.show(fmt.Sprintf("isolated: %v", s.tracker.Isolated()))
	case "count":
		s.show(describeCounts(s.tracker))
	default:
		s.t.Fatalf("event %q", words[0])
	}
}

// keep makes senders beat, evenly spread over one interval, or for the first time after that
// long: keep web-1..3/host every=10s after=1s.
func (s *scenario) keep(words []string) {
	names, parts := splitNames(words)
	ids := make([]ID, 0, len(names))
	for _, name := range names {
		ids = append(ids, parseIDs(s.t, name)...)
	}
	after, together := time.Duration(0), false
	parts = slices.DeleteFunc(slices.Clone(parts), func(part string) bool {
		value, yes := strings.CutPrefix(part, "after=")
		if yes {
			together, after = true, duration(s.t, part, value, part)
		}
		return yes
	})
	b := s.beat("beat", ids[0], parts)
	for i, k := range s.rig.keep(b, ids...) {
		s.fill(&k.beat, parts, i)
		k.beat.Process.PID = max(k.beat.Process.PID, k.beat.ID.PID)
		if together {
			k.next = s.now.Add(after)
		}
		s.locate(&k.beat)
	}
	s.send()
}

func (s *scenario) sendersOf(names []string) []*sender {
	var all []*sender
	for _, name := range names {
		for _, id := range parseIDs(s.t, name) {
			for _, k := range s.senders {
				if k.beat.ID == id {
					all = append(all, k)
				}
			}
		}
	}
	require.NotEmpty(s.t, all, "%v", names)
	return all
}

// end ends connections: closed 1..12 from=10.0.0.99.
func (s *scenario) end(words []string) {
	end := map[string]End{"closed": Closed, "reset": Reset, "given_up": GivenUp, "by_us": EndedByUs}[words[0]]
	for _, conn := range parseConns(s.t, words[1]) {
		from := s.from[conn]
		if len(words) > 2 {
			from = netip.MustParseAddr(strings.TrimPrefix(words[2], "from="))
		}
		s.endedFrom(conn, end, from)
	}
}

func (s *scenario) beat(verb string, id ID, parts []string) Beat {
	b := Beat{ID: id, Status: map[string]Status{"leave": SaysLeaving, "exit": SaysDead}[verb], Begins: verb == "begin"}
	b.Process.PID = b.ID.PID
	s.fill(&b, parts, 0)
	return b
}

// fill sets parts of the beat of the n-th of several senders.
func (s *scenario) fill(b *Beat, parts []string, n int) {
	for _, word := range parts {
		key, value, _ := strings.Cut(word, "=")
		number := integer(s.t, key, strings.TrimSuffix(value, ".."), "code", "seq", "pid", "conn")
		span := duration(s.t, key, value, "every", "back_in", "start", "margin", "max_runtime")
		switch key {
		case "every":
			b.Interval = span
		case "back_in":
			b.BackIn = span
		case "code":
			b.ExitCode, b.HasExitCode = number, true
		case "run":
			b.Run = strings.Trim(value, `"`)
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
		case "conn": // conn=7.. is 7 for the first, 8 for the second
			if b.Conn = ConnID(number); strings.HasSuffix(value, "..") {
				b.Conn += ConnID(n)
			}
		case "watched":
			b.Watched = value != "no"
		case "job":
			b.Job = value
		case "max_runtime":
			b.MaxRuntime = span
		case "cancel":
			b.Cancel = true
		case "listed":
			b.Listed = true
		case "margin":
			b.Margin = span
		case "says":
			b.Health = map[string]Health{"ok": HealthOK, "warning": HealthWarning, "critical": HealthCritical, "busy": HealthOther}[value]
		default:
			s.t.Fatalf("part %q of a beat", word)
		}
	}
}

// locate notes where the connection of b comes from.
func (s *scenario) locate(b *Beat) {
	s.from[b.Conn] = b.Addr
	if !b.Addr.IsValid() {
		s.from[b.Conn] = addrOf(b.Conn)
	}
}

// splitNames returns the peers at the beginning of words, and the rest.
func splitNames(words []string) (ids, parts []string) {
	n := slices.IndexFunc(words, func(word string) bool { return strings.Contains(word, "=") || !strings.Contains(word, "/") })
	if n < 0 {
		n = len(words)
	}
	return words[:n], words[n:]
}

// parseConns returns the connections that text gives: 7, or 1..12.
func parseConns(t *testing.T, text string) []ConnID {
	first, last, several := strings.Cut(text, "..")
	from := integer(t, "", first, "")
	to := from
	if several {
		to = integer(t, "", last, "")
	}
	conns := make([]ConnID, 0, to-from+1)
	for conn := from; conn <= to; conn++ {
		conns = append(conns, ConnID(conn))
	}
	return conns
}

// integer returns value as a number if key is one of keys.
func integer(t *testing.T, key, value string, keys ...string) int64 {
	if !slices.Contains(keys, key) {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 64)
	require.NoError(t, err)
	return n
}

// duration returns value as a duration if key is one of keys.
func duration(t *testing.T, key, value string, keys ...string) time.Duration {
	if !slices.Contains(keys, key) {
		return 0
	}
	d, err := time.ParseDuration(value)
	require.NoError(t, err)
	return d
}

var several = regexp.MustCompile(`^(.*?)(\d+)\.\.(\d+)(.*)$`)

// parseIDs returns the peer that text names, or several: "web-1..12/host".
func parseIDs(t *testing.T, text string) []ID {
	m := several.FindStringSubmatch(text)
	if m == nil {
		return []ID{parseID(t, text)}
	}
	first, last := integer(t, "", m[2], ""), integer(t, "", m[3], "")
	ids := make([]ID, 0, last-first+1)
	for n := first; n <= last; n++ {
		ids = append(ids, parseID(t, fmt.Sprint(m[1], n, m[4])))
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

// A shown is a result line below a line of the script.
type shown struct {
	before, id, after string // id may be empty
}

func (s *scenario) show(text string) { s.shown = append(s.shown, shown{after: text}) }

func (s *scenario) tell(fate Fate, transitions []Transition) {
	if fate != Accepted {
		s.show([...]string{"", "limited", "duplicate", "late", "full", "host is full", "replayed", "foreign", "unknown peer", "unlisted", "begun"}[fate])
	}
	for _, tr := range transitions {
		require.Empty(s.t, s.ids[tr.EventID], "has the id of: %v %s", tr.ID, describe(tr))
		s.ids[tr.EventID] = fmt.Sprint(tr.ID, " ", describe(tr))
		s.shown = append(s.shown, shown{fmt.Sprint(s.now.Sub(epoch), " "), tr.ID.String(), ": " + describe(tr)})
	}
}

var counted = regexp.MustCompile(`^(.*?)(\d+)((?:/[a-z]*)?)$`)

// collapsed returns lines as text. If the same event happens to web-1, web-2 and web-3 at one
// instant, in this order, the result is one line about web-1..3.
func collapsed(lines []shown) []string {
	var texts []string
	for i := 0; i < len(lines); {
		l := lines[i]
		n, id := 1, l.id
		if m := counted.FindStringSubmatch(l.id); m != nil {
			first, _ := strconv.Atoi(m[2]) //nolint:errcheck // the pattern matches only digits
			for _, step := range []int{1, -1} {
				last := first
				for i+n < len(lines) && lines[i+n] == (shown{l.before, fmt.Sprint(m[1], last+step, m[3]), l.after}) {
					last, n = last+step, n+1
				}
				if n > 1 {
					id = fmt.Sprint(m[1], first, "..", last, m[3])
					break
				}
			}
		}
		texts = append(texts, l.before+id+l.after)
		i += n
	}
	return texts
}

func describe(tr Transition) string {
	switch tr.Event {
	case Conflict:
		return fmt.Sprintf("conflict of %v and %v", tr.Addr, tr.Other)
	case Changed:
		text := fmt.Sprintf("%v, was %v", tr.State, tr.Previous)
		if tr.Lasted > 0 {
			text += fmt.Sprintf(" for %v", tr.Lasted)
		}
		return fmt.Sprintf("%s (%v)", text, tr.Reason)
	case Ended:
		text := fmt.Sprintf("%d ended (%v)", tr.Ending.PID, tr.Ending.Reason)
		if tr.Ending.HasExitCode {
			text += fmt.Sprintf(" with %d", tr.Ending.ExitCode)
		}
		return text
	default:
		return tr.Event.String()
	}
}

func describeCounts(t *Tracker) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d peers:", t.Len())
	for _, s := range States {
		if n := t.Count(s); n > 0 {
			fmt.Fprintf(&text, " %d %v", n, s)
		}
	}
	return text.String()
}

// describeView returns a peer's state and those of its counters that are not 0.
func describeView(v View) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%v %v %v, %v since %v", v.ID, v.State, v.Reason, v.Age, v.Since.UTC().Format(time.TimeOnly))
	if v.Deadline > 0 {
		fmt.Fprintf(&text, ", deadline in %v, suspicion %.2f", v.Deadline, v.Suspicion)
	}
	if code, told := v.Health.Code(); told {
		fmt.Fprintf(&text, ", status_code %d", code)
	}
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
			fmt.Fprintf(&text, ", %s %d", c.name, c.n)
		}
	}
	if v.HasExitCode {
		fmt.Fprintf(&text, ", exit code %d", v.ExitCode)
	}
	if v.DeadFor > 0 {
		fmt.Fprintf(&text, ", dead for %v", v.DeadFor)
	}
	if v.Flapping {
		text.WriteString(", flapping")
	}
	return text.String()
}
