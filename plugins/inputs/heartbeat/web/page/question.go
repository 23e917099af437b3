package page

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// A question has the parameters of api.PathPeers.
type question struct {
	states  []liveness.State // any of these; nil for all
	source  string           // a glob; "" for all
	service string           // a glob; "" for all
	limit   int
	after   *place // nil to begin with the first peer
}

// parseQuestion parses the parameters of api.PathPeers.
func parseQuestion(given url.Values) (question, error) {
	q := question{limit: api.DefaultLimit, source: given.Get("source"), service: given.Get("service")}
	err := cmp.Or(onlyKnown(given, "state", "source", "service", "limit", "after"),
		refuseRepeated(given, "source", "service", "limit", "after"), checkGlob("source", q.source), checkGlob("service", q.service))
	if err != nil {
		return q, err
	}
	if q.states, err = parseStates(given["state"]); err != nil {
		return q, err
	}
	if text := given.Get("limit"); text != "" {
		q.limit, err = strconv.Atoi(text)
		if err != nil || q.limit < 1 || q.limit > api.MaxLimit {
			return q, fmt.Errorf("limit: %.16q is not a number from 1 to %d", text, api.MaxLimit)
		}
	}
	if text := given.Get("after"); text != "" {
		if q.after, err = parsePlace(text); err != nil {
			return q, fmt.Errorf("after: %.64q is not the 'next' of an answer", text)
		}
	}
	return q, nil
}

// onlyKnown refuses parameters with other names: a misspelt one would have no effect.
func onlyKnown(given url.Values, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(names, name) {
			continue
		}
		if len(names) == 0 {
			return fmt.Errorf("%.64q is not a parameter: this path takes none", name)
		}
		return fmt.Errorf("%.64q is not a parameter: use %s", name, strings.Join(names, ", "))
	}
	return nil
}

func refuseRepeated(given url.Values, names ...string) error {
	for _, name := range names {
		if len(given[name]) > 1 {
			return fmt.Errorf("%s is given more than once", name)
		}
	}
	return nil
}

// parseStates parses names of states. Each text may have several, with commas between them.
func parseStates(texts []string) (states []liveness.State, err error) {
	for _, text := range texts {
		for name := range strings.SplitSeq(text, ",") {
			i := slices.IndexFunc(liveness.Urgent[:], func(s liveness.State) bool { return s.String() == name })
			switch {
			case name == "": // any, as sent by the form
			case i < 0:
				return nil, fmt.Errorf("state: %.16q is not one of dead, suspect, unknown, left, alive", name)
			default:
				states = append(states, liveness.Urgent[i])
			}
		}
	}
	return states, nil
}

// matchGlob reports whether a name matches a glob like web-*. A "/" is a character like any
// other, as in services.
func matchGlob(glob, name string) bool {
	ok, _ := path.Match(unslashed(glob), unslashed(name)) //nolint:errcheck // checkGlob accepted it
	return ok
}

func checkGlob(name, glob string) error {
	if _, err := path.Match(unslashed(glob), ""); err != nil {
		return fmt.Errorf("%s: %.64q is not a glob", name, glob)
	}
	return nil
}

func unslashed(text string) string { return strings.ReplaceAll(text, "/", "\x00") }

func (q *question) matches(d *liveness.Details) bool {
	return (q.states == nil || slices.Contains(q.states, d.State)) &&
		(q.source == "" || matchGlob(q.source, d.ID.Source)) &&
		(q.service == "" || matchGlob(q.service, serviceOf(d.ID)))
}

// isSelective reports whether q may match only some peers.
func (q *question) isSelective() bool { return q.states != nil || q.source != "" || q.service != "" }

// matchesSame reports whether q and other match the same peers.
func (q *question) matchesSame(other *question) bool {
	return q.source == other.source && q.service == other.service && slices.Equal(q.states, other.states)
}

// serviceOf returns the part after the slash in the name of a peer.
func serviceOf(id liveness.ID) string {
	if id.Nameless() {
		return strconv.FormatUint(uint64(id.PID), 10)
	}
	return id.Service
}

// A place is a position in the order of an answer. It stays valid if its peer changes.
type place struct {
	Urgency int // index in liveness.Urgent
	Source  string
	Service string
	PID     uint32
}

func placeOf(d *liveness.Details) place {
	return place{slices.Index(liveness.Urgent[:], d.State), d.ID.Source, d.ID.Service, d.ID.PID}
}

// before reports whether p is before the place of d.
func (p *place) before(d *liveness.Details) bool {
	of := placeOf(d)
	id := liveness.ID{Source: p.Source, Service: p.Service, PID: p.PID}
	return cmp.Or(cmp.Compare(p.Urgency, of.Urgency), compareIDs(id, d.ID)) < 0
}

// String returns a text that parsePlace parses.
func (p place) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parsePlace(text string) (*place, error) {
	p := &place{Urgency: -1}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(decoded, p)
	}
	if err == nil && (p.Urgency < 0 || p.Urgency >= len(liveness.Urgent)) {
		err = errors.New("no such state")
	}
	return p, err
}

// list answers a question.
func (s *snapshot) list(q *question) api.Peers {
	matching := s.matching(q)
	rest := matching
	if q.after != nil {
		rest = rest[sort.Search(len(rest), func(i int) bool { return q.after.before(rest[i]) }):]
	}
	found := api.Peers{Peers: make([]api.Peer, 0, min(q.limit, len(rest))), Total: len(matching)}
	for _, d := range rest[:min(q.limit, len(rest))] {
		found.Peers = append(found.Peers, peerOf(d, s.made))
	}
	if len(rest) > q.limit {
		found.Next = placeOf(rest[q.limit-1]).String()
	}
	return found
}

// matching returns the peers that match, in the order of an answer. It keeps the result for the
// latest question, because the next request is usually for the next page of that question.
func (s *snapshot) matching(q *question) []*liveness.Details {
	if !q.isSelective() {
		return s.urgent
	}
	if s.chosen == nil || !s.choice.matchesSame(q) {
		s.choice, s.chosen = *q, make([]*liveness.Details, 0)
		for _, d := range s.urgent {
			if q.matches(d) {
				s.chosen = append(s.chosen, d)
			}
		}
	}
	return s.chosen
}

// peerOf converts d, as of now.
func peerOf(d *liveness.Details, now time.Time) api.Peer {
	p := api.Peer{
		Source: d.ID.Source, Service: d.ID.Service, PID: d.PID,
		State: d.State.String(), Reason: d.Reason.String(), Since: timestamp(d.Since), Status: d.Health.String(),
		SuspectAfter: seconds(d.Suspect), DeadAfter: seconds(d.DeadAfter), Left: seconds(d.Deadline), Suspicion: d.Suspicion,
		Rule: d.Rule, Promised: seconds(d.BackIn),
		Connected: d.Connected, Flapping: d.Flapping, HeardBy: d.HeardBy, Runs: d.Jobs,
		Beats: d.Beats, Lost: d.Lost, Late: d.Late, Duplicates: d.Duplicates, Limited: d.Limited, Restarts: d.Restarts,
		Deaths: d.Deaths, Mistakes: d.Mistakes, Conflicts: d.Conflicts, DeadSeconds: seconds(d.DeadFor),
	}
	if d.ID.Nameless() {
		p.PID = d.ID.PID
	}
	if d.Addr.IsValid() {
		p.IP = d.Addr.String()
	}
	if d.Observed.IsValid() {
		p.Observed = d.Observed.String()
	}
	if !d.Never {
		p.Heard, p.Age = timestamp(now.Add(-d.Age)), seconds(d.Age)
	}
	addCalendar(&p, d)
	if d.HasExitCode {
		p.ExitCode = &d.ExitCode
	}
	if len(d.Labels) > 0 {
		p.Tags = make(map[string]string, len(d.Labels))
	}
	for _, label := range d.Labels {
		p.Tags[label.Key] = label.Value
	}
	return p
}

// addCalendar adds the schedule, the hours and the class of a peer.
func addCalendar(p *api.Peer, d *liveness.Details) {
	p.Schedule, p.Hours, p.Grace = d.Schedule, d.Hours, seconds(d.Patience)
	if !d.Due.IsZero() {
		p.Due = timestamp(d.Due)
	}
	if !d.OffUntil.IsZero() {
		p.OffUntil = timestamp(d.OffUntil)
	}
	if d.Ephemeral {
		p.Class = "ephemeral"
	}
}

func timestamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
