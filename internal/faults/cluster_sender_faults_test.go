//go:build linux

package faults

import (
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

const (
	stateUnknown = 0
	stateAlive   = 1
	stateDead    = 3
	stateLeft    = 4
)

// What is heard by one of three collectors: the second.
var fleetSenderFaults = []fleetFault{
	{
		fault: "collector killed, for 35 s, to which alone some senders beat", hosts: someHosts,
		harm: heardByOneAlone, allowed: allowed{again: true},
	},
	{
		fault: "goodbye with a promise and a beat of cron heard by one collector, which is killed then", hosts: someHosts,
		harm: goodbyeToOneAlone, allowed: allowed{again: true},
	},
}

func heardByOneAlone(f *fleet) {
	c := f.collectors[1]
	var lone []string
	for i := range 3 {
		name := fmt.Sprint("lone-", i+1)
		f.startFor(f.remote, name, collectorAddrs[1:2])
		lone = append(lone, name+"/app")
	}
	f.show(lone, stateAlive, f.collectors...)
	pause(2 * time.Second) // what was told before comes out
	begin := time.Now()
	c.end()
	f.dieAndTell(0, f.collectors[0], f.collectors[2])
	pause(35 * time.Second) // ten times what they may be silent
	f.expected = append(f.expected, "those that nobody else hears: unknown, no death")
	f.show(lone, stateUnknown, f.collectors[0], f.collectors[2])
	f.resume(c)
	f.show(lone, stateAlive, f.collectors...)
	pause(ceiling)
	told := slices.DeleteFunc(f.toldOf(lone), func(e telling) bool { return e.at.Before(begin) })
	for _, e := range told {
		require.Contains(f.t, []string{"unknown mate_lost", "alive beat"}, e.event.String(), e)
	}
	require.LessOrEqual(f.t, len(told), 2*len(lone), told)
	f.seen = append(f.seen, fmt.Sprintf("of %d that nobody else hears: %d events, no death", len(lone), len(told)))
}

func goodbyeToOneAlone(f *fleet) {
	begin := len(f.diary.lines)
	f.filter(append(between(collectorAddrs[0], remoteAddr), between(collectorAddrs[2], remoteAddr)...)...)
	run, late := f.startFor(f.remote, "lone", collectorAddrs[:]), f.startFor(f.remote, "late", collectorAddrs[:])
	service := []string{"lone/app", "late/app"}
	f.show(service, stateAlive, f.collectors...)
	f.say("leave", "-host", "lone", "-service", "app", "-back-in", "10m")
	f.say("leave", "-host", "late", "-service", "app", "-back-in", "35s")
	run.kill()
	late.kill()
	f.say("once", "-host", "cron", "-service", "job", "-every", "1h")
	f.diary.lines = f.diary.lines[:begin+4]
	f.expected = append(f.expected, "all show who has left, who is overdue then and who will be back in an hour")
	job := []string{"cron/job"}
	f.show(service, stateLeft, f.collectors...)
	f.show(job, stateAlive, f.collectors...)
	f.collectors[1].end()
	f.dieAndTell(0, f.collectors[0], f.collectors[2])
	pause(ceiling)
	f.show(service, stateLeft, f.collectors[0], f.collectors[2])
	require.Zero(f.t, f.gauge(job[0], "dead", f.collectors[0], f.collectors[2]))
	f.seen = append(f.seen, fmt.Sprintf("while it is away the others show cron/job in state %d",
		f.gauge(job[0], "state_code", f.collectors[0], f.collectors[2])))
	f.resume(f.collectors[1])
	f.show(job, stateAlive, f.collectors...)
	f.show(service[1:], stateDead, f.collectors...)
	pause(2 * time.Second) // until what was told has come out
	overdue := make(map[int64]telling)
	for _, e := range f.toldOf(slices.Concat(service, job)) {
		if e.state == "dead" {
			overdue[e.id] = e
			require.Equal(f.t, "late/app", e.peer, e)
			require.Equal(f.t, "overdue", e.reason, e)
		}
	}
	require.Len(f.t, overdue, 1, "its death, by id")
	f.show(service[:1], stateLeft, f.collectors...)
}

// say runs a command of heartbeat-sender that one collector hears.
func (f *fleet) say(command string, args ...string) {
	f.t.Helper()
	f.diary.note("remote# heartbeat-sender %s %v", command, args)
	p := f.start(command, f.sender(f.remote, command, collectorAddrs[:], append([]string{"-timeout", "3s"}, args...)...))
	require.Zero(f.t, p.Exit(), "%s: %s", command, p.Stderr.All())
}

// show waits until collectors show peers in a state.
func (f *fleet) show(peers []string, state int64, collectors ...*collector) {
	f.t.Helper()
	for _, c := range collectors {
		for _, peer := range peers {
			defer func() {
				if f.t.Failed() {
					m, ok := c.peers[peer]
					f.t.Logf("%s knows %s: %v; shows state %d; told %v", c.name, peer, ok, c.number(m, ok, "state_code"), c.told(peer))
				}
			}()
			testkit.Until(f.t, fmt.Sprintf("%s to show %s in state %d", c.name, peer, state), func() bool {
				c.read()
				m, ok := c.peers[peer]
				return ok && c.number(m, ok, "state_code") == state
			})
		}
	}
}

// gauge returns what collectors show of a peer, all the same.
func (f *fleet) gauge(peer, field string, collectors ...*collector) int64 {
	f.t.Helper()
	value := collectors[0].counted(peer, field)
	for _, c := range collectors[1:] {
		require.Equal(f.t, value, c.counted(peer, field), "%s of %s, shown by %s", field, peer, c.name)
	}
	return value
}

// toldOf is what was told of peers.
func (f *fleet) toldOf(peers []string) []telling {
	f.t.Helper()
	var told []telling
	for _, c := range f.collectors {
		for _, peer := range peers {
			for _, e := range c.told(peer) {
				told = append(told, telling{c.name, peer, e})
			}
		}
	}
	return told
}
