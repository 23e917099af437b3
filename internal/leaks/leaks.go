// Package leaks tells what the tests of a package leave running.
package leaks

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// patience is how long what was told to end may take: it needs a moment of
// processor, and a machine may have none to spare for seconds.
const patience = 30 * time.Second

// Run runs the tests and returns the exit code: 1 if more goroutines are left
// than there were before, whose stacks are then printed. Fuzzing leaves some
// of its own, so then it does not look.
func Run(m *testing.M) int {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		return code
	}
	for limit := time.Now().Add(patience); code == 0 && runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(limit) {
			stacks := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
			code = 1
		}
	}
	return code
}
