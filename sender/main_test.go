package sender

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// TestMain fails if anything is left running.
func TestMain(m *testing.M) {
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // fuzzing leaves goroutines of its own
	}
	for range 100 { // what was told to end may need a moment
		if runtime.NumGoroutine() <= 2 {
			break
		}
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); code == 0 && n > 2 {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines are left\n%s", n, stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}
