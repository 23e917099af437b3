package execd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
)

const (
	firstRetry   = time.Second // after an address or a file was in use; doubles
	longestRetry = 30 * time.Second

	// gatherLimit is how long a running Gather may take at the end. After that, Stop is
	// called in parallel, so that it has time to save the state.
	gatherLimit = time.Second
)

// An instance is one running plugin: it is started, gathers when prompted or at its
// interval, and is stopped.
type instance struct {
	name   string // for messages
	plugin telegraf.Input
	acc    *accumulator
	log    telegraf.Logger
	every  time.Duration // 0: gathers only when prompted
	waits  bool          // retries if another process has its address or file
	prompt chan struct{} // buffers one prompt; more are merged
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

// gather asks for one Gather. It never blocks: two requests before a Gather begins
// are merged.
func (in *instance) gather() {
	select {
	case in.prompt <- struct{}{}:
	default:
	}
}

// run starts the plugin, lets it run until ctx ends, and stops it. After that, its
// metrics are not accepted. It returns an error if the plugin cannot be started.
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

// start starts the plugin. If in.waits, it retries while another process has its
// address or its file: that may be the previous process, which is stopping. It
// returns false without an error if ctx ends first.
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
		if !in.waits || !isInUse(err) {
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
