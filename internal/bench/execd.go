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
	turns := set.Int("turns", 5, "how often both programs are measured")
	peers := set.Int("peers", 100_000, "number of metrics at once")
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
		header("program", "CPU per metric", "relative to the shim", "metrics per second")
		for _, e := range both {
			fmt.Printf("| %s | %s | %s | %.0f |\n", e.process.cmd.Path, us(median(e.cost)),
				ratio(median(e.cost), median(both[1].cost)), float64(*peers)/median(e.took).Seconds())
		}
		noteRatio("execd/shim", median(both[0].cost), median(both[1].cost))
		took, lost := both[0].gatherSlowly(*peers)
		fmt.Printf("\nIf 4 KiB are read every 2 ms, gathering takes %.1f s; %d lines were lost.\n", took.Seconds(), lost)
	}
}

// An external is an external plugin that gathers on request, as under execd.
type external struct {
	process *process
	cost    []time.Duration // processor time per metric
	took    []time.Duration // time until all metrics were read
}

// startExternal starts an external plugin and lets this many peers beat to it.
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
	e.readPeers(peers)                      // each new peer is reported
	return e
}

// readPeers reads until most peers were reported, or until a gather is complete. It returns the
// number of peers.
func (e *external) readPeers(most int) int {
	seen := 0
	for seen < most {
		switch line := e.process.readLine(); {
		case strings.HasPrefix(line, "heartbeat_peer,"):
			seen++
		case seen > 0 && strings.HasPrefix(line, "heartbeat_collector"):
			return seen
		}
	}
	return seen
}

// gather requests all metrics and records the cost.
func (e *external) gather(peers int) {
	before, begin := e.process.idle(), time.Now()
	e.process.writeLine("")
	if seen := e.readPeers(peers); seen < peers {
		fail("%s reported %d of %d peers", e.process.cmd.Path, seen, peers)
	}
	e.took = append(e.took, time.Since(begin))
	e.cost = append(e.cost, (e.process.idle()-before)/time.Duration(peers))
}

// gatherSlowly requests all metrics and reads them as slowly as a busy Telegraf.
func (e *external) gatherSlowly(peers int) (took time.Duration, lost int) {
	e.process.out = bufio.NewReaderSize(slowReader{e.process.out}, 4<<10)
	begin := time.Now()
	e.process.writeLine("")
	seen := e.readPeers(peers)
	return time.Since(begin), peers - seen
}

type slowReader struct{ from io.Reader }

func (s slowReader) Read(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return s.from.Read(p)
}
