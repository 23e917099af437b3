package wire

import (
	"errors"
	"strconv"
)

// Limits of an answer.
const (
	MaxAnswer = 1 << 10 // bytes of its payload
	MaxNear   = 3       // names
)

// An Answer is an answer of a collector on a framed connection: an acknowledgement if the
// beat asked for one, or an error for each refused frame.
type Answer struct {
	Error string // why the frame was refused; empty for an acknowledgement
	Seq   int64  // of the acknowledged beat; 0 if it had none
	NowMS int64  // the collector's wall clock, unix ms

	DeadAfterMS int64  // the silence after which the peer is dead
	Rule        string // what set it
	ID          string // the peer of the beat

	Collector string   // its id, which a beat may name in To; empty from older collectors
	Unknown   bool     // the beat was a goodbye for an unknown peer, and was not recorded
	Near      []string // with Unknown: up to MaxNear peers with similar names
}

// AppendAnswer appends a as a payload to dst.
func AppendAnswer(dst []byte, a *Answer) []byte {
	w := objectWriter{dst: append(dst, '{')}
	if a.Error != "" {
		w.key("error")
		w.dst = appendEscaped(w.dst, visible(a.Error))
		w.integer("now_ms", a.NowMS)
		w.text("collector", a.Collector)
		return append(w.dst, '}')
	}
	w.key("ack")
	w.dst = strconv.AppendInt(w.dst, a.Seq, 10)
	w.integer("now_ms", a.NowMS)
	w.integer("dead_after_ms", a.DeadAfterMS)
	w.text("rule", a.Rule)
	w.text("id", a.ID)
	w.text("collector", a.Collector)
	if a.Unknown {
		w.key("known")
		w.dst = append(w.dst, "false"...)
	}
	w.near(a.Near, MaxAnswer-(len(w.dst)-len(dst)))
	return append(w.dst, '}')
}

// near appends as many names as fit into room bytes, together with the end of the answer.
func (w *objectWriter) near(names []string, room int) {
	room -= len(`,"near":[]}`)
	fit := 0
	for fit < min(len(names), MaxNear) && room >= len(names[fit])+len(`"",`) {
		room -= len(names[fit]) + len(`"",`)
		fit++
	}
	if fit == 0 {
		return
	}
	w.key("near")
	for i, name := range names[:fit] {
		w.dst = append(w.dst, "[,"[min(i, 1)])
		w.quoted(name)
	}
	w.dst = append(w.dst, ']')
}

// appendEscaped appends a printable text as a JSON string.
func appendEscaped(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, text[i])
	}
	return append(dst, '"')
}

// DecodeAnswer decodes the payload of an answer. It ignores unknown keys, like a collector.
func DecodeAnswer(payload []byte) (Answer, error) {
	var a Answer
	var d Decoder
	acked := false
	d.scan.reset(payload)
	err := d.scan.document(func(key []byte) error {
		acked = acked || string(key) == "ack"
		return d.answerMember(&a, key)
	})
	if err == nil && !acked && a.Error == "" {
		err = errors.New("answer is neither an acknowledgement nor an error")
	}
	return a, err
}

// answerMember decodes the value of one key into a.
func (d *Decoder) answerMember(a *Answer, key []byte) (err error) {
	switch string(key) {
	case "ack":
		a.Seq, err = d.integer("ack", 0, MaxInteger)
	case "error":
		a.Error, err = d.anyText("error")
	case "now_ms":
		a.NowMS, err = d.integer("now_ms", 0, MaxInteger)
	case "dead_after_ms":
		a.DeadAfterMS, err = d.integer("dead_after_ms", 0, MaxInteger)
	case "rule":
		a.Rule, err = d.anyText("rule")
	case "id":
		a.ID, err = d.anyText("id")
	case "collector":
		a.Collector, err = d.text("collector", "", MaxHost, isHostByte)
	case "known":
		var known bool
		known, err = d.boolean("known")
		a.Unknown = !known && err == nil
	case "near":
		a.Near, err = d.near()
	default:
		return d.scan.skip(1)
	}
	return err
}

// near decodes the names of peers.
func (d *Decoder) near() (names []string, err error) {
	if d.scan.peek() != '[' {
		return nil, d.wrongType("near", "an array")
	}
	err = d.scan.array(2, func() error {
		if len(names) == MaxNear {
			return refuse(ReasonLimit, "near: more than %d names", MaxNear)
		}
		name, err := d.text("near", "", MaxHost+1+MaxService, isServiceByte)
		names = append(names, name)
		return err
	})
	return names, err
}

// anyText decodes a string from a collector. It is not checked, so print it only quoted.
func (d *Decoder) anyText(key string) (string, error) {
	raw, err := d.str(key)
	return string(raw), err
}
