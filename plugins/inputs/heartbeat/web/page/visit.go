package page

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	maxRows    = 200 // in the table
	maxWindows = 50
)

// A visit has the parameters of the page.
type visit struct {
	Text   string // the search: a part of a name, or a glob; "" for none
	states []liveness.State
	Peer   string // the name of a peer to show in full; "" for none
}

// parseVisit parses the parameters of the page. It ignores unknown parameters, because links may
// have them.
func parseVisit(given url.Values) (visit, error) {
	v := visit{Text: strings.TrimSpace(given.Get("q")), Peer: given.Get("peer")}
	states, err := parseStates(given["state"])
	if err != nil {
		return v, err
	}
	v.states = states
	err = v.check()
	return v, err
}

func (v *visit) check() error {
	if v.isGlob() {
		return checkGlob("q", v.Text)
	}
	return nil
}

func (v *visit) isGlob() bool { return strings.ContainsAny(v.Text, "*?[") }

// searches reports whether v is a search. If it is not, the page shows the peers that are down.
func (v *visit) searches() bool { return v.Text != "" || v.states != nil }

func (v *visit) matches(d *liveness.Details) bool {
	if !v.searches() {
		return isDown(d)
	}
	q := question{states: v.states}
	return q.matches(d) && v.finds(d.ID.String())
}

func (v *visit) finds(name string) bool {
	text, name := strings.ToLower(v.Text), strings.ToLower(name)
	if v.isGlob() {
		return matchGlob(text, name)
	}
	return strings.Contains(name, text)
}

// with returns the link to this page with one parameter changed.
func (v *visit) with(key, value string) string {
	all := make(url.Values)
	if v.Text != "" {
		all.Set("q", v.Text)
	}
	for _, state := range v.states {
		all.Add("state", state.String())
	}
	all.Del(key)
	if value != "" {
		all.Set(key, value)
	}
	return "?" + all.Encode()
}

// A pageContent is the content of the page. Nothing in it depends on the current time, because
// otherwise each request would get a different page. The script shows how long ago each time was.
type pageContent struct {
	*visit
	snapshot *snapshot

	rows        []*liveness.Details
	total       int                 // of the matches; more than rows if there are many
	windows     []*liveness.Details // the peers in a maintenance window
	moreWindows int                 // that are not in windows
	found       *liveness.Details
}

// title is the title of the page, which a browser shows on its tab.
func (s *pageContent) title() string {
	return fmt.Sprintf("%d dead, %d suspect - heartbeats", s.snapshot.counts[liveness.Dead], s.snapshot.counts[liveness.Suspect])
}

// showsOnly reports whether the search is for this state alone.
func (v *visit) showsOnly(state liveness.State) bool {
	return len(v.states) == 1 && v.states[0] == state
}

func (s *snapshot) show(v *visit) *pageContent {
	what := &pageContent{visit: v, snapshot: s}
	for _, d := range s.urgent {
		if v.matches(d) {
			if what.total++; what.total <= maxRows {
				what.rows = append(what.rows, d)
			}
		}
		switch {
		case d.BackIn == 0:
		case len(what.windows) < maxWindows:
			what.windows = append(what.windows, d)
		default:
			what.moreWindows++
		}
	}
	if v.Peer != "" {
		what.found = s.find(v.Peer)
	}
	return what
}

// linkTo returns the link to the page with one peer shown in full.
func (v *visit) linkTo(d *liveness.Details) string { return v.with("peer", d.ID.String()) }
