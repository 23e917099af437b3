//go:build linux

package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A telling is an event of a peer as one collector told it.
type telling struct {
	by, peer string
	event
}

func (e telling) String() string {
	return fmt.Sprintf("%s of %s by %s at %s, id %d", e.event, e.peer, e.by, e.stamp.Format("15:04:05.000"), e.id)
}

// A tally sums up what collectors have told.
type tally struct {
	deaths     map[string][]telling // of a peer, told by anybody: each once
	begun      map[string]bool      // told alive
	restarts   map[string]int       // of a peer, told by anybody: each once
	leaves     map[string]int       // likewise
	suspicions int
	needless   int       // suspicions of those who lived
	falsely    []telling // deaths of those who lived
	untold     []string  // who died and was not told dead
	again      []telling // told before, with that id
	twice      []telling // told before, with another id or none
}

// about are events that change no state.
var about = []string{"restarted", "rebooted", "conflict"}

// tallyOf counts what was told of peers of which some have died, and when.
func tallyOf(told []telling, ends map[string]time.Time) *tally {
	tl := &tally{deaths: make(map[string][]telling), begun: make(map[string]bool), restarts: make(map[string]int), leaves: make(map[string]int)}
	slices.SortStableFunc(told, func(a, b telling) int {
		return cmp.Or(cmp.Compare(a.peer, b.peer), a.stamp.Compare(b.stamp))
	})
	ids := make(map[int64]bool)
	states := make(map[string]string)
	for _, e := range told {
		switch {
		case e.id != 0 && ids[e.id]:
			tl.again = append(tl.again, e)
			continue
		case slices.Contains(about, e.reason):
		case states[e.peer] == e.state:
			tl.twice = append(tl.twice, e)
			fallthrough
		default:
			states[e.peer] = e.state
		}
		ids[e.id] = true
		tl.count(e, ends)
	}
	for _, peer := range slices.Sorted(maps.Keys(ends)) {
		if len(tl.deaths[peer]) == 0 {
			tl.untold = append(tl.untold, peer)
		}
	}
	return tl
}

func (tl *tally) count(e telling, ends map[string]time.Time) {
	if e.reason == "restarted" {
		tl.restarts[e.peer]++
	}
	switch e.state {
	case "left":
		tl.leaves[e.peer]++
	case "alive":
		tl.begun[e.peer] = true
	case "suspect":
		tl.suspicions++
		if _, ended := ends[e.peer]; !ended {
			tl.needless++
		}
	case "dead":
		tl.deaths[e.peer] = append(tl.deaths[e.peer], e)
		if end, ended := ends[e.peer]; !ended || e.stamp.Before(end) {
			tl.falsely = append(tl.falsely, e)
		}
	}
}

// String is for the table.
func (tl *tally) String() string {
	text := fmt.Sprintf("%d deaths told, %d false, %d untold, %d suspicions, %d of the living",
		len(tl.deaths), len(tl.falsely), len(tl.untold), tl.suspicions, tl.needless)
	if len(tl.again) > 0 {
		text += fmt.Sprintf(", %d told again with their id", len(tl.again))
	}
	return text
}

// A verdict on a tally allows what a fault explains.
type allowed struct {
	again bool // an event may be told again with its id
	twice bool // and what is not a death with another one
}

// tally counts what collectors have told of the fleet's peers.
func (f *fleet) tally(collectors []*collector) *tally {
	f.t.Helper()
	return tallyOf(f.allTold(collectors), f.ends)
}

// allTold is what collectors have told of the fleet's peers.
func (f *fleet) allTold(collectors []*collector) []telling {
	f.t.Helper()
	var told []telling
	for _, c := range collectors {
		c.read()
		for peer, events := range c.events {
			if peer == itself || !f.has(peer) {
				continue
			}
			for _, e := range events {
				told = append(told, telling{c.name, peer, e})
			}
		}
	}
	return told
}

// has reports whether a peer beats to all collectors.
func (f *fleet) has(peer string) bool {
	return f.senders[peer] != nil || slices.Contains(f.herded, peer)
}

// judge requires that each death was told, and what else was told only if a fault
// explains it.
func (f *fleet) judge(a allowed, collectors ...*collector) string {
	f.t.Helper()
	tl := f.tally(collectors)
	defer func() {
		if f.t.Failed() {
			f.seen = append(f.seen, tl.String())
		}
	}()
	f.tellStories(tl.falsely)
	require.Empty(f.t, tl.falsely, "false deaths")
	require.Empty(f.t, tl.untold, "untold deaths")
	for _, peer := range f.peers() {
		require.True(f.t, tl.begun[peer], "nobody has told that %s began", peer)
	}
	for peer, deaths := range tl.deaths {
		if len(deaths) > 1 {
			f.tellStories(deaths)
		}
		require.Len(f.t, deaths, 1, "deaths of %s", peer)
		took := deaths[0].stamp.Sub(f.ends[peer])
		require.Less(f.t, took, 10*(ceiling+3*time.Second), "the death of %s", peer)
		f.told = append(f.told, took)
	}
	f.expectCounts("goodbyes", f.leaves, tl.leaves)
	f.expectCounts("restarts", f.restarts, tl.restarts)
	if !a.again {
		f.tellStories(tl.again)
		require.Empty(f.t, tl.again, "told again")
	}
	if !a.twice {
		f.tellStories(tl.twice)
		require.Empty(f.t, tl.twice, "told twice")
	}
	return tl.String()
}

// expectCounts requires that so many things were told of peers, each once.
func (f *fleet) expectCounts(of string, want, got map[string]int) {
	f.t.Helper()
	for _, peer := range f.peers() {
		if want[peer] != got[peer] {
			f.tellStories([]telling{{peer: peer}})
			require.Equal(f.t, want[peer], got[peer], "%s of %s", of, peer)
		}
	}
}

// expectSpeaker waits until one of these collectors tells events.
func (f *fleet) expectSpeaker(collectors ...*collector) {
	f.t.Helper()
	testkit.Until(f.t, "one collector that speaks", func() bool {
		speak := 0
		for _, c := range collectors {
			if c.says("speaks") == 1 {
				speak++
			}
		}
		return speak == 1
	})
}

// expectTotals waits until collectors show the same of each peer, and how often it has
// really died and was really restarted.
func (f *fleet) expectTotals(collectors ...*collector) {
	f.t.Helper()
	f.untilNone(func() string {
		for _, peer := range f.peers() {
			deaths := 0
			if _, ended := f.ends[peer]; ended {
				deaths = 1
			}
			for _, c := range collectors {
				for field, want := range map[string]int{"deaths_total": deaths, "restarts_total": f.restarts[peer]} {
					if got := c.counted(peer, field); got != int64(want) {
						return fmt.Sprintf("%s of %s is %d at %s, not %d", field, peer, got, c.name, want)
					}
				}
			}
		}
		return ""
	})
}

// untilNone waits until odd finds nothing to name.
func (f *fleet) untilNone(odd func() string) {
	f.t.Helper()
	begin, last := time.Now(), ""
	for what := odd(); what != ""; what = odd() {
		last = what
		require.Less(f.t, time.Since(begin), testkit.Patience, what)
		pause(100 * time.Millisecond)
	}
	if took := time.Since(begin); took > ceiling {
		f.t.Logf("it took %s, at last for: %s", took, last)
	}
}

// tellStories logs all that was told of the first peers of some tellings.
func (f *fleet) tellStories(odd []telling) {
	f.t.Helper()
	var peers []string
	for _, e := range odd {
		if !slices.Contains(peers, e.peer) && len(peers) < 3 {
			peers = append(peers, e.peer)
		}
	}
	for _, e := range f.toldOf(peers) {
		f.t.Log(e)
	}
}

// row is for the table.
func (f *fleet) row() row {
	r := row{fault: f.fault, expected: strings.Join(f.expected, "; "), seen: strings.Join(f.seen, "; ")}
	for _, command := range f.injected {
		r.injected = join(r.injected, "<br>", "`"+command+"`")
	}
	if len(f.told) > 0 {
		r.after = fmt.Sprintf("%.2f to %.2f s", slices.Min(f.told).Seconds(), slices.Max(f.told).Seconds())
	}
	if f.t.Failed() {
		r.seen = "**failed:** " + r.seen
	}
	f.t.Logf("%s: expected %s; seen %s; after %s", r.fault, r.expected, r.seen, r.after)
	return r
}

// What was told thrice is not told once, and a death of the living is false.
func TestTally(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	dead := func(by, peer string, s int, id int64) telling {
		return telling{by, peer, event{state: "dead", reason: "silence", stamp: at(s), id: id}}
	}
	ends := map[string]time.Time{"a/app": at(5), "b/app": at(5)}
	tl := tallyOf([]telling{
		dead("one", "a/app", 9, 1), dead("two", "a/app", 9, 1), dead("three", "a/app", 9, 2),
		dead("one", "c/app", 9, 3), dead("two", "a/app", 4, 4),
		{"one", "a/app", event{state: "suspect", stamp: at(3)}},
	}, ends)
	require.Equal(t, []string{"b/app"}, tl.untold)
	require.Len(t, tl.again, 1)
	require.Len(t, tl.falsely, 2, "who lives, and who did not die yet")
	require.Len(t, tl.twice, 2, "after the death at 4 s, those with ids 1 and 2")
	require.Len(t, tl.deaths["a/app"], 3)
	require.Equal(t, 1, tl.suspicions)
}

// againOf are those of a peer that were told before.
func (tl *tally) againOf(peer string) []telling {
	return slices.DeleteFunc(slices.Clone(tl.again), func(e telling) bool { return e.peer != peer || e.state != "dead" })
}
