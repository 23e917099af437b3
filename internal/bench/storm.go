package main

import (
	"flag"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	stormHosts  = 1000             // connections of the peers of a storm
	stormLimit  = 2 * time.Minute  // until all are dead
	askedWithin = 25 * time.Second // of a silence they are all suspect, and not yet dead
)

// stormCommand lets all peers of two collectors fall silent at once, and of one that is
// alone. None of them is isolated, or nobody would be dead for ten minutes.
func stormCommand(set *flag.FlagSet) func() {
	peers := set.Int("peers", 100_000, "that fall silent, a multiple of 1000")
	return func() {
		var r route
		first, second := freeAddress(), freeAddress()
		s := &storm{peers: *peers, route: &r, all: []*stormed{
			startStormed("alone", *peers, ""),
			startStormed("first of two", *peers, clusterTable("first", first, r.lead(second))),
			startStormed("second of two", *peers, clusterTable("second", second, r.lead(first))),
		}}
		s.phase(time.Now().Add(10 * time.Second)) // they have met
		l := load{Network: "tcp", Hosts: stormHosts, Services: *peers / stormHosts, Interval: simulatedBeat}
		for _, c := range s.all {
			defer c.plugin.stop()
			c.senders = l.launch(c.plugin.address)
			defer c.senders.stop()
		}
		for _, c := range s.all {
			c.senders.hear()
		}
		silent := time.Now()
		s.phase(silent.Add(5 * time.Second))
		for _, c := range s.all {
			defer c.probe()()
		}
		s.phase(silent.Add(askedWithin))
		s.awaitDeaths()
		s.phase(time.Now().Add(2 * time.Second))
		s.print(silent.Add(silenceOfBeat))
	}
}

// A storm is a measurement.
type storm struct {
	peers  int
	all    []*stormed // the first is alone
	route  *route     // between the others
	phases []traffic  // at the end of each phase
}

// phase waits for the end of a phase.
func (s *storm) phase(end time.Time) {
	time.Sleep(time.Until(end))
	s.phases = append(s.phases, s.route.traffic())
	for _, c := range s.all {
		c.used = append(c.used, c.plugin.used())
	}
}

// awaitDeaths returns when all deaths are told, by the one that is alone and by the others
// together.
func (s *storm) awaitDeaths() {
	for limit := time.Now().Add(stormLimit); ; time.Sleep(50 * time.Millisecond) {
		alone, two := s.all[0].deaths.Load(), s.all[1].deaths.Load()+s.all[2].deaths.Load()
		if alone >= int64(s.peers) && two >= int64(s.peers) {
			return
		}
		if time.Now().After(limit) {
			fail("of %d deaths one that is alone told %d, and two told %d", s.peers, alone, two)
		}
	}
}

func (s *storm) print(deadline time.Time) {
	fmt.Printf("\n%d peers begin to beat at each collector, and then are silent.\n", s.peers)
	header("phase", "messages between two", "bytes", "bytes a peer", "processor time: alone", "each of two")
	for i, name := range []string{"all begin", "all are suspect", "all are dead"} {
		messages, bytes := s.phases[i+1].messages-s.phases[i].messages, s.phases[i+1].bytes-s.phases[i].bytes
		fmt.Printf("| %s | %d | %d | %d | %.1f s | %.1f s, %.1f s |\n", name, messages, bytes, bytes/int64(s.peers),
			s.all[0].usedIn(i).Seconds(), s.all[1].usedIn(i).Seconds(), s.all[2].usedIn(i).Seconds())
	}
	header("collector", "deaths told", "the last one after the last deadline", "longest wait for an answer", "mean wait")
	for _, c := range s.all {
		last := "" // of one that left it to its mate
		if at := c.last.Load(); at > 0 {
			last = fmt.Sprintf("%.1f s", time.Unix(0, at).Sub(deadline).Seconds())
		}
		fmt.Printf("| %s | %d | %s | %s | %s |\n", c.name, c.deaths.Load(), last, ms(time.Duration(c.longest.Load())),
			ms(time.Duration(c.waited.Load()/max(c.answers.Load(), 1))))
	}
}

// A stormed is a collector in a storm.
type stormed struct {
	name            string
	plugin, senders *process
	used            []time.Duration // processor time, at the begin of each phase and at the end
	deaths, last    atomic.Int64    // events that it told, and when the last one, in unix ns
	longest, waited atomic.Int64    // ns for an answer, at the most and in all
	answers         atomic.Int64
}

func (s *stormed) usedIn(phase int) time.Duration { return s.used[phase+1] - s.used[phase] }

func startStormed(name string, peers int, cluster string) *stormed {
	s := &stormed{name: name, plugin: startPlugin("bin/telegraf-heartbeat",
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

// probe beats every 5 ms, and notes how long it waits for an answer, until what it
// returns is called.
func (s *stormed) probe() (end func()) {
	conn := must(net.Dial("tcp", s.plugin.address))
	done := make(chan struct{})
	go func() { // ends with done
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
	}()
	return func() { close(done) }
}
