//go:build linux

package faults

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

const cutFor = 20 * time.Second

// What happens to the paths of three collectors.
var fleetPathFaults = []fleetFault{
	{
		fault: "collector cut off from its mates for 20 s while hosts die", hosts: someHosts,
		harm: func(f *fleet) {
			f.cut(func() { f.partedTell(f.collectors[:1], f.collectors[1:]) },
				apart([2]int{1, 2}, [2]int{2, 1}, [2]int{1, 3}, [2]int{3, 1})...)
		},
		allowed: allowed{again: true, twice: true},
	},
	{
		fault: "all collectors cut off from each other for 20 s while hosts die", long: true, hosts: someHosts,
		harm: func(f *fleet) {
			f.cut(func() { f.partedTell(f.collectors[:1], f.collectors[1:2], f.collectors[2:]) },
				apart([2]int{1, 2}, [2]int{2, 1}, [2]int{1, 3}, [2]int{3, 1}, [2]int{2, 3}, [2]int{3, 2})...)
		},
		allowed: allowed{again: true, twice: true},
	},
	{
		fault: "collector cut off from half of the hosts for 20 s while hosts die", long: true, hosts: someHosts,
		harm: func(f *fleet) {
			f.cut(func() { f.dieAndTell(0) }, between(collectorAddrs[0], hallAddrs[0])...)
		},
	},
	{
		fault: "collector cut off from half of the hosts for 20 s while hosts die, isolation off", long: true, hosts: someHosts,
		prepare: func(f *fleet) {
			for i := range f.collectors {
				f.configure(i, setup{option: "isolation_ratio = 0.0"})
			}
		},
		harm: func(f *fleet) {
			f.cut(func() {
				f.dieAndTell(0)
				f.agree()
			}, between(collectorAddrs[0], hallAddrs[0])...)
			spared := f.collectors[0].says("spared_total")
			require.Positive(f.t, spared)
			f.seen = append(f.seen, fmt.Sprintf("%d times a mate knew better", spared))
		},
	},
	{
		fault: "collector cut off from hosts and mates for 20 s while hosts die", long: true, hosts: someHosts,
		harm: func(f *fleet) {
			f.cut(func() { f.dieAndTell(0, f.collectors[1:]...) },
				"ip saddr "+collectorAddrs[0]+drop, "ip daddr "+collectorAddrs[0]+drop)
		},
		allowed: allowed{again: true},
	},
	{
		fault: "path from one collector to another cut for 20 s while hosts die", long: true, hosts: someHosts,
		harm: func(f *fleet) {
			f.cut(func() { f.dieAndTell(0) }, apart([2]int{1, 2})...)
		},
		allowed: allowed{again: true, twice: true},
	},
	{
		fault: "connections to one collector reset, then closed, those to others stand", long: true, hosts: someHosts,
		prepare: func(f *fleet) {
			f.relayed()
		},
		harm: func(f *fleet) {
			f.expectNoDeaths(func() {
				relay := f.relays[0]
				relay.freeze()
				f.router.do("ss", "-K", "dst", collectorAddrs[0], "dport", "=", ":"+port)
				pause(ceiling)
				relay.kill()
				pause(ceiling)
				f.relayed()
				f.agree()
				f.relays[1].kill()
				pause(ceiling)
				f.relayed()
			})
		},
	},
}

// cut drops packets for a time, at least.
func (f *fleet) cut(meanwhile func(), rules ...string) {
	f.t.Helper()
	begin := time.Now()
	f.filter(rules...)
	pause(5 * time.Second) // until it is noticed
	meanwhile()
	pause(time.Until(begin.Add(cutFor)))
	f.diary.note("the rules are deleted after %s", time.Since(begin).Round(time.Second))
	f.filter()
}

// partedTell requires that each part tells the deaths.
func (f *fleet) partedTell(parts ...[]*collector) {
	f.t.Helper()
	died := f.die(0)
	for _, part := range parts {
		f.tell(died, part...)
	}
}

// relayed puts a relay between the senders and the first collector.
func (f *fleet) relayed() {
	f.t.Helper()
	f.relay = "10.98.4.254" // any address of the router will do
	p := f.start("relay", f.role(f.router, roleProxy, ":"+port, collectorAddrs[0]+":"+port, "nothing"))
	testkit.Until(f.t, "the relay to listen", func() bool { return p.Stdout.Says("listening") })
	f.relays = append(f.relays, p)
}

// expectNoDeaths requires that nobody tells a death meanwhile.
func (f *fleet) expectNoDeaths(meanwhile func()) {
	f.t.Helper()
	before := len(f.tally(f.collectors).deaths)
	meanwhile()
	after := f.tally(f.collectors)
	if len(after.deaths) != before {
		f.t.Errorf("deaths: %v", after.deaths)
	}
}
