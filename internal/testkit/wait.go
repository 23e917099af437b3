package testkit

import (
	"testing"
	"time"
)

const (
	// Patience is at least ten times as long as anything that a test waits for. Telegraf gathers
	// every ten seconds.
	Patience = 5 * time.Minute

	pollInterval = 50 * time.Millisecond // between two calls of done
)

// Until calls done repeatedly until it returns true, and fails the test after Patience.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	UntilWithin(t, Patience, what, done)
}

// UntilWithin is like Until, with a different time limit.
func UntilWithin(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	over := time.After(limit)
	looks := time.NewTicker(pollInterval)
	defer looks.Stop()
	for !done() {
		select {
		case <-looks.C:
		case <-over:
			t.Fatalf("waited %s in vain for %s", limit, what)
		}
	}
}
