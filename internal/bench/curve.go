package main

import (
	"flag"
	"fmt"
	"time"
)

// A point is a number of peers with an interval.
type point struct {
	peers    int
	interval time.Duration
}

func (p point) perSecond() int { return int(float64(p.peers) / p.interval.Seconds()) }

var points = []point{
	{1_000, 10 * time.Second},
	{10_000, 10 * time.Second},
	{100_000, 10 * time.Second},
	{1_000_000, 10 * time.Second},
	{10_000, time.Second},
}

// load returns a load in which all peers beat once in each interval until it is killed.
func (p point) load() load {
	hosts := min(p.peers, mostConnections)
	every := p.interval / time.Duration(hosts)
	return load{Network: "tcp", Hosts: hosts, Services: p.peers / hosts, Beats: 1, Burst: 1, Every: every, Interval: p.interval}
}

const (
	watched         = 20 * time.Second // for each Telegraf: two gathers
	mostConnections = 10_000           // more peers share connections, like the services of a host
)

// A usage is the processor time and memory that a Telegraf used.
type usage struct {
	core          float64 // share of one processor
	memory, empty int64   // in bytes, at the end and before the first beat
}

func curveCommand(set *flag.FlagSet) func() {
	most := set.Int("peers", 1_000_000, "the largest number of peers to measure")
	return func() {
		latest := samples(2)[1]
		fmt.Printf("\nEach Telegraf was watched for %s and gathered every 10 s.\n", watched)
		header("peers", "beats per second", "no metric per beat", "one metric per beat", "the same metrics, only emitted",
			"liveness: no metric per beat", "one metric per beat", "memory", "memory without peers")
		for _, p := range points {
			if p.peers > *most {
				continue
			}
			pipeline := fmt.Sprintf("[[inputs.heartbeat_pipeline]]\npeers = %d\npeer = '%s'\nbeat = '%s'\nbeats_per_second = ",
				p.peers, latest.peer, latest.beat)
			plugin := pluginTable("tcp", `state_file = "{dir}/state"`, fmt.Sprintf("max_peers = %d", p.peers))
			quiet, all := p.observe(plugin+`emit_beats = "none"`, true), p.observe(plugin+`emit_beats = "all"`, true)
			gathered, emitted := p.observe(pipeline+"0", false), p.observe(pipeline+fmt.Sprint(p.perSecond()), false)
			fmt.Printf("| %d | %d | %s | %s | %s, %s | %s | %s | %s | %s |\n", p.peers, p.perSecond(),
				percent(quiet.core), percent(all.core), percent(gathered.core), percent(emitted.core),
				percent(quiet.core-gathered.core), percent(all.core-emitted.core), mib(all.memory), mib(all.empty))
		}
	}
}

// observe runs a Telegraf with an input, with or without load.
func (p point) observe(input string, loaded bool) (u usage) {
	telegraf := startTelegraf("10s", "10s", 4*p.peers+10_000, input)
	defer telegraf.stop()
	time.Sleep(time.Second) // it runs but has not gathered yet
	u.empty = telegraf.resident()
	settle := 2 * time.Second
	if loaded {
		senders := p.load().start(telegraf.address)
		defer senders.stop()
		senders.writeLine("go")
		settle = p.interval + 10*time.Second // all peers have beaten and were gathered
	}
	time.Sleep(settle)
	before, begin := telegraf.used(), time.Now()
	time.Sleep(watched)
	u.core = (telegraf.used() - before).Seconds() / time.Since(begin).Seconds()
	u.memory = telegraf.resident()
	return u
}
