package sender

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A RefusedError is returned when a collector refuses a beat. Sending the beat
// again would not help.
type RefusedError struct {
	Server string // its URL
	Text   string // the answer of the collector; it may contain anything
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refused the beat: %.200q", e.Server, e.Text)
}

// An UnansweredError is returned when a beat was sent over a connection and no
// answer came in time. It is unknown whether the beat counts: a collector that is
// starting reads its state file first, and then the beats that came meanwhile.
type UnansweredError struct {
	err   error
	check bool // the beat would not have counted anyway
}

func (e *UnansweredError) Error() string {
	if e.check {
		return e.err.Error()
	}
	return e.err.Error() + "; the beat was sent, and counts if the collector is just starting"
}

func (e *UnansweredError) Unwrap() error { return e.err }

// An UnknownError is returned when a collector does not know some peers of a
// goodbye. It has recorded nothing for them.
type UnknownError struct {
	Server string // its URL
	Peers  []UnknownPeer
}

// An UnknownPeer is a peer that a collector does not know.
type UnknownPeer struct {
	Host, Service string
	Near          []string // up to three peers with similar names that it knows
}

func (e *UnknownError) Error() string {
	texts := make([]string, 0, len(e.Peers))
	for _, p := range e.Peers {
		text := p.Host + "/" + cmp.Or(p.Service, "host")
		if len(p.Near) > 0 {
			text += fmt.Sprintf(" (did you mean %s?)", strings.Join(p.Near, " or "))
		}
		texts = append(texts, text)
	}
	return fmt.Sprintf("%s recorded nothing, because it does not know %s", e.Server, strings.Join(texts, " and "))
}

// note adds the peer of beat if answer says that it is unknown.
func (e *UnknownError) note(beat *wire.Beat, answer *wire.Answer) {
	if answer.Unknown {
		e.Peers = append(e.Peers, UnknownPeer{beat.Host, beat.Service, answer.Near})
	}
}

// Reasons to stop waiting for a server.
var (
	errTooOld     = errors.New("is too old to close a maintenance window, and recorded a goodbye instead: upgrade the collector")
	errHungUp     = errors.New("the collector closed the connection")
	errNothingDue = errors.New("no beat is due")
	errUnasked    = errors.New("the collector sent an answer that matches no beat")
	errUnanswered = errors.New("the last beat was not answered")
)

// endOf replaces io.EOF, which means nothing to an operator.
func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return errHungUp
	}
	return err
}

// isFinal reports whether a retry would get the same answer.
func isFinal(err error) bool {
	var refused *RefusedError
	var unknown *UnknownError
	return errors.As(err, &refused) || errors.As(err, &unknown) || errors.Is(err, errTooOld)
}

// A resolveError is returned when a server has no address.
type resolveError struct {
	host string
	err  error
}

func (e *resolveError) Error() string {
	return fmt.Sprintf("resolving %.256q failed: %v", e.host, e.err)
}

func (e *resolveError) Unwrap() error { return e.err }
