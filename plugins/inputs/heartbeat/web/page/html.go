package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

var (
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	// policy lets a browser use only what is in the page, and connect only to this server.
	policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; connect-src 'self'; form-action 'self'; "+
		"base-uri 'none'; frame-ancestors 'none'", sourceHash(pageCSS), sourceHash(pageJS))
)

// sourceHash returns the hash of a style or a script for a policy (CSP Level 3, 2.3.1).
func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// A writer writes HTML. It does not use package html/template, which makes the linker keep all
// exported methods of the program: 6 MB, and 3.5 MB of memory even without a page
// (docs/decisions/0034).
type writer struct{ strings.Builder }

// putf writes a constant format with values, which it escapes. All verbs are %v, and they may only
// be between tags or in double quotes.
func (w *writer) putf(format string, values ...any) {
	escaped := make([]any, len(values))
	for i, value := range values {
		escaped[i] = html.EscapeString(fmt.Sprint(value))
	}
	fmt.Fprintf(w, format, escaped...)
}

// page answers a visit. The tag is weak: it does not depend on the time of the snapshot.
func (s *snapshot) page(v *visit) *answer {
	what := s.show(v)
	var live, whole writer
	live.putLive(what)
	tag := digest([]byte(live.String()))
	whole.putHead(what)
	whole.putf("<main id=\"live\" data-tag=\"%v\">\n", tag)
	whole.WriteString(live.String())
	whole.putf("</main>\n<footer>As of <time id=\"made\" datetime=\"%v\">%v</time> %v. <a href=\"\">Reload</a> <a href=\"api/peers\">JSON</a></footer>\n",
		iso(s.made), clock(s.made), zone(s.made))
	whole.WriteString("<script>" + pageJS + "</script>\n</body>\n</html>\n")
	return &answer{kind: "text/html; charset=utf-8", tag: fmt.Sprintf("W/%q", tag), body: []byte(whole.String())}
}

// iso formats a time for programs.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// clock formats a time for people, in the time zone of the collector.
func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// zone returns the time zone of clock.
func zone(t time.Time) string { return t.Local().Format("MST") }

func (w *writer) putHead(s *pageContent) {
	w.putf(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%v</title>
<link rel="icon" href="data:,">
<style>`, s.title())
	w.WriteString(pageCSS)
	w.WriteString("</style>\n</head>\n<body>\n<header>\n<h1>Heartbeats")
	if name := s.snapshot.collector.Name; name != "" {
		w.putf(" at <bdi>%v</bdi>", name)
	}
	w.putf(`</h1>
<form role="search">
<label for="q">Peer</label>
<input id="q" name="q" type="search" value="%v" placeholder="web-1 or db-*/backup" maxlength="400" autocomplete="off" spellcheck="false">
<label for="state">State</label>
<select id="state" name="state">
<option value="">any</option>
`, s.Text)
	for _, state := range liveness.Urgent {
		w.putf("<option%v>%v</option>\n", textIf(s.showsOnly(state), " selected"), state)
	}
	w.WriteString(`</select>
<button>Search</button>
</form>
<p id="lost" class="warning" role="alert" hidden></p>
<p id="news" role="status"></p>
</header>
`)
}

// textIf returns text if the condition is true, and "" otherwise.
func textIf(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

func (w *writer) putLive(s *pageContent) {
	if s.snapshot.collector.Isolated {
		w.putf("<p class=\"warning\">This collector is probably cut off from the network: peers that fall silent are reported unknown, not dead.</p>\n")
	}
	w.putf("<nav aria-label=\"Peers by state\"><ul>\n")
	for _, state := range liveness.Urgent {
		w.putf("<li><a href=\"?state=%v\"", state)
		if s.showsOnly(state) {
			w.putf(" aria-current=\"true\"")
		}
		w.putf("><span class=\"count\">%v</span> <b data-state=\"%v\">%v</b></a></li>\n", s.snapshot.counts[state], state, state)
	}
	w.putf("</ul></nav>\n")
	if s.Peer != "" {
		w.putPeer(s)
	}
	w.putTable(s)
	w.putWindows(s)
	w.putCollector(&s.snapshot.collector)
}

// putPeer shows one peer in full.
func (w *writer) putPeer(s *pageContent) {
	d := s.found
	if d == nil {
		w.putf("<section aria-labelledby=\"peer\">\n<h2 id=\"peer\"><bdi>%v</bdi></h2>\n<p>No peer has this name.</p>\n", s.Peer)
	} else {
		w.putf("<section aria-labelledby=\"peer\">\n<h2 id=\"peer\"><bdi>%v</bdi></h2>\n<dl>\n", d.ID)
		w.putDetails(d, s.snapshot.made)
		w.putf("</dl>\n")
	}
	w.putf("<p><a href=\"%v\">Close</a></p>\n</section>\n", s.with("peer", ""))
}

func (w *writer) putDetails(d *liveness.Details, now time.Time) {
	w.putf("<dt>State</dt><dd><b data-state=\"%v\">%v</b> since ", d.State, d.State)
	w.putTime(d.Since)
	w.putf("</dd>\n<dt>Why</dt><dd><code>%v</code>: %v</dd>\n<dt>Last beat</dt><dd>", d.Reason, why(d))
	if d.Never {
		w.putf("never")
	} else {
		w.putTime(now.Add(-d.Age).Round(time.Second))
	}
	if d.HeardBy != "" {
		w.putf(", received by <bdi>%v</bdi>", d.HeardBy)
	}
	w.putf("</dd>\n<dt>Dead after</dt><dd>%v of silence, set by %v</dd>\n", d.DeadAfter.Round(liveness.TickInterval), api.Allows(d.Rule))
	if d.BackIn > 0 {
		w.putf("<dt>Maintenance window</dt><dd>until ")
		w.putTime(windowEnd(d, now))
		w.putf("</dd>\n")
	}
	w.line("Schedule", d.Schedule)
	w.lineTime("Next beat due", d.Due)
	w.line("Hours", d.Hours)
	w.lineTime("Not expected before", d.OffUntil)
	w.line("Class", textIf(d.Ephemeral, "ephemeral: if it falls silent, it has left"))
	w.line("Reported status", d.Health.String())
	w.line("Address", textIf(d.Addr.IsValid(), d.Addr.String()))
	w.line("Observed at", textIf(d.Observed.IsValid() && d.Observed != d.Addr, d.Observed.String()))
	w.line("Process", textIf(d.PID > 0, strconv.FormatUint(uint64(d.PID), 10)))
	w.line("Exit code", textIf(d.HasExitCode, strconv.FormatInt(d.ExitCode, 10)))
	w.line("Unfinished runs", textIf(d.Jobs > 0, strconv.Itoa(d.Jobs)))
	w.line("Connected", map[bool]string{true: "yes", false: "no"}[d.Connected])
	w.line("Flapping", textIf(d.Flapping, "yes: three changes to or from dead within ten minutes"))
	for _, label := range d.Labels {
		w.putf("<dt>Tag <bdi>%v</bdi></dt><dd><bdi>%v</bdi></dd>\n", label.Key, label.Value)
	}
	w.line("Totals", fmt.Sprintf("%d deaths, %d of them false, %d restarts, %d conflicts, %d beats lost, %d late, %d duplicate, %d rate-limited",
		d.Deaths, d.Mistakes, d.Restarts, d.Conflicts, d.Lost, d.Late, d.Duplicates, d.Limited))
}

// line writes one item of a list of details, unless value is empty.
func (w *writer) line(name, value string) {
	if value != "" {
		w.putf("<dt>%v</dt><dd>%v</dd>\n", name, value)
	}
}

// lineTime is like line, for a time.
func (w *writer) lineTime(name string, at time.Time) {
	if at.IsZero() {
		return
	}
	w.putf("<dt>%v</dt><dd>", name)
	w.putTime(at)
	w.putf("</dd>\n")
}

func (w *writer) putTime(t time.Time) { w.putf("<time datetime=\"%v\">%v</time>", iso(t), clock(t)) }

// windowEnd returns the end of a peer's maintenance window. It is rounded to the second, because the
// time left is measured on another clock.
func windowEnd(d *liveness.Details, now time.Time) time.Time {
	return now.Add(d.BackIn).Round(time.Second)
}

func (w *writer) putTable(s *pageContent) {
	searches := s.searches()
	w.putf("<section>\n<div class=\"wide\" id=\"list\" role=\"region\" tabindex=\"0\" aria-labelledby=\"found\">\n<table>\n<caption id=\"found\">%v: %v",
		map[bool]string{true: "Found", false: "Down"}[searches], s.total)
	if s.total > len(s.rows) {
		w.putf(". Only the first %v are shown: search to find others", len(s.rows))
	}
	w.putf("</caption>\n")
	if len(s.rows) > 0 {
		w.putRows(s)
	}
	w.putf("</table>\n</div>\n")
	if len(s.rows) == 0 {
		w.putf("<p>%v</p>\n", map[bool]string{true: "No peer matches.", false: "Nothing is down."}[searches])
	}
	if searches {
		w.putf("<p><a href=\"?\">Show what is down</a></p>\n")
	}
	w.putf("</section>\n")
}

func (w *writer) putRows(s *pageContent) {
	w.putf("<thead><tr><th scope=\"col\">Peer</th><th scope=\"col\">State</th><th scope=\"col\">Since (%v)</th>"+
		"<th scope=\"col\">Why</th></tr></thead>\n<tbody>\n", zone(s.snapshot.made))
	for _, d := range s.rows {
		w.putf("<tr data-state=\"%v\"><th scope=\"row\"><a href=\"%v\">%v</a><td><b>%v</b><td>", d.State, s.linkTo(d), d.ID, d.State)
		w.putTime(d.Since)
		w.putf("<td>%v\n", why(d))
	}
	w.putf("</tbody>\n")
}

func (w *writer) putWindows(s *pageContent) {
	if len(s.windows) == 0 {
		return
	}
	w.putf("<section>\n<h2>Maintenance windows</h2>\n<ul>\n")
	for _, d := range s.windows {
		w.putf("<li><a href=\"%v\"><bdi>%v</bdi></a> until ", s.linkTo(d), d.ID)
		w.putTime(windowEnd(d, s.snapshot.made))
		w.putf("; it is <b data-state=\"%v\">%v</b></li>\n", d.State, d.State)
	}
	w.putf("</ul>\n")
	if s.moreWindows > 0 {
		w.putf("<p>And %v more.</p>\n", s.moreWindows)
	}
	w.putf("</section>\n")
}

func (w *writer) putCollector(c *api.Collector) {
	w.putf("<section>\n<h2>Collector</h2>\n<dl>\n")
	if c.Name != "" {
		w.putf("<dt>Name</dt><dd><bdi>%v</bdi></dd>\n", c.Name)
	}
	w.line("Network", map[bool]string{true: "probably cut off", false: "listening"}[c.Isolated])
	switch {
	case c.State == nil:
		w.line("State file", "none: a restart forgets all peers")
	case c.State.Saved:
		w.line("State file", "saved")
	default:
		w.putf("<dt>State file</dt><dd><strong>not saved</strong>: a restart loses what happened since the last save</dd>\n")
	}
	if c.Mates != nil {
		w.putMates(c.Mates)
	}
	w.line("Stalled", time.Duration(c.Stalled*float64(time.Second)).Round(100*time.Millisecond).String()+" in total")
	w.line("Refused", fmt.Sprintf("%d messages and connections", c.Refused))
	if c.Panics > 0 {
		w.putf("<dt>Internal errors</dt><dd><strong>%v</strong>: see the log</dd>\n", c.Panics)
	}
	w.putf("</dl>\n</section>\n")
}

func (w *writer) putMates(m *api.Mates) {
	w.putf("<dt>Other collectors</dt><dd>")
	for i, name := range m.Reachable {
		w.putf("%v<bdi>%v</bdi>", textIf(i > 0, ", "), name)
	}
	if len(m.Reachable) == 0 {
		w.putf("none reachable")
	}
	if m.Differ > 0 {
		w.putf("; %v with a different version, options or clock", m.Differ)
	}
	w.putf("; %v emits the events</dd>\n", map[bool]string{true: "this one", false: "another one"}[m.Speaks])
}
