package execd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// endLimit is how long stopping may take in total. Telegraf kills us after 5 s.
	endLimit = 4 * time.Second
	// stopLimit is how much of endLimit the plugins may take. The rest is for writing
	// their metrics.
	stopLimit = 3500 * time.Millisecond
	// patience is how long a plugin may wait for an output that makes no progress,
	// before its metrics are dropped: Stop must save the state.
	patience = 2 * time.Second
)

// Telegraf ends the program in these ways, so they are not failures.
var (
	errStdinEnded   = errors.New("end of stdin")
	errStdoutClosed = errors.New("stdout is closed")
)

// serve runs all instances until parent or stdin ends, stdout is closed or
// one of them cannot start.
func (r *runner) serve(parent context.Context) error {
	// Writing to a Telegraf that is gone must be an error, and not kill the process.
	signal.Ignore(syscall.SIGPIPE)
	encode, err := r.encoder()
	if err != nil {
		return fmt.Errorf("creating serializer failed: %w", err)
	}
	ctx, end := context.WithCancelCause(parent)
	out := newOutput(r.stdout, encode, r.logger(general{}), func(err error) { end(writeFailure(err)) })
	var running sync.WaitGroup
	running.Go(out.run) // ends with close; first, because plugins may emit while they start
	instances := r.instances(out)
	for _, in := range instances {
		running.Go(func() { end(in.run(ctx)) }) // ends with ctx, or ends it
	}
	r.gatherWhenPrompted(ctx, instances, end, &running)
	<-ctx.Done()
	logSignal(context.Cause(parent), r.logger(general{}))
	hung := finish(instances, out)
	if hung == nil {
		running.Wait()
	}
	switch cause := context.Cause(ctx); {
	case cause != errStdinEnded && cause != errStdoutClosed && cause != context.Cause(parent):
		return cause
	case hung != nil:
		return hung
	}
	drainAndClose(r.stdout, r.sink.w)
	return nil
}

// gatherWhenPrompted gathers when Telegraf asks for it, unless there is -interval. It
// reads stdin in a goroutine that cannot be stopped or waited for: a read of a pipe
// ends only with the pipe.
func (r *runner) gatherWhenPrompted(ctx context.Context, instances []*instance, end context.CancelCauseFunc, running *sync.WaitGroup) {
	if r.opts.interval > 0 || r.opts.listen != "" {
		return
	}
	p := newPrompter(instances, r.logger(general{}))
	running.Go(func() { p.handleSignals(ctx) }) // ends with ctx
	var reading sync.WaitGroup
	reading.Go(func() { // ends with stdin or the process
		p.readLines(r.stdin)
		end(errStdinEnded)
	})
}

// instances prepares the loaded tables for running.
func (r *runner) instances(out *output) []*instance {
	all := make([]*instance, 0, len(r.file.tables))
	for _, t := range r.file.tables {
		log := r.logger(t.general)
		if t.Interval > 0 && r.opts.interval == 0 {
			log.Warn("'interval' has no effect without -interval: Telegraf's own 'interval' for [[inputs.execd]] applies")
		}
		name := strings.Trim(log.prefix, "[] ")
		in := newInstance(name, t.plugin, newAccumulator(out, log, t.Tags), log)
		in.every, in.waits = r.gatherInterval(t), r.opts.listen == "" // with -listen, report the error immediately
		all = append(all, in)
	}
	return all
}

// finish waits for the instances, whose ctx has ended, and then for the output. It
// returns an error if one of them hangs; that one keeps running.
func finish(instances []*instance, out *output) error {
	all, cancelAll := context.WithTimeout(context.Background(), endLimit)
	defer cancelAll()
	stops, cancelStops := context.WithTimeout(all, stopLimit)
	defer cancelStops()
	defer time.AfterFunc(patience, out.abandon).Stop()
	var hanging []string
	for _, in := range instances {
		if !endedWithin(stops, in.done) {
			hanging = append(hanging, fmt.Sprintf("stopping %s took longer than %v", in.name, stopLimit))
		}
	}
	out.close()
	if !endedWithin(all, out.done) {
		hanging = append(hanging, fmt.Sprintf("writing the last metrics took longer than %v", endLimit))
	}
	out.abandon()
	if len(hanging) > 0 {
		return errors.New(strings.Join(hanging, ", "))
	}
	return nil
}

// endedWithin waits for done until limit ends, and reports whether done was closed.
func endedWithin(limit context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-limit.Done():
	}
	select {
	case <-done: // both were ready
		return true
	default:
		return false
	}
}

// writeFailure distinguishes a reader that is gone from a write that failed.
func writeFailure(err error) error {
	for _, gone := range []error{syscall.EPIPE, io.ErrClosedPipe, windowsBrokenPipe, windowsNoData} {
		if errors.Is(err, gone) {
			return errStdoutClosed
		}
	}
	return fmt.Errorf("writing metrics failed: %w", err)
}

// isInUse reports whether err means that another process has the address or the locked file
// of a plugin.
func isInUse(err error) bool {
	for _, held := range []error{syscall.EADDRINUSE, syscall.EWOULDBLOCK, windowsAddressInUse, windowsLockViolation} {
		if errors.Is(err, held) {
			return true
		}
	}
	return false
}

// The Windows errors for EPIPE, EADDRINUSE and EWOULDBLOCK, for which its syscall
// package has other values. On other systems, writing and listening never return errors
// with these numbers.
const (
	windowsBrokenPipe    = syscall.Errno(109)
	windowsNoData        = syscall.Errno(232)
	windowsAddressInUse  = syscall.Errno(10048)
	windowsLockViolation = syscall.Errno(33)
)

const (
	handOverLimit = 500 * time.Millisecond // for Telegraf to read what is in the pipe
	handOverPoll  = 2 * time.Millisecond
	// drainRest is a pause after the pipes are closed: if Telegraf saw the end of the
	// process first, it would log an error.
	drainRest = 20 * time.Millisecond
)

// drainAndClose waits until Telegraf has read everything, and closes the pipes. Telegraf
// closes its ends as soon as this process is gone, and would lose the last transitions.
func drainAndClose(stdout, stderr io.Writer) {
	pipe, ok := stdout.(*os.File)
	if !ok || !isPipe(pipe) {
		return
	}
	for end := time.Now().Add(handOverLimit); unread(pipe) > 0 && time.Now().Before(end); {
		time.Sleep(handOverPoll)
	}
	pipe.Close()
	if messages, ok := stderr.(*os.File); ok && isPipe(messages) {
		messages.Close()
	}
	time.Sleep(drainRest)
}

func isPipe(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}
