package regular

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// RereadPause is the time between two reads of a file that is named in an option.
const RereadPause = 10 * time.Second

// Reread calls read every RereadPause until ctx ends.
func Reread(ctx context.Context, read func(context.Context)) {
	ticker := time.NewTicker(RereadPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			read(ctx)
		}
	}
}

// ErrSlow means that a file could not be read in time.
var ErrSlow = errors.New("takes too long: its mount may hang")

// An attempt runs a read that may hang. A hanging read is abandoned, because a process cannot stop
// it. No other read begins until the abandoned one returns.
type attempt[T any] struct {
	pending chan T // the result of the abandoned read; nil for none
}

// run returns the result of read, unless ctx ends first or an earlier read still hangs.
func (a *attempt[T]) run(ctx context.Context, read func() T) (got T, ok bool) {
	a.lateResult() // drop an outdated result
	if a.pending != nil {
		return got, false
	}
	pending := make(chan T, 1)
	go func() { pending <- read() }() // the goroutine ends when the read returns
	select {
	case got = <-pending:
		return got, true
	case <-ctx.Done():
		a.pending = pending
		return got, false
	}
}

// lateResult returns the result of the abandoned read, if that read has returned by now.
func (a *attempt[T]) lateResult() (got T, ok bool) {
	select {
	case got = <-a.pending:
		a.pending = nil
		return got, true
	default:
		return got, false
	}
}

// A Reader reads one file repeatedly.
type Reader struct {
	Name  string
	Limit int64 // in bytes; reading a longer file fails

	attempt attempt[Content]
	load    func(name string, limit int64) Content
}

// Read returns the current contents of the file. If reading does not end before ctx, Read returns
// an error that wraps ErrSlow. While the reading still hangs, further calls return such an error at
// once.
func (r *Reader) Read(ctx context.Context) (Content, error) {
	load := r.load
	if load == nil {
		load = readContent
	}
	content, ok := r.attempt.run(ctx, func() Content { return load(r.Name, r.Limit) })
	if !ok {
		return Content{}, slowError(r.Name)
	}
	return content, content.Err
}

func slowError(name string) error { return fmt.Errorf("reading %.256q %w", name, ErrSlow) }
