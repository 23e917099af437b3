//go:build linux

// Command cost measures what beats and connections cost a collector, in processor
// time and memory, beside what a user would take instead: Telegraf's own
// inputs.socket_listener with its JSON parser, and bare loops that only read. The
// servers take turns under the same load, which comes from a process of its own;
// the medians of the turns and their ratios are printed.
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
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
)

func main() {
	b := bench{}
	flag.IntVar(&b.turns, "turns", 3, "how often each server is measured")
	flag.StringVar(&b.telegraf, "telegraf", "bin/telegraf-bench", "a Telegraf with the plugin and its rivals")
	flag.StringVar(&b.load, "load", "", "only loads whose name contains this")
	flag.StringVar(&b.kind, "server", "", "only servers whose name contains this; without ratios")
	flag.StringVar(&b.profiles, "profiles", "", "a directory for profiles of the servers that are Telegraf")
	flag.Parse()
	if role := os.Getenv(roleEnv); role != "" {
		exit(play(role, flag.Args()))
	}
	exit(b.run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A bench is what is measured.
type bench struct {
	turns      int
	telegraf   string
	load, kind string
	profiles   string
}

func (b *bench) run() error {
	if b.turns < 1 {
		return errors.New("-turns has to be at least 1")
	}
	for _, l := range loads {
		if !strings.Contains(l.name, b.load) {
			continue
		}
		if err := b.compare(l); err != nil {
			return err
		}
	}
	return nil
}

// compare has all kinds of servers bear one load in turn.
func (b *bench) compare(l load) error {
	var kinds []kind
	for _, k := range l.kinds {
		if strings.Contains(k.name, b.kind) {
			kinds = append(kinds, k)
		}
	}
	results := make(map[string][]result)
	for range b.turns {
		for _, k := range kinds {
			r, err := b.serve(k, l)
			if err != nil {
				return fmt.Errorf("%s under %s: %w", k.name, l.name, err)
			}
			results[k.name] = append(results[k.name], r)
		}
	}
	b.report(l, kinds, results)
	return nil
}

// A result is what one server cost in one turn.
type result struct {
	perBeat  time.Duration // processor time
	took     time.Duration // until the load was put on it
	resident int64         // memory of a connection once nothing is said any more, in bytes
	inUse    int64         // of that after a collection of garbage
}

func (b *bench) report(l load, kinds []kind, results map[string][]result) {
	fmt.Printf("\n%s: %d beats, medians of %d turns.\n\n", l.title, l.beats(), b.turns)
	fmt.Print("| server | CPU a beat | of the anchor | of the bare reader | beats a second |")
	rule := "\n|---|--:|--:|--:|--:|"
	if l.stays {
		fmt.Print(" resident memory a connection | in use after a collection |")
		rule += "--:|--:|"
	}
	fmt.Println(rule)
	anchor, bare := median(results[anchorName]).perBeat, median(results[bareName]).perBeat
	for _, k := range kinds {
		m := median(results[k.name])
		fmt.Printf("| %s | %.2f us | %s | %s | %.0f |", k.name, float64(m.perBeat.Nanoseconds())/1e3,
			ratio(m.perBeat, anchor), ratio(m.perBeat, bare), float64(l.beats())/m.took.Seconds())
		if l.stays {
			fmt.Printf(" %.1f KiB | %.1f KiB |", float64(m.resident)/1024, float64(m.inUse)/1024)
		}
		fmt.Println()
	}
}

func ratio(a, b time.Duration) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

func median(all []result) result {
	if len(all) == 0 {
		return result{}
	}
	var perBeat, took []time.Duration
	var resident, inUse []int64
	for _, r := range all {
		perBeat, took = append(perBeat, r.perBeat), append(took, r.took)
		resident, inUse = append(resident, r.resident), append(inUse, r.inUse)
	}
	return result{measure.Median(perBeat), measure.Median(took), measure.Median(resident), measure.Median(inUse)}
}
