package sender

import (
	"slices"
	"sync"
	"time"
)

// words are what a Sender says of its peers: one store, from which every line
// takes them at its own pace.
type reports struct {
	mu   sync.Mutex // guards what follows
	all  []report
	changed chan struct{} // is closed when they change

	departed bool // the sender says goodbye, with
	backIn   time.Duration
}

// A word is what is said of one peer.
type report struct {
	Peer
	version int // grows with every change, from 1
}

// begin takes in the first peers. What was told before of one of them holds.
func (r *reports) begin(peers []Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.all
	r.all = nil
	for _, p := range peers {
		r.put(p)
	}
	for i := range told {
		r.put(told[i].Peer)
	}
}

func (r *reports) update(p Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(p)
	r.notify()
}

func (r *reports) put(p Peer) {
	if r.departed { // what is learnt too late must not take the goodbye back
		p.part(r.backIn)
	}
	i := slices.IndexFunc(r.all, func(known report) bool { return known.is(p) })
	if i < 0 {
		r.all = append(r.all, report{Peer: p, version: 1})
		return
	}
	r.all[i] = report{Peer: p, version: r.all[i].version + 1}
}

// depart turns all that has not ended into a goodbye.
func (r *reports) depart(backIn time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.departed, r.backIn = true, backIn
	for i := range r.all {
		if r.all[i].part(backIn) {
			r.all[i].version++
		}
	}
	r.notify()
}

// forget makes w fit for another Run.
func (r *reports) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.departed = nil, false
}

func (r *reports) notify() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// now returns a copy of all words, and what is closed when they change.
func (r *reports) snapshot() ([]report, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return slices.Clone(r.all), r.changed
}
