package page

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	mostRows     = 200 // in the table
	mostPromises = 50
)

// A visit is what somebody looks at.
type visit struct {
	Text   string // that is searched for: a part of a name, or a glob; "" for none
	states []liveness.State
	Peer   string // the name of a peer that is shown in full; "" for none
}

// parseVisit reads the parameters of the page. Others are left alone: links bring their own.
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

// searches reports whether v is after other peers than those that are down.
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

// with returns the link to this page with one parameter that is another.
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

// A shown is what stands in the page. Nothing in it depends on when it is shown, or the page
// would be another one every time: the script says how long ago each time is.
type shown struct {
	*visit
	snapshot *snapshot

	rows         []*liveness.Details
	total        int // that match; more than rows if there are many
	promises     []*liveness.Details
	morePromises int // that are not in promises
	found        *liveness.Details
}

// title is what a browser shows of a page in the background.
func (s *shown) title() string {
	return fmt.Sprintf("%d dead, %d suspect - heartbeats", s.snapshot.counts[liveness.Dead], s.snapshot.counts[liveness.Suspect])
}

// only reports whether peers in one state alone are searched for, which is this.
func (v *visit) only(state liveness.State) bool { return len(v.states) == 1 && v.states[0] == state }

func (s *snapshot) show(v *visit) *shown {
	what := &shown{visit: v, snapshot: s}
	for _, d := range s.urgent {
		if v.matches(d) {
			if what.total++; what.total <= mostRows {
				what.rows = append(what.rows, d)
			}
		}
		switch {
		case d.BackIn == 0:
		case len(what.promises) < mostPromises:
			what.promises = append(what.promises, d)
		default:
			what.morePromises++
		}
	}
	if v.Peer != "" {
		what.found = s.find(v.Peer)
	}
	return what
}

// linkTo is the link to the page with one peer shown in full.
func (v *visit) linkTo(d *liveness.Details) string { return v.with("peer", d.ID.String()) }
