// Package testkit is what tests of several packages share: programs that they
// start and wait for, a file system that hangs, goroutines left behind. It knows
// nothing of heartbeats, and no program of ours imports it.
package testkit

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// RunWithoutLeaks runs the tests of a package and returns the exit code: 1 if more
// goroutines are left than there were before; their stacks are printed. It does not
// look while fuzzing, which leaves goroutines of its own.
func RunWithoutLeaks(m *testing.M) int {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		return code
	}
	// What was told to end needs a moment of processor time first.
	for limit := time.Now().Add(Patience); code == 0 && runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(limit) {
			stacks := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
			code = 1
		}
	}
	return code
}
