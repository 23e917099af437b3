// Package loglimit keeps repeated messages from filling a log. The first message is logged at once.
// Repetitions are logged at most once a minute, with their number. The package knows nothing about
// beats, sockets or loggers.
package loglimit

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"
)

// pause is the minimum time between two log lines with the same message.
const pause = time.Minute

// A Limiter limits one kind of message. The zero Limiter is ready to use. It may be used
// concurrently.
type Limiter struct {
	mu     sync.Mutex // guards the rest
	last   time.Time
	silent int // how many messages were suppressed since last
}

// Allow reports whether the message may be logged now. If so, the caller must append more to the
// message: a text with the number of messages that were suppressed before, or "" if there were
// none.
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

// maxPlaces is how many pairs of kind and source have a limit of their own. If there are more
// pairs, all further sources share one line a minute for each kind of message. This bounds the size
// of the log.
const maxPlaces = 100

// ByPlace limits messages by kind and source. So no source can fill the log, and one source with
// many messages does not hide the messages about others. The zero ByPlace is ready to use. It may
// be used concurrently.
type ByPlace struct {
	mu    sync.Mutex // guards the rest
	all   map[message]*Limiter
	swept time.Time // when idle entries were last removed from all
}

type message struct {
	kind  string
	place string // "" for all sources beyond maxPlaces
}

// Allow reports whether a message of a kind about a source may be logged now, like Limiter.Allow.
// The source is an address, with or without a port, or any other text.
func (b *ByPlace) Allow(kind, from string, now time.Time) (more string, ok bool) {
	return b.limiterFor(message{kind, placeOf(from)}, now).Allow(now)
}

func (b *ByPlace) limiterFor(m message, now time.Time) *Limiter {
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

// placeOf returns the part of an address that identifies a source. It omits the port, which changes
// with each connection. For IPv6 it returns the network, because a host may have any number of
// addresses in its network.
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
