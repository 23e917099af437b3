package liveness

// An order is where a beat stands among those of its run.
type order uint8

const (
	fresh     order = iota // not known to be older than one already heard
	duplicate              // heard already
	late                   // a later one was heard
)

// maxLost is the most that one gap counts: who skips more does not count.
const maxLost = 1 << 20

// A run is one life of a sender, which numbers its beats.
type run struct {
	name string
	high int64 // the highest number heard; 0 for a place not taken
}

// runs remembers the senders that spoke last for a peer. Two are enough for a
// one-shot beside a daemon: neither makes the other forgotten.
type runs [2]run

// place judges a beat within its run and returns how many were lost before
// it. Between runs nothing is compared. Without a name of the run a lower
// number is no proof of age: the sender may have begun anew.
func (r *runs) place(name string, seq int64) (order, int64) {
	if seq == 0 {
		return fresh, 0
	}
	switch {
	case r[0].high > 0 && r[0].name == name:
	case r[1].high > 0 && r[1].name == name:
		r[0], r[1] = r[1], r[0]
	default:
		r[0], r[1] = run{name: name, high: seq}, r[0]
		return fresh, 0
	}
	gap := seq - r[0].high
	switch {
	case gap == 0 && name != "":
		return duplicate, 0
	case gap < 0 && name != "":
		return late, 0
	}
	r[0].high = seq
	return fresh, min(max(gap-1, 0), maxLost)
}
