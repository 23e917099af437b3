package main

import (
	"flag"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	stormHosts  = 1000             // connections of the peers of a storm
	stormLimit  = 2 * time.Minute  // time limit until all peers are dead
	askedWithin = 25 * time.Second // after this silence, all peers are suspect and not yet dead
)

// stormCommand lets all peers fall silent at once: first the peers of a single collector, then
// the peers of two collectors. Isolation is disabled, because otherwise no peer would be reported
// dead for ten minutes.
func stormCommand(set *flag.FlagSet) func() {
	peers := set.Int("peers", 100_000, "number of peers that fall silent, a multiple of 1000")
	return func() {
		alone := &storm{peers: *peers, route: new(route)}
		alone.play([]*stormCollector{startStormCollector("alone", *peers, "")})
		two := &storm{peers: *peers, route: new(route)}
		first, second := freeAddress(), freeAddress()
		two.play([]*stormCollector{
			startStormCollector("first of two", *peers, clusterTable("first", first, two.route.forward(second))),
			startStormCollector("second of two", *peers, clusterTable("second", second, two.route.forward(first))),
		})
		fmt.Printf("\n%d peers begin to beat to each collector, and then fall silent.\n", *peers)
		header("phase", "messages between two", "bytes", "bytes per peer", "processor time: alone", "each of two")
		for i, name := range []string{"all begin", "all are suspect", "all are dead"} {
			carried := two.trafficIn(i)
			fmt.Printf("| %s | %d | %d | %d | %.1f s | %.1f s, %.1f s |\n", name, carried.messages, carried.bytes, carried.bytes/int64(*peers),
				alone.all[0].usedIn(i).Seconds(), two.all[0].usedIn(i).Seconds(), two.all[1].usedIn(i).Seconds())
		}
		header("collector", "deaths reported", "last report after the last deadline", "longest wait for an answer", "mean wait")
		alone.printDeaths()
		two.printDeaths()
	}
}

// A storm is a measurement of one or two collectors.
type storm struct {
	peers    int
	route    *route
	all      []*stormCollector
	phases   []traffic // total traffic at the end of each phase
	deadline time.Time // deadline of the last peer
}

// play lets all peers beat twice to each collector, and then be silent until all are dead.
func (s *storm) play(all []*stormCollector) {
	s.all = all
	s.endPhase(time.Now().Add(10 * time.Second)) // by then, the collectors have connected
	l := load{Network: "tcp", Hosts: stormHosts, Services: s.peers / stormHosts, Interval: simulatedBeat}
	for _, c := range all {
		defer c.plugin.stop()
		c.senders = l.launch(c.plugin.address)
		defer c.senders.stop()
	}
	for _, c := range all {
		c.senders.readLine()
	}
	silent := time.Now()
	s.deadline = silent.Add(silenceOfBeat)
	s.endPhase(silent.Add(5 * time.Second))
	for _, c := range all {
		defer c.probe()()
	}
	s.endPhase(silent.Add(askedWithin))
	s.awaitDeaths()
	s.endPhase(time.Now().Add(2 * time.Second))
}

// endPhase waits for the end of a phase and records traffic and processor time.
func (s *storm) endPhase(end time.Time) {
	time.Sleep(time.Until(end))
	s.phases = append(s.phases, s.route.traffic())
	for _, c := range s.all {
		c.used = append(c.used, c.plugin.used())
	}
}

func (s *storm) trafficIn(phase int) traffic {
	from, to := s.phases[phase], s.phases[phase+1]
	return traffic{to.bytes - from.bytes, to.messages - from.messages}
}

// awaitDeaths waits until the collectors together have reported all deaths.
func (s *storm) awaitDeaths() {
	for limit := time.Now().Add(stormLimit); ; time.Sleep(50 * time.Millisecond) {
		reported := int64(0)
		for _, c := range s.all {
			reported += c.deaths.Load()
		}
		if reported >= int64(s.peers) {
			return
		}
		if time.Now().After(limit) {
			fail("only %d of %d deaths were reported", reported, s.peers)
		}
	}
}

func (s *storm) printDeaths() {
	for _, c := range s.all {
		last := "" // empty if its mate reported all deaths
		if at := c.last.Load(); at > 0 {
			last = fmt.Sprintf("%.1f s", time.Unix(0, at).Sub(s.deadline).Seconds())
		}
		fmt.Printf("| %s | %d | %s | %s | %s |\n", c.name, c.deaths.Load(), last, ms(time.Duration(c.longest.Load())),
			ms(time.Duration(c.waited.Load()/max(c.answers.Load(), 1))))
	}
}

// A stormCollector is a collector in a storm.
type stormCollector struct {
	name            string
	plugin, senders *process
	used            []time.Duration // processor time at the start of each phase and at the end
	deaths, last    atomic.Int64    // reported deaths, and the time of the last one in Unix ns
	longest, waited atomic.Int64    // ns of waiting for an answer, maximum and total
	answers         atomic.Int64
}

func (s *stormCollector) usedIn(phase int) time.Duration { return s.used[phase+1] - s.used[phase] }

func startStormCollector(name string, peers int, cluster string) *stormCollector {
	s := &stormCollector{name: name, plugin: startPlugin("bin/telegraf-heartbeat",
		fmt.Sprintf("max_peers = %d", 2*peers), `emit_beats = "none"`, "isolation_ratio = 0.0", cluster)}
	go func() { // ends with the plugin
		for {
			line, err := s.plugin.out.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "heartbeat_event,") && strings.Contains(line, "state=dead ") {
				s.deaths.Add(1)
				s.last.Store(time.Now().UnixNano())
			}
		}
	}()
	return s
}

// probe beats every 5 ms and measures how long the answers take, until the function that it
// returns is called.
func (s *stormCollector) probe() (end func()) {
	conn := must(net.Dial("tcp", s.plugin.address))
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // ends with done
		answers := wire.NewReader(conn, wire.MaxAnswer)
		for seq := 1; ; seq++ {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			begin := time.Now()
			payload := fmt.Appendf(nil, `{"host":"probe","service":"shop","pid":1,"run":"r","seq":%d,"interval_ms":60000,"ack":true}`, seq)
			must(conn.Write(wire.AppendFrame(nil, payload)))
			must(answers.Next())
			waited := int64(time.Since(begin))
			s.longest.Store(max(s.longest.Load(), waited))
			s.waited.Add(waited)
			s.answers.Add(1)
		}
	})
	return func() {
		close(done)
		all.Wait()
		conn.Close()
	}
}
