// Package loglimit keeps repeated messages from filling a log: the first is logged at once, and
// repetitions at most once a minute, with their number. It knows no beat, no socket and no
// logger.
package loglimit

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"
)

// pause is how long the same message is not logged again.
const pause = time.Minute

// A Limiter limits one kind of message. The zero Limiter is ready to use. It may be used
// concurrently.
type Limiter struct {
	mu     sync.Mutex // guards the rest
	last   time.Time
	silent int // messages suppressed since then
}

// Allow reports whether the message may be logged now. If so, more is text to append to it that
// says how many were suppressed before.
func (l *Limiter) Allow(now time.Time) (more string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) < pause {
		l.silent++
		return "", false
	}
	if l.silent > 0 {
		more = fmt.Sprintf(" (%d more since this was last logged)", l.silent)
	}
	l.last, l.silent = now, 0
	return more, true
}

// idle reports whether the next message may be logged at once.
func (l *Limiter) idle(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.last) >= pause
}

// maxPlaces is how many messages are limited by their source at a time. Beyond that, all sources
// share one line a minute for each kind of message, which bounds the size of the log.
const maxPlaces = 100

// ByPlace limits messages by kind and source. Nothing outside can fill the log, and a probe that
// is refused each second does not hide another. The zero ByPlace is ready to use. It may be used
// concurrently.
type ByPlace struct {
	mu    sync.Mutex // guards the rest
	all   map[message]*Limiter
	swept time.Time // when idle entries were last removed from all
}

type message struct {
	kind  string
	place string // "" for all sources beyond maxPlaces
}

// Allow is Limiter.Allow for a kind of message from a source: an address, with a port if it has
// one, or any other text.
func (b *ByPlace) Allow(kind, from string, now time.Time) (more string, ok bool) {
	return b.of(message{kind, placeOf(from)}, now).Allow(now)
}

func (b *ByPlace) of(m message, now time.Time) *Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if limiter := b.all[m]; limiter != nil {
		return limiter
	}
	if len(b.all) >= maxPlaces && now.Sub(b.swept) >= time.Second {
		b.swept = now
		maps.DeleteFunc(b.all, func(_ message, limiter *Limiter) bool { return limiter.idle(now) })
	}
	if len(b.all) >= maxPlaces {
		m.place = ""
	}
	if b.all == nil {
		b.all = make(map[message]*Limiter)
	}
	if b.all[m] == nil {
		b.all[m] = new(Limiter)
	}
	return b.all[m]
}

// placeOf returns the part of an address that identifies a source. It omits the port, which
// changes with each connection. Of IPv6 it returns the network, because a host may have any
// number of addresses in it.
func placeOf(from string) string {
	addr, err := netip.ParseAddrPort(from)
	switch {
	case err != nil:
		return from
	case addr.Addr().Unmap().Is4():
		return addr.Addr().Unmap().String()
	}
	network, _ := addr.Addr().WithZone("").Prefix(64) //nolint:errcheck // an IPv6 address has more than 64 bits
	return network.String()
}
