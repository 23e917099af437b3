package charts

import "slices"

// A Rule is one alert, which fires for each series.
type Rule struct {
	Name     string
	Severity string // critical or warning
	For      string // how long the condition must last before the alert fires
	Summary  string // a template that uses the labels of the series
	About    string
	InfluxQL string  // empty if InfluxQL cannot express the rule
	PromQL   string  // returns no series while nothing is wrong
	Kept     string  // replaces PromQL in Prometheus and vmalert, which evaluate Records; empty if the same
	Wave     string  // likewise; the value of each series is the start of its wave
	Above    float64 // InfluxQL returns more than this while something is wrong
	NoData   string  // the state of the alert in Grafana if there are no series at all
}

// peerName is a template for the name of a peer, which may have no service.
const peerName = `{{ if eq $labels.service "host" }}host{{ else }}{{ or $labels.service $labels.pid }} on{{ end }} {{ $labels.source }}`

// alertLabels are the labels that identify the alert of a peer. The label site is there if the
// peer's sender sets it.
const alertLabels = peer + `, site`

// These are codes of reasons in package liveness: the peer died with its host, was replaced, was
// forgotten, or is not expected at this hour.
const (
	reasonHost      = `8`
	reasonReplaced  = `15`
	reasonForgotten = `16`
	reasonOffHours  = `18`
)

// latest returns a query for the latest value of a field. A value of the last minute is used; if
// no collector reported the peer in that minute, a value of the last three minutes is used. So a
// dead peer stays dead while a collector restarts.
func latest(field, labels string) string {
	said := `last_over_time(heartbeat_peer_` + field + labels
	return `(` + said + `[1m]) or ` + said + `[3m]) unless on (` + alertLabels + `) ` + said + `[1m]))`
}

// dead returns a query that is 1 or 0 for each peer with these labels whose state is known. Peers
// that died with their host are left out until the host is back.
func dead(labels string) string {
	const hostIsBack = `max by (source, site) (min_over_time(heartbeat_peer_alive{service="host"}[1m])) == 1`
	return `min by (` + alertLabels + `) (` + deadIfKnown(labels) + ` unless (` +
		latest("reason_code", labels) + ` == ` + reasonHost + ` unless on (source, site) ` + hostIsBack + `))`
}

// deadIfKnown returns a query that is 1 or 0 for each peer and each collector that knows its
// state.
func deadIfKnown(labels string) string {
	return latest("dead", labels) + ` and ` + latest("state_code", labels) + ` > 0`
}

// deadInflux is like dead, but in InfluxQL, for the peers that the condition selects.
func deadInflux(where string) string {
	return `SELECT min(dead) AS dead FROM (SELECT last(dead) AS dead, last(state_code) AS state, last(reason_code) AS reason FROM heartbeat_peer WHERE time > now() - 3m` +
		where + ` GROUP BY ` + peer + `, host) WHERE state > 0 AND reason <> ` + reasonHost + ` GROUP BY ` + peer
}

// maxOfPeer returns an InfluxQL query for the largest value that any collector reports for a peer.
func maxOfPeer(what, window string) string {
	return `SELECT max(said) FROM (SELECT ` + what + ` AS said FROM heartbeat_peer WHERE time > now() - ` + window + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer
}

// statusInflux returns an InfluxQL query for the living peers whose last status has this code.
func statusInflux(code string) string {
	return `SELECT max(said) FROM (SELECT last(status_code) AS said, last(alive) AS alive FROM heartbeat_peer WHERE time > now() - 1m GROUP BY ` + peer +
		`, host) WHERE said = ` + code + ` AND alive = 1 GROUP BY ` + peer
}

// statusPromQL is like statusInflux, but in PromQL.
func statusPromQL(code string) string {
	return `max by (` + alertLabels + `) (` + latest("status_code", "") + ` == ` + code + ` and ` + latest("alive", "") + ` == 1)`
}

// Rules returns all alert rules.
func Rules() []Rule { return slices.Concat(deathRules(), beatRules(), collectorRules()) }

// deathRules returns the rules about deaths. They do not fire for a planned end, which is not a
// death.
func deathRules() []Rule {
	const host, service = `{service="host"}`, `{service!="host"}`
	return []Rule{
		{
			Name: "HeartbeatHostDead", Severity: "critical", For: "0s", NoData: "OK",
			Summary:  "host {{ $labels.source }} died",
			About:    "All collectors that know the host report it dead. Services that died with it have no alert of their own.",
			InfluxQL: deadInflux(` AND service = 'host'`),
			PromQL:   dead(host) + ` == 1`, Wave: deathWave + host,
		},
		{
			Name: "HeartbeatServiceDead", Severity: "critical", For: "0s", NoData: "OK",
			Summary:  peerName + " died",
			About:    "The service ended, or was silent for too long, and did not die with its host.",
			InfluxQL: deadInflux(` AND service <> 'host'`),
			PromQL:   dead(service) + ` == 1`, Wave: deathWave + service,
		},
		{
			Name: "HeartbeatDiedBriefly", Severity: "warning", For: "0s", NoData: "OK",
			Summary: peerName + " died briefly, or one of its runs failed",
			About:   "A death that was over before the rules saw it: the process was restarted within seconds. Or a run failed while another run of the same name continued.",
			InfluxQL: `SELECT max(deaths) FROM (SELECT spread(deaths_total) AS deaths, sum(dead) AS seen, last(dead) AS dead FROM heartbeat_peer WHERE time > now() - 5m GROUP BY ` + peer +
				`, host) WHERE seen <= deaths AND dead = 0 GROUP BY ` + peer,
			PromQL: diedRecently + ` unless max by (` + alertLabels + `) (max_over_time(heartbeat_peer_dead[5m])) == 1`,
			Kept:   diedRecently + ` unless last_over_time(` + deadSince + `[5m]) unless min by (` + alertLabels + `) (` + deadIfKnown("") + `) == 1`,
		},
		{
			Name: "HeartbeatFlapping", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  peerName + " dies and comes back repeatedly",
			About:    "Three changes to or from dead in ten minutes: a crash loop, or an interval that is too short for the link.",
			InfluxQL: maxOfPeer(`last(flapping)`, `1m`),
			PromQL:   `max by (` + alertLabels + `) (heartbeat_peer_flapping) == 1 and ` + diedRecently,
		},
	}
}

// diedRecently selects the peers that died in the last five minutes according to all collectors
// that know them. It ignores counters that went back, as they do when an old state file is
// restored.
const diedRecently = `min by (` + alertLabels + `) (increase(heartbeat_peer_deaths_total[5m]) unless resets(heartbeat_peer_deaths_total[5m]) > 0) > 0`

// beatRules returns the rules about the beats of living peers.
func beatRules() []Rule {
	return []Rule{
		{
			Name: "HeartbeatStatusCritical", Severity: "critical", For: "1m", NoData: "OK",
			Summary:  peerName + " reports a failure",
			About:    "It is alive, but the status in its beats is fail, error or critical.",
			InfluxQL: statusInflux(`2`),
			PromQL:   statusPromQL(`2`),
		},
		{
			Name: "HeartbeatStatusWarning", Severity: "warning", For: "1m", NoData: "OK",
			Summary:  peerName + " reports a warning",
			About:    "It is alive, but the status in its beats is warn, warning or degraded.",
			InfluxQL: statusInflux(`1`),
			PromQL:   statusPromQL(`1`),
		},
		{
			Name: "HeartbeatConflict", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  "two processes beat as " + peerName,
			About:    "Each hides the death of the other. Give the services, or the hosts, different names. The log of the collector has both addresses.",
			InfluxQL: maxOfPeer(`spread(conflicts_total)`, `10m`),
			PromQL:   `max by (` + alertLabels + `) (increase(heartbeat_peer_conflicts_total[10m])) > 0`,
		},
	}
}

// collectorRules returns the rules about collectors.
func collectorRules() []Rule {
	return []Rule{
		{
			Name: "HeartbeatCollectorIsolated", Severity: "critical", For: "0s", NoData: "OK",
			Summary:  "collector {{ $labels.host }} is cut off from its hosts",
			About:    "More than isolation_ratio of its hosts fell silent together. It reports them as unknown until they beat again, or isolation_hold has passed.",
			InfluxQL: `SELECT last(isolated) FROM heartbeat_collector WHERE time > now() - 1m GROUP BY host`,
			PromQL:   `max by (host) (heartbeat_collector_isolated) == 1`,
		},
		{
			Name: "HeartbeatCollectorSilent", Severity: "critical", For: "1m", NoData: "Alerting",
			Summary:  "no collector reports anything",
			About:    "Telegraf is down, cannot write, or is not scraped. No peer is watched.",
			InfluxQL: `SELECT 0 * last(isolated) FROM heartbeat_collector WHERE time > now() - 2m`, // always 0: only missing data fires
			PromQL:   `absent(heartbeat_collector_isolated)`,
		},
		{
			Name: "HeartbeatCollectorGone", Severity: "critical", For: "2m", NoData: "OK",
			Summary: "collector {{ $labels.host }} no longer reports anything",
			About:   "It reported in the last hour, and other collectors still do. This alert ends an hour after the last report.",
			PromQL:  `max by (host) (max_over_time(heartbeat_collector_isolated[1h])) * 0 + 1 unless max by (host) (heartbeat_collector_isolated) and on () count(heartbeat_collector_isolated) > 0`,
		},
		{
			Name: "HeartbeatNoMemory", Severity: "warning", For: "5m", NoData: "OK",
			Summary:  "collector {{ $labels.host }} cannot save its state",
			About:    "After a restart, it would not know which peers are dead. Its log says why, and what to do.",
			InfluxQL: `SELECT 1 - last(state_saved) FROM heartbeat_collector WHERE time > now() - 1m GROUP BY host`,
			PromQL:   `min by (host) (heartbeat_collector_state_saved) == 0`,
		},
		{
			Name: "HeartbeatMatesLost", Severity: "warning", For: "5m", NoData: "OK",
			Summary:  "collector {{ $labels.host }} reaches fewer collectors than before",
			About:    "Deaths are still reported, but it cannot ask the other collectors whether they receive beats of a peer. This alert ends six hours after the loss.",
			InfluxQL: `SELECT max(mates) - last(mates) FROM heartbeat_collector WHERE time > now() - 6h GROUP BY host`,
			PromQL:   `min by (host) (heartbeat_collector_mates) < max by (host) (max_over_time(heartbeat_collector_mates[6h]))`,
		},
		{
			Name: "HeartbeatMatesDiffer", Severity: "warning", For: "5m", NoData: "OK",
			Summary:  "collector {{ $labels.host }} differs from its mates",
			About:    "Their options, protocol versions or clocks differ, or two have the same name. The log of the collector says which.",
			InfluxQL: `SELECT last(mates_differ) FROM heartbeat_collector WHERE time > now() - 1m GROUP BY host`,
			PromQL:   `max by (host) (heartbeat_collector_mates_differ) > 0`,
		},
		{
			Name: "HeartbeatCollectorStalls", Severity: "warning", For: "5m", NoData: "OK",
			Summary:  "collector {{ $labels.host }} stalls repeatedly",
			About:    "It was stopped, or got no CPU, for more than a tenth of the time. No peer is reported dead because of that, but deaths are reported later.",
			InfluxQL: `SELECT spread(stall_seconds_total) / 300 FROM heartbeat_collector WHERE time > now() - 5m GROUP BY host`, Above: 0.1,
			PromQL: `max by (host) (rate(heartbeat_collector_stall_seconds_total[5m])) > 0.1`,
		},
	}
}
