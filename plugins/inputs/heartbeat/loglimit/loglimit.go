// Package loglimit keeps what happens often from filling a log: what is the same
// is logged at once, and then once a minute with how often it was left out. It
// knows no beat, no socket and no logger.
package loglimit

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"
)

// pause is how long the same is not logged again.
const pause = time.Minute

// A Limiter is for one kind of message. The zero Limiter is ready, and may be used
// concurrently.
type Limiter struct {
	mu     sync.Mutex // guards the rest
	last   time.Time
	silent int // what was left out since
}

// Allow reports whether the message may be logged now, and then how many were left
// out before, in words to put behind it.
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

// maxPlaces is how many messages are told apart by where they come from at a time.
// What is above shares one line a minute for each kind, so this and the kinds bound
// the log, whoever fills it.
const maxPlaces = 100

// ByPlace limits messages by their kind and by where they come from: nobody outside
// can fill the log, and a probe that is refused each second does not hide another
// one. The zero ByPlace is ready, and may be used concurrently.
type ByPlace struct {
	mu    sync.Mutex // guards the rest
	all   map[message]*Limiter
	swept time.Time // when all was last rid of what is idle
}

type message struct {
	kind  string
	place string // "" for all that are too many to be told apart
}

// Allow is Limiter.Allow for a kind of message. from is an address, with a port if it
// has one, or any other text.
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

// placeOf returns what of an address is told apart: not the port, which is new with
// each connection, and of IPv6 the network, in which one host may have any number of
// addresses.
func placeOf(from string) string {
	addr, err := netip.ParseAddrPort(from)
	switch {
	case err != nil:
		return from
	case addr.Addr().Unmap().Is4():
		return addr.Addr().Unmap().String()
	}
	network, _ := addr.Addr().WithZone("").Prefix(64) //nolint:errcheck // an IPv6 address has as many
	return network.String()
}
