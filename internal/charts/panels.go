// Package charts is what Grafana shows and alerts on: one list of panels and
// one of rules, each asked for in InfluxQL and in PromQL, so that what users of
// InfluxDB and of Prometheus see cannot drift apart. Its tests write the files in
// deploy/grafana and deploy/prometheus. It knows the names of metrics, and never the code
// that makes them.
package charts

import "github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"

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
	Title string
	About string // for the reader of the chart
	Kind  Kind
	Unit  string // of Grafana
	Shown *Words // instead of numbers
	Width int    // of 24
	Tall  int    // of rows of 30 pixels

	By       []string // the tags that tell one line of the chart from another
	InfluxQL string
	PromQL   string // of all kinds but a table

	Columns []Column // of a table
}

// A Column is a value in a table. InfluxQL gives all of them at once, under
// these names.
type Column struct {
	Name   string
	Unit   string
	Shown  *Words
	PromQL string // empty: there it is a label
}

// Words say what a number means, and in which colour.
type Words struct{ values []word }

type word struct {
	value       int
	text, color string
}

// states are states by rank: what several collectors believe of one peer is merged
// by taking the least. A goodbye that one of them has heard outweighs the death that
// another one believes in.
var states = &Words{[]word{{0, "alive", "green"}, {2, "suspect", "yellow"}, {6, "left", "blue"}, {7, "dead", "red"}, {8, "unknown", "gray"}}}

var (
	isolated = &Words{[]word{{0, "listening", "green"}, {1, "cut off", "red"}}}
	yes      = &Words{[]word{{0, "-", "text"}, {1, "yes", "orange"}}}
	reasons  = reasonWords()
)

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

// Panels are all of them, in the order in which they stand.
func Panels() []Panel {
	all := now()
	all = append(all, who()...)
	all = append(all, links()...)
	return append(all, collector()...)
}

func now() []Panel {
	return []Panel{
		{
			Row: "Now", Title: "Alive", Kind: Stat, Width: 4, Tall: 4,
			About:    "Peers that are heard in time, or not yet silent for too long. Of several collectors one is enough.",
			InfluxQL: `SELECT sum(alive) FROM (SELECT max(alive) AS alive FROM (SELECT last(alive) AS alive FROM heartbeat_peer WHERE ` + ofLate + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer + `)`,
			PromQL:   `sum(max by (` + peer + `) (heartbeat_peer_alive` + selection + `)) or vector(0)`,
		},
		{
			Title: "Suspect", Kind: Stat, Width: 4, Tall: 4,
			About:    "Of those alive the ones that are late, or whose connection is lost: they are heard soon, or dead soon.",
			InfluxQL: `SELECT count(state) FROM (` + stateOfLate + `) WHERE state = 2`,
			PromQL:   `count(` + statePromQL + ` == 2) or vector(0)`,
		},
		{
			Title: "Dead", Kind: Stat, Width: 4, Tall: 4,
			About:    "Peers that were silent for too long or were seen to end. With several collectors: all that know of a peer say so.",
			InfluxQL: `SELECT sum(dead) FROM (SELECT min(dead) AS dead FROM (SELECT last(dead) AS dead, last(state_code) AS state FROM heartbeat_peer WHERE ` + ofLate + chosen + ` GROUP BY ` + peer + `, host) WHERE state > 0 GROUP BY ` + peer + `)`,
			PromQL:   `sum(` + mergedDead(selection) + `) or vector(0)`,
		},
		{
			Title: "Left or unknown", Kind: Stat, Width: 4, Tall: 4,
			About:    "Peers that said goodbye, and peers of which nothing is known: forgotten, not heard since the collector was away for long, held while it is cut off, or known through another collector that is lost.",
			InfluxQL: `SELECT count(state) FROM (` + stateOfLate + `) WHERE state = 6 OR state = 8`,
			PromQL:   `count(` + statePromQL + ` == 6 or ` + statePromQL + ` == 8) or vector(0)`,
		},
		{
			Title: "Availability", Kind: Stat, Unit: "percent", Width: 4, Tall: 4,
			About:    "How much of the time shown the peers were not dead, on average. A peer that was forgotten is not dead any more.",
			InfluxQL: `SELECT mean(up) FROM (SELECT 100 - 100 * min(dead) / ` + rangeInS + ` AS up FROM (SELECT spread(dead_seconds_total) AS dead FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer + `)`,
			PromQL:   `avg(` + availability + `)`,
		},
		{
			Title: "Collectors", Kind: Stat, Width: 4, Tall: 4, Shown: isolated, By: []string{"host"},
			About:    "Whether a collector hears its hosts. One that is cut off declares nobody dead by silence. No value: nothing comes from it at all.",
			InfluxQL: `SELECT last(isolated) FROM heartbeat_collector WHERE ` + ofLate + ` GROUP BY host`,
			PromQL:   `max by (host) (heartbeat_collector_isolated)`,
		},
	}
}

const availability = `100 - 100 * clamp_min(min by (` + peer + `) (increase(heartbeat_peer_dead_seconds_total` + selection + `[$__range])), 0) / $__range_s`

// mergedDead is 1 for each peer that is dead, of which all collectors that know
// anything of it have to say so.
func mergedDead(selection string) string {
	return `min by (` + peer + `) (heartbeat_peer_dead` + selection + ` and heartbeat_peer_state_code` + selection + ` > 0)`
}

// isDead tells for heartbeat_down whose peers are dead: one that names a service
// has a pid in heartbeat_down alone.
func isDead(field string) string {
	down := func(service, scale string) string {
		return field + `{state="dead", source=~"$source", service=~"$service", service` + service + `""}` + scale
	}
	return `max by (source, service, ip, pid, reason) (` +
		down("!=", "") + ` and on (source, service) ` + mergedDead(selection) + ` == 1 or ` +
		down("=", "") + ` and on (source, pid) ` + mergedDead(selection) + ` == 1)`
}

func who() []Panel {
	return []Panel{
		{
			Row: "Who", Title: "Who is dead, since when, why", Kind: Table, Width: 24, Tall: 8,
			About: "The dead, the longest first. With several collectors over InfluxDB: what each of them says.",
			// Not of heartbeat_down, where who is back stays until that is not of late any more.
			InfluxQL: `SELECT since, (${__to} - since) / 1000 AS down, why, last_pid FROM (SELECT last(dead) AS dead, last(since_timestamp_seconds) * 1000 AS since, last(reason_code) AS why, last(last_pid) AS last_pid FROM heartbeat_peer WHERE ` + ofLate + chosen + ` GROUP BY ` + peer + `, host) WHERE dead = 1 GROUP BY ` + peer + `, host`,
			Columns: []Column{
				{Name: "since", Unit: "dateTimeAsIso", PromQL: isDead("heartbeat_down_since_timestamp_seconds") + ` * 1000`},
				{Name: "down", Unit: "dtdurations", PromQL: isDead("heartbeat_down_down_seconds")},
				{Name: "why", Shown: reasons},
			},
		},
		{
			Title: "State of each peer", Kind: Timeline, Shown: states, Width: 24, Tall: 12, By: []string{"source", "service", "pid"},
			About:    "What is believed, over time; of several collectors the best.",
			InfluxQL: `SELECT min(state) FROM (SELECT ` + stateInfluxQL + ` FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
			PromQL:   statePromQL,
		},
		{
			Title: "Each peer in the time shown", Kind: Table, Width: 24, Tall: 10,
			About:    "How available it was, how often it died, was restarted, changed between the two too often, and was said to be dead when it was not.",
			InfluxQL: `SELECT 100 - 100 * min(dead) / ` + rangeInS + ` AS availability, max(deaths) AS deaths, max(restarts) AS restarts, max(mistakes) AS mistakes, max(flapping) AS flapping FROM (SELECT spread(dead_seconds_total) AS dead, spread(deaths_total) AS deaths, spread(restarts_total) AS restarts, spread(mistakes_total) AS mistakes, last(flapping) AS flapping FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer,
			Columns: []Column{
				{Name: "availability", Unit: "percent", PromQL: availability},
				{Name: "deaths", PromQL: inRangeOf("deaths_total")},
				{Name: "restarts", PromQL: inRangeOf("restarts_total")},
				{Name: "mistakes", PromQL: inRangeOf("mistakes_total")},
				{Name: "flapping", Shown: yes, PromQL: `max by (` + peer + `) (heartbeat_peer_flapping` + selection + `)`},
			},
		},
	}
}

// inRangeOf counts what happened in the time shown. Prometheus extrapolates,
// and half an event is none.
func inRangeOf(counter string) string {
	return `max by (` + peer + `) (round(increase(heartbeat_peer_` + counter + selection + `[$__range])))`
}

func links() []Panel {
	return []Panel{
		{
			Row: "Links", Title: "Beats lost", Kind: Lines, Unit: "percent", Width: 12, Tall: 8, By: []string{"source", "service", "pid"},
			About:    "Beats that a sender has numbered and that did not arrive.",
			InfluxQL: `SELECT max(part) FROM (SELECT 100 * spread(lost_total) / (spread(lost_total) + spread(beats_total)) AS part FROM heartbeat_peer WHERE ` + inRange + chosen + ` GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
			PromQL: `100 * max by (` + peer + `) (rate(heartbeat_peer_lost_total` + selection + `[$__rate_interval]) / (rate(heartbeat_peer_lost_total` + selection +
				`[$__rate_interval]) + rate(heartbeat_peer_beats_total` + selection + `[$__rate_interval])))`,
		},
		{
			Title: "Allowed silence used", Kind: Lines, Unit: "percentunit", Width: 12, Tall: 8, By: []string{"source", "service", "pid"},
			About:    "How much of the time that it may be silent a living peer has been silent. What often comes near to 100 % will be dead by mistake some day: give it a longer interval.",
			InfluxQL: `SELECT min(used) FROM (SELECT max(age_seconds) / last(dead_after_seconds) AS used FROM heartbeat_peer WHERE ` + inRange + chosen + ` AND alive = 1 GROUP BY time($__interval), ` + peer + `, host fill(none)) WHERE ` + inRange + ` GROUP BY time($__interval), ` + peer + ` fill(none)`,
			PromQL:   `min by (` + peer + `) (heartbeat_peer_age_seconds` + selection + ` / heartbeat_peer_dead_after_seconds` + selection + ` and heartbeat_peer_alive` + selection + ` == 1)`,
		},
		{
			Title: "Round trip", Kind: Lines, Unit: "s", Width: 12, Tall: 8, By: []string{"source", "service"},
			About:    "From a beat to its acknowledgement, as the sender has measured it. Needs the measurement heartbeat in the output.",
			InfluxQL: `SELECT mean(rtt_seconds) FROM heartbeat WHERE ` + inRange + chosen + ` GROUP BY time($__interval), source, service fill(none)`,
			PromQL:   `max by (source, service) (heartbeat_rtt_seconds` + selection + `)`,
		},
		{
			Title: "Clock skew", Kind: Lines, Unit: "s", Width: 12, Tall: 8, By: []string{"source", "service"},
			About:    "How far the clock of the host is behind that of the collector, the way of the beat included. Nobody is declared dead for it.",
			InfluxQL: `SELECT mean(skew_seconds) FROM heartbeat WHERE ` + inRange + chosen + ` GROUP BY time($__interval), source, service fill(none)`,
			PromQL:   `max by (source, service) (heartbeat_skew_seconds` + selection + `)`,
		},
	}
}

func collector() []Panel {
	return []Panel{
		{
			Row: "Collector", Title: "Peers by state", Kind: Lines, Width: 12, Tall: 8, By: []string{"state", "host"},
			About:    "As each collector counts them.",
			InfluxQL: `SELECT last(peers) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), state, host fill(none)`,
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
			Title: "Stalls", Kind: Lines, Unit: "percent", Width: 12, Tall: 8, By: []string{"host"},
			About:    "How much of the time the collector was not listening: stopped, starved or suspended. That time is nobody's silence.",
			InfluxQL: `SELECT 100 * non_negative_derivative(last(stall_seconds_total), 1s) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `100 * max by (host) (rate(heartbeat_collector_stall_seconds_total[$__rate_interval]))`,
		},
		{
			Title: "Age of the state file", Kind: Lines, Unit: "s", Width: 12, Tall: 8, By: []string{"host"},
			About:    "What is older than this when the collector is killed is forgotten. No line: nothing is saved.",
			InfluxQL: `SELECT last(state_file_age_seconds) FROM heartbeat_collector WHERE ` + inRange + ` GROUP BY time($__interval), host fill(none)`,
			PromQL:   `max by (host) (heartbeat_collector_state_file_age_seconds)`,
		},
	}
}

// Text returns the word for a number, or "" if there is none.
func (w *Words) Text(value int) string {
	for _, known := range w.values {
		if known.value == value {
			return known.text
		}
	}
	return ""
}
