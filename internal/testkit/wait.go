package testkit

import (
	"testing"
	"time"
)

const (
	// Patience is at least ten times what anything takes that a test waits for.
	// Telegraf gathers every ten seconds.
	Patience = 5 * time.Minute

	glance = 50 * time.Millisecond // between two looks
)

// Until waits until done, which is called again and again, and fails the test if
// Patience runs out.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	UntilWithin(t, Patience, what, done)
}

// UntilWithin is Until with a limit of its own.
func UntilWithin(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	over := time.After(limit)
	looks := time.NewTicker(glance)
	defer looks.Stop()
	for !done() {
		select {
		case <-looks.C:
		case <-over:
			t.Fatalf("waited %s in vain for %s", limit, what)
		}
	}
}
