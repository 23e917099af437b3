package watch

import (
	"context"
	"time"
)

// pollPause is how late an end may be noticed by polling.
const pollPause = 50 * time.Millisecond

// poll waits until over returns true, or returns false when ctx ends.
func poll(ctx context.Context, over func() bool) bool {
	ticker := time.NewTicker(pollPause)
	defer ticker.Stop()
	for !over() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
