package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	templates = template.Must(template.New("page").Parse(pageHTML))

	// policy lets a browser use nothing but what is in the page, and ask nobody else.
	policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; connect-src 'self'; form-action 'self'; "+
		"base-uri 'none'; frame-ancestors 'none'", sourceHash(pageCSS), sourceHash(pageJS))
)

// sourceHash names a style or a script in a policy (CSP Level 3, 2.3.1).
func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

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
	return v, v.check()
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

	Counts       []count
	Rows         []row
	Total        int // that match; more than Rows if there are many
	Promises     []row
	PromisesMore int // that are not in Promises
	Found        *liveness.Details
	Collector    api.Collector
}

type count struct {
	State   string
	Peers   int
	Link    string
	Current bool // these are searched for
}

// A row is a peer in a table.
type row struct {
	*liveness.Details
	Link string
	Made time.Time
}

// Why says it in words.
func (r row) Why() string { return why(r.Details) }

// Back is when the peer promised to be back, to the second: what is left is measured on another
// clock.
func (r row) Back() time.Time { return r.Made.Add(r.BackIn).Round(time.Second) }

// ISO returns a time as a machine reads it.
func (shown) ISO(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// Clock returns a time as people on the host of the collector read it.
func (shown) Clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// Zone names the time zone of Clock.
func (s shown) Zone() string { return s.snapshot.made.Local().Format("MST") }

// Heard returns when the peer that is shown in full was heard last.
func (s shown) Heard() time.Time { return s.snapshot.made.Add(-s.Found.Age).Round(time.Second) }

// Full returns the peer that is shown in full as a row.
func (s shown) Full() row { return s.snapshot.row(s.visit, s.Found) }

// Status returns what that says of itself, or "".
func (s shown) Status() string { return statuses[s.Found.Health] }

// Allowed returns how long that may be silent.
func (s shown) Allowed() time.Duration { return s.Found.DeadAfter.Round(liveness.TickInterval) }

// Rule returns by what rule.
func (s shown) Rule() string { return api.Allows(s.Found.Rule) }

// Stalled returns for how long the collector did not listen though it ran.
func (s shown) Stalled() time.Duration {
	return time.Duration(s.Collector.Stalled * float64(time.Second)).Round(100 * time.Millisecond)
}

// Title is what a browser shows of a page in the background.
func (s shown) Title() string {
	return fmt.Sprintf("%d dead, %d suspect - heartbeats", s.snapshot.counts[liveness.Dead], s.snapshot.counts[liveness.Suspect])
}

// States are all states, the most urgent first.
func (shown) States() [len(urgency)]liveness.State { return urgency }

// Searches reports whether other peers are shown than those that are down.
func (s shown) Searches() bool { return s.searches() }

// Only reports whether peers in one state alone are searched for, which is this.
func (s shown) Only(state liveness.State) bool { return len(s.states) == 1 && s.states[0] == state }

// Close is the link to the page without the peer that is shown in full.
func (s shown) Close() string { return s.with("peer", "") }

func (s *snapshot) row(v *visit, d *liveness.Details) row {
	return row{d, v.with("peer", d.ID.String()), s.made}
}

func (s *snapshot) show(v *visit) *shown {
	what := &shown{visit: v, snapshot: s, Collector: s.collector}
	for _, state := range urgency {
		what.Counts = append(what.Counts, count{state.String(), s.counts[state], "?state=" + state.String(), what.Only(state)})
	}
	for _, d := range s.urgent {
		if v.matches(d) {
			if what.Total++; what.Total <= mostRows {
				what.Rows = append(what.Rows, s.row(v, d))
			}
		}
		if d.BackIn > 0 {
			if len(what.Promises) < mostPromises {
				what.Promises = append(what.Promises, s.row(v, d))
			} else {
				what.PromisesMore++
			}
		}
	}
	if v.Peer != "" {
		what.Found = s.find(v.Peer)
	}
	return what
}

// page answers a visit. The tag is weak: when a page was made makes no other one of it.
func (s *snapshot) page(v *visit) *answer {
	what := s.show(v)
	live := render("live", what)
	tag := digest(live)
	whole := render("whole", struct {
		*shown
		Tag    string
		Made   time.Time
		Style  template.CSS
		Script template.JS
		Live   template.HTML
	}{what, tag, s.made, template.CSS(pageCSS), template.JS(pageJS), template.HTML(live)}) //nolint:gosec // all are our own
	return &answer{kind: "text/html; charset=utf-8", tag: fmt.Sprintf("W/%q", tag), body: whole}
}

func render(name string, what any) []byte {
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, name, what); err != nil {
		panic(err) // a mistake in page.html
	}
	return text.Bytes()
}
