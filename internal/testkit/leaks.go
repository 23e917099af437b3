// Package testkit has helpers for the tests of several packages: they start programs and wait for
// them, mount a file system that hangs, and find leaked goroutines. It knows nothing about
// heartbeats, and none of our programs imports it.
package testkit

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// RunWithoutLeaks runs the tests of a package and returns the exit code. The code is 1 if there
// are more goroutines after the tests than before; their stacks are printed. Goroutines are not
// counted while fuzzing, because fuzzing leaves some running.
func RunWithoutLeaks(m *testing.M) int {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		return code
	}
	// A goroutine that was asked to end needs a moment of processor time first.
	for limit := time.Now().Add(Patience); code == 0 && runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(limit) {
			stacks := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
			code = 1
		}
	}
	return code
}
