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

// stormCommand lets all peers of two collectors fall silent at once. None of them is
// isolated, or nobody would be dead for ten minutes.
func stormCommand(set *flag.FlagSet) func() {
	peers := set.Int("peers", 100_000, "that fall silent, a multiple of 1000")
	return func() {
		var r route
		first, second := freeAddress(), freeAddress()
		both := []*stormed{
			startStormed(*peers, clusterTable("first", first, r.lead(second))),
			startStormed(*peers, clusterTable("second", second, r.lead(first))),
		}
		time.Sleep(10 * time.Second) // they have met
		phases := []traffic{r.traffic()}
		next := func(until time.Time) {
			time.Sleep(time.Until(until))
			phases = append(phases, r.traffic())
		}
		l := load{Network: "tcp", Hosts: stormHosts, Services: *peers / stormHosts, Interval: simulatedBeat}
		for _, s := range both {
			defer s.plugin.stop()
			s.senders = l.launch(s.plugin.address)
			defer s.senders.stop()
		}
		for _, s := range both {
			s.senders.hear()
		}
		silent := time.Now()
		next(silent.Add(5 * time.Second))
		for _, s := range both {
			defer s.probe(*peers)()
		}
		next(silent.Add(askedWithin))
		awaitDeaths(both, *peers)
		took := time.Since(silent) - silenceOfBeat
		next(time.Now().Add(2 * time.Second))
		printStorm(both, *peers, phases, took)
	}
}

func printStorm(both []*stormed, peers int, phases []traffic, took time.Duration) {
	fmt.Printf("\n%d peers of two collectors begin to beat, and then are silent.\n", peers)
	header("phase", "messages", "bytes", "bytes a peer")
	for i, name := range []string{"all begin", "all are suspect", "all are dead"} {
		messages, bytes := phases[i+1].messages-phases[i].messages, phases[i+1].bytes-phases[i].bytes
		fmt.Printf("| %s | %d | %d | %d |\n", name, messages, bytes, bytes/int64(peers))
	}
	header("collector", "deaths told", "the last one after its deadline", "longest wait for an answer", "mean wait")
	for i, s := range both {
		fmt.Printf("| %d | %d | %.1f s | %s | %s |\n", i+1, s.deaths.Load(), took.Seconds(), ms(time.Duration(s.longest.Load())),
			ms(time.Duration(s.waited.Load()/max(s.answers.Load(), 1))))
	}
}

func awaitDeaths(both []*stormed, peers int) {
	for limit := time.Now().Add(stormLimit); ; time.Sleep(50 * time.Millisecond) {
		told := both[0].deaths.Load() + both[1].deaths.Load()
		if told >= int64(peers) {
			return
		}
		if time.Now().After(limit) {
			fail("only %d of %d deaths were told", told, peers)
		}
	}
}

// A stormed is a collector in a storm.
type stormed struct {
	plugin, senders *process
	deaths          atomic.Int64 // events that it told
	longest, waited atomic.Int64 // ns for an answer, at the most and in all
	answers         atomic.Int64
}

func startStormed(peers int, cluster string) *stormed {
	s := &stormed{plugin: startPlugin("bin/telegraf-heartbeat",
		fmt.Sprintf("max_peers = %d", 2*peers), `emit_beats = "none"`, "isolation_ratio = 0.0", cluster)}
	go func() { // ends with the plugin
		for {
			line, err := s.plugin.out.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "heartbeat_event,") && strings.Contains(line, "state=dead ") {
				s.deaths.Add(1)
			}
		}
	}()
	return s
}

// probe beats every 5 ms, and notes how long it waits for an answer, until what it
// returns is called.
func (s *stormed) probe(number int) (end func()) {
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
			payload := fmt.Appendf(nil, `{"host":"probe-%d","service":"shop","pid":1,"run":"r","seq":%d,"interval_ms":60000,"ack":true}`, number, seq)
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
