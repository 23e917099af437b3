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
	script  bytes.Buffer // the lines played and what they caused
	told    []string     // what happened since the last line
}

func defaults() Options {
	return Options{
		DeadAfter: 210 * time.Second, MissedBeats: 3,
		ForgetDead: 72 * time.Hour, ForgetLeft: time.Hour,
		MaxPeers: 1000, MaxBeatsPerSecond: 10,
	}
}

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newScenario(t *testing.T) *scenario {
	return &scenario{t: t, opts: defaults()}
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
	number := integer(s.t, name, value, "max_peers", "missed_beats")
	span := time.Duration(0)
	if number == 0 {
		span = s.time(value)
	}
	switch name {
	case "dead_after":
		s.opts.DeadAfter = span
	case "max_dead_after":
		s.opts.MaxDeadAfter = span
	case "missed_beats":
		s.opts.MissedBeats = int(number)
	case "forget_dead_after":
		s.opts.ForgetDead = span
	case "forget_left_after":
		s.opts.ForgetLeft = span
	case "max_peers":
		s.opts.MaxPeers = int(number)
	default:
		s.t.Fatalf("option %q", name)
	}
}

func (s *scenario) start() {
	if s.tracker == nil {
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

// until lets time pass: with ticks, or in a stall without.
func (s *scenario) until(end time.Duration, stall bool) {
	require.GreaterOrEqual(s.t, end, s.now, "time goes on")
	for !stall && s.now+TickInterval <= end {
		s.now += TickInterval - s.now%TickInterval
		s.tell(s.tracker.Tick(epoch.Add(s.now)))
	}
	s.now = end
}

func (s *scenario) event(words []string) {
	switch words[0] {
	case "beat", "leave", "exit":
		s.beat(words)
	case "gone":
		s.tracker.ConnEnded(connID(s.t, words[1]), true)
	case "show":
		s.show(parseID(s.t, words[1]))
	case "wait", "stall":
	default:
		s.t.Fatalf("event %q", words[0])
	}
}

func (s *scenario) beat(words []string) {
	b := Beat{ID: parseID(s.t, words[1]), Status: map[string]Status{"beat": SaysAlive, "leave": SaysLeaving, "exit": SaysDead}[words[0]]}
	b.Process.PID = b.ID.PID
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		number := integer(s.t, key, value, "code", "seq", "pid")
		span := duration(s.t, key, value, "every", "back_in", "start")
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
		default:
			s.t.Fatalf("part %q of a beat", word)
		}
	}
	out := s.tracker.Observe(epoch.Add(s.now), &b)
	if out.Fate != Accepted {
		s.told = append(s.told, [...]string{"", "limited", "duplicate", "late", "full"}[out.Fate])
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
		s.told = append(s.told, describe(s.now, tr))
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
