package wire

// A Latest is the latest beat of a stream. It remembers the text of the beat: the next
// one usually differs only in a few numbers. Only a Decoder may change it.
type Latest struct {
	Beat
	text    []byte // nil if too long
	numbers [len(changingKeys)]number
	found   uint8 // how many numbers were found in text
}

// changingKeys are the keys whose numbers change with each beat, and their least values.
var changingKeys = [...]struct {
	key   string
	least int64
}{seq: {"seq", 1}, sentMS: {"sent_ms", 0}, rttMicros: {"rtt_us", 0}}

const (
	seq = iota
	sentMS
	rttMicros
)

// maxRemembered is the longest text that is remembered, in bytes.
const maxRemembered = 512

// Trim drops a beat whose text is too long to be remembered, so that the memory of an idle stream
// is bounded.
func (l *Latest) Trim() {
	if l.text == nil {
		*l = Latest{}
	}
}

// A number is the position of the value of a changing key in a text.
type number struct {
	from   uint16
	length uint8 // at most 18, because no valid number has more digits
	which  uint8 // index in changingKeys
}

// remember stores the text of the beat.
func (l *Latest) remember(payload []byte, numbers []number) {
	if len(payload) > maxRemembered {
		l.text = nil
		return
	}
	l.text = append(l.text[:0], payload...)
	l.found = uint8(copy(l.numbers[:], numbers))
}

// decodeAgain decodes a payload that differs from the latest text only in the numbers: then
// only these have to be checked. It returns false and changes nothing if the text differs
// elsewhere, or if a number is invalid.
func (d *Decoder) decodeAgain(payload []byte, l *Latest) bool {
	if l.text == nil {
		return false
	}
	d.scan.data, d.scan.pos = payload, 0
	var values [len(changingKeys)]int64
	at := uint16(0)
	for _, n := range l.numbers[:l.found] {
		if !d.scan.skipText(l.text[at:n.from]) {
			return false
		}
		value, err := d.changing(n.which)
		if err != nil {
			return false
		}
		values[n.which], at = value, n.from+uint16(n.length)
	}
	if !d.scan.skipText(l.text[at:]) || d.scan.pos < len(payload) {
		return false
	}
	l.Seq, l.SentMS, l.RTTMicros = values[seq], values[sentMS], values[rttMicros]
	return true
}

// changing decodes the number of a changing key.
func (d *Decoder) changing(which uint8) (int64, error) {
	return d.integer(changingKeys[which].key, changingKeys[which].least, MaxInteger)
}

// noteChanging is like changing, and stores the position of the number.
func (d *Decoder) noteChanging(which uint8) (int64, error) {
	from := d.scan.pos
	n, err := d.changing(which)
	d.numbers = append(d.numbers, number{uint16(from), uint8(d.scan.pos - from), which})
	return n, err
}
