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

// A Run is one life of a sender, which numbers its beats.
type Run struct {
	Name string
	High int64 // the highest number heard; 0 for a place not taken
}

// runs remembers the senders that spoke last for a peer. Two are enough for a
// one-shot beside a daemon: neither makes the other forgotten.
type runs [2]Run

// place judges a beat within its run and returns by how many it follows the
// one before, or 0 if that is not known. Between runs nothing is compared.
// Without a name of the run a lower number is no proof of age: the sender may
// have begun anew.
func (r *runs) place(name string, seq int64) (order, int64) {
	if seq == 0 {
		return fresh, 0
	}
	switch {
	case r[0].High > 0 && r[0].Name == name:
	case r[1].High > 0 && r[1].Name == name:
		r[0], r[1] = r[1], r[0]
	default:
		r[0], r[1] = Run{Name: name, High: seq}, r[0]
		return fresh, 0
	}
	gap := seq - r[0].High
	switch {
	case gap == 0 && name != "":
		return duplicate, 0
	case gap < 0 && name != "":
		return late, 0
	}
	r[0].High = seq
	return fresh, min(max(gap, 0), maxLost+1)
}

// high returns the highest number heard in a run, or 0 if that is not one of
// them.
func (r *runs) high(name string) int64 {
	for _, run := range r {
		if run.Name == name {
			return run.High
		}
	}
	return 0
}

// numbered returns the runs of which a number was heard.
func (r *runs) numbered() (all []Run) {
	for _, run := range r {
		if run.High > 0 {
			all = append(all, run)
		}
	}
	return all
}
