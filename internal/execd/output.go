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

	// flushGap is the minimum time between two writes that are not full. A single metric
	// is written at once; many in a row are written together, because each write takes
	// more time, on both sides of the pipe, than its content.
	flushGap = time.Millisecond
)

// An output writes metrics to one stream. Only the goroutine of run encodes and
// writes; all others send to it.
type output struct {
	encode func(telegraf.Metric) ([]byte, error) // no bytes: nothing to write
	log    telegraf.Logger
	failed func(error) // called with the first write error

	pipe      backlog // bytes that were written and not read
	metrics   chan telegraf.Metric
	lost      atomic.Int64  // metrics that came too late to wait for
	abandoned chan struct{} // closed by abandon
	abandon   func()        // ends all waiting for an output that makes no progress
	closing   chan struct{} // closed by close
	done      chan struct{} // closed by run

	// The rest belongs to run.
	w       *bufio.Writer
	broken  bool // writing failed: further metrics are dropped
	timer   *time.Timer
	armed   bool
	flushed time.Time // the last one
	dropped int       // not logged yet
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
	o.w = bufio.NewWriterSize(&countingWriter{w, &o.pipe}, outputBuffer)
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

// close makes run write the queued metrics and return. Nothing may be sent after that.
func (o *output) close() { close(o.closing) }

// run writes until close. Start it before anything sends. After an error it still
// receives metrics, so that no sender blocks.
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
			o.logLosses()
			return
		}
	}
}

// logLosses logs, at the end, losses that were not logged yet.
func (o *output) logLosses() {
	if o.dropped > 0 {
		o.log.Warnf("%d more metrics could not be written and were dropped", o.dropped)
	}
	if lost := o.lost.Load(); lost > 0 {
		o.log.Warnf("%d metrics were dropped at the end because nothing reads the output", lost)
	}
}

// idle is called when no metric is queued, and flushes now or soon.
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
	// Write whole lines only: the reader may be gone after any write.
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

// A reusable is a metric whose memory can be used for another metric.
type reusable interface {
	// Reuse releases the metric.
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

// fail is called once: nothing is written after that.
func (o *output) fail(err error) {
	o.broken = true
	o.w.Reset(io.Discard)
	o.failed(err)
}

// A backlog measures how long the reader of a pipe has read nothing. Writing to the
// pipe does not show this until the pipe is full.
type backlog struct {
	unread  func() int // bytes in the pipe; nil if unknown
	written atomic.Int64

	mu    sync.Mutex // guards the rest
	taken int64      // bytes read at the last check
	since time.Time  // when this number was first seen
}

// lasts returns how long no byte in the pipe has been read.
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

// A countingWriter counts the bytes that are written.
type countingWriter struct {
	to      io.Writer
	backlog *backlog
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.backlog.written.Add(int64(n))
	return n, err
}
