package sender

import (
	"context"
	"fmt"
	"time"
)

// Time limits of a goodbye.
const (
	answerTime = 500 * time.Millisecond // for an answer over the existing link

	// With Sender.Hurry:
	fastTime    = 900 * time.Millisecond // in total, and for a connection that is being made; with the start of the program, a second
	fastRetry   = fastTime / 2           // for an answer, before trying another link
	successTime = 60 * time.Millisecond  // the same after a success, also for the name server
)

// leave says goodbye, over the existing link or over new ones.
func (s *session) leave(ctx context.Context) {
	s.refresh()
	if s.sender.Hurry {
		s.leaveFast(ctx)
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, goodbyeTime, errGoodbyeLate)
	defer cancel()
	s.sendBeats(unsent)
	if s.awaitEnds(ctx, answerTime) {
		return
	}
	if err := s.deliver(ctx, unackedEnd).Err; err != nil {
		s.warnf("goodbye was not delivered: %v", err)
	}
}

// goodbyeTime is how long the goodbye may take in total.
func (s *session) goodbyeTime() time.Duration {
	if s.sender.Hurry {
		return fastTime
	}
	return goodbyeTime
}

// lastWriteTime is how long a write may take once the sender is stopping.
func (s *session) lastWriteTime() time.Duration {
	if s.sender.Hurry {
		return successTime / 2
	}
	return answerTime
}

// leaveFast says goodbye over the existing link, or over the next one if that comes
// soon. If a link turns out to be broken, it tries another. After a success it does
// not require an answer: the beats that were written have most likely arrived.
func (s *session) leaveFast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fastTime)
	defer cancel()
	s.leavingFast = true
	success := s.allSucceeded()
	patience := fastRetry
	if success {
		patience = successTime
	}
	for range 2 {
		if s.newest() != nil {
			s.sendBeats(unackedEnd)
		} else if err := s.connectNow(ctx, success); err != nil {
			s.warnf("goodbye was not delivered: %v", err)
			return
		}
		link := s.newest()
		if link != nil {
			link.finish()
		}
		if s.awaitEnds(ctx, patience) || success && s.newest() != nil {
			return
		}
		if link != nil && link == s.newest() {
			s.drop(link, errUnanswered)
		}
	}
	s.warnf("goodbye was not delivered to %s: %v", s.server, s.lost)
}

// connectNow waits for the current dial, or for a new one, and sends the due beats
// over the new link. After a success it waits only successTime for a name server.
func (s *session) connectNow(ctx context.Context, success bool) error {
	if !s.dialing {
		s.dial(ctx)
	}
	var resolved <-chan time.Time
	if success {
		resolved = time.After(successTime)
	}
	for {
		select {
		case d := <-s.dialed:
			s.connected(ctx, d)
			return d.err
		case <-resolved:
			if !s.route.dialing() {
				return fmt.Errorf("no address of %s is known", s.server)
			}
		case <-ctx.Done():
			return fmt.Errorf("connecting to %s took longer than %s", s.server, fastTime)
		}
	}
}

// awaitEnds waits until all ends are acknowledged over the existing link, and
// reports whether they were.
func (s *session) awaitEnds(ctx context.Context, patience time.Duration) bool {
	enough := time.After(patience)
	for !s.endsAcked() && s.newest() != nil {
		select {
		case e := <-s.events:
			s.handle(e)
		case <-enough:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return s.endsAcked()
}

// allSucceeded reports whether every end is the end of a job that succeeded.
func (s *session) allSucceeded() bool {
	for i := range s.reports {
		if p := &s.reports[i].peer; p.ended() && !p.succeeded() {
			return false
		}
	}
	return true
}

// endsAcked reports whether all ends are acknowledged.
func (s *session) endsAcked() bool {
	for i := range s.reports {
		if unackedEnd(&s.reports[i], &s.deliveries[i]) {
			return false
		}
	}
	return true
}
