package main

import (
	"flag"
	"fmt"
	"time"
)

// A point is a place on the curve.
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

// load has all beat once in each interval, until it is killed.
func (p point) load() load {
	hosts := min(p.peers, mostConnections)
	every := p.interval / time.Duration(hosts)
	return load{Network: "tcp", Hosts: hosts, Services: p.peers / hosts, Beats: 1, Burst: 1, Every: every, Interval: p.interval}
}

const (
	watched         = 20 * time.Second // each Telegraf: two times Gather
	mostConnections = 10_000           // more peers share them, as the services of a host do
)

// A usage is what a Telegraf took.
type usage struct {
	core          float64 // of one processor
	memory, empty int64   // bytes, at the end and before the first beat
}

func curveCommand(set *flag.FlagSet) func() {
	most := set.Int("peers", 1_000_000, "no more peers than these")
	return func() {
		latest := samples(2)[1]
		fmt.Printf("\nEach watched for %s; Gather every 10 s.\n", watched)
		header("peers", "beats a second", "no metric a beat", "a metric a beat", "the same metrics, only emitted",
			"liveness: no metric a beat", "a metric a beat", "memory", "of that without peers")
		for _, p := range points {
			if p.peers > *most {
				continue
			}
			pipeline := fmt.Sprintf("[[inputs.heartbeat_pipeline]]\npeers = %d\npeer = '%s'\nbeat = '%s'\nbeats_per_second = ",
				p.peers, latest.peer, latest.beat)
			plugin := heartbeat("tcp", `state_file = "{dir}/state"`, fmt.Sprintf("max_peers = %d", p.peers))
			quiet, all := p.observe(plugin+`emit_beats = "none"`, true), p.observe(plugin+`emit_beats = "all"`, true)
			gathered, emitted := p.observe(pipeline+"0", false), p.observe(pipeline+fmt.Sprint(p.perSecond()), false)
			fmt.Printf("| %d | %d | %s | %s | %s, %s | %s | %s | %s | %s |\n", p.peers, p.perSecond(),
				percent(quiet.core), percent(all.core), percent(gathered.core), percent(emitted.core),
				percent(quiet.core-gathered.core), percent(all.core-emitted.core), mib(all.memory), mib(all.empty))
		}
	}
}

// observe runs a Telegraf with an input, under load or on its own.
func (p point) observe(input string, loaded bool) (u usage) {
	telegraf := startTelegraf("10s", "10s", 4*p.peers+10_000, input)
	defer telegraf.stop()
	time.Sleep(time.Second) // it runs, and has not gathered yet
	u.empty = telegraf.resident()
	settle := 2 * time.Second
	if loaded {
		senders := p.load().start(telegraf.address)
		defer senders.stop()
		senders.say("go")
		settle = p.interval + 10*time.Second // all have beaten, and been gathered
	}
	time.Sleep(settle)
	before, begin := telegraf.used(), time.Now()
	time.Sleep(watched)
	u.core = (telegraf.used() - before).Seconds() / time.Since(begin).Seconds()
	u.memory = telegraf.resident()
	return u
}
