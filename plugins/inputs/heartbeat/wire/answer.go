package wire

import (
	"errors"
	"strconv"
)

// MaxAnswer bounds the payload of an answer, in bytes.
const MaxAnswer = 1 << 10

// An Answer is what a collector says back on a framed connection: an
// acknowledgement if the beat asked for one, an error for each refused frame.
type Answer struct {
	Error string // why the frame was refused; empty for an acknowledgement
	Seq   int64  // of the beat that is acknowledged; 0 if it had none
	NowMS int64  // the collector's wall clock, unix ms

	DeadAfterMS int64  // the silence allowed to this peer
	Rule        string // what set it
	ID          string // whom the collector took the beat for
}

// AppendAnswer appends a as a payload to dst.
func AppendAnswer(dst []byte, a *Answer) []byte {
	w := objectWriter{dst: append(dst, '{')}
	if a.Error != "" {
		w.key("error")
		w.dst = appendEscaped(w.dst, a.Error)
		w.integer("now_ms", a.NowMS)
		return append(w.dst, '}')
	}
	w.key("ack")
	w.dst = strconv.AppendInt(w.dst, a.Seq, 10)
	w.integer("now_ms", a.NowMS)
	w.integer("dead_after_ms", a.DeadAfterMS)
	w.text("rule", a.Rule)
	w.text("id", a.ID)
	return append(w.dst, '}')
}

// appendEscaped appends text, which is printable except for what it quotes,
// as a JSON string.
func appendEscaped(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for _, char := range text {
		switch {
		case char == '"' || char == '\\':
			dst = append(dst, '\\', byte(char))
		case char < 0x20:
			dst = append(dst, ' ')
		default:
			dst = append(dst, string(char)...)
		}
	}
	return append(dst, '"')
}

// DecodeAnswer reads the payload of an answer. Like a collector, a sender
// ignores keys it does not know.
func DecodeAnswer(payload []byte) (Answer, error) {
	var a Answer
	var d Decoder
	acked := false
	d.scan.reset(payload)
	err := d.scan.document(func(key []byte) (err error) {
		switch string(key) {
		case "ack":
			acked = true
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
		default:
			err = d.scan.skip(1)
		}
		return err
	})
	if err == nil && !acked && a.Error == "" {
		err = errors.New("answer is neither an acknowledgement nor an error")
	}
	return a, err
}

// anyText reads a string of a collector, which is printed quoted or not at
// all.
func (d *Decoder) anyText(key string) (string, error) {
	raw, err := d.str(key)
	return string(raw), err
}
