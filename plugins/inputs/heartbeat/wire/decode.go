package wire

import (
	"bytes"
	"math"
	"strconv"
)

// A Decoder decodes beats. Between two beats it keeps only its buffers and at most one
// replaced beat, so that many streams can take turns with one Decoder.
type Decoder struct {
	scan    scanner
	beat    Beat
	before  *Beat
	hasPID  bool
	numbers []number // of the text being read
}

// Decode decodes a payload with one beat. An error is a *Refusal.
func Decode(payload []byte) (*Beat, error) {
	beat := new(Beat)
	return beat, new(Decoder).read(payload, beat)
}

// Decode decodes a payload with one beat, and replaces the latest one of its stream. It reuses
// the strings that have not changed, so that repeated beats allocate no memory. On an error,
// which is a *Refusal, the latest beat does not change.
func (d *Decoder) Decode(payload []byte, latest *Latest) error {
	defer d.release()
	if d.decodeAgain(payload, latest) {
		return nil
	}
	if err := d.read(payload, &latest.Beat); err != nil {
		return err
	}
	latest.remember(payload, d.numbers)
	return nil
}

// release drops the references to the stream.
func (d *Decoder) release() { d.before, d.scan.data = nil, nil }

func (d *Decoder) read(payload []byte, beat *Beat) error {
	d.scan.reset(payload)
	d.before = beat
	d.beat = Beat{Status: StatusAlive, Tags: d.beat.Tags[:0], Fields: d.beat.Fields[:0]}
	d.hasPID = false
	d.numbers = d.numbers[:0]
	if err := d.scan.document(d.member); err != nil {
		return err
	}
	if !d.hasPID {
		return refuse(ReasonMissing, "pid is missing: use 0 for the host itself")
	}
	*beat, d.beat = d.beat, *beat
	return nil
}

// member decodes the value of one key. It ignores unknown keys. The first byte of the value
// decides which keys it tries first.
func (d *Decoder) member(key []byte) error {
	isText := d.scan.peek() == '"'
	if isText {
		if known, err := d.textMember(key); known {
			return err
		}
	}
	if known, err := d.numberMember(key); known {
		return err
	}
	if !isText {
		if known, err := d.textMember(key); known {
			return err
		}
	}
	return d.otherMember(key)
}

// textMember decodes the value of a key whose value is a string. It returns false for any
// other key.
func (d *Decoder) textMember(key []byte) (known bool, err error) {
	b, old := &d.beat, d.before
	switch string(key) {
	case "ip":
		err = d.addr()
	case "status":
		err = d.status()
	case "host":
		b.Host, err = d.hostText("host", old.Host)
	case "service":
		b.Service, err = d.text("service", old.Service, MaxService, isServiceByte)
	case "run":
		b.Run, err = d.text("run", old.Run, MaxRun, isOpaqueByte)
	case "to":
		b.To, err = d.hostText("to", old.To)
	case "boot":
		b.Boot, err = d.text("boot", old.Boot, MaxBoot, isOpaqueByte)
	case "signal":
		b.Signal, err = d.text("signal", old.Signal, MaxSignal, isSignalByte)
	default:
		return false, nil
	}
	return true, err
}

// numberMember decodes the value of a key whose value is an integer. It returns false for
// any other key.
func (d *Decoder) numberMember(key []byte) (known bool, err error) {
	b := &d.beat
	switch string(key) {
	case "v":
		err = d.version()
	case "pid":
		b.PID, err = d.pid()
	case "seq":
		b.Seq, err = d.noteChanging(seq)
	case "sent_ms":
		b.SentMS, err = d.noteChanging(sentMS)
	case "rtt_us":
		b.RTTMicros, err = d.noteChanging(rttMicros)
	case "start_ms":
		b.StartMS, err = d.integer("start_ms", 0, MaxInteger)
	case "interval_ms":
		b.IntervalMS, err = d.clamped("interval_ms", MinIntervalMS, MaxIntervalMS)
	case "back_in_ms":
		b.BackInMS, err = d.clamped("back_in_ms", 0, MaxBackInMS)
	case "grace_ms":
		b.GraceMS, err = d.clamped("grace_ms", 0, MaxGraceMS)
	case "exit_code":
		b.ExitCode, err = d.integer("exit_code", math.MinInt32, math.MaxUint32)
		b.HasExitCode = true
	default:
		return false, nil
	}
	return true, err
}

// otherMember decodes the value of a key whose value is neither a string nor an integer, and
// skips the value of an unknown key.
func (d *Decoder) otherMember(key []byte) (err error) {
	b := &d.beat
	switch string(key) {
	case "watched":
		b.Watched, err = d.boolean("watched")
	case "cancel":
		b.Cancel, err = d.boolean("cancel")
	case "ack":
		b.Ack, err = d.boolean("ack")
	case "check":
		b.Check, err = d.boolean("check")
	case "tags":
		return d.entries("tags", (*Decoder).tag)
	case "fields":
		return d.entries("fields", (*Decoder).field)
	default:
		return d.scan.skip(1)
	}
	return err
}

func (d *Decoder) pid() (uint32, error) {
	pid, err := d.integer("pid", 0, math.MaxUint32)
	d.hasPID = true
	return uint32(pid), err
}

// clamped decodes a duration and clamps it to low..high. It refuses zero if low is above
// zero.
func (d *Decoder) clamped(key string, low, high int64) (int64, error) {
	n, err := d.integer(key, min(low, 1), MaxInteger)
	return min(max(n, low), high), err
}

func (d *Decoder) version() error {
	v, err := d.integer("v", 1, MaxInteger)
	if err == nil && v != 1 {
		return refuse(ReasonVersion, "v: protocol version %d is not supported, only 1 is", v)
	}
	return err
}

func (d *Decoder) addr() error {
	raw, err := d.str("ip")
	if err != nil {
		return err
	}
	d.beat.IP = d.before.IP
	var text [len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]byte
	if !d.beat.IP.IsValid() || !bytes.Equal(raw, d.beat.IP.AppendTo(text[:0])) {
		d.beat.IP, err = parseAddr(string(raw))
	}
	return err
}

func (d *Decoder) status() error {
	text, err := d.text("status", d.before.Status, MaxStatus, isStatusByte)
	if err != nil {
		return err
	}
	status, ok := canonicalStatus(text)
	if !ok {
		return refuseStatus(text)
	}
	d.beat.Status = status
	return nil
}

func (d *Decoder) entries(key string, entry func(d *Decoder, name []byte) error) error {
	if d.scan.peek() != '{' {
		return d.wrongType(key, "an object")
	}
	return d.scan.object(2, func(name []byte) error {
		if err := checkText(key, name, MaxLabelKey, isWord); err != nil {
			return err
		}
		return within(key, entry(d, name))
	})
}

func (d *Decoder) tag(name []byte) error {
	n := len(d.beat.Tags)
	if n == MaxEntries {
		return tooMany(n + 1)
	}
	var old Label
	if n < len(d.before.Tags) {
		old = d.before.Tags[n]
	}
	key := reuse(old.Key, name)
	value, err := d.labelValue(key, old.Value)
	d.beat.Tags = append(d.beat.Tags, Label{Key: key, Value: value})
	return err
}

func (d *Decoder) field(name []byte) error {
	n := len(d.beat.Fields)
	if n == MaxEntries {
		return tooMany(n + 1)
	}
	var old Field
	if n < len(d.before.Fields) {
		old = d.before.Fields[n]
	}
	key := reuse(old.Key, name)
	value, err := d.fieldValue(key, old.Value)
	d.beat.Fields = append(d.beat.Fields, Field{Key: key, Value: value})
	return err
}

func (d *Decoder) fieldValue(key string, old any) (any, error) {
	switch c := d.scan.peek(); {
	case c == '"':
		was, _ := old.(string)
		value, err := d.labelValue(key, was)
		if value == was && old != nil {
			return old, err
		}
		return value, err
	case c == 't' || c == 'f':
		return d.boolean(key)
	case c == '-' || isDigit(c):
		return d.float(key, old)
	default:
		return nil, d.wrongType(key, "a number, a boolean or a string")
	}
}

func (d *Decoder) float(key string, old any) (any, error) {
	raw, err := d.scan.number()
	if err != nil {
		return nil, err
	}
	value, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return nil, refuse(ReasonValue, "%s: %s is out of range", key, quote(raw))
	}
	if was, ok := old.(float64); ok && was == value {
		return old, nil
	}
	return value, nil
}

func (d *Decoder) labelValue(key, old string) (string, error) {
	raw, err := d.str(key)
	if err != nil {
		return "", err
	}
	if string(raw) == old && old != "" {
		return old, nil // it was checked before
	}
	return string(raw), checkLabelValue(key, raw)
}

func (d *Decoder) text(key, old string, limit int, allowed func(byte) bool) (string, error) {
	raw, err := d.str(key)
	if err != nil {
		return "", err
	}
	if string(raw) == old && old != "" {
		return old, nil // it was checked before
	}
	return string(raw), checkText(key, raw, limit, allowed)
}

func (d *Decoder) hostText(key, old string) (string, error) {
	raw, err := d.str(key)
	if err != nil {
		return "", err
	}
	if string(raw) == old && old != "" {
		return old, nil // hostOf returned it before
	}
	return hostOf(key, raw)
}

func (d *Decoder) str(key string) ([]byte, error) {
	if d.scan.peek() != '"' {
		return nil, d.wrongType(key, "a string")
	}
	return d.scan.str()
}

func (d *Decoder) boolean(key string) (bool, error) {
	switch {
	case d.scan.skipWord("true"):
		return true, nil
	case d.scan.skipWord("false"):
		return false, nil
	default:
		return false, d.wrongType(key, "true or false")
	}
}

// integer decodes a number without a fraction or an exponent.
func (d *Decoder) integer(key string, low, high int64) (int64, error) {
	if n, plain := d.scan.plainInteger(); plain {
		return n, checkRange(key, n, low, high)
	}
	if c := d.scan.peek(); c != '-' && !isDigit(c) {
		return 0, d.wrongType(key, "an integer")
	}
	raw, err := d.scan.number()
	if err != nil {
		return 0, err
	}
	n, ok := parseInteger(raw)
	if !ok {
		return 0, refuse(ReasonValue, "%s: %s is not an integer in %d..%d", key, quote(raw), low, high)
	}
	return n, checkRange(key, n, low, high)
}

// maxDigits is the limit of digits of an integer: more are out of every allowed range.
const maxDigits = 18

// parseInteger returns false for a number that is not an integer or has more than maxDigits.
func parseInteger(raw []byte) (int64, bool) {
	digits := raw
	if raw[0] == '-' {
		digits = raw[1:]
	}
	if len(digits) > maxDigits {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if raw[0] == '-' {
		n = -n
	}
	return n, true
}

func (d *Decoder) wrongType(key, wanted string) error {
	return refuse(ReasonType, "%s: %s where %s should be", key, quote(d.scan.data[d.scan.pos:]), wanted)
}

// reuse returns old if it equals raw, to save an allocation.
func reuse(old string, raw []byte) string {
	if old == string(raw) {
		return old
	}
	return string(raw)
}
