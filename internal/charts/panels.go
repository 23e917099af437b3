// Package charts is what Grafana shows and alerts on: one list of panels and
// one of rules, each asked for in InfluxQL and in PromQL, so that what users of
// InfluxDB and of Prometheus see cannot drift apart. Its tests write the files in
// deploy/grafana and deploy/prometheus. It knows the names of metrics, and never the code
// that makes them.
package charts

import (
	"slices"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A Kind is how a panel looks.
type Kind int

// The kinds of panels.
const (
	Stat     Kind = iota // one number
	Timeline             // a row a peer, coloured by its state
	Table
	Lines
)

// A Panel is one chart.
type Panel struct {
	Row   string // that it begins; empty if it goes on in one
	Shut  bool   // that row is shut until the reader opens it
	Title string
	About string // for the reader of the chart
	Kind  Kind
	Unit  string  // of Grafana
	Shown *Words  // instead of numbers
	Count string  // the state that is counted: what is not 0 has its colour
	Good  []level // from where on a number has which colour
	Width int     // of 24
	Tall  int     // of rows of 30 pixels

	By       []string // the tags that tell one line of the chart from another
	InfluxQL string
	PromQL   string // of all kinds but a table
	Most     string // in PromQL: the number by which those are chosen that are shown of many; empty for all

	Columns []Column // of a table, as they stand
	Places  string   // of a table, in InfluxQL: the tags that its query does not know
	SortBy  string   // the column by which a table is sorted at first, the greatest above
}

// A Column is one of a table. InfluxQL gives all of them at once, under these names. One
// without a unit is text.
type Column struct {
	Name   string
	Unit   string
	Shown  *Words
	Good   []level
	Link   bool   // to what is shown of that source alone
	PromQL string // empty: there it is a label
}

// A level is from which number on a colour holds.
type level struct {
	from  float64
	color string
}

// Words say what a number means, and in which colour.
type Words struct{ values []word }

type word struct {
	value       int
	text, color string
}

// states are states by rank: what several collectors believe of one peer is merged
// by taking the least. A goodbye that one of them has heard outweighs the death that
// another one believes in. Whatever shows a state has its colour from here.
var states = &Words{[]word{{0, "alive", "green"}, {2, "suspect", "yellow"}, {6, "left", "blue"}, {7, "dead", "red"}, {8, "unknown", "gray"}}}

var (
	isolated = &Words{[]word{{0, "listening", "green"}, {1, "cut off", "red"}}}
	noPID    = &Words{[]word{{0, "", "text"}}} // who beats for its host alone has none
	yes      = &Words{[]word{{0, "-", "text"}, {1, "yes", "orange"}}}
	reasons  = reasonWords()
)

// available are the colours of an availability in percent.
var available = []level{{0, "red"}, {99, "orange"}, {99.9, "green"}}

func reasonWords() *Words {
	var words Words
	for r := liveness.ReasonNone; r <= liveness.ReasonMateLost; r++ {
		if !r.Valid() {
			continue
		}
		words.values = append(words.values, word{int(r), r.String(), "text"})
	}
	return &words
}

// What queries have in common. A peer that names a service is known by source
// and service, any other one by source and pid; the tag host is that of the
// collector, by which Telegraf names itself.
const (
	inRange   = `$timeFilter`
	ofLate    = `time > ${__to}ms - $recent AND time <= ${__to}ms` // "now", at the end of what is looked at
	chosen    = ` AND source =~ /^$source$/ AND service =~ /^$service$/`
	peer      = `source, service, pid`
	selection = `{source=~"$source", service=~"$service"}`
	rangeInS  = `((${__to} - ${__from}) / 1000)`
)

// The rank of Words states, made of codes (unknown 0, alive 1, suspect 2, dead 3,
// left 4).
const (
	stateInfluxQL = `2 * ((last(state_code) + 4) % 5) + 3 * last(dead) AS state`
	statePromQL   = `min by (` + peer + `) (2 * ((heartbeat_peer_state_code` + selection + ` + 4) % 5) + 3 * heartbeat_peer_dead` + selection + `)`
	stateOfLate   = `SELECT min(state) AS state FROM (SELECT ` + stateInfluxQL + ` FROM heartbeat_peer WHERE ` + ofLate + chosen +
		` GROUP BY ` + peer + `, host) GROUP BY ` + peer
)

// orNone is 0 where nothing is counted, as long as a collector says anything: no data is
// not none.
const orNone = ` or 0 * max(heartbeat_collector_isolated)`

// countOf counts peers by the bits of their rank: InfluxQL cannot count what is not there, and
// has no comparison that gives a number.
func countOf(bits string) string {
	return `SELECT sum(counted) FROM (SELECT ` + bits + ` AS counted FROM (` + stateOfLate + `))`
}

// overRange is a number of each peer over all that is shown.
func overRange(function, field string) string {
	return `max by (` + peer + `) (` + function + `(heartbeat_peer_` + field + selection + `[$__range] @ end()))`
}

// inRangeOf counts what happened in the time shown. Prometheus extrapolates,
// and half an event is none.
func inRangeOf(counter string) string {
	return `max by (` + peer + `) (round(increase(heartbeat_peer_` + counter + selection + `[$__range])))`
}

// mergedDead is 1 for each peer that is dead, of which all collectors that know
// anything of it have to say so.
func mergedDead(selection string) string {
	return `min by (` + peer + `) (heartbeat_peer_dead` + selection + ` and heartbeat_peer_state_code` + selection + ` > 0)`
}

// deadSinceOf tells since when each dead peer is so, with where it was and why: what one of
// the collectors says, which may differ in that. A peer that names a service has a pid in
// heartbeat_down alone.
func deadSinceOf() string {
	down := func(service string) string {
		return `heartbeat_down_since_timestamp_seconds{state="dead", source=~"$source", service=~"$service", service` + service + `""}`
	}
	all := func(service, by string) string {
		return `topk by (` + by + `) (1, max by (source, service, ip, pid, reason) (` + down(service) + `) and on (` + by + `) ` + mergedDead(selection) + ` == 1)`
	}
	return `(` + all("!=", "source, service") + ` or ` + all("=", "source, pid") + `)`
}

// Panels are all of them, in the order of an operator's questions: is anything wrong and who
// is it, since when, how well do the others do, and are the collectors well?
func Panels() []Panel { return slices.Concat(now(), when(), howWell(), collectors()) }

func now() []Panel {
	return []Panel{
		{
			Row: "Now", Title: "Dead", Kind: Stat, Count: "dead", Width: 4, Tall: 4,
			About:    "Peers that were silent for too long or were seen to end. With several collectors: all that know of a peer say so.",
			InfluxQL: `SELECT sum(dead) FROM (SELECT min(dead) AS dead FROM (SELECT last(dead) AS dead, last(state_code) AS state FROM heartbeat_peer WHERE ` + ofLate + chosen + ` GROUP BY ` + peer + `, host) WHERE state > 0 GROUP BY ` + peer + `)`,
			PromQL:   `sum(` + mergedDead(selection) + `)` + orNone,
		},
		{
			Title: "Suspect", Kind: Stat, Count: "suspect", Width: 4, Tall: 4,
			About:    "Peers that are late, or whose connection is lost: they are heard soon, or dead soon. They count as alive, too.",
			InfluxQL: countOf(`(state & 2) * (4 - (state & 4)) / 8`),
			PromQL:   `count(` + statePromQL + ` == 2)` + orNone,
		},
		{
			Title: "Unknown", Kind: Stat, Count: "unknown", Width: 4, Tall: 4,
			About:    "Peers of which nothing is known: forgotten, not heard since the collector was away for long, held while it is cut off, known through another collector that is lost, or not expected at this hour.",
			InfluxQL: countOf(`(state & 8) / 8`),
			PromQL:   `count(` + statePromQL + ` == 8)` + orNone,
		},
		{
			Title: "Left", Kind: Stat, Count: "left", Width: 4, Tall: 4,
			About:    "Peers that said goodbye: stopped, in maintenance, or a job that has finished.",
			InfluxQL: countOf(`(state & 4) * (1 - (state & 1)) / 4`),
			PromQL:   `count(` + statePromQL + ` == 6)` + orNone,
		},
		{
			Title: "Alive", Kind: Stat, Count: "alive", Width: 4, Tall: 4,
			About:    "Peers that are heard in time, or not yet silent for too long. Of several collectors one is enough.",
			InfluxQL: `SELECT sum(alive) FROM (SELECT max(alive) AS alive FROM (SELECT last(alive) AS alive FROM heartbeat_peer WHERE ` + ofLate + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer + `)`,
			PromQL:   `sum(max by (` + peer + `) (heartbeat_peer_alive` + selection + `))` + orNone,
		},
		{
			Title: "Collectors", Kind: Stat, Width: 4, Tall: 4, Shown: isolated, By: []string{"host"},
			About:    "Whether a collector hears its hosts. One that is cut off declares nobody dead by silence. No data: nothing comes from it at all.",
			InfluxQL: `SELECT last(isolated) FROM heartbeat_collector WHERE ` + ofLate + ` GROUP BY host`,
			PromQL:   `max by (host) (heartbeat_collector_isolated)`,
		},
		{
			Title: "Who is down, since when, why", Kind: Table, Width: 24, Tall: 8, SortBy: "since",
			About: "The dead, the latest first. With several collectors: all that know of one say so. A source leads to what is shown of it alone.",
			// Not of heartbeat_down, where who is back stays until that is not of late any more.
			InfluxQL: `SELECT since, (${__to} - since) / 1000 AS down, why, last_pid FROM (SELECT min(dead) AS dead, max(since) AS since, max(why) AS why, max(last_pid) AS last_pid FROM ` +
				`(SELECT last(dead) AS dead, last(state_code) AS state, last(since_timestamp_seconds) * 1000 AS since, last(reason_code) AS why, last(last_pid) AS last_pid FROM heartbeat_peer WHERE ` + ofLate + chosen +
				` GROUP BY ` + peer + `, host) WHERE state > 0 GROUP BY ` + peer + `) WHERE dead = 1 GROUP BY source, service`,
			Places: `SELECT mean(down_seconds) AS silent FROM heartbeat_down WHERE ` + ofLate + chosen + ` AND state = 'dead' GROUP BY source, service, ip`,
			Columns: []Column{
				{Name: "source", Link: true},
				{Name: "service"},
				{Name: "why", Shown: reasons},
				{Name: "since", Unit: "dateTimeAsIso", PromQL: deadSinceOf() + ` * 1000`},
				{Name: "down", Unit: "dtdurations", PromQL: `time() - ` + deadSinceOf()},
				{Name: "ip"},
				{Name: "pid", Shown: noPID},
			},
		},
	}
}

func when() []Panel {
	return []Panel{{
		Row: "When", Title: "State of each peer", Kind: Timeline, Shown: states, Width: 24, Tall: 12, By: []string{"source", "service", "pid"},
		About:    "What is believed, over time; of several collectors the best. Of many peers those that died, or changed most often; over InfluxDB the first by name. Choose others above.",
		InfluxQL: `SELECT min(state) FROM (SELECT ` + stateInfluxQL + ` FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
		PromQL:   statePromQL,
		Most:     overRange("changes", "state_code") + ` + 1000 * ` + overRange("max_over_time", "dead"),
	}}
}

// availability is what the collectors say that still report: one that is gone has stopped counting.
const availability = `100 - 100 * clamp_min(min by (` + peer + `) (increase(heartbeat_peer_dead_seconds_total` + selection + `[$__range]) and on (host) heartbeat_collector_isolated), 0) / $__range_s`

func howWell() []Panel {
	return []Panel{
		{
			Row: "How well", Title: "Availability", Kind: Stat, Unit: "percent", Good: available, Width: 4, Tall: 10,
			About:    "How much of the time shown the peers were not dead, on average. A peer that was forgotten is not dead any more.",
			InfluxQL: `SELECT mean(up) FROM (SELECT 100 - 100 * min(dead) / ` + rangeInS + ` AS up FROM (SELECT spread(dead_seconds_total) AS dead FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer + `)`,
			PromQL:   `avg(` + availability + `)`,
		},
		{
			Title: "Each peer in the time shown", Kind: Table, Width: 20, Tall: 10, SortBy: "deaths",
			About:    "How available it was, how often it died, was restarted, was said to be dead when it was not, and whether it goes between the two again and again.",
			InfluxQL: `SELECT 100 - 100 * min(dead) / ` + rangeInS + ` AS availability, max(deaths) AS deaths, max(restarts) AS restarts, max(mistakes) AS mistakes, max(flapping) AS flapping FROM (SELECT spread(dead_seconds_total) AS dead, spread(deaths_total) AS deaths, spread(restarts_total) AS restarts, spread(mistakes_total) AS mistakes, last(flapping) AS flapping FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer,
			Columns: []Column{
				{Name: "source", Link: true},
				{Name: "service"},
				{Name: "pid"},
				{Name: "availability", Unit: "percent", Good: available, PromQL: availability},
				{Name: "deaths", Unit: "none", PromQL: inRangeOf("deaths_total")},
				{Name: "restarts", Unit: "none", PromQL: inRangeOf("restarts_total")},
				{Name: "mistakes", Unit: "none", PromQL: inRangeOf("mistakes_total")},
				{Name: "flapping", Shown: yes, PromQL: `max by (` + peer + `) (heartbeat_peer_flapping` + selection + `)`},
			},
		},
		{
			Title: "Beats lost", Kind: Lines, Unit: "percent", Width: 12, Tall: 8, By: []string{"source", "service", "pid"},
			About:    "Beats that a sender has numbered and that did not arrive. Of many peers those that lost most; over InfluxDB the first by name.",
			InfluxQL: `SELECT max(part) FROM (SELECT 100 * spread(lost_total) / (spread(lost_total) + spread(beats_total)) AS part FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
			PromQL: `100 / (1 + min by (` + peer + `) (rate(heartbeat_peer_beats_total` + selection + `[$__rate_interval]) / rate(heartbeat_peer_lost_total` + selection +
				`[$__rate_interval]))) >= 0`, // not where there were neither
			Most: overRange("increase", "lost_total"),
		},
		{
			Title: "Allowed silence used", Kind: Lines, Unit: "percentunit", Width: 12, Tall: 8, By: []string{"source", "service", "pid"},
			About:    "How much of the time that it may be silent a living peer has been silent. What often comes near to 100 % will be dead by mistake some day: give it a longer interval. Of many peers the most silent ones; over InfluxDB the first by name.",
			InfluxQL: `SELECT min(used) FROM (SELECT max(age_seconds) / last(dead_after_seconds) AS used FROM heartbeat_peer WHERE ` + inRange + chosen + ` AND alive = 1 GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
			PromQL:   `min by (` + peer + `) (heartbeat_peer_age_seconds` + selection + ` / heartbeat_peer_dead_after_seconds` + selection + ` and heartbeat_peer_alive` + selection + ` == 1)`,
			Most: `max by (` + peer + `) (max_over_time(heartbeat_peer_age_seconds` + selection + `[$__range] @ end()) / (heartbeat_peer_dead_after_seconds` + selection +
				` @ end()) and heartbeat_peer_alive` + selection + ` @ end() == 1)`,
		},
		{
			Title: "Round trip", Kind: Lines, Unit: "s", Width: 12, Tall: 8, By: []string{"source", "service"},
			About:    "From a beat to its acknowledgement, as the sender has measured it. Needs the measurement heartbeat in the output. Of many peers the slowest; over InfluxDB the first by name.",
			InfluxQL: `SELECT mean(rtt_seconds) FROM heartbeat WHERE ` + inRange + chosen + ` GROUP BY time($__interval), source, service fill(none)`,
			PromQL:   `max by (source, service) (heartbeat_rtt_seconds` + selection + `)`,
			Most:     `max by (source, service) (max_over_time(heartbeat_rtt_seconds` + selection + `[$__range] @ end()))`,
		},
		{
			Title: "Clock skew", Kind: Lines, Unit: "s", Width: 12, Tall: 8, By: []string{"source", "service"},
			About:    "How far the clock of the host is behind that of the collector, the way of the beat included. Nobody is declared dead for it. Of many peers those furthest off; over InfluxDB the first by name.",
			InfluxQL: `SELECT mean(skew_seconds) FROM heartbeat WHERE ` + inRange + chosen + ` GROUP BY time($__interval), source, service fill(none)`,
			PromQL:   `avg by (source, service) (heartbeat_skew_seconds` + selection + `)`,
			Most:     `max by (source, service) (abs(last_over_time(heartbeat_skew_seconds` + selection + `[$__range] @ end())))`,
		},
	}
}

func collectors() []Panel {
	return []Panel{
		{
			Row: "Collectors", Shut: true, Title: "Peers by state", Kind: Lines, Width: 12, Tall: 8, By: []string{"state", "host"},
			About:    "As each collector counts them.",
			InfluxQL: `SELECT last(peers) FROM heartbeat_collector WHERE ` + inRange + ` AND state <> '' GROUP BY time($__interval), state, host fill(none)`,
			PromQL:   `max by (state, host) (heartbeat_collector_peers)`,
		},
		{
			Title: "Isolation", Kind: Timeline, Shown: isolated, Width: 12, Tall: 8, By: []string{"host"},
			About:    "When a collector was cut off from most of its hosts, and held what it would have said of them.",
			InfluxQL: `SELECT max(isolated) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `max by (host) (heartbeat_collector_isolated)`,
		},
		{
			Title: "Beats", Kind: Lines, Unit: "cps", Width: 8, Tall: 8, By: []string{"address", "host"},
			About:    "Accepted beats a second, by socket.",
			InfluxQL: `SELECT non_negative_derivative(last(beats_total), 1s) FROM heartbeat_listener WHERE ` + inRange + ` GROUP BY time($__interval), address, host fill(none)`,
			PromQL:   `max by (address, host) (rate(heartbeat_listener_beats_total[$__rate_interval]))`,
		},
		{
			Title: "Connections", Kind: Lines, Width: 8, Tall: 8, By: []string{"address", "host"},
			About:    "Open connections, by socket.",
			InfluxQL: `SELECT last(connections) FROM heartbeat_listener WHERE ` + inRange + ` GROUP BY time($__interval), address, host fill(none)`,
			PromQL:   `max by (address, host) (heartbeat_listener_connections)`,
		},
		{
			Title: "Refused", Kind: Lines, Unit: "cpm", Width: 8, Tall: 8, By: []string{"reason", "address", "host"},
			About:    "What was refused a minute, by reason: the log says of each whose it was.",
			InfluxQL: `SELECT rate FROM (SELECT non_negative_derivative(last(refused_total), 1m) AS rate FROM heartbeat_listener WHERE ` + inRange + ` GROUP BY time($__interval), reason, address, host fill(none)) WHERE rate > 0 GROUP BY reason, address, host`,
			PromQL:   `60 * max by (reason, address, host) (rate(heartbeat_listener_refused_total[$__rate_interval])) > 0`,
		},
		{
			Title: "Stalls", Kind: Lines, Unit: "percent", Width: 8, Tall: 8, By: []string{"host"},
			About:    "How much of the time the collector was not listening: stopped, starved or suspended. That time is nobody's silence.",
			InfluxQL: `SELECT 100 * non_negative_derivative(last(stall_seconds_total), 1s) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `100 * max by (host) (rate(heartbeat_collector_stall_seconds_total[$__rate_interval]))`,
		},
		{
			Title: "Age of the state file", Kind: Lines, Unit: "s", Width: 8, Tall: 8, By: []string{"host"},
			About:    "What is older than this when the collector is killed is forgotten. No line: nothing is saved.",
			InfluxQL: `SELECT last(state_file_age_seconds) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `max by (host) (heartbeat_collector_state_file_age_seconds)`,
		},
		{
			Title: "Other collectors", Kind: Lines, Width: 8, Tall: 8, By: []string{"host"},
			About:    "How many others a collector reaches. No line: it was given none.",
			InfluxQL: `SELECT last(mates) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `max by (host) (heartbeat_collector_mates)`,
		},
	}
}

// color returns the colour of a word.
func (w *Words) color(text string) string {
	i := slices.IndexFunc(w.values, func(known word) bool { return known.text == text })
	return w.values[i].color
}
