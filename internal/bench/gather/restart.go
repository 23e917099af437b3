//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
)

// restart measures how long it takes to save so many peers, and to go on from what
// was saved.
func restart(peers int) error {
	dir, err := os.MkdirTemp("", "restart")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket, state := filepath.Join(dir, "socket"), filepath.Join(dir, "state")
	acc := newAccumulator()
	defer acc.close()
	plugin, err := start(socket, state, peers, acc)
	if err != nil {
		return err
	}
	if err := measure.Introduce(socket, peers); err != nil {
		return err
	}
	var wait, peak atomic.Int64
	stop := watch(socket, &wait, &peak)
	took, err := timeOfSaving(state)
	if err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	begin := time.Now()
	plugin.Stop()
	stopped := time.Since(begin)
	info, err := os.Stat(state)
	if err != nil {
		return err
	}
	begin = time.Now()
	if plugin, err = start(socket, state, peers, acc); err != nil {
		return err
	}
	started := time.Since(begin)
	plugin.Stop()
	fmt.Printf("| %d | %d MiB | %.1f s | %.1f ms | %.1f s | %.1f s |\n", peers, info.Size()>>20, took.Seconds(),
		float64(wait.Load())/1e6, stopped.Seconds(), started.Seconds())
	return nil
}

// timeOfSaving returns how long the file that becomes the next state is there.
// Savings may be far apart: no more than a hundredth of the time is spent on them.
func timeOfSaving(state string) (time.Duration, error) {
	exists := func() bool { _, err := os.Stat(state + ".tmp"); return err == nil }
	await := func(there bool) error {
		for limit := time.Now().Add(30 * time.Minute); exists() != there; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(limit) {
				return fmt.Errorf("no saving of %q", state)
			}
		}
		return nil
	}
	if exists() { // of only a part of the peers
		if err := await(false); err != nil {
			return 0, err
		}
	}
	if err := await(true); err != nil {
		return 0, err
	}
	begin := time.Now()
	err := await(false)
	return time.Since(begin), err
}
