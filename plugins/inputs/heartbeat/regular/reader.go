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

// A Reader reads one file again and again. A read that hangs is left behind,
// because nothing in a process can end it; until it has come back no other one
// begins.
type Reader struct {
	Name  string
	Limit int64 // bytes; a longer file is an error

	pending chan Content // of the read that was left behind; nil for none
	load    func(name string, limit int64) Content
}

// Read returns what is in the file now. The error is an ErrSlow if that has not
// come when ctx ends, and at once while a read hangs.
func (r *Reader) Read(ctx context.Context) (Content, error) {
	select {
	case <-r.pending: // is of another time
		r.pending = nil
	default:
	}
	if r.pending != nil {
		return Content{}, r.slow()
	}
	r.begin()
	select {
	case content := <-r.pending:
		r.pending = nil
		return content, content.err
	case <-ctx.Done():
		return Content{}, r.slow()
	}
}

func (r *Reader) begin() {
	load := r.load
	if load == nil {
		load = read
	}
	pending := make(chan Content, 1)
	go func() { pending <- load(r.Name, r.Limit) }() // ends when the file answers
	r.pending = pending
}

func (r *Reader) slow() error { return fmt.Errorf("reading %.256q %w", r.Name, ErrSlow) }
