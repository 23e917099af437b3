//go:build unix

package e2e

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(crowdEnv); address != "" {
		os.Exit(crowd(address, os.Stdin, os.Stdout, os.Stderr))
	}
	if address := os.Getenv(dripEnv); address != "" {
		os.Exit(drip(address, os.Stdin, os.Stdout, os.Stderr))
	}
	flag.Parse()
	// These tests wait most of the time, for programs and their intervals, so
	// the number of processors says little about how many may run at once.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
