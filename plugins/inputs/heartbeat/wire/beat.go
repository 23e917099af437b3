// Package wire turns bytes into heartbeats and heartbeats into bytes, as
// PROTOCOL.md beside it describes, and makes foreign text fit for logs. It reads
// from an io.Reader and never knows a socket, a clock, a lock, a goroutine or who
// is alive.
package wire

import (
	"net/netip"
	"strings"
)

// Statuses with a meaning of their own. Any other word means alive and is
// kept as it was sent, except those in refusedStatuses.
const (
	StatusAlive   = "alive"
	StatusLeaving = "leaving" // a planned end
	StatusDead    = "dead"    // its watcher saw it end
)

// refusedStatuses sound like an end but do not say which one.
var refusedStatuses = []string{"down", "stopped", "exited", "offline"}

// Limits of what a beat may hold. Lengths are in bytes.
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
	MaxInteger    = 1<<53 - 1 // RFC 8259, 6: what every JSON library reads exactly

	MinIntervalMS = 100
	MaxIntervalMS = 400 * 24 * 3600 * 1000 // a job of once a year, and a month of patience
	MaxBackInMS   = MaxIntervalMS
	MaxGraceMS    = MaxIntervalMS
)

// A Beat is one heartbeat message. A zero field was absent, except PID, which
// is always there, and ExitCode, which has HasExitCode beside it.
type Beat struct {
	IP  netip.Addr // as the sender claims it; no zone, IPv4 unmapped
	PID uint32     // the watched process; 0 is the host, or nothing running

	// Together these take no room: a beat is kept for each connection.
	Watched     bool // the sender looks at the process from outside
	Cancel      bool // with StatusLeaving: takes back what BackInMS promised
	HasExitCode bool
	Ack         bool // please acknowledge
	Check       bool // validate and acknowledge, record nothing

	Status     string // never empty: StatusAlive if absent
	Host       string // as Host returns it
	Service    string
	Run        string // LIFE or LIFE.N, see Life
	Seq        int64  // 1..MaxInteger
	SentMS     int64  // sender's wall clock, unix ms
	To         string // the collector that it is for, as Host returns it; any if empty
	Boot       string
	StartMS    int64 // start of the watched process, ms since boot
	IntervalMS int64 // MinIntervalMS..MaxIntervalMS
	BackInMS   int64 // 0..MaxBackInMS; means something with StatusLeaving only
	GraceMS    int64 // 0..MaxGraceMS; replaces the margin

	ExitCode int64 // -2^31..2^32-1, so that Windows codes fit
	Signal   string

	RTTMicros int64

	Tags   []Label
	Fields []Field
}

// A Label is a free text that a sender gives to its beats.
type Label struct{ Key, Value string }

// A Field is a free value. Value holds a float64, a bool or a string.
type Field struct {
	Key   string
	Value any
}

// Leaving reports whether b announces a planned end.
func (b *Beat) Leaving() bool { return b.Status == StatusLeaving }

// Dead reports whether b reports an end seen by its watcher.
func (b *Beat) Dead() bool { return b.Status == StatusDead }

// canonicalStatus folds the statuses that mean something to their one
// spelling. It reports false for words that only sound like an end.
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

// HostAddr returns the address that Host is, or none if it is a name.
func (b *Beat) HostAddr() netip.Addr { return hostAddr(b.Host) }
