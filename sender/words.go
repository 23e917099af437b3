package sender

import (
	"slices"
	"sync"
	"time"
)

// words are what a Sender says of its peers: one store, from which every line
// takes them at its own pace.
type words struct {
	mu   sync.Mutex // guards what follows
	all  []word
	news chan struct{} // is closed when they change

	departed bool // the sender says goodbye, with
	backIn   time.Duration
}

// A word is what is said of one peer.
type word struct {
	Peer
	version int // grows with every change, from 1
}

// begin takes in the first peers. What was told before of one of them holds.
func (w *words) begin(peers []Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.all
	w.all = nil
	for _, p := range peers {
		w.put(p)
	}
	for i := range told {
		w.put(told[i].Peer)
	}
}

func (w *words) tell(p Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(p)
	w.announce()
}

func (w *words) put(p Peer) {
	if w.departed { // what is learnt too late must not take the goodbye back
		p.part(w.backIn)
	}
	i := slices.IndexFunc(w.all, func(known word) bool { return known.is(p) })
	if i < 0 {
		w.all = append(w.all, word{Peer: p, version: 1})
		return
	}
	w.all[i] = word{Peer: p, version: w.all[i].version + 1}
}

// depart turns all that has not ended into a goodbye.
func (w *words) depart(backIn time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.departed, w.backIn = true, backIn
	for i := range w.all {
		if w.all[i].part(backIn) {
			w.all[i].version++
		}
	}
	w.announce()
}

// forget makes w fit for another Run.
func (w *words) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all, w.departed = nil, false
}

func (w *words) announce() {
	if w.news != nil {
		close(w.news)
		w.news = nil
	}
}

// now returns a copy of all words, and what is closed when they change.
func (w *words) now() ([]word, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.news == nil {
		w.news = make(chan struct{})
	}
	return slices.Clone(w.all), w.news
}
