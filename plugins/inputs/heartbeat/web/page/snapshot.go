package page

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

const (
	// freshFor is how old a snapshot may be that is shown: with the pause of the script, a
	// change is seen within three seconds.
	freshFor = 500 * time.Millisecond
	// keptFor is how long it is kept: the next pages of a listing are about the same instant as
	// the first one, and cost no look at all peers each.
	keptFor = 10 * time.Second
	// mostKept is how many bytes of answers a snapshot keeps for the next readers.
	mostKept = 4 << 20
)

// A shelf has the latest snapshot, while somebody reads.
type shelf struct {
	take func(now time.Time) *snapshot

	mu     sync.Mutex // held while an answer is made: readers never take more than one processor
	latest *snapshot  // nil if nobody has read for long
	idle   *time.Timer
}

// answer returns what a snapshot that is fresh says to a request, and makes that only once.
// It returns nil if say does.
func (s *shelf) answer(request string, say func(*snapshot) *answer) *answer {
	return s.answerFrom(freshFor, request, say)
}

// answerFrom is answer from a snapshot that is not older than allowed.
func (s *shelf) answerFrom(allowed time.Duration, request string, say func(*snapshot) *answer) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.latest == nil || now.Sub(s.latest.made) >= allowed {
		s.latest = s.take(now)
		s.keep()
	}
	if known := s.latest.answers[request]; known != nil {
		return known
	}
	made := say(s.latest)
	s.latest.remember(request, made)
	return made
}

// keep puts off the end of the latest snapshot. s.mu is held.
func (s *shelf) keep() {
	if s.idle != nil {
		s.idle.Reset(keptFor)
		return
	}
	s.idle = time.AfterFunc(keptFor, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.latest = nil
	})
}

// A snapshot is all peers at one time, and what was said of them since.
type snapshot struct {
	made      time.Time
	collector api.Collector
	named     []*liveness.Details // by source, service and pid
	urgent    []*liveness.Details // the most urgent state first, then likewise
	counts    [len(liveness.States)]int

	choice question            // that was asked last of some peers
	chosen []*liveness.Details // those; nil before the first time

	answers map[string]*answer // by request
	kept    int                // bytes of both
}

func (p *Page) snapshot(now time.Time) *snapshot {
	all := p.options.Peers()
	s := &snapshot{made: now, collector: p.options.Collector(), answers: make(map[string]*answer)}
	s.named = make([]*liveness.Details, 0, len(all))
	for i := range all {
		s.named = append(s.named, &all[i])
	}
	slices.SortFunc(s.named, func(a, b *liveness.Details) int { return compareIDs(a.ID, b.ID) })
	s.named = slices.CompactFunc(s.named, func(a, b *liveness.Details) bool { return a.ID == b.ID })
	var inState [len(liveness.States)][]*liveness.Details
	for _, d := range s.named {
		inState[d.State] = append(inState[d.State], d)
	}
	s.urgent = make([]*liveness.Details, 0, len(s.named))
	for _, state := range liveness.Urgent {
		s.urgent, s.counts[state] = append(s.urgent, inState[state]...), len(inState[state])
	}
	return s
}

func compareIDs(a, b liveness.ID) int {
	if order := strings.Compare(a.Source, b.Source); order != 0 {
		return order
	}
	return cmp.Or(strings.Compare(a.Service, b.Service), cmp.Compare(a.PID, b.PID))
}

// find returns the peer with a name like web-1/nginx, or 10.0.0.5/4711 for one that is known
// by its pid, or nil.
func (s *snapshot) find(name string) *liveness.Details {
	source, service, _ := strings.Cut(name, "/")
	source = strings.ToLower(source)
	if d := s.get(liveness.ID{Source: source, Service: service}); d != nil {
		return d
	}
	if pid, err := strconv.ParseUint(service, 10, 32); err == nil {
		return s.get(liveness.ID{Source: source, PID: uint32(pid)})
	}
	return nil
}

func (s *snapshot) get(id liveness.ID) *liveness.Details {
	i, found := slices.BinarySearchFunc(s.named, id, func(d *liveness.Details, id liveness.ID) int { return compareIDs(d.ID, id) })
	if !found {
		return nil
	}
	return s.named[i]
}

func (s *snapshot) remember(request string, a *answer) {
	if a == nil || s.kept+len(request)+len(a.body) > mostKept {
		return
	}
	s.kept += len(request) + len(a.body)
	s.answers[request] = a
}

// An answer is what readers get who ask for the same.
type answer struct {
	kind string // of media
	tag  string // changes with what is said
	body []byte
}

func inJSON(said any) *answer {
	body, err := json.Marshal(said)
	if err != nil {
		panic(err) // a number that JSON does not know
	}
	return &answer{kind: "application/json", tag: fmt.Sprintf("%q", digest(body)), body: append(body, '\n')}
}

func digest(text []byte) string {
	sum := fnv.New128a()
	sum.Write(text)
	return hex.EncodeToString(sum.Sum(nil))
}

// serve answers a reader, with 304 if it knows this answer.
func (a *answer) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("ETag", a.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}
