//go:build linux

package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A trial is a fault, what had to be told of some peers after it and what was.
type trial struct {
	t        testing.TB
	c        *collector
	fault    string
	peers    []string
	before   map[string]int // what had been told before
	matched  map[string]int // what has been expected
	phases   []phase
	injected []string  // commands of the first phase
	expected []string  // phase by phase
	also     []phase   // what was awaited beside events, and when it came
	judged   time.Time // last; what is told after that comes of the end of the test
}

// A phase of a trial begins with the fault, or with its end.
type phase struct {
	name string
	at   time.Time
}

// suffer begins a trial.
func (c *collector) suffer(fault string, inject func(), peers ...string) *trial {
	c.T.Helper()
	tr := &trial{t: c.T, c: c, fault: fault, peers: peers, before: make(map[string]int), matched: make(map[string]int)}
	for _, peer := range peers {
		tr.before[peer] = len(c.told(peer))
		tr.matched[peer] = tr.before[peer]
	}
	c.T.Cleanup(func() { results.add(tr.row()) })
	tr.then("", inject)
	return tr
}

// then begins the next phase.
func (tr *trial) then(name string, do func()) {
	tr.t.Helper()
	tr.phases = append(tr.phases, phase{name, time.Now()})
	begin := len(tr.c.n.diary.lines)
	do()
	if len(tr.phases) == 1 {
		tr.injected = slices.Clone(tr.c.n.diary.lines[begin:])
	}
}

// expect waits until as many events of each peer have come, and requires that
// they are these, in this order: state and reason, of which there may be a
// choice (a|b). It returns when those of the first peer came, counted from the
// beginning of the phase.
func (tr *trial) expect(want ...string) []time.Duration {
	tr.t.Helper()
	tr.note(strings.ReplaceAll(strings.Join(want, ", "), "|", " or "))
	for _, peer := range tr.peers {
		testkit.Until(tr.t, fmt.Sprintf("%d events of %s after %s: %s", len(want), peer, tr.fault, want), func() bool {
			return len(tr.c.told(peer)) >= tr.matched[peer]+len(want)
		})
		for _, expected := range want {
			got := tr.c.told(peer)[tr.matched[peer]]
			state, reasons, _ := strings.Cut(expected, " ")
			require.Equal(tr.t, state, got.state, "%s after %s: %s", peer, tr.fault, got)
			require.Contains(tr.t, strings.Split(reasons, "|"), got.reason, "%s after %s: %s", peer, tr.fault, got)
			tr.matched[peer]++
		}
	}
	last := tr.c.told(tr.peers[0])[:tr.matched[tr.peers[0]]]
	took := make([]time.Duration, 0, len(want))
	for _, e := range last[len(last)-len(want):] {
		took = append(took, e.at.Sub(tr.phases[len(tr.phases)-1].at))
	}
	tr.judged = time.Now()
	return took
}

// note writes down what is expected in the current phase.
func (tr *trial) note(expected string) {
	if name := tr.phases[len(tr.phases)-1].name; name != "" {
		expected = name + ": " + expected
	}
	tr.expected = append(tr.expected, expected)
}

// await waits for something that is no event, and returns when it came.
func (tr *trial) await(what string, done func() bool) time.Duration {
	tr.t.Helper()
	tr.note(what)
	testkit.Until(tr.t, what+" after "+tr.fault, done)
	tr.judged = time.Now()
	tr.also = append(tr.also, phase{what, tr.judged})
	return tr.judged.Sub(tr.phases[0].at)
}

// expectNothing requires that nothing was told beyond what has been expected.
func (tr *trial) expectNothing() {
	tr.t.Helper()
	if len(tr.expected) == 0 {
		tr.expected = []string{"nothing told"}
	}
	for _, peer := range tr.peers {
		require.Empty(tr.t, tr.c.told(peer)[tr.matched[peer]:], "%s after %s", peer, tr.fault)
	}
	tr.judged = time.Now()
}

// expectNoDeath requires that each peer beats, is alive and has never died.
func (tr *trial) expectNoDeath() {
	tr.t.Helper()
	tr.expected = append(tr.expected, "no death")
	for _, peer := range tr.peers {
		tr.c.hear(peer)
		tr.expectAlive(peer)
		require.Zero(tr.t, count(tr.since(peer), "dead"), "deaths of %s after %s: %s", peer, tr.fault, tr.since(peer))
	}
}

// expectAlive waits until a peer is.
func (tr *trial) expectAlive(peer string) {
	tr.t.Helper()
	testkit.Until(tr.t, peer+" to be alive again", func() bool {
		events := tr.c.told(peer)
		return events[len(events)-1].state == "alive"
	})
	tr.judged = time.Now()
}

func (tr *trial) since(peer string) []event { return tr.c.told(peer)[tr.before[peer]:] }

// count returns how many events are changes to a state.
func count(events []event, state string) int {
	n := 0
	for i, e := range events {
		if e.state == state && (i == 0 || events[i-1].state != state) {
			n++
		}
	}
	return n
}

// row sums up a trial.
func (tr *trial) row() row {
	r := row{fault: tr.fault, expected: strings.Join(tr.expected, "; ")}
	for _, command := range tr.injected {
		r.injected = join(r.injected, "<br>", "`"+command+"`")
	}
	stories := make(map[string]bool) // often all peers have the same
	for _, peer := range tr.peers {
		seen, after := tr.story(peer)
		if !stories[seen] {
			stories[seen] = true
			r.seen, r.after = join(r.seen, " / ", seen), join(r.after, " / ", after)
		}
	}
	for _, came := range tr.also {
		r.seen = join(r.seen, "; ", came.name)
		r.after = join(r.after, "; ", fmt.Sprintf("%.2f s", came.at.Sub(tr.phases[0].at).Seconds()))
	}
	if tr.t.Failed() {
		r.seen = "**failed:** " + r.seen
	}
	tr.t.Logf("%s: expected %s; seen %s; after %s", r.fault, r.expected, r.seen, r.after)
	return r
}

// story tells what was told of a peer and after what times, phase by phase,
// or what it amounts to if it is long.
func (tr *trial) story(peer string) (seen, after string) {
	const readable = 6
	events := tr.since(peer)
	if !tr.t.Failed() {
		events = slices.DeleteFunc(slices.Clone(events), func(e event) bool { return e.at.After(tr.judged) })
	}
	switch {
	case len(events) == 0:
		return "nothing told", "-"
	case len(events) > readable:
		return fmt.Sprintf("%d suspicions, %d deaths", count(events, "suspect"), count(events, "dead")), "-"
	}
	for i, p := range tr.phases {
		told := slices.DeleteFunc(slices.Clone(events), func(e event) bool {
			return e.at.Before(p.at) || i+1 < len(tr.phases) && !e.at.Before(tr.phases[i+1].at)
		})
		names, times := list(told, p)
		seen, after = join(seen, "; ", names), join(after, "; ", times)
	}
	return seen, after
}

// list lists the events of a phase.
func list(events []event, p phase) (names, times string) {
	for _, e := range events {
		names = join(names, ", ", e.String())
		times = join(times, ", ", fmt.Sprintf("%.2f s", e.at.Sub(p.at).Seconds()))
	}
	if p.name != "" && len(events) > 0 {
		return p.name + ": " + names, p.name + ": " + times
	}
	return names, times
}

func join(a, separator, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + separator + b
}
