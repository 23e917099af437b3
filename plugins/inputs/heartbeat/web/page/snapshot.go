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
	// freshFor is the greatest age of a snapshot that is shown: with the pause of the script, a
	// change is visible within three seconds.
	freshFor = 500 * time.Millisecond
	// keptFor is how long a snapshot is kept, so that the next pages of a list show the same instant
	// as the first one without another walk over all peers.
	keptFor = 10 * time.Second
	// maxKept is how many bytes of answers a snapshot keeps for other readers.
	maxKept = 4 << 20
)

// A cache keeps the latest snapshot while there are readers.
type cache struct {
	take func(now time.Time) *snapshot

	mu     sync.Mutex // held while an answer is made: readers never use more than one processor
	latest *snapshot  // nil if there were no requests for keptFor
	idle   *time.Timer
}

// answer returns the answer of a fresh snapshot to a request. say makes the answer, once for each
// snapshot; if say returns nil, answer returns nil.
func (s *cache) answer(request string, say func(*snapshot) *answer) *answer {
	return s.answerFrom(freshFor, request, say)
}

// answerFrom is like answer, but allowed is the maximum age of the snapshot.
func (s *cache) answerFrom(allowed time.Duration, request string, say func(*snapshot) *answer) *answer {
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

// keep keeps the latest snapshot for another keptFor. s.mu is held.
func (s *cache) keep() {
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

// A snapshot is all peers at one time, with the answers made from it.
type snapshot struct {
	made      time.Time
	collector api.Collector
	named     []*liveness.Details // by source, service and pid
	urgent    []*liveness.Details // by state, the most urgent first, then like named
	counts    [len(liveness.States)]int

	choice question            // the latest that matched only some peers
	chosen []*liveness.Details // the peers that it matched; nil before the first

	answers map[string]*answer // by request
	kept    int                // bytes of requests and answers
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

// find returns the peer with a name like web-1/nginx, or like 10.0.0.5/4711 if it is known by
// its pid, or nil.
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
	if a == nil || s.kept+len(request)+len(a.body) > maxKept {
		return
	}
	s.kept += len(request) + len(a.body)
	s.answers[request] = a
}

// An answer is shared by all readers with the same request.
type answer struct {
	kind string // the media type
	tag  string // changes with the content
	body []byte
}

func inJSON(said any) *answer {
	body, err := json.Marshal(said)
	if err != nil {
		panic(err) // a number that JSON cannot represent
	}
	return &answer{kind: "application/json", tag: fmt.Sprintf("%q", digest(body)), body: append(body, '\n')}
}

func digest(text []byte) string {
	sum := fnv.New128a()
	sum.Write(text)
	return hex.EncodeToString(sum.Sum(nil))
}

// serve answers a reader, with 304 if it already has this answer.
func (a *answer) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("ETag", a.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}
