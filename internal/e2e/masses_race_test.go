//go:build linux && race

package e2e

// massPrograms are the collectors that masses connect to: the one that users run, and one
// that is built as this test is.
var massPrograms = []string{"telegraf-heartbeat", racingProgram}
