//go:build linux

// Command cost measures what beats and connections cost a collector, in processor
// time and memory, beside what a user would take instead: Telegraf's own
// inputs.socket_listener with its JSON parser, and a bare loop that only reads
// frames. The servers take turns under the same load, which comes from a process of
// its own; the medians of the turns and their ratios are printed.
//
//	make bench
//
// Time is that of the whole server process, user and system, from /proc.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

func main() {
	turns := flag.Int("turns", 3, "how often each server is measured")
	telegraf := flag.String("telegraf", "bin/telegraf-bench", "a Telegraf with the plugin and its rivals")
	flag.Parse()
	if role := os.Getenv(roleEnv); role != "" {
		exit(play(role, flag.Args()))
	}
	exit(run(*telegraf, *turns))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A load is what a server has to bear.
type load struct {
	name        string
	connections int
	frames      int // over each connection
	batch       int // frames that are written at once
}

const long = 15_000

var loads = []load{
	{"batched frames", 50, 10_000, 100},
	{"15,000 long connections, a frame at a time", long, 10, 1},
}

// A result is what one server cost in one turn.
type result struct {
	perBeat       time.Duration
	perConnection int64 // bytes, while nothing is said
}

func run(telegraf string, turns int) error {
	if turns < 1 {
		return errors.New("-turns has to be at least 1")
	}
	for _, l := range loads {
		results := make(map[string][]result)
		for range turns {
			for _, k := range kinds {
				r, err := measure(telegraf, k, l)
				if err != nil {
					return fmt.Errorf("%s under %s: %w", k.name, l.name, err)
				}
				results[k.name] = append(results[k.name], r)
			}
		}
		report(l, results)
	}
	return nil
}

func report(l load, results map[string][]result) {
	fmt.Printf("\n%s: %d beats over %d connections, medians of %d\n\n", l.name, l.connections*l.frames, l.connections, len(results[kinds[0].name]))
	fmt.Println("| server | CPU a beat | of the anchor | of the bare reader | memory a connection |\n|---|--:|--:|--:|--:|")
	anchor, bare := median(results[anchorName]).perBeat, median(results[bareName]).perBeat
	for _, k := range kinds {
		m := median(results[k.name])
		fmt.Printf("| %s | %.2f us | %.2f | %.2f | %.1f KiB |\n", k.name, float64(m.perBeat.Nanoseconds())/1e3,
			float64(m.perBeat)/float64(anchor), float64(m.perBeat)/float64(bare), float64(m.perConnection)/1024)
	}
}

func median(all []result) result {
	middle := func(of func(result) int64) int64 {
		values := make([]int64, len(all))
		for i, r := range all {
			values[i] = of(r)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return result{
		time.Duration(middle(func(r result) int64 { return int64(r.perBeat) })),
		middle(func(r result) int64 { return r.perConnection }),
	}
}
