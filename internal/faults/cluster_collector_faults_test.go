//go:build linux

package faults

import (
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// What happens to one of three collectors. It is the first, which tells events, if
// nothing else matters.
var fleetFaults = []fleetFault{
	{
		fault: "collector killed, away while hosts die", hosts: manyHosts,
		harm: func(f *fleet) {
			f.collectors[0].end()
			f.dieAndTell(0, f.collectors[1:]...)
			f.resume(f.collectors[0])
		},
		allowed: allowed{again: true},
	},
	{
		fault: "collectors killed in turn, each when the death of a host is near", long: true, hosts: someHosts,
		harm: func(f *fleet) {
			for i, c := range f.collectors {
				died := f.die(i % len(f.halls))
				pause([]time.Duration{time.Second, 3 * time.Second, 3600 * time.Millisecond}[i])
				c.end()
				f.tell(died)
				f.resume(c)
			}
		},
		allowed: allowed{again: true},
	},
	{
		fault: "collector stopped (SIGSTOP) for 10 s while hosts die", long: true, hosts: someHosts,
		harm: func(f *fleet) {
			begin := time.Now()
			f.collectors[0].freeze()
			f.dieAndTell(0, f.collectors[1:]...)
			pause(time.Until(begin.Add(10 * time.Second)))
			f.collectors[0].signal(syscall.SIGCONT)
		},
		allowed: allowed{again: true},
	},
	{
		fault: "rolling upgrade of all collectors", hosts: someHosts,
		harm: func(f *fleet) {
			f.expectNoEvents(func() {
				for _, c := range f.collectors {
					f.stop(c)
					pause(time.Second)
					f.resume(c)
				}
			})
		},
	},
	{
		fault: "all collectors reload their configuration (SIGHUP) in turn", long: true, hosts: someHosts,
		harm: func(f *fleet) {
			f.expectNoEvents(func() {
				for _, c := range f.collectors {
					c.signal(syscall.SIGHUP)
					testkit.Until(f.t, c.name+" to listen again", func() bool { return len(c.Stderr.With("Listening on udp")) == 2 })
					c.read()
					c.itself = nil // what it said before
					f.meet()
				}
			})
		},
	},
	{
		fault: "cold start beside warm mates: without state, with an old one, two with old ones", long: true, hosts: someHosts,
		harm: coldStarts,
	},
	{
		fault: "clock of a collector an hour ahead", long: true, hosts: someHosts,
		prepare: func(f *fleet) {
			f.configure(0, setup{execd: "telegraf-heartbeat-ahead", every: 2 * time.Second})
			f.collectors[0].ahead = time.Hour
		},
		differ: true,
		harm: func(f *fleet) {
			for _, c := range f.collectors {
				f.await("a collector that differs, at "+c.name, func() bool { return c.says("mates_differ") > 0 })
			}
			f.dieAndTell(0)
		},
	},
	{
		fault: "output of a collector blocked for a minute at most while hosts die", long: true, hosts: someHosts,
		prepare: func(f *fleet) { f.configure(0, setup{execd: "telegraf-heartbeat", every: 200 * time.Millisecond}) },
		harm: func(f *fleet) {
			f.collectors[0].freeze()
			pause(12 * time.Second) // until the pipe is full
			f.dieAndTell(0, f.collectors[1:]...)
			f.collectors[0].signal(syscall.SIGCONT)
		},
		allowed: allowed{again: true},
	},
	{
		fault: "wrong secret at one collector", long: true, hosts: someHosts,
		prepare: func(f *fleet) {
			f.configure(2, setup{secret: "another one that it has alone"})
			f.mates = []int{1, 1, 0}
		},
		harm: func(f *fleet) {
			f.await("the log to name the secret", func() bool { return f.collectors[2].Stderr.Says("secret") })
			f.dieAndTell(0)
		},
		judges: [][]int{{1, 2}, {3}},
	},
}

// await is for what is no event.
func (f *fleet) await(what string, done func() bool) {
	f.t.Helper()
	f.expected = append(f.expected, what)
	testkit.Until(f.t, what, done)
	f.seen = append(f.seen, what)
}

// expectNoEvents requires that nobody tells anything of a peer meanwhile.
func (f *fleet) expectNoEvents(meanwhile func()) {
	f.t.Helper()
	pause(2 * time.Second) // what was told before comes out
	begin := time.Now()
	meanwhile()
	f.expected = append(f.expected, "no event of a peer")
	require.Empty(f.t, slices.DeleteFunc(f.allTold(f.collectors), func(e telling) bool { return e.at.Before(begin) }))
}

// Between the old state file and now a host has died and another one was born.
func coldStarts(f *fleet) {
	old := make(map[*collector][]byte)
	for _, c := range f.collectors {
		f.stop(c)
		text, err := os.ReadFile(c.state)
		require.NoError(f.t, err)
		old[c] = text
		f.resume(c)
	}
	f.dieAndTell(0)
	f.startReal(f.halls[0], "web-new")
	f.agree()
	again := func(with string, cold ...*collector) {
		for _, c := range cold {
			f.stop(c)
		}
		pause(time.Second)
		for _, c := range cold {
			f.diary.note("%s# starts with %s", c.name, with)
			require.NoError(f.t, os.WriteFile(c.state, old[c], 0o600))
			if with == "no state" {
				require.NoError(f.t, os.Remove(c.state))
			}
			c.itself = nil
			c.begin()
		}
		for _, c := range cold {
			c.listens()
		}
		f.meet()
		f.agree()
	}
	f.expectNoEvents(func() {
		again("no state", f.collectors[2])
		again("an old state", f.collectors[0])
		again("an old state", f.collectors[:2]...)
	})
}
