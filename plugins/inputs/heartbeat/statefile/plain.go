package statefile

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// With encoding/json, encoding a million peers would take half a minute. So this file lists the
// members of a line again, in order, and a visitor writes or reads each of them. A line that a
// plainReader cannot read is decoded by encoding/json, which also reports errors. A test checks
// that both give the same results.

// A visitor visits the members of a JSON object in order. Members with zero values are omitted.
// Each name is passed with its quotes and colon.
type visitor interface { //nolint:interfacebloat // one method for each kind of member
	number(name string, n int64) int64 // returns n, or the number read
	text(name string, s *string)
	flag(name string, is *bool)
	instant(name string, at *time.Time)
	address(name string, addr *netip.Addr)
	numbers(name string, all []uint32)
	// object begins a nested object, and reports whether there is one. end ends the object.
	object(name string, there bool) bool
	end()
	// list begins a list of n objects, and reports whether there is one. item begins object i of the
	// list, and endItem ends it. item is called until it returns false.
	list(name string, n int) bool
	item(i int) bool
	endItem()
	// rareList writes a list of n objects. It is for lists that few peers have, and uses
	// encoding/json.
	rareList(name string, n int, all any)
	// refuse notes that a number does not fit its type.
	refuse()
}

func (l *line) visit(v visitor) {
	visitInteger(v, `"life":`, &l.Life)
	visitInteger(v, `"listened_ns":`, &l.Listened)
	v.instant(`"at":`, &l.At)
	v.flag(`"end":`, &l.End)
	if v.object(`"gone":`, l.Gone != nil) {
		l.Gone = cmp.Or(l.Gone, new(liveness.ID))
		visitID(v, l.Gone)
		v.end()
	}
	if v.object(`"peer":`, l.saved != nil) {
		l.saved = cmp.Or(l.saved, l.spare)
		l.saved.visit(v)
		v.end()
	}
}

func (p *savedPeer) visit(v visitor) {
	if v.object(`"id":`, true) {
		visitID(v, &p.ID)
		v.end()
	}
	v.address(`"addr":`, &p.Addr)
	visitAll(v, `"labels":`, &p.Labels, func(v visitor, l *liveness.Label) {
		v.text(`"Key":`, &l.Key)
		v.text(`"Value":`, &l.Value)
	})
	p.visitState(v)
	p.visitSilence(v)
	p.visitPromise(v)
	visitInteger(v, `"phase_ns":`, &p.Phase)
	visitInteger(v, `"learnt_ns":`, &p.Learnt)
	visitInteger(v, `"lateness_ns":`, &p.Lateness)
	visitInteger(v, `"taught":`, &p.Taught)
	v.rareList(`"jobs":`, len(p.Jobs), p.Jobs)
	v.rareList(`"jobs_ended":`, len(p.JobsEnded), p.JobsEnded)
	p.visitProcesses(v)
	p.visitTotals(v)
}

func visitID(v visitor, id *liveness.ID) {
	v.text(`"Source":`, &id.Source)
	v.text(`"Service":`, &id.Service)
	visitInteger(v, `"PID":`, &id.PID)
}

func (p *savedPeer) visitState(v visitor) {
	visitInteger(v, `"state":`, &p.State)
	visitInteger(v, `"reason":`, &p.Reason)
	v.instant(`"since":`, &p.Since)
	visitInteger(v, `"health":`, &p.Health)
	if v.object(`"trail":`, true) {
		v.numbers(`"Counts":`, p.Events.Counts[:])
		v.end()
	}
	visitInteger(v, `"evidence":`, &p.Evidence)
	v.flag(`"expected":`, &p.Expected)
	v.flag(`"watched":`, &p.Watched)
	v.flag(`"long":`, &p.Long)
	v.flag(`"lone":`, &p.Lone)
	v.flag(`"crowded":`, &p.Crowded)
}

func (p *savedPeer) visitSilence(v visitor) {
	visitInteger(v, `"interval_ns":`, &p.Interval)
	visitInteger(v, `"margin_ns":`, &p.Margin)
	v.instant(`"heard":`, &p.Heard)
	visitInteger(v, `"used_ns":`, &p.Used)
	visitInteger(v, `"dead_ns":`, &p.Dead)
	v.flag(`"extended":`, &p.Extended)
	v.flag(`"fresh":`, &p.Fresh)
	visitInteger(v, `"bonus_ns":`, &p.Bonus)
	v.instant(`"due":`, &p.Due)
	visitInteger(v, `"patience_ns":`, &p.Patience)
	visitInteger(v, `"held_ns":`, &p.Held)
	visitInteger(v, `"held_partly_ns":`, &p.HeldPartly)
	visitInteger(v, `"spared_ns":`, &p.Spared)
}

func (p *savedPeer) visitPromise(v visitor) {
	visitInteger(v, `"window_ns":`, &p.Window)
	v.instant(`"promise":`, &p.Promise)
	v.text(`"window_by":`, &p.WindowBy)
	v.flag(`"foreign":`, &p.Foreign)
	v.text(`"heard_by":`, &p.HeardBy)
	v.text(`"ended_by":`, &p.EndedBy)
	v.flag(`"shared":`, &p.Shared)
	v.text(`"rule":`, &p.Rule)
}

func (p *savedPeer) visitProcesses(v visitor) {
	if v.object(`"process":`, true) {
		v.text(`"Boot":`, &p.Process.Boot)
		visitInteger(v, `"PID":`, &p.Process.PID)
		visitInteger(v, `"Start":`, &p.Process.Start)
		v.end()
	}
	v.rareList(`"others":`, len(p.Others), p.Others)
	v.rareList(`"replaced":`, len(p.Replaced), p.Replaced)
	visitAll(v, `"runs":`, &p.Runs, func(v visitor, r *liveness.Run) {
		v.text(`"Name":`, &r.Name)
		visitInteger(v, `"High":`, &r.High)
	})
	visitAll(v, `"signed":`, &p.Signed, func(v visitor, r *liveness.SignedRun) {
		v.text(`"Name":`, &r.Name)
		visitInteger(v, `"High":`, &r.High)
		visitInteger(v, `"SentMS":`, &r.SentMS)
		visitInteger(v, `"HeardMS":`, &r.HeardMS)
	})
	visitInteger(v, `"sent_ms":`, &p.SentMS)
	visitInteger(v, `"owner":`, &p.Owner)
	visitInteger(v, `"lag_ms":`, &p.Lag)
	visitInteger(v, `"carried_ms":`, &p.Carried)
	v.text(`"speaker":`, &p.Speaker)
	visitAll(v, `"speakers":`, &p.Speakers, func(v visitor, s *liveness.Speaker) {
		v.text(`"Life":`, &s.Life)
		visitInteger(v, `"SinceNS":`, &s.SinceNS)
	})
}

func (p *savedPeer) visitTotals(v visitor) {
	visitInteger(v, `"exit_code":`, &p.ExitCode)
	v.flag(`"has_exit_code":`, &p.HasExitCode)
	visitInteger(v, `"dead_for_ns":`, &p.DeadFor)
	v.rareList(`"flaps":`, len(p.Flaps), inUTC(p.Flaps))
	if v.object(`"counters":`, true) {
		visitInteger(v, `"Beats":`, &p.Beats)
		visitInteger(v, `"Lost":`, &p.Lost)
		visitInteger(v, `"Late":`, &p.Late)
		visitInteger(v, `"Duplicates":`, &p.Duplicates)
		visitInteger(v, `"Limited":`, &p.Limited)
		visitInteger(v, `"Restarts":`, &p.Restarts)
		visitInteger(v, `"Deaths":`, &p.Deaths)
		visitInteger(v, `"Mistakes":`, &p.Mistakes)
		visitInteger(v, `"Conflicts":`, &p.Conflicts)
		v.end()
	}
}

// inUTC returns copies of the times in UTC, because times are written in UTC. The times of a record
// belong to the tracker and must not be changed.
func inUTC(all []time.Time) (utc []time.Time) {
	for _, at := range all {
		utc = append(utc, at.UTC())
	}
	return utc
}

// visitInteger visits a number of any of these integer types.
func visitInteger[T ~int64 | ~uint8 | ~uint32 | ~uint64](v visitor, name string, x *T) {
	n := v.number(name, int64(*x))
	if *x = T(n); int64(*x) != n || n < 0 && *x > 0 {
		v.refuse()
	}
}

// visitAll visits a list of objects. visit visits one object of the list.
func visitAll[T any](v visitor, name string, all *[]T, visit func(visitor, *T)) {
	if !v.list(name, len(*all)) {
		return
	}
	for i := 0; v.item(i); i++ {
		if i == len(*all) {
			*all = append(*all, *new(T))
		}
		visit(v, &(*all)[i])
		v.endItem()
	}
}

// A plainWriter is a visitor that writes members as JSON.
type plainWriter struct {
	out   []byte
	begun []int // where the open objects begin
	items int   // in the current list
}

// key writes the name of a member, and a comma before it if needed.
func (w *plainWriter) key(name string) {
	if last := w.out[len(w.out)-1]; last != '{' {
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, name...)
}

func (w *plainWriter) number(name string, n int64) int64 {
	if n != 0 {
		w.key(name)
		w.out = strconv.AppendInt(w.out, n, 10)
	}
	return n
}

func (w *plainWriter) text(name string, s *string) {
	if *s != "" {
		w.key(name)
		w.quote(*s)
	}
}

// quote writes s as a JSON string.
func (w *plainWriter) quote(s string) {
	if !isPlain(s) {
		quoted, _ := json.Marshal(s) //nolint:errcheck,errchkjson // works for any string
		w.out = append(w.out, quoted...)
		return
	}
	w.out = append(w.out, '"')
	w.out = append(w.out, s...)
	w.out = append(w.out, '"')
}

// isPlain reports whether a string can be written without escapes.
func isPlain(s string) bool {
	ascii := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return false
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	return ascii || utf8.ValidString(s)
}

func (w *plainWriter) flag(name string, is *bool) {
	if *is {
		w.key(name)
		w.out = append(w.out, "true"...)
	}
}

// instant writes a time in UTC, because RFC 3339 cannot represent some time zones of the year 1900.
func (w *plainWriter) instant(name string, at *time.Time) {
	if !at.IsZero() {
		w.key(name)
		w.out = append(w.out, '"')
		w.out = at.UTC().AppendFormat(w.out, time.RFC3339Nano)
		w.out = append(w.out, '"')
	}
}

func (w *plainWriter) address(name string, addr *netip.Addr) {
	if addr.IsValid() {
		w.key(name)
		w.quote(addr.String())
	}
}

func (w *plainWriter) numbers(name string, all []uint32) {
	start := len(w.out)
	w.key(name)
	some := uint32(0)
	for i, n := range all {
		w.out = append(w.out, "[,"[min(i, 1)])
		w.out = strconv.AppendUint(w.out, uint64(n), 10)
		some |= n
	}
	if w.out = append(w.out, ']'); some == 0 {
		w.out = w.out[:start]
	}
}

func (w *plainWriter) object(name string, there bool) bool {
	if there {
		w.begun = append(w.begun, len(w.out))
		w.key(name)
		w.out = append(w.out, '{')
	}
	return there
}

func (w *plainWriter) end() {
	last := len(w.begun) - 1
	if w.out[len(w.out)-1] == '{' { // an empty object is omitted
		w.out = w.out[:w.begun[last]]
	} else {
		w.out = append(w.out, '}')
	}
	w.begun = w.begun[:last]
}

func (w *plainWriter) list(name string, n int) bool {
	if w.items = n; n > 0 {
		w.key(name)
		w.out = append(w.out, '[')
	}
	return n > 0
}

func (w *plainWriter) item(i int) bool {
	switch {
	case i == w.items:
		w.out = append(w.out, ']')
		return false
	case i > 0:
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, '{')
	return true
}

func (w *plainWriter) endItem() { w.out = append(w.out, '}') }

func (w *plainWriter) rareList(name string, n int, all any) {
	if n > 0 {
		w.key(name)
		text, _ := json.Marshal(all) //nolint:errcheck,errchkjson // CheckRecord rejects everything that could fail
		w.out = append(w.out, text...)
	}
}

func (*plainWriter) refuse() {}

// A plainReader is a visitor that reads the output of a plainWriter.
type plainReader struct {
	rest     []byte
	notPlain bool // the text is not plain
	first    bool // the next member is the first of its object
	latest   string
}

// readPlain decodes the object of a line into l and p. It reports whether the text is in the format
// of a plainWriter. If not, the results are invalid.
func readPlain(object []byte, p *savedPeer) (l line, plain bool) {
	*p = savedPeer{}
	l.spare = p
	r := &plainReader{rest: object, first: true}
	r.expect('{')
	l.visit(r)
	r.end()
	return l, !r.notPlain && len(r.rest) == 0
}

// nextIs reports whether the named member is the next one. If it is, nextIs skips the name.
func (r *plainReader) nextIs(name string) bool {
	text := r.rest
	if !r.first {
		if len(text) == 0 || text[0] != ',' {
			return false
		}
		text = text[1:]
	}
	n := len(name)
	if len(text) <= n || text[1] != name[1] || string(text[:n]) != name {
		return false
	}
	r.rest, r.first = text[n:], false
	return true
}

// expect skips the character c, which must be the next one.
func (r *plainReader) expect(c byte) {
	if len(r.rest) == 0 || r.rest[0] != c {
		r.refuse()
		return
	}
	r.rest = r.rest[1:]
}

// refuse notes that encoding/json must decode the line.
func (r *plainReader) refuse() { r.notPlain, r.rest = true, nil }

func (r *plainReader) number(name string, n int64) int64 {
	if r.nextIs(name) {
		return r.integer()
	}
	return n
}

// integer reads an integer from the text.
func (r *plainReader) integer() int64 {
	const most = 19 // digits; with so many, an overflow shows in the sign
	i, n, negative := 0, int64(0), r.rest[0] == '-'
	if negative {
		i++
	}
	start := i
	for ; i < len(r.rest) && r.rest[i]-'0' < 10; i++ {
		n = 10*n + int64(r.rest[i]-'0')
	}
	if digits := i - start; digits == 0 || digits > most || n < 0 || digits > 1 && r.rest[start] == '0' {
		r.refuse()
		return 0
	}
	r.rest = r.rest[i:]
	if negative {
		return -n
	}
	return n
}

func (r *plainReader) text(name string, s *string) {
	if !r.nextIs(name) {
		return
	}
	if text := r.quoted(); string(text) != r.latest {
		r.latest = string(text) // shared by a run and its speaker
	}
	*s = r.latest
}

// quoted reads a JSON string without escapes.
func (r *plainReader) quoted() []byte {
	r.expect('"')
	ascii := true
	for i, c := range r.rest {
		switch {
		case c == '"' && (ascii || utf8.Valid(r.rest[:i])):
			text := r.rest[:i]
			r.rest = r.rest[i+1:]
			return text
		case c == '"', c == '\\', c < ' ':
			r.refuse()
			return nil
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	r.refuse()
	return nil
}

func (r *plainReader) flag(name string, is *bool) {
	if r.nextIs(name) {
		for _, c := range []byte("true") {
			r.expect(c)
		}
		*is = true
	}
}

func (r *plainReader) instant(name string, at *time.Time) {
	if r.nextIs(name) && at.UnmarshalText(r.quoted()) != nil {
		r.refuse()
	}
}

func (r *plainReader) address(name string, addr *netip.Addr) {
	if r.nextIs(name) && addr.UnmarshalText(r.quoted()) != nil {
		r.refuse()
	}
}

func (r *plainReader) numbers(name string, all []uint32) {
	if !r.nextIs(name) {
		return
	}
	r.expect('[')
	for i := range all {
		if i > 0 {
			r.expect(',')
		}
		if len(r.rest) == 0 {
			return
		}
		n := r.integer()
		if all[i] = uint32(n); int64(all[i]) != n {
			r.refuse()
		}
	}
	r.expect(']')
}

func (r *plainReader) object(name string, _ bool) bool {
	if !r.nextIs(name) {
		return false
	}
	r.expect('{')
	r.first = true
	return true
}

func (r *plainReader) end() {
	r.expect('}')
	r.first = false
}

func (r *plainReader) list(name string, _ int) bool {
	if !r.nextIs(name) {
		return false
	}
	r.expect('[')
	return true
}

func (r *plainReader) item(i int) bool {
	if i > 0 { // an empty one is not written
		if len(r.rest) == 0 || r.rest[0] == ']' {
			r.expect(']')
			r.first = false
			return false
		}
		r.expect(',')
	}
	r.expect('{')
	r.first = true
	return true
}

func (r *plainReader) endItem() { r.end() }

func (r *plainReader) rareList(name string, _ int, _ any) {
	if r.nextIs(name) {
		r.refuse()
	}
}
