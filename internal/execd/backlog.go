package execd

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

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
