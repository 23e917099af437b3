//go:build linux

package faults

import (
	"flag"
	"os"
	"testing"
)

// long adds tests rather than skipping them: where everything must run, a
// skipped test is a failure.
var long = flag.Bool("long", false, "take the cuts that last minutes, too")

func TestMain(m *testing.M) {
	if os.Getenv(clientEnv) != "" {
		os.Exit(articleClient(os.Getenv(clientEnv)))
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
	os.Exit(code)
}
