// Command verdicts measures how good the verdicts of package liveness are. It
// plays the beats of six kinds of links to its tracker and to four other
// failure detectors, each set so that it finds a death in the same mean time,
// and counts how often each of them declares somebody dead who lives.
//
//	verdicts [-seeds 101,102,103] [-scale 1.0]
//
// It prints a Markdown table and exits with 1 if the tracker is worse than it
// has to be.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func main() {
	seeds := flag.String("seeds", "101,102,103,201,202,203,401,402,403", "of the traces; those of one kind are pooled")
	scale := flag.Float64("scale", 1, "length of the traces")
	flag.Parse()
	ok, err := run(os.Stdout, *seeds, *scale)
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdicts:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run compares the detectors on all links, and returns whether the tracker is
// as good as it has to be.
func run(w io.Writer, seedList string, scale float64) (bool, error) {
	seeds, err := parseSeeds(seedList)
	if err != nil {
		return false, err
	}
	var results []result
	for i := range links {
		results = append(results, compare(&links[i], seeds, scale)...)
	}
	return report(w, results), nil
}

// report prints the table and what is missed, and returns whether that is
// nothing.
func report(w io.Writer, results []result) bool {
	writeTable(w, results)
	missed := shortfalls(results)
	for _, what := range missed {
		fmt.Fprintln(w, "MISSED:", what)
	}
	if len(missed) == 0 {
		fmt.Fprintln(w, "All thresholds hold.")
	}
	return len(missed) == 0
}

func parseSeeds(list string) ([]uint64, error) {
	var seeds []uint64
	for word := range strings.SplitSeq(list, ",") {
		seed, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("seed %q: %w", word, err)
		}
		seeds = append(seeds, seed)
	}
	return seeds, nil
}
