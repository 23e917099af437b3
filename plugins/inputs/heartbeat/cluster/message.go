package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A message begins with the 32 bytes of an HMAC-SHA256. The header and the body follow; the HMAC
// signs both. All numbers of fixed size are big-endian.
//
//	1  version of the protocol
//	1  kind
//	8  start: a random number, new at each start of a collector
//	8  to: start of the receiving collector, 0 for all
//	8  counter: grows with each message of that start
//	8  time of sending, in ms since that start
//	1  length of the name, followed by the name of the collector
const (
	version    = 1
	sumSize    = sha256.Size
	headerSize = 35 // without the name
	// maxBody is the size of a body in bytes beyond which the rest is sent in another message.
	maxBody = 200 << 10
)

// MaxName is the maximum length of a collector's name in bytes.
const MaxName = 64

// A kind says what the body of a message contains.
type kind byte

const (
	kindPresence kind = iota + 1 // JSON, presence
	kindBye                      // empty: the collector stops
	kindQuestion                 // number, hashes
	kindAnswer                   // number, words
	kindWords                    // words
	kindFacts                    // JSON, []liveness.Fact
	kindWant                     // hashes
	kindRecords                  // JSON, known
	kindReported                 // reported events
)

// A header is the decoded header of a message.
type header struct {
	version byte
	kind    kind
	start   uint64
	to      uint64
	counter uint64
	sent    time.Duration
	name    string
}

// signMessage returns a message with the given header and body, signed with key.
func signMessage(key []byte, h *header, body []byte) []byte {
	m := make([]byte, sumSize, sumSize+headerSize+len(h.name)+len(body))
	m = append(m, h.version, byte(h.kind))
	for _, n := range []uint64{h.start, h.to, h.counter, uint64(h.sent.Milliseconds())} {
		m = binary.BigEndian.AppendUint64(m, n)
	}
	m = append(m, byte(len(h.name)))
	m = append(append(m, h.name...), body...)
	sum := hmac.New(sha256.New, key)
	sum.Write(m[sumSize:])
	sum.Sum(m[:0])
	return m
}

// verifyMessage verifies a message and returns its header and body. The body may have the format of
// another version.
func verifyMessage(key, m []byte) (h header, body []byte, err error) {
	if len(m) < sumSize+headerSize {
		return h, nil, errors.New("it is too short")
	}
	sum := hmac.New(sha256.New, key)
	sum.Write(m[sumSize:])
	if !hmac.Equal(sum.Sum(nil), m[:sumSize]) {
		return h, nil, errors.New("its signature is wrong")
	}
	rest := m[sumSize:]
	h.version, h.kind, rest = rest[0], kind(rest[1]), rest[2:]
	var sent uint64
	for _, n := range []*uint64{&h.start, &h.to, &h.counter, &sent} {
		*n, rest = binary.BigEndian.Uint64(rest), rest[8:]
	}
	h.sent = time.Duration(sent) * time.Millisecond
	length := int(rest[0])
	if length > len(rest)-1 || length > MaxName {
		return h, nil, errors.New("its name is too long")
	}
	h.name = string(rest[1 : 1+length])
	return h, rest[1+length:], nil
}

// A presence is a message that announces that a collector is running, and what state it is in.
type presence struct {
	Rules    map[string]uint64  `json:"rules"` // hashes of its options
	WallMS   int64              `json:"wall_ms"`
	Able     bool               `json:"able"`     // Telegraf accepts its metrics
	Isolated bool               `json:"isolated"` // it is probably cut off
	Ready    bool               `json:"ready"`    // it has what its mates know
	Speaks   bool               `json:"speaks"`   // it reports events
	Hears    map[uint64]receipt `json:"hears"`    // starts from which it has recently received a presence
}

// A receipt says which messages a collector last received from another one.
type receipt struct {
	Asked  uint32 `json:"asked"`   // the last question of the other one that it has answered
	SentMS int64  `json:"sent_ms"` // when the other one sent its last message, in ms since that start
}

// A recordSet is a set of records. Its times are by the wall clock of the collector that sends it.
type recordSet struct {
	WallNS  int64             `json:"wall_ns"` // now, unix ns
	Records []liveness.Record `json:"records"`
	Reply   bool              `json:"reply"` // it replies to records, and needs no reply itself
}

// unit is the unit of durations in a Word. Durations are rounded so that the last beat of a peer
// never seems newer than it is.
const unit = 20 * time.Millisecond

// The bits of the flags of a Word.
const (
	flagHeard = 1 << iota
	flagVerified
	flagConnected
	flagPromise
	flagSince
	flagDoubt
	flagVacant
	flagLone
)

// stateJobs is a bit of the state in a Word. It is set if the Word ends with the fingerprint of the
// jobs.
const stateJobs = 0x80

// appendWord appends w: hash of ID (8 bytes), fingerprints of process (4) and events (2), flags,
// state and reason (1 each). The next values are varints: age, suspect, dead, deaths, and,
// depending on the flags, window and promise, since, doubt. The fingerprint of the jobs (2) comes
// last, if the peer has jobs.
func appendWord(b []byte, w *liveness.Word) []byte {
	b = binary.BigEndian.AppendUint64(b, w.ID)
	b = binary.BigEndian.AppendUint32(b, w.Process)
	b = binary.BigEndian.AppendUint16(b, w.Events)
	flags, state := flagsOf(w), byte(w.State)
	if w.Jobs != 0 {
		state |= stateJobs
	}
	b = append(b, flags, state, byte(w.Reason))
	b = binary.AppendUvarint(b, uint64((max(w.Age, 0)+unit-1)/unit))
	b = binary.AppendVarint(b, roundDown(w.Suspect))
	b = binary.AppendVarint(b, roundDown(w.Dead))
	b = binary.AppendUvarint(b, w.Deaths)
	if flags&flagPromise != 0 {
		b = binary.AppendUvarint(b, uint64((w.Window+unit-1)/unit))
		b = binary.AppendUvarint(b, uint64((w.Promise+unit-1)/unit))
	}
	if flags&flagSince != 0 {
		b = binary.AppendUvarint(b, uint64(max(w.Since, 0)/unit))
	}
	if flags&flagDoubt != 0 {
		b = binary.AppendUvarint(b, uint64((w.Doubt+unit-1)/unit))
	}
	if w.Jobs != 0 {
		b = binary.BigEndian.AppendUint16(b, w.Jobs)
	}
	return b
}

func flagsOf(w *liveness.Word) (flags byte) {
	set := func(is bool, flag byte) {
		if is {
			flags |= flag
		}
	}
	set(w.Heard, flagHeard)
	set(w.Verified, flagVerified)
	set(w.Connected, flagConnected)
	set(w.Window > 0 || w.Promise > 0, flagPromise)
	set(w.State != liveness.Alive, flagSince)
	set(w.Doubt > 0, flagDoubt)
	set(w.Vacant, flagVacant)
	set(w.Lone, flagLone)
	return flags
}

// roundDown returns the number of units in d, rounded down.
func roundDown(d time.Duration) int64 {
	n := int64(d / unit)
	if d < 0 && d%unit != 0 {
		n--
	}
	return n
}

// A reader decodes a body. After an error, all its methods return zero values.
type reader struct {
	rest   []byte
	failed bool
}

var errShort = errors.New("it is truncated")

func (r *reader) err() error {
	if r.failed {
		return errShort
	}
	return nil
}

func (r *reader) bytes(n int) []byte {
	if r.failed = r.failed || len(r.rest) < n; r.failed {
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.bytes(8)) }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.bytes(2)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.bytes(4)) }

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	r.skip(size)
	return n
}

func (r *reader) varint() int64 {
	n, size := binary.Varint(r.rest)
	r.skip(size)
	return n
}

func (r *reader) skip(size int) {
	if r.failed = r.failed || size <= 0; !r.failed {
		r.rest = r.rest[size:]
	}
}

// longest is longer than any duration that a collector sends.
const longest = 20 * 365 * 24 * time.Hour

// spanOf returns a duration of n units. It is limited so that sums of durations do not overflow.
func spanOf(n int64) time.Duration {
	limit := int64(longest / unit)
	return time.Duration(min(max(n, -limit), limit)) * unit
}

func (r *reader) span() time.Duration { return spanOf(int64(min(r.uvarint(), uint64(longest)))) }

func (r *reader) word() (w liveness.Word) {
	w.ID, w.Process, w.Events = r.uint64(), r.uint32(), r.uint16()
	b := r.bytes(3)
	flags := b[0]
	w.Heard, w.Verified, w.Connected = flags&flagHeard != 0, flags&flagVerified != 0, flags&flagConnected != 0
	w.Vacant, w.Lone = flags&flagVacant != 0, flags&flagLone != 0
	w.State, w.Reason = liveness.State(b[1]&^stateJobs), liveness.Reason(b[2])
	w.Age, w.Suspect, w.Dead, w.Deaths = r.span(), spanOf(r.varint()), spanOf(r.varint()), min(r.uvarint(), 1<<62)
	if flags&flagPromise != 0 {
		w.Window, w.Promise = r.span(), r.span()
	}
	if flags&flagSince != 0 {
		w.Since = r.span()
	}
	if flags&flagDoubt != 0 {
		w.Doubt = r.span()
	}
	if b[1]&stateJobs != 0 {
		w.Jobs = r.uint16()
	}
	r.failed = r.failed || int(w.State) >= len(liveness.States) || !w.Reason.Valid()
	return w
}

// words returns all remaining words.
func (r *reader) words() (all []liveness.Word) {
	for len(r.rest) > 0 && !r.failed {
		all = append(all, r.word())
	}
	return all
}

// appendReported appends a reported event: its id (8 bytes), the hash of the peer (8), and how long
// ago it was reported, as a varint.
func appendReported(b []byte, t *liveness.ReportedEvent) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.EventID))
	b = binary.BigEndian.AppendUint64(b, t.Peer)
	return binary.AppendUvarint(b, uint64(max(t.Ago, 0)/unit))
}

// reported returns all remaining reported events.
func (r *reader) reported() (all []liveness.ReportedEvent) {
	for len(r.rest) > 0 && !r.failed {
		all = append(all, liveness.ReportedEvent{EventID: int64(r.uint64()), Peer: r.uint64(), Ago: r.span()})
	}
	return all
}

// hashes returns all remaining numbers of 8 bytes.
func (r *reader) hashes() (all []uint64) {
	for len(r.rest) > 0 && !r.failed {
		all = append(all, r.uint64())
	}
	return all
}

// decode decodes a JSON body into a value.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("cannot decode it: %w", err)
	}
	return nil
}
