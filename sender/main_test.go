package sender

import (
	"os"
	"runtime"
	"testing"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// TestMain keeps to one processor: the timers of a synctest bubble share one context
// of the race detector, and two goroutines that run expired ones at the same moment
// crash it (Go 1.26.8, https://github.com/golang/go/issues/78156). The thousands of
// bubbles here met that once in thirty runs on two processors. Races are found all
// the same: the detector goes by what happened before what, not by what ran at once.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(testkit.RunWithoutLeaks(m))
}
