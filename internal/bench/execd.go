package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

func execdCommand(set *flag.FlagSet) func() {
	turns := set.Int("turns", 5, "how often both are measured")
	peers := set.Int("peers", 100_000, "how many metrics at once")
	return func() {
		var both [2]*external
		for i, program := range []string{"bin/telegraf-heartbeat", "bin/telegraf-shim"} {
			both[i] = startExternal(program, *peers)
			defer both[i].process.stop()
		}
		for range *turns {
			for _, e := range both {
				e.gather(*peers)
			}
		}
		fmt.Printf("\n%d metrics at once, medians of %d turns.\n", *peers, *turns)
		header("program", "CPU a metric", "of the shim", "metrics a second")
		for _, e := range both {
			fmt.Printf("| %s | %s | %s | %.0f |\n", e.process.cmd.Path, us(median(e.cost)),
				ratio(median(e.cost), median(both[1].cost)), float64(*peers)/median(e.took).Seconds())
		}
		noteRatio("execd/shim", median(both[0].cost), median(both[1].cost))
		took, lost := both[0].gatherSlowly(*peers)
		fmt.Printf("\nWhen 4 KiB are read every 2 ms, a Gather takes %.1f s; lines lost: %d.\n", took.Seconds(), lost)
	}
}

// An external is a plugin that is asked for metrics, as execd asks.
type external struct {
	process *process
	cost    []time.Duration // processor time of a metric
	took    []time.Duration // until all metrics were read
}

// startExternal returns one that knows so many peers.
func startExternal(program string, peers int) *external {
	e := &external{process: startPlugin(program, fmt.Sprintf("max_peers = %d", peers), `emit_beats = "none"`)}
	conn := dial(e.process)
	defer conn.Close()
	l := load{Services: 1, Interval: time.Hour}
	var beats []byte
	for host := range peers {
		beats = append(beats, l.beats(host, 1, 1)...)
	}
	go func() { must(conn.Write(beats)) }() // ends when the plugin has read them
	e.readPeers(peers)                      // each is reported when it is new
	return e
}

// readPeers reads until so many peers have come, or what a Gather emits after the last
// of them, and returns how many came.
func (e *external) readPeers(most int) int {
	seen := 0
	for seen < most {
		switch line := e.process.hear(); {
		case strings.HasPrefix(line, "heartbeat_peer,"):
			seen++
		case seen > 0 && strings.HasPrefix(line, "heartbeat_collector"):
			return seen
		}
	}
	return seen
}

// gather asks for all metrics and notes what they cost.
func (e *external) gather(peers int) {
	before, begin := e.process.idle(), time.Now()
	e.process.say("")
	if seen := e.readPeers(peers); seen < peers {
		fail("%s reported %d of %d peers", e.process.cmd.Path, seen, peers)
	}
	e.took = append(e.took, time.Since(begin))
	e.cost = append(e.cost, (e.process.idle()-before)/time.Duration(peers))
}

// gatherSlowly asks for all metrics and reads them as a Telegraf does that is busy.
func (e *external) gatherSlowly(peers int) (took time.Duration, lost int) {
	e.process.out = bufio.NewReaderSize(slow{e.process.out}, 4<<10)
	begin := time.Now()
	e.process.say("")
	seen := e.readPeers(peers)
	return time.Since(begin), peers - seen
}

type slow struct{ from io.Reader }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return s.from.Read(p)
}
