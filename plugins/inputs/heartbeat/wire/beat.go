// Package wire encodes and decodes heartbeats as described in PROTOCOL.md, and makes foreign
// text safe for logs. It reads from an io.Reader. It has no socket, clock, lock or goroutine,
// and does not know which peers are alive.
package wire

import (
	"net/netip"
	"strings"
)

// Statuses with a special meaning. Any other word means alive and is kept as it was sent, except
// the words in refusedStatuses.
const (
	StatusAlive   = "alive"
	StatusLeaving = "leaving" // a planned end
	StatusDead    = "dead"    // its watcher saw it end
)

// refusedStatuses are refused because they are ambiguous: they may mean a planned end or a death.
var refusedStatuses = []string{"down", "stopped", "exited", "offline"}

// Limits of a beat. Lengths are in bytes.
const (
	MaxStatus     = 64
	MaxHost       = 253 // RFC 1035, 2.3.4, without the closing dot
	MaxService    = 128
	MaxRun        = 32
	MaxBoot       = 64
	MaxSignal     = 32
	MaxEntries    = 32 // of tags, of fields
	MaxLabelKey   = 64
	MaxLabelValue = 256
	MaxKeys       = 64        // of one JSON object
	MaxInteger    = 1<<53 - 1 // RFC 8259, 6: the largest that every JSON library reads exactly

	MinIntervalMS = 100
	MaxIntervalMS = 400 * 24 * 3600 * 1000 // enough for a yearly job and a month of grace
	MaxBackInMS   = MaxIntervalMS
	MaxGraceMS    = MaxIntervalMS
)

// A Beat is one heartbeat message. A field that is zero was absent, with two exceptions: PID is
// always present, and HasExitCode reports whether ExitCode was present.
type Beat struct {
	IP  netip.Addr // as claimed by the sender; no zone, IPv4 unmapped
	PID uint32     // the watched process; 0 for the host itself, or if nothing is running

	// These are together to save memory: a beat is kept for each connection.
	Watched     bool // the sender watches the process from outside
	Cancel      bool // with StatusLeaving: ends the maintenance window of BackInMS
	HasExitCode bool
	Ack         bool // asks for an acknowledgement
	Check       bool // validate and acknowledge, record nothing

	Status     string // never empty: StatusAlive if absent
	Host       string // as Host returns it
	Service    string
	Run        string // LIFE or LIFE.N, see Life
	Seq        int64  // 1..MaxInteger
	SentMS     int64  // sender's wall clock, unix ms
	To         string // the collector it is for, as Host returns it; empty for any
	Boot       string
	StartMS    int64 // start of the watched process, ms since boot
	IntervalMS int64 // MinIntervalMS..MaxIntervalMS
	BackInMS   int64 // 0..MaxBackInMS; only with StatusLeaving
	GraceMS    int64 // 0..MaxGraceMS; replaces the margin

	ExitCode int64 // -2^31..2^32-1, so that Windows codes fit
	Signal   string

	RTTMicros int64

	Tags   []Label
	Fields []Field
}

// A Label is a free text that a sender adds to its beats.
type Label struct{ Key, Value string }

// A Field is a free value. Value is a float64, a bool or a string.
type Field struct {
	Key   string
	Value any
}

// Leaving reports whether b announces a planned end.
func (b *Beat) Leaving() bool { return b.Status == StatusLeaving }

// Dead reports whether b reports an end seen by its watcher.
func (b *Beat) Dead() bool { return b.Status == StatusDead }

// canonicalStatus returns the statuses with a special meaning in lower case, and others as
// they are. It returns false for refusedStatuses.
func canonicalStatus(s string) (string, bool) {
	for _, known := range []string{StatusAlive, StatusLeaving, StatusDead} {
		if strings.EqualFold(s, known) {
			return known, true
		}
	}
	for _, refused := range refusedStatuses {
		if strings.EqualFold(s, refused) {
			return "", false
		}
	}
	return s, true
}

// HostAddr returns the address in Host; it is invalid if Host is a name.
func (b *Beat) HostAddr() netip.Addr { return hostAddr(b.Host) }
