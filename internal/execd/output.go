package execd

import (
	"bufio"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"
)

const (
	queuedMetrics = 1024      // between the plugins and the writer
	outputBuffer  = 64 * 1024 // bytes in one write to Telegraf

	// flushGap is the least time between two writes that are not full. A lone
	// metric leaves at once; many in a row leave together, because each write
	// costs more, on both sides of the pipe, than what it carries.
	flushGap = time.Millisecond
)

// An output writes metrics to one stream. Its run is the one goroutine that
// encodes and writes; everybody else only sends to it.
type output struct {
	encode func(telegraf.Metric) ([]byte, error) // no bytes: nothing to write
	log    telegraf.Logger
	failed func(error) // is told the first error of writing

	pipe      backlog // of bytes that were written and not read
	metrics   chan telegraf.Metric
	lost      atomic.Int64  // metrics that came too late to wait for
	abandoned chan struct{} // closed by abandon
	abandon   func()        // lets nobody wait any more for an output that does not get on
	closing   chan struct{} // closed by close
	done      chan struct{} // closed by run

	// The rest belongs to run.
	w       *bufio.Writer
	broken  bool // writing failed: what comes is dropped
	timer   *time.Timer
	armed   bool
	flushed time.Time // the last one
	dropped int       // not yet told
	said    rarely
}

func newOutput(w io.Writer, encode func(telegraf.Metric) ([]byte, error), log telegraf.Logger, failed func(error)) *output {
	o := &output{
		encode:    encode,
		log:       log,
		failed:    failed,
		metrics:   make(chan telegraf.Metric, queuedMetrics),
		abandoned: make(chan struct{}),
		closing:   make(chan struct{}),
		done:      make(chan struct{}),
	}
	o.w = bufio.NewWriterSize(&counted{w, &o.pipe}, outputBuffer)
	if pipe, ok := w.(*os.File); ok && isPipe(pipe) {
		o.pipe.unread = func() int { return unread(pipe) }
	}
	o.abandon = sync.OnceFunc(func() { close(o.abandoned) })
	return o
}

// send queues a metric. It waits while the queue is full, unless the output
// is abandoned; then the metric is dropped.
func (o *output) send(m telegraf.Metric) {
	select {
	case o.metrics <- m:
		return
	default:
	}
	select {
	case o.metrics <- m:
	case <-o.abandoned:
		o.lost.Add(1)
		m.Drop()
	}
}

// close makes run write what is queued and return. Nothing may be sent after.
func (o *output) close() { close(o.closing) }

// run writes until close. It is to be started before anything sends, and goes
// on taking metrics after an error, so that no sender is stuck.
func (o *output) run() {
	defer close(o.done)
	o.timer = time.NewTimer(time.Hour)
	defer o.timer.Stop()
	for {
		select {
		case m := <-o.metrics:
			o.write(m)
		case <-o.timer.C:
			o.armed = false
		case <-o.closing:
			o.drain()
			return
		}
		if len(o.metrics) == 0 {
			o.idle()
		}
	}
}

func (o *output) drain() {
	for {
		select {
		case m := <-o.metrics:
			o.write(m)
		default:
			o.flush()
			o.tellLosses()
			return
		}
	}
}

// tellLosses says at the end what has not been said.
func (o *output) tellLosses() {
	if o.dropped > 0 {
		o.log.Warnf("%d more metrics could not be written and were dropped", o.dropped)
	}
	if lost := o.lost.Load(); lost > 0 {
		o.log.Warnf("%d metrics were dropped at the end because nothing reads the output", lost)
	}
}

// idle flushes, or sees to it that it is done soon, when nothing is queued.
func (o *output) idle() {
	if o.w.Buffered() == 0 || o.armed {
		return
	}
	wait := flushGap - time.Since(o.flushed)
	if wait <= 0 {
		o.flush()
		return
	}
	o.timer.Reset(wait)
	o.armed = true
}

func (o *output) write(m telegraf.Metric) {
	line, err := o.encode(m)
	if err != nil {
		m.Reject()
		o.drop(err)
		return
	}
	// A write holds whole lines only: the reader may be gone after any of them.
	if len(line) > o.w.Available() {
		o.flush()
	}
	if o.broken {
		m.Drop()
		return
	}
	if _, err := o.w.Write(line); err != nil {
		o.fail(err)
	}
	m.Accept()
	if r, ok := m.(reusable); ok {
		r.Reuse()
	}
}

// A reusable is a metric of which another one can be made.
type reusable interface {
	// Reuse lets that be done.
	Reuse()
}

// drop counts a metric that cannot be encoded.
func (o *output) drop(err error) {
	o.dropped++
	if o.said.allow(time.Now()) {
		o.log.Warnf("%d metrics could not be written and were dropped; the last error: %.256s", o.dropped, err)
		o.dropped = 0
	}
}

func (o *output) flush() {
	o.flushed = time.Now()
	if o.broken {
		return
	}
	if err := o.w.Flush(); err != nil {
		o.fail(err)
	}
}

// fail is called once: nothing is written after it.
func (o *output) fail(err error) {
	o.broken = true
	o.w.Reset(io.Discard)
	o.failed(err)
}

// A backlog knows for how long the reader of a pipe has taken nothing: until the pipe is
// full, writing to it does not show that.
type backlog struct {
	unread  func() int // bytes in the pipe; nil if that cannot be known
	written atomic.Int64

	mu    sync.Mutex // guards the rest
	taken int64      // bytes that had been read when it was looked at last
	since time.Time  // when that was seen first
}

// lasts returns for how long nothing of what is in the pipe was read.
func (b *backlog) lasts(now time.Time) time.Duration {
	if b.unread == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left := int64(b.unread())
	if taken := b.written.Load() - left; left == 0 || taken > b.taken || b.since.IsZero() {
		b.taken, b.since = taken, now
	}
	return now.Sub(b.since)
}

// A counted counts what is written.
type counted struct {
	to      io.Writer
	backlog *backlog
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.backlog.written.Add(int64(n))
	return n, err
}
