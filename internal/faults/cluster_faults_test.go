//go:build linux

package faults

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A fleetFault is what happens to a fleet, and what may be told of it beyond each
// death once.
type fleetFault struct {
	fault   string
	long    bool // only with -long
	hosts   int  // with -long; else few
	prepare func(f *fleet)
	harm    func(f *fleet)
	allowed allowed
	differ  bool    // each collector has a mate that differs
	judges  [][]int // collectors that tell each event once together; nil: all
}

const (
	fewHosts  = 50
	someHosts = 100
	manyHosts = 1000
)

func TestThreeCollectorsGiveOneAnswer(t *testing.T) {
	t.Parallel()
	for _, ff := range slices.Concat(fleetFaults, fleetPathFaults, fleetSenderFaults, []fleetFault{fleetStranger}) {
		if ff.long && !*long {
			continue
		}
		// A comma would end the name of Telegraf's configuration.
		t.Run(strings.ReplaceAll(ff.fault, ",", ""), func(t *testing.T) {
			t.Parallel()
			ff.suffer(t)
		})
	}
}

// suffer lets hosts die before the fault, in it and after it.
func (ff *fleetFault) suffer(t *testing.T) {
	hosts := fewHosts
	if *long {
		hosts = ff.hosts
	}
	f := newFleet(t, "cluster: "+ff.fault)
	t.Cleanup(func() { results.add(f.row()) })
	for i := range f.collectors {
		f.configure(i, setup{})
	}
	if ff.prepare != nil {
		ff.prepare(f)
	}
	f.open(hosts)
	ff.dieAndTell(f, 0)
	f.judgeGroups(ff, allowed{})
	begin := len(f.diary.lines)
	f.expected = append(f.expected, "each death told once, no other")
	ff.harm(f)
	f.injected = slices.Clone(f.diary.lines[begin:])
	f.meet()
	ff.dieAndTell(f, 1)
	pause(ceiling + 2*time.Second) // whoever is thought silent would be dead then
	f.agree()
	f.told = nil
	f.seen = append(f.seen, f.judgeGroups(ff, ff.allowed)...)
}

// groups are the collectors that tell each event once together.
func (ff *fleetFault) groups(f *fleet) (groups [][]*collector) {
	if ff.judges == nil {
		return [][]*collector{f.collectors}
	}
	for _, numbers := range ff.judges {
		var group []*collector
		for _, number := range numbers {
			group = append(group, f.collectors[number-1])
		}
		groups = append(groups, group)
	}
	return groups
}

func (ff *fleetFault) dieAndTell(f *fleet, hall int) {
	f.t.Helper()
	died := f.die(hall)
	for _, group := range ff.groups(f) {
		f.tell(died, group...)
	}
}

// judgeGroups judges what those have told that tell each event once together.
func (f *fleet) judgeGroups(ff *fleetFault, a allowed) (seen []string) {
	f.t.Helper()
	for _, collectors := range ff.groups(f) {
		seen = append(seen, f.judge(a, collectors...))
		f.expectSpeaker(collectors...)
		f.expectTotals(collectors...)
		for _, c := range collectors {
			require.Equal(f.t, ff.differ, c.says("mates_differ") > 0, "mates of %s that differ: %d", c.name, c.says("mates_differ"))
		}
	}
	return seen
}

// Without it each collector tells for itself: what the others show is not for
// want of events.
func TestThreeCollectorsWithoutMatesTellThrice(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "cluster: none, three collectors that do not know each other")
	t.Cleanup(func() { results.add(f.row()) })
	f.mates = []int{-1, -1, -1}
	for i := range f.collectors {
		f.configure(i, setup{alone: true})
	}
	f.open(fewHosts)
	died := f.die(0)
	f.expected = []string{"each death told by each collector"}
	for _, c := range f.collectors {
		f.tell(died, c)
		f.seen = append(f.seen, f.judge(allowed{}, c))
	}
	f.agree()
	tl := f.tally(f.collectors)
	for _, peer := range died {
		require.Len(t, append(tl.deaths[peer], tl.againOf(peer)...), 3)
	}
}
