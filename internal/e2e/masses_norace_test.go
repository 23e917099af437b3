//go:build linux && !race

package e2e

var massPrograms = []string{"telegraf-heartbeat"}
