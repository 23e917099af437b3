package regular

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// RereadPause is how often files that options name are read again.
const RereadPause = 10 * time.Second

// Reread calls read each RereadPause until ctx ends.
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

// ErrSlow is the error about a file that did not answer in time.
var ErrSlow = errors.New("takes too long: its mount may hang")

// An attempt is a read that may hang. One that does is left behind, because nothing in
// a process can end it; until it has come back no other one begins.
type attempt[T any] struct {
	pending chan T // of the read that was left behind; nil for none
}

// wait returns what read returns, unless that has not come when ctx ends, or an earlier
// read still hangs.
func (a *attempt[T]) wait(ctx context.Context, read func() T) (got T, ok bool) {
	a.late() // is of another time
	if a.pending != nil {
		return got, false
	}
	pending := make(chan T, 1)
	go func() { pending <- read() }() // ends when the file answers
	select {
	case got = <-pending:
		return got, true
	case <-ctx.Done():
		a.pending = pending
		return got, false
	}
}

// late returns what the read that was left behind has brought meanwhile.
func (a *attempt[T]) late() (got T, ok bool) {
	select {
	case got = <-a.pending:
		a.pending = nil
		return got, true
	default:
		return got, false
	}
}

// A Reader reads one file again and again.
type Reader struct {
	Name  string
	Limit int64 // bytes; a longer file is an error

	attempt attempt[Content]
	load    func(name string, limit int64) Content
}

// Read returns what is in the file now. The error is an ErrSlow if that has not
// come when ctx ends, and at once while a read hangs.
func (r *Reader) Read(ctx context.Context) (Content, error) {
	load := r.load
	if load == nil {
		load = read
	}
	content, ok := r.attempt.wait(ctx, func() Content { return load(r.Name, r.Limit) })
	if !ok {
		return Content{}, slow(r.Name)
	}
	return content, content.Err
}

func slow(name string) error { return fmt.Errorf("reading %.256q %w", name, ErrSlow) }
