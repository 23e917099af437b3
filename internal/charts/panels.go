// Package charts defines the panels and the alert rules. Each has a query in InfluxQL and one in
// PromQL, so that users of InfluxDB and users of Prometheus see the same. The tests of the
// package write the files in deploy/grafana and deploy/prometheus. The package knows the names of
// the metrics, but never the code that produces them.
package charts

import (
	"slices"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A Kind is the type of a panel.
type Kind int

// The kinds of panels.
const (
	Stat     Kind = iota // one number
	Timeline             // one row for each peer, coloured by its state
	Table
	Lines
)

// A Panel is one chart.
type Panel struct {
	Row       string // the title of the row that starts with this panel; empty if the panel belongs to the row before
	Collapsed bool   // the row is collapsed at first
	Title     string
	About     string // the description
	Kind      Kind
	Unit      string  // Grafana's name of the unit
	Shown     *Words  // the words to show instead of numbers
	Count     string  // the state that is counted: a number other than 0 has the colour of that state
	Good      []level // the colours of numbers
	Width     int     // in columns; the dashboard has 24
	Tall      int     // in rows of 30 pixels

	By       []string // the tags that identify a line of the chart
	InfluxQL string
	PromQL   string // empty for a table: its columns have queries
	Most     string // in PromQL: if there are many peers, the peers with the largest values are shown; empty to show all

	Columns  []Column // of a table, in order
	TagQuery string   // of a table, in InfluxQL: a second query, for the tags that the first one does not return
	SortBy   string   // the column by which a table is sorted at first, largest value first
}

// A Column is a column of a table. The InfluxQL query of the table returns all columns, under
// these names. A column without a unit is text.
type Column struct {
	Name   string
	Unit   string
	Shown  *Words
	Good   []level
	Link   bool   // each cell links to the dashboard of that source only
	PromQL string // empty if the column is a label in Prometheus
}

// A level sets the colour of all numbers at or above its lower limit.
type level struct {
	from  float64
	color string
}

// Words map numbers to texts and colours.
type Words struct{ values []word }

type word struct {
	value       int
	text, color string
}

// states are the states by rank. If several collectors report a peer, the lowest rank counts: if
// one received a goodbye and another one reports the peer dead, the peer has left. All panels
// take the colours of states from here.
var states = &Words{[]word{{0, "alive", "green"}, {2, "suspect", "yellow"}, {6, "left", "blue"}, {7, "dead", "red"}, {8, "unknown", "gray"}}}

var (
	isolated = &Words{[]word{{0, "listening", "green"}, {1, "cut off", "red"}}}
	noPID    = &Words{[]word{{0, "", "text"}}} // a peer that represents its host has no pid
	yes      = &Words{[]word{{0, "-", "text"}, {1, "yes", "orange"}}}
	reasons  = reasonWords()
)

// available has the colours of an availability in percent.
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

// These constants are parts of several queries. A peer with a service name is identified by source
// and service, any other peer by source and pid. The tag host, which Telegraf adds, is the host
// name of the collector.
const (
	inRange   = `$timeFilter`
	atEnd     = `time > ${__to}ms - $recent AND time <= ${__to}ms` // "now" is the end of the time range shown
	chosen    = ` AND source =~ /^$source$/ AND service =~ /^$service$/`
	peer      = `source, service, pid`
	selection = `{source=~"$source", service=~"$service"}`
	rangeInS  = `((${__to} - ${__from}) / 1000)`
)

// These queries compute the rank of a state (see states) from its code (unknown 0, alive 1,
// suspect 2, dead 3, left 4).
const (
	stateInfluxQL = `2 * ((last(state_code) + 4) % 5) + 3 * last(dead) AS state`
	statePromQL   = `min by (` + peer + `) (2 * ((heartbeat_peer_state_code` + selection + ` + 4) % 5) + 3 * heartbeat_peer_dead` + selection + `)`
	stateAtEnd    = `SELECT min(state) AS state FROM (SELECT ` + stateInfluxQL + ` FROM heartbeat_peer WHERE ` + atEnd + chosen +
		` GROUP BY ` + peer + `, host) GROUP BY ` + peer
)

// orZero makes an empty count 0 as long as a collector reports anything, so that "no data" is
// shown only if no collector does.
const orZero = ` or 0 * max(heartbeat_collector_isolated)`

// countByRank returns a query that counts peers by the bits of their rank. InfluxQL returns nothing
// instead of 0 when it counts no series, and it has no comparison that returns a number.
func countByRank(bits string) string {
	return `SELECT sum(counted) FROM (SELECT ` + bits + ` AS counted FROM (` + stateAtEnd + `))`
}

// overRange returns a query that applies function to a field of each peer over the time range
// shown.
func overRange(function, field string) string {
	return `max by (` + peer + `) (` + function + `(heartbeat_peer_` + field + selection + `[$__range] @ end()))`
}

// increaseInRange returns a query for the increase of a counter in the time range shown. The
// result is rounded because Prometheus extrapolates.
func increaseInRange(counter string) string {
	return `max by (` + peer + `) (round(increase(heartbeat_peer_` + counter + selection + `[$__range])))`
}

// mergedDead returns a query that is 1 for each dead peer and 0 for the others. A peer is dead if
// all collectors that know its state report it dead.
func mergedDead(selection string) string {
	return `min by (` + peer + `) (heartbeat_peer_dead` + selection + ` and heartbeat_peer_state_code` + selection + ` > 0)`
}

// deadSinceQuery returns a query for the time at which each dead peer died, with its address and
// reason as labels. If collectors differ in these, one of them is chosen. For a peer with a
// service name, only heartbeat_down has the pid.
func deadSinceQuery() string {
	down := func(service string) string {
		return `heartbeat_down_since_timestamp_seconds{state="dead", source=~"$source", service=~"$service", service` + service + `""}`
	}
	all := func(service, by string) string {
		return `topk by (` + by + `) (1, max by (source, service, ip, pid, reason) (` + down(service) + `) and on (` + by + `) ` + mergedDead(selection) + ` == 1)`
	}
	return `(` + all("!=", "source, service") + ` or ` + all("=", "source, pid") + `)`
}

// Panels returns all panels in the order of an operator's questions: is a peer dead, since when,
// how reliable are the peers, and do the collectors work?
func Panels() []Panel {
	return slices.Concat(nowPanels(), whenPanels(), reliabilityPanels(), collectorPanels())
}

func nowPanels() []Panel {
	return []Panel{
		{
			Row: "Now", Title: "Dead", Kind: Stat, Count: "dead", Width: 4, Tall: 4,
			About:    "Peers that were silent for too long, or whose end was seen. With several collectors, a peer counts if all that know it report it dead.",
			InfluxQL: `SELECT sum(dead) FROM (SELECT min(dead) AS dead FROM (SELECT last(dead) AS dead, last(state_code) AS state FROM heartbeat_peer WHERE ` + atEnd + chosen + ` GROUP BY ` + peer + `, host) WHERE state > 0 GROUP BY ` + peer + `)`,
			PromQL:   `sum(` + mergedDead(selection) + `)` + orZero,
		},
		{
			Title: "Suspect", Kind: Stat, Count: "suspect", Width: 4, Tall: 4,
			About:    "Peers that are late, or whose connection is lost: they will soon be alive again or dead. They also count as alive.",
			InfluxQL: countByRank(`(state & 2) * (4 - (state & 4)) / 8`),
			PromQL:   `count(` + statePromQL + ` == 2)` + orZero,
		},
		{
			Title: "Unknown", Kind: Stat, Count: "unknown", Width: 4, Tall: 4,
			About:    "Peers whose state is unknown: they were forgotten, have not beaten since the collector was away for long, are not judged while the collector is cut off, were known only through another collector that is lost, or are not expected at this hour.",
			InfluxQL: countByRank(`(state & 8) / 8`),
			PromQL:   `count(` + statePromQL + ` == 8)` + orZero,
		},
		{
			Title: "Left", Kind: Stat, Count: "left", Width: 4, Tall: 4,
			About:    "Peers that said goodbye: they were stopped, are in maintenance, or are finished jobs.",
			InfluxQL: countByRank(`(state & 4) * (1 - (state & 1)) / 4`),
			PromQL:   `count(` + statePromQL + ` == 6)` + orZero,
		},
		{
			Title: "Alive", Kind: Stat, Count: "alive", Width: 4, Tall: 4,
			About:    "Peers that beat in time, or have not been silent for too long. With several collectors, one that receives the beats is enough.",
			InfluxQL: `SELECT sum(alive) FROM (SELECT max(alive) AS alive FROM (SELECT last(alive) AS alive FROM heartbeat_peer WHERE ` + atEnd + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer + `)`,
			PromQL:   `sum(max by (` + peer + `) (heartbeat_peer_alive` + selection + `))` + orZero,
		},
		{
			Title: "Collectors", Kind: Stat, Width: 4, Tall: 4, Shown: isolated, By: []string{"host"},
			About:    "Whether a collector receives the beats of its hosts. A collector that is cut off reports no death by silence. No data: the collector reports nothing.",
			InfluxQL: `SELECT last(isolated) FROM heartbeat_collector WHERE ` + atEnd + ` GROUP BY host`,
			PromQL:   `max by (host) (heartbeat_collector_isolated)`,
		},
		{
			Title: "Who is down, since when, why", Kind: Table, Width: 24, Tall: 8, SortBy: "since",
			About: "Dead peers, latest first. With several collectors, a peer is listed if all that know it report it dead. Click a source to see only that source.",
			// Not from heartbeat_down: a peer that is back stays listed there until its death is
			// no longer recent.
			InfluxQL: `SELECT since, (${__to} - since) / 1000 AS down, why, last_pid FROM (SELECT min(dead) AS dead, max(since) AS since, max(why) AS why, max(last_pid) AS last_pid FROM ` +
				`(SELECT last(dead) AS dead, last(state_code) AS state, last(since_timestamp_seconds) * 1000 AS since, last(reason_code) AS why, last(last_pid) AS last_pid FROM heartbeat_peer WHERE ` + atEnd + chosen +
				` GROUP BY ` + peer + `, host) WHERE state > 0 GROUP BY ` + peer + `) WHERE dead = 1 GROUP BY source, service`,
			TagQuery: `SELECT mean(down_seconds) AS silent FROM heartbeat_down WHERE ` + atEnd + chosen + ` AND state = 'dead' GROUP BY source, service, ip`,
			Columns: []Column{
				{Name: "source", Link: true},
				{Name: "service"},
				{Name: "why", Shown: reasons},
				{Name: "since", Unit: "dateTimeAsIso", PromQL: deadSinceQuery() + ` * 1000`},
				{Name: "down", Unit: "dtdurations", PromQL: `time() - ` + deadSinceQuery()},
				{Name: "ip"},
				{Name: "pid", Shown: noPID},
			},
		},
	}
}

func whenPanels() []Panel {
	return []Panel{{
		Row: "When", Title: "State of each peer", Kind: Timeline, Shown: states, Width: 24, Tall: 12, By: []string{"source", "service", "pid"},
		About:    "State over time. With several collectors, the best state counts. If there are many peers, those that died or changed state most often are shown; over InfluxDB, the first by name. Choose others above.",
		InfluxQL: `SELECT min(state) FROM (SELECT ` + stateInfluxQL + ` FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
		PromQL:   statePromQL,
		Most:     overRange("changes", "state_code") + ` + 1000 * ` + overRange("max_over_time", "dead"),
	}}
}

// availability uses only collectors that still report: the counters of a collector that is gone
// do not change.
const availability = `100 - 100 * clamp_min(min by (` + peer + `) (increase(heartbeat_peer_dead_seconds_total` + selection + `[$__range]) and on (host) heartbeat_collector_isolated), 0) / $__range_s`

func reliabilityPanels() []Panel {
	return []Panel{
		{
			Row: "How well", Title: "Availability", Kind: Stat, Unit: "percent", Good: available, Width: 4, Tall: 10,
			About:    "The share of the time shown in which the peers were not dead, on average. A peer that was forgotten no longer counts as dead.",
			InfluxQL: `SELECT mean(up) FROM (SELECT 100 - 100 * min(dead) / ` + rangeInS + ` AS up FROM (SELECT spread(dead_seconds_total) AS dead FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer + `)`,
			PromQL:   `avg(` + availability + `)`,
		},
		{
			Title: "Each peer in the time shown", Kind: Table, Width: 20, Tall: 10, SortBy: "deaths",
			About:    "Availability, deaths, restarts, false deaths (mistakes), and whether the peer flaps.",
			InfluxQL: `SELECT 100 - 100 * min(dead) / ` + rangeInS + ` AS availability, max(deaths) AS deaths, max(restarts) AS restarts, max(mistakes) AS mistakes, max(flapping) AS flapping FROM (SELECT spread(dead_seconds_total) AS dead, spread(deaths_total) AS deaths, spread(restarts_total) AS restarts, spread(mistakes_total) AS mistakes, last(flapping) AS flapping FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer,
			Columns: []Column{
				{Name: "source", Link: true},
				{Name: "service"},
				{Name: "pid"},
				{Name: "availability", Unit: "percent", Good: available, PromQL: availability},
				{Name: "deaths", Unit: "none", PromQL: increaseInRange("deaths_total")},
				{Name: "restarts", Unit: "none", PromQL: increaseInRange("restarts_total")},
				{Name: "mistakes", Unit: "none", PromQL: increaseInRange("mistakes_total")},
				{Name: "flapping", Shown: yes, PromQL: `max by (` + peer + `) (heartbeat_peer_flapping` + selection + `)`},
			},
		},
		{
			Title: "Beats lost", Kind: Lines, Unit: "percent", Width: 12, Tall: 8, By: []string{"source", "service", "pid"},
			About:    "Beats that a sender numbered and that did not arrive. If there are many peers, those that lost most are shown; over InfluxDB, the first by name.",
			InfluxQL: `SELECT max(part) FROM (SELECT 100 * spread(lost_total) / (spread(lost_total) + spread(beats_total)) AS part FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
			PromQL: `100 / (1 + min by (` + peer + `) (rate(heartbeat_peer_beats_total` + selection + `[$__rate_interval]) / rate(heartbeat_peer_lost_total` + selection +
				`[$__rate_interval]))) >= 0`, // drops the result if no beats arrived and none were lost
			Most: overRange("increase", "lost_total"),
		},
		{
			Title: "Allowed silence used", Kind: Lines, Unit: "percentunit", Width: 12, Tall: 8, By: []string{"source", "service", "pid"},
			About:    "Current silence of a living peer as a share of the allowed silence. A peer that often nears 100 % will eventually be reported dead by mistake: give it a longer interval. If there are many peers, the most silent ones are shown; over InfluxDB, the first by name.",
			InfluxQL: `SELECT min(used) FROM (SELECT max(age_seconds) / last(dead_after_seconds) AS used FROM heartbeat_peer WHERE ` + inRange + chosen + ` AND alive = 1 GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
			PromQL:   `min by (` + peer + `) (heartbeat_peer_age_seconds` + selection + ` / heartbeat_peer_dead_after_seconds` + selection + ` and heartbeat_peer_alive` + selection + ` == 1)`,
			Most: `max by (` + peer + `) (max_over_time(heartbeat_peer_age_seconds` + selection + `[$__range] @ end()) / (heartbeat_peer_dead_after_seconds` + selection +
				` @ end()) and heartbeat_peer_alive` + selection + ` @ end() == 1)`,
		},
		{
			Title: "Round trip", Kind: Lines, Unit: "s", Width: 12, Tall: 8, By: []string{"source", "service"},
			About:    "Time from a beat to its acknowledgement, measured by the sender. This panel needs the measurement heartbeat in the output. If there are many peers, the slowest are shown; over InfluxDB, the first by name.",
			InfluxQL: `SELECT mean(rtt_seconds) FROM heartbeat WHERE ` + inRange + chosen + ` GROUP BY time($__interval), source, service fill(none)`,
			PromQL:   `max by (source, service) (heartbeat_rtt_seconds` + selection + `)`,
			Most:     `max by (source, service) (max_over_time(heartbeat_rtt_seconds` + selection + `[$__range] @ end()))`,
		},
		{
			Title: "Clock skew", Kind: Lines, Unit: "s", Width: 12, Tall: 8, By: []string{"source", "service"},
			About:    "How far the host's clock is behind the collector's clock, including the beat's travel time. It never makes a peer dead. If there are many peers, those with the largest skew are shown; over InfluxDB, the first by name.",
			InfluxQL: `SELECT mean(skew_seconds) FROM heartbeat WHERE ` + inRange + chosen + ` GROUP BY time($__interval), source, service fill(none)`,
			PromQL:   `avg by (source, service) (heartbeat_skew_seconds` + selection + `)`,
			Most:     `max by (source, service) (abs(last_over_time(heartbeat_skew_seconds` + selection + `[$__range] @ end())))`,
		},
	}
}

func collectorPanels() []Panel {
	return []Panel{
		{
			Row: "Collectors", Collapsed: true, Title: "Peers by state", Kind: Lines, Width: 12, Tall: 8, By: []string{"state", "host"},
			About:    "Number of peers in each state, as each collector counts them.",
			InfluxQL: `SELECT last(peers) FROM heartbeat_collector WHERE ` + inRange + ` AND state <> '' GROUP BY time($__interval), state, host fill(none)`,
			PromQL:   `max by (state, host) (heartbeat_collector_peers)`,
		},
		{
			Title: "Isolation", Kind: Timeline, Shown: isolated, Width: 12, Tall: 8, By: []string{"host"},
			About:    "When a collector was cut off from most of its hosts and withheld its verdicts about them.",
			InfluxQL: `SELECT max(isolated) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `max by (host) (heartbeat_collector_isolated)`,
		},
		{
			Title: "Beats", Kind: Lines, Unit: "cps", Width: 8, Tall: 8, By: []string{"address", "host"},
			About:    "Accepted beats per second, by socket.",
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
			About:    "Refusals per minute, by reason. The log names the address.",
			InfluxQL: `SELECT rate FROM (SELECT non_negative_derivative(last(refused_total), 1m) AS rate FROM heartbeat_listener WHERE ` + inRange + ` GROUP BY time($__interval), reason, address, host fill(none)) WHERE rate > 0 GROUP BY reason, address, host`,
			PromQL:   `60 * max by (reason, address, host) (rate(heartbeat_listener_refused_total[$__rate_interval])) > 0`,
		},
		{
			Title: "Stalls", Kind: Lines, Unit: "percent", Width: 8, Tall: 8, By: []string{"host"},
			About:    "The share of time in which the collector was not listening because it was stopped, got no CPU, or was suspended. That time does not count as silence.",
			InfluxQL: `SELECT 100 * non_negative_derivative(last(stall_seconds_total), 1s) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `100 * max by (host) (rate(heartbeat_collector_stall_seconds_total[$__rate_interval]))`,
		},
		{
			Title: "Age of the state file", Kind: Lines, Unit: "s", Width: 8, Tall: 8, By: []string{"host"},
			About:    "Changes from this long ago until now are lost if the collector is killed. No line: nothing is saved.",
			InfluxQL: `SELECT last(state_file_age_seconds) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `max by (host) (heartbeat_collector_state_file_age_seconds)`,
		},
		{
			Title: "Other collectors", Kind: Lines, Width: 8, Tall: 8, By: []string{"host"},
			About:    "How many other collectors a collector reaches. No line: no other collectors are configured.",
			InfluxQL: `SELECT last(mates) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `max by (host) (heartbeat_collector_mates)`,
		},
	}
}

// color returns the colour of the word with this text.
func (w *Words) color(text string) string {
	i := slices.IndexFunc(w.values, func(known word) bool { return known.text == text })
	return w.values[i].color
}
