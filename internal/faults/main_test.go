//go:build linux

package faults

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// long adds tests rather than skipping them: where everything must run, a
// skipped test is a failure.
var long = flag.Bool("long", false, "take the faults that last minutes, too")

var tableFile = flag.String("table", "", "write the table of faults to this file; without what the tests need that fails")

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	flag.Parse()
	// The tests wait nearly all the time, so the number of processors says
	// little about how many may run at once.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	code := m.Run()
	if testing.Verbose() {
		results.print(os.Stdout)
	}
	if err := writeTable(*tableFile); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
