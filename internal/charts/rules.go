package charts

import "slices"

// A Rule is one alert, which fires for each series.
type Rule struct {
	Name     string
	Severity string // critical or warning
	For      string // how long it has to be so before the alert fires
	Summary  string // with the labels of the series
	About    string
	InfluxQL string  // empty: it cannot be asked
	PromQL   string  // has no series while nothing is wrong
	Kept     string  // in the place of PromQL where series are kept; empty if it is the same there
	Wave     string  // likewise, and gives for each series the start of its wave
	Above    float64 // what InfluxQL gives while something is wrong
	NoData   string  // what Grafana takes no series at all for
}

// whose names a peer, which may have no service.
const whose = `{{ if eq $labels.service "host" }}host{{ else }}{{ or $labels.service $labels.pid }} on{{ end }} {{ $labels.source }}`

// whom are the labels that tell the alerts of two peers apart. A site is there if the
// sender of the peer names it.
const whom = peer + `, site`

// Codes of reasons in liveness: a peer that died with its host, two kinds that are no
// more, and one that is not expected at this hour.
const (
	reasonHost      = `8`
	reasonReplaced  = `15`
	reasonForgotten = `16`
	reasonOffHours  = `18`
)

// lately bridges the time in which a collector is restarted: the dead stay dead
// meanwhile. Where another one still speaks of a peer that is shorter, as it knows better.
func lately(field, labels string) string {
	said := `last_over_time(heartbeat_peer_` + field + labels
	return `(` + said + `[1m]) or ` + said + `[3m]) unless on (` + whom + `) ` + said + `[1m]))`
}

// dead is 1 or 0 for each peer with these labels of which anything is known. Those that
// died with their host are left out, unless the host is back.
func dead(labels string) string {
	const hostIsBack = `max by (source, site) (min_over_time(heartbeat_peer_alive{service="host"}[1m])) == 1`
	return `min by (` + whom + `) (` + known(labels) + ` unless (` +
		lately("reason_code", labels) + ` == ` + reasonHost + ` unless on (source, site) ` + hostIsBack + `))`
}

// known is 1 or 0 for each collector that knows anything of a peer.
func known(labels string) string {
	return lately("dead", labels) + ` and ` + lately("state_code", labels) + ` > 0`
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
	return `max by (` + whom + `) (` + lately("status_code", "") + ` == ` + code + ` and ` + lately("alive", "") + ` == 1)`
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
			About:    "All collectors that know the host report it dead. Services that died with it have no alert of their own.",
			InfluxQL: deadInflux(` AND service = 'host'`),
			PromQL:   dead(host) + ` == 1`, Wave: deathWave + host,
		},
		{
			Name: "HeartbeatServiceDead", Severity: "critical", For: "0s", NoData: "OK",
			Summary:  whose + " died",
			About:    "The service ended, or was silent for too long, and did not die with its host.",
			InfluxQL: deadInflux(` AND service <> 'host'`),
			PromQL:   dead(service) + ` == 1`, Wave: deathWave + service,
		},
		{
			Name: "HeartbeatDiedBriefly", Severity: "warning", For: "0s", NoData: "OK",
			Summary: whose + " died briefly, or one of its runs failed",
			About:   "A death that was over before the rules saw it: the process was restarted within seconds. Or a run failed while another run of the same name continued.",
			InfluxQL: `SELECT max(deaths) FROM (SELECT spread(deaths_total) AS deaths, sum(dead) AS seen, last(dead) AS dead FROM heartbeat_peer WHERE time > now() - 5m GROUP BY ` + peer +
				`, host) WHERE seen <= deaths AND dead = 0 GROUP BY ` + peer,
			PromQL: diedLately + ` unless max by (` + whom + `) (max_over_time(heartbeat_peer_dead[5m])) == 1`,
			Kept:   diedLately + ` unless last_over_time(` + deadSince + `[5m]) unless min by (` + whom + `) (` + known("") + `) == 1`,
		},
		{
			Name: "HeartbeatFlapping", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  whose + " dies and comes back repeatedly",
			About:    "Three changes to or from dead in ten minutes: a crash loop, or an interval that is too short for the link.",
			InfluxQL: ofPeer(`last(flapping)`, `1m`),
			PromQL:   `max by (` + whom + `) (heartbeat_peer_flapping) == 1 and ` + diedLately,
		},
	}
}

// diedLately has a series for each peer that has died of late, as all say that know of it. A
// total that goes back is one of an older state file.
const diedLately = `min by (` + whom + `) (increase(heartbeat_peer_deaths_total[5m]) unless resets(heartbeat_peer_deaths_total[5m]) > 0) > 0`

// beatRules are about what living peers say.
func beatRules() []Rule {
	return []Rule{
		{
			Name: "HeartbeatStatusCritical", Severity: "critical", For: "1m", NoData: "OK",
			Summary:  whose + " reports a failure",
			About:    "It is alive, but the status in its beats is fail, error or critical.",
			InfluxQL: saysInflux(`2`),
			PromQL:   says(`2`),
		},
		{
			Name: "HeartbeatStatusWarning", Severity: "warning", For: "1m", NoData: "OK",
			Summary:  whose + " reports a warning",
			About:    "It is alive, but the status in its beats is warn, warning or degraded.",
			InfluxQL: saysInflux(`1`),
			PromQL:   says(`1`),
		},
		{
			Name: "HeartbeatConflict", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  "two processes beat as " + whose,
			About:    "Each hides the death of the other. Give the services, or the hosts, different names. The log of the collector has both addresses.",
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
			About:    "More than isolation_ratio of its hosts fell silent together. It reports them as unknown until they beat again, or isolation_hold has passed.",
			InfluxQL: `SELECT last(isolated) FROM heartbeat_collector WHERE time > now() - 1m GROUP BY host`,
			PromQL:   `max by (host) (heartbeat_collector_isolated) == 1`,
		},
		{
			Name: "HeartbeatCollectorSilent", Severity: "critical", For: "1m", NoData: "Alerting",
			Summary:  "no collector reports anything",
			About:    "Telegraf is down, cannot write, or is not scraped. No peer is watched.",
			InfluxQL: `SELECT 0 * last(isolated) FROM heartbeat_collector WHERE time > now() - 2m`, // only no data fires
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
