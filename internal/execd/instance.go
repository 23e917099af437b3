package execd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
)

const (
	firstRetry   = time.Second // after an address or a file was taken; doubles
	longestRetry = 30 * time.Second

	// gatherLimit is what a running Gather gets at the end, before Stop is
	// called beside it: it must not cost the time to save what Stop saves.
	gatherLimit = time.Second
)

// An instance is one running plugin: it is started, gathers when prompted or
// by itself, and is stopped.
type instance struct {
	name   string // for messages
	plugin telegraf.Input
	acc    *accumulator
	log    telegraf.Logger
	every  time.Duration // 0: gathers only when prompted
	waits  bool          // for what it needs, if another process has it
	prompt chan struct{} // holds one prompt: more than that are one
	done   chan struct{} // closed when run has returned
}

func newInstance(name string, plugin telegraf.Input, acc *accumulator, log telegraf.Logger) *instance {
	return &instance{
		name:   name,
		plugin: plugin,
		acc:    acc,
		log:    log,
		prompt: make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
}

// gather asks for one Gather. It never waits: asked again before a Gather has
// begun, that one counts for both.
func (in *instance) gather() {
	select {
	case in.prompt <- struct{}{}:
	default:
	}
}

// run starts the plugin, lets it work until ctx ends, and stops it. Nothing of
// it is accepted after. It returns an error if the plugin cannot be started.
func (in *instance) run(ctx context.Context) error {
	defer close(in.done)
	defer in.acc.close()
	started, err := in.start(ctx)
	if !started {
		return err
	}
	gathered := make(chan struct{})
	var gathering sync.WaitGroup
	gathering.Go(func() { // ends with ctx, or after with the last Gather
		defer close(gathered)
		in.gatherUntil(ctx)
	})
	<-ctx.Done()
	select {
	case <-gathered:
	case <-time.After(gatherLimit):
	}
	if service, ok := in.plugin.(telegraf.ServiceInput); ok {
		service.Stop()
	}
	in.acc.close()
	gathering.Wait()
	return nil
}

// start starts the plugin. While another process has its address or its file,
// which ends by itself when that is a predecessor on its way out, it tries
// again, if it waits. It reports false without an error if ctx ended first.
func (in *instance) start(ctx context.Context) (bool, error) {
	service, ok := in.plugin.(telegraf.ServiceInput)
	if !ok {
		return true, nil
	}
	var said rarely
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, longestRetry) {
		err := service.Start(in.acc)
		if err == nil {
			if !said.last.IsZero() {
				in.log.Info("listening again")
			}
			return true, nil
		}
		if !in.waits || !taken(err) {
			return false, fmt.Errorf("starting %s failed: %w", in.name, err)
		}
		if said.allow(time.Now()) {
			in.log.Warnf("Cannot start yet, retrying until the address is free (is the table configured twice?): %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return false, nil
}

func (in *instance) gatherUntil(ctx context.Context) {
	var tick <-chan time.Time
	if in.every > 0 {
		ticker := time.NewTicker(in.every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-in.prompt:
		case <-tick:
		}
		if ctx.Err() != nil { // both may have been ready
			return
		}
		if err := in.plugin.Gather(in.acc); err != nil {
			in.log.Errorf("gathering failed: %v", err)
		}
	}
}
