// Command latency measures how soon the end of a process is told: from the
// signal that ends it to the line that telegraf-heartbeat prints about it, for
// a heartbeat-sender that is killed, for one that says goodbye, and for a
// process that another one watches.
//
//	latency [-n 20] [-bin bin]
//
// It runs the programs that "make build" puts into bin, with their defaults,
// and takes less than half a minute. It prints a Markdown table and exits with
// 1 if a median is beyond its budget.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	disconnectGrace = 5 * time.Second        // the default of the plugin
	limit           = time.Minute            // for everything; more than twice what it takes
	apart           = 100 * time.Millisecond // between two ends, and from a beat to an end
)

var errBudget = errors.New("a budget is missed")

func main() {
	n := flag.Int("n", 20, "how many processes of each kind are ended")
	bin := flag.String("bin", "bin", "directory of the programs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *bin, *n)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
}

// run measures and prints a table. It returns errBudget if the table says that
// a budget is missed.
func run(ctx context.Context, out io.Writer, bin string, n int) error {
	if n < 1 {
		return fmt.Errorf("-n %d is less than 1", n)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := startCollector(ctx, bin)
	if err != nil {
		return err
	}
	defer c.stop()

	killed := []*delay{
		{what: "kill -9 -> suspect", state: "suspect", budget: 100 * time.Millisecond},
		{what: "kill -9 -> dead", state: "dead", budget: disconnectGrace + 250*time.Millisecond},
	}
	stopped := []*delay{{what: "SIGTERM -> left", state: "left", budget: 100 * time.Millisecond}}
	watched := []*delay{{what: "kill -9 of a -pid target -> dead", state: "dead", budget: 100 * time.Millisecond}}
	t := &trials{collector: c, bin: bin}
	for i := range n {
		t.start(ctx, trial{fmt.Sprintf("killed-%d", i), os.Kill, false, killed})
		t.start(ctx, trial{fmt.Sprintf("stopped-%d", i), syscall.SIGTERM, false, stopped})
		t.start(ctx, trial{fmt.Sprintf("watched-%d", i), os.Kill, true, watched})
	}
	if err := t.wait(); err != nil {
		return err
	}
	if !printTable(out, slices.Concat(killed, stopped, watched)) {
		return errBudget
	}
	return nil
}

// A trial ends one process.
type trial struct {
	service string
	end     os.Signal
	watched bool // by a sender; else it is the sender
	delays  []*delay
}

// trials end their processes one after the other: what is measured is one end,
// not the end of all.
type trials struct {
	collector *collector
	bin       string

	wg     sync.WaitGroup
	ending sync.Mutex // held by the one that is ended, and a moment longer
	mu     sync.Mutex // guards the rest, and all delays
	errs   []error
}

func (t *trials) start(ctx context.Context, one trial) {
	t.wg.Go(func() { // ends with ctx
		if err := t.try(ctx, one); err != nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.errs = append(t.errs, fmt.Errorf("%s: %w", one.service, err))
		}
	})
}

func (t *trials) wait() error {
	t.wg.Wait()
	return errors.Join(t.errs...)
}

// try ends one process and notes when that was told.
func (t *trials) try(ctx context.Context, one trial) error {
	victim, beats, stop, err := t.victim(ctx, one)
	if err != nil {
		return err
	}
	defer stop()
	if _, err := t.collector.await(ctx, sighting{one.service, beats}); err != nil {
		return err
	}
	// Who is killed before it has read its answer resets the connection. That
	// says less, so death is told later.
	if err := pause(ctx, apart); err != nil {
		return err
	}
	ended, err := t.end(ctx, victim, one.end)
	if err != nil {
		return err
	}
	for _, d := range one.delays {
		told, err := t.collector.await(ctx, sighting{one.service, d.state})
		if err != nil {
			return err
		}
		t.mu.Lock()
		d.took = append(d.took, told.Sub(ended))
		t.mu.Unlock()
	}
	return nil
}

// victim starts who is to be ended, and returns after which beat: a connection
// has to be a long one for its end to say something. Nobody reaps a victim that
// is watched, so the watcher waits in vain to hear how it ended.
func (t *trials) victim(ctx context.Context, one trial) (victim *program, beats string, stop func(), err error) {
	if !one.watched {
		victim, err = startSender(ctx, t.bin, t.collector.address, one.service)
		return victim, "beat 2", victim.stop, err
	}
	victim = &program{cmd: exec.CommandContext(ctx, "sleep", "3600")}
	if err := victim.cmd.Start(); err != nil {
		return nil, "", nil, err
	}
	watcher, err := startSender(ctx, t.bin, t.collector.address, one.service, "-pid", strconv.Itoa(victim.cmd.Process.Pid))
	if err != nil {
		victim.stop()
		return nil, "", nil, err
	}
	return victim, "beat 1", func() { victim.stop(); watcher.stop() }, nil
}

// end sends the signal and returns when it did.
func (t *trials) end(ctx context.Context, victim *program, end os.Signal) (time.Time, error) {
	t.ending.Lock()
	defer t.ending.Unlock()
	now := time.Now()
	if err := victim.cmd.Process.Signal(end); err != nil {
		return time.Time{}, err
	}
	return now, pause(ctx, apart)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
