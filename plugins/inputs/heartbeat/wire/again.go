package wire

// A Latest is the latest beat of a stream. It remembers how that was written:
// most streams write the next one in the same way, but for a few numbers. Only a
// Decoder may change it.
type Latest struct {
	Beat
	text    []byte // nil if it is too long to be remembered
	numbers [len(changingKeys)]number
	found   uint8 // how many numbers are in text
}

// changingKeys are the keys whose numbers are others in each beat, and the least
// that each may be.
var changingKeys = [...]struct {
	key   string
	least int64
}{seq: {"seq", 1}, sentMS: {"sent_ms", 0}, rttMicros: {"rtt_us", 0}}

const (
	seq = iota
	sentMS
	rttMicros
)

// maxRemembered is how long a text that is remembered may be, in bytes.
const maxRemembered = 512

// Trim lets go of a beat that is too long to be remembered: what an idle stream keeps is bounded,
// whatever it once said.
func (l *Latest) Trim() {
	if l.text == nil {
		*l = Latest{}
	}
}

// A number is where the value of a changing key stands in a text.
type number struct {
	from   uint16
	length uint8 // at most 18, as no legal one has more digits
	which  uint8 // of changingKeys
}

// remember notes what the beat was read from.
func (l *Latest) remember(payload []byte, numbers []number) {
	if len(payload) > maxRemembered {
		l.text = nil
		return
	}
	l.text = append(l.text[:0], payload...)
	l.found = uint8(copy(l.numbers[:], numbers))
}

// decodeAgain reads payload if it is the latest text but for the numbers, which
// is all that has to be checked then. It reports false, and has changed nothing,
// if it is another text, or if a number is none that the key may have.
func (d *Decoder) decodeAgain(payload []byte, l *Latest) bool {
	if l.text == nil {
		return false
	}
	d.scan.data, d.scan.pos = payload, 0
	var values [len(changingKeys)]int64
	at := uint16(0)
	for _, n := range l.numbers[:l.found] {
		if !d.scan.same(l.text[at:n.from]) {
			return false
		}
		value, err := d.changing(n.which)
		if err != nil {
			return false
		}
		values[n.which], at = value, n.from+uint16(n.length)
	}
	if !d.scan.same(l.text[at:]) || d.scan.pos < len(payload) {
		return false
	}
	l.Seq, l.SentMS, l.RTTMicros = values[seq], values[sentMS], values[rttMicros]
	return true
}

// changing reads the number of a changing key.
func (d *Decoder) changing(which uint8) (int64, error) {
	return d.integer(changingKeys[which].key, changingKeys[which].least, MaxInteger)
}

// noteChanging is changing, and notes where the number is.
func (d *Decoder) noteChanging(which uint8) (int64, error) {
	from := d.scan.pos
	n, err := d.changing(which)
	d.numbers = append(d.numbers, number{uint16(from), uint8(d.scan.pos - from), which})
	return n, err
}
