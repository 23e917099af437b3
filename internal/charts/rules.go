package charts

import "slices"

// A Rule is one alert, which fires for each series.
type Rule struct {
	Name     string
	Severity string // critical or warning
	For      string // how long it has to be so before anybody is told
	Summary  string // with the labels of the series
	About    string
	InfluxQL string  // empty: it cannot be asked
	PromQL   string  // has no series while nothing is wrong
	Wave     string  // in the place of PromQL where waves are kept: gives for each series the start of its wave
	Above    float64 // what InfluxQL gives while something is wrong
	NoData   string  // what Grafana takes no series at all for
}

// whose names a peer, which may have no service.
const whose = "{{ or $labels.service $labels.pid }} on {{ $labels.source }}"

// whom are the labels that tell the alert of a peer from another's. Where it stands
// is one if its senders say so.
const whom = peer + `, site`

// The codes of reasons of liveness that matter here: such a death is told by the
// host's own, and such a peer is no more.
const (
	reasonHost      = `8`
	reasonReplaced  = `15`
	reasonForgotten = `16`
)

// lately bridges the time in which a collector is restarted: it still knows who was
// dead, and nobody is to be told that they are not.
func lately(field, labels string) string {
	return `last_over_time(heartbeat_peer_` + field + labels + `[3m])`
}

// dead is 1 or 0 for each peer with these labels of which anything is known; who
// died with its host is left out.
func dead(labels string) string {
	return `min by (` + whom + `) (` + lately("dead", labels) + ` and ` + lately("state_code", labels) + ` > 0 unless ` +
		lately("reason_code", labels) + ` == ` + reasonHost + `)`
}

// deadInflux is dead in InfluxQL, for a condition on the tags.
func deadInflux(where string) string {
	return `SELECT min(dead) AS dead FROM (SELECT last(dead) AS dead, last(state_code) AS state, last(reason_code) AS reason FROM heartbeat_peer WHERE time > now() - 3m` +
		where + ` GROUP BY ` + peer + `, host) WHERE state > 0 AND reason <> ` + reasonHost + ` GROUP BY ` + peer
}

// ofPeer is the greatest of what the collectors say of a peer.
func ofPeer(what, window string) string {
	return `SELECT max(said) FROM (SELECT ` + what + ` AS said FROM heartbeat_peer WHERE time > now() - ` + window + ` GROUP BY ` + peer + `, host) GROUP BY ` + peer
}

// saysInflux has a series for each living peer whose last status has this code.
func saysInflux(code string) string {
	return `SELECT max(said) FROM (SELECT last(status_code) AS said, last(alive) AS alive FROM heartbeat_peer WHERE time > now() - 1m GROUP BY ` + peer +
		`, host) WHERE said = ` + code + ` AND alive = 1 GROUP BY ` + peer
}

// says is saysInflux for Prometheus.
func says(code string) string {
	return `max by (` + whom + `) (heartbeat_peer_status_code == ` + code + ` and heartbeat_peer_alive == 1)`
}

// Rules are all of them.
func Rules() []Rule { return slices.Concat(deathRules(), beatRules(), collectorRules()) }

// deathRules are about deaths. A planned end is not dead, so it fires none.
func deathRules() []Rule {
	const host, service = `{service="host"}`, `{service!="host"}`
	return []Rule{
		{
			Name: "HeartbeatHostDead", Severity: "critical", For: "0s", NoData: "OK",
			Summary:  "host {{ $labels.source }} died",
			About:    "All collectors that know of it say so. The alert of each of its services is left out.",
			InfluxQL: deadInflux(` AND service = 'host'`),
			PromQL:   dead(host) + ` == 1`, Wave: deathWave + host,
		},
		{
			Name: "HeartbeatServiceDead", Severity: "critical", For: "0s", NoData: "OK",
			Summary:  whose + " died",
			About:    "It ended, or was silent for too long, and its host was not.",
			InfluxQL: deadInflux(` AND service <> 'host'`),
			PromQL:   dead(service) + ` == 1`, Wave: deathWave + service,
		},
		{
			Name: "HeartbeatDiedBriefly", Severity: "warning", For: "0s", NoData: "OK",
			Summary: whose + " died for a moment, or one of its processes did",
			About:   "A death that was shorter than two samples: a crash that somebody mended at once. Or a run that failed while another one of the same name went on.",
			InfluxQL: `SELECT max(deaths) FROM (SELECT spread(deaths_total) AS deaths, sum(dead) AS seen, last(dead) AS dead FROM heartbeat_peer WHERE time > now() - 5m GROUP BY ` + peer +
				`, host) WHERE seen <= deaths AND dead = 0 GROUP BY ` + peer,
			PromQL: diedLately + ` unless max by (` + whom + `) (max_over_time(heartbeat_peer_dead[5m])) == 1`,
		},
		{
			Name: "HeartbeatFlapping", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  whose + " dies and comes back again and again",
			About:    "Three changes into or out of dead in ten minutes: a crash loop, or a link for which the interval is too short.",
			InfluxQL: ofPeer(`last(flapping)`, `1m`),
			PromQL:   `max by (` + whom + `) (heartbeat_peer_flapping) == 1 and ` + diedLately,
		},
	}
}

const diedLately = `max by (` + whom + `) (increase(heartbeat_peer_deaths_total[5m])) > 0`

// beatRules are about what living peers say.
func beatRules() []Rule {
	return []Rule{
		{
			Name: "HeartbeatStatusCritical", Severity: "critical", For: "1m", NoData: "OK",
			Summary:  whose + " says that it fails",
			About:    "It is alive, and the status of its beats is fail, error or critical.",
			InfluxQL: saysInflux(`2`),
			PromQL:   says(`2`),
		},
		{
			Name: "HeartbeatStatusWarning", Severity: "warning", For: "1m", NoData: "OK",
			Summary:  whose + " says that it is not well",
			About:    "It is alive, and the status of its beats is warn, warning or degraded.",
			InfluxQL: saysInflux(`1`),
			PromQL:   says(`1`),
		},
		{
			Name: "HeartbeatConflict", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  "two processes beat as " + whose,
			About:    "Each hides the death of the other: give their services, or their hosts, different names. The log of the collector has both addresses.",
			InfluxQL: ofPeer(`spread(conflicts_total)`, `10m`),
			PromQL:   `max by (` + whom + `) (increase(heartbeat_peer_conflicts_total[10m])) > 0`,
		},
	}
}

// collectorRules are about collectors.
func collectorRules() []Rule {
	return []Rule{
		{
			Name: "HeartbeatCollectorIsolated", Severity: "critical", For: "0s", NoData: "OK",
			Summary:  "collector {{ $labels.host }} is cut off from its hosts",
			About:    "More than isolation_ratio of its hosts fell silent together. It says unknown of them until that is over, or isolation_hold has passed.",
			InfluxQL: `SELECT last(isolated) FROM heartbeat_collector WHERE time > now() - 1m GROUP BY host`,
			PromQL:   `max by (host) (heartbeat_collector_isolated) == 1`,
		},
		{
			Name: "HeartbeatCollectorSilent", Severity: "critical", For: "1m", NoData: "Alerting",
			Summary:  "no collector says anything",
			About:    "Telegraf is down, cannot write, or is not scraped: nobody watches anybody.",
			InfluxQL: `SELECT 0 * last(isolated) FROM heartbeat_collector WHERE time > now() - 2m`, // only no data fires
			PromQL:   `absent(heartbeat_collector_isolated)`,
		},
		{
			Name: "HeartbeatCollectorGone", Severity: "critical", For: "2m", NoData: "OK",
			Summary: "collector {{ $labels.host }} says nothing any more",
			About:   "It did in the last hour, and others still do. An hour after its last word this ends by itself.",
			PromQL:  `max by (host) (max_over_time(heartbeat_collector_isolated[1h])) * 0 + 1 unless max by (host) (heartbeat_collector_isolated) and on () count(heartbeat_collector_isolated) > 0`,
		},
		{
			Name: "HeartbeatNoMemory", Severity: "warning", For: "5m", NoData: "OK",
			Summary:  "collector {{ $labels.host }} cannot save its state",
			About:    "After a restart it would know nothing of who is dead. Its log says why, and what to do.",
			InfluxQL: `SELECT 1 - last(state_saved) FROM heartbeat_collector WHERE time > now() - 1m GROUP BY host`,
			PromQL:   `min by (host) (heartbeat_collector_state_saved) == 0`,
		},
		{
			Name: "HeartbeatCollectorMatesLost", Severity: "warning", For: "5m", NoData: "OK",
			Summary:  "collector {{ $labels.host }} reaches fewer collectors than it did",
			About:    "Deaths are still reported, but those that it does not reach cannot say that they hear a peer. Six hours after the loss this ends by itself.",
			InfluxQL: `SELECT max(mates) - last(mates) FROM heartbeat_collector WHERE time > now() - 6h GROUP BY host`,
			PromQL:   `min by (host) (heartbeat_collector_mates) < max by (host) (max_over_time(heartbeat_collector_mates[6h]))`,
		},
		{
			Name: "HeartbeatCollectorMatesDiffer", Severity: "warning", For: "5m", NoData: "OK",
			Summary:  "collector {{ $labels.host }} and another one do not go together",
			About:    "Their options, protocol versions or clocks differ, or two have the same name. The log of the collector says which.",
			InfluxQL: `SELECT last(mates_differ) FROM heartbeat_collector WHERE time > now() - 1m GROUP BY host`,
			PromQL:   `max by (host) (heartbeat_collector_mates_differ) > 0`,
		},
		{
			Name: "HeartbeatCollectorStalls", Severity: "warning", For: "5m", NoData: "OK",
			Summary:  "collector {{ $labels.host }} does not get to listen",
			About:    "For more than a tenth of the time it was stopped or starved. That is nobody's silence, but deaths are told later.",
			InfluxQL: `SELECT spread(stall_seconds_total) / 300 FROM heartbeat_collector WHERE time > now() - 5m GROUP BY host`, Above: 0.1,
			PromQL: `max by (host) (rate(heartbeat_collector_stall_seconds_total[5m])) > 0.1`,
		},
	}
}
