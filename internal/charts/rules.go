package charts

// A Rule is one alert, which fires for each series.
type Rule struct {
	Name     string
	Severity string // page, critical or warning
	For      string // how long it has to be so before anybody is told
	Summary  string // with the labels of the series
	Why      string // in which label of heartbeat_down the summary ends, in Prometheus
	About    string
	InfluxQL string  // empty: it cannot be asked
	PromQL   string  // has no series while nothing is wrong
	Above    float64 // what InfluxQL gives while something is wrong
	NoData   string  // what Grafana takes no series at all for
}

// whose names a peer, which may have no service.
const whose = "{{ or $labels.service $labels.pid }} on {{ $labels.source }}"

// Many deaths at once are one alert: the cause is one.
const many = `10`

// reasonHost is liveness.ReasonHost: such a death is told by the host's own.
const reasonHost = `8`

// dead is 1 or 0 for each peer with these labels of which anything is known;
// who died with its host is left out.
func dead(labels string) string {
	return `min by (` + peer + `) (heartbeat_peer_dead` + labels + ` and heartbeat_peer_state_code > 0 unless heartbeat_peer_reason_code == ` + reasonHost + `)`
}

// deadInflux is the same in InfluxQL, for a condition on the tags.
func deadInflux(where string) string {
	return `SELECT min(dead) AS dead FROM (SELECT last(dead) AS dead, last(state_code) AS state, last(reason_code) AS reason FROM heartbeat_peer WHERE time > now() - 1m` +
		where + ` GROUP BY ` + peer + `, host) WHERE state > 0 AND reason <> ` + reasonHost + ` GROUP BY ` + peer
}

// latest is the last minute of a field, by peer.
func latest(what, measurement string) string {
	return `SELECT ` + what + ` FROM ` + measurement + ` WHERE time > now() - 1m GROUP BY `
}

func manyDead() string { return `count(` + dead("") + ` == 1) >= ` + many }

// Rules are all of them. A planned end is not dead, so it fires none.
func Rules() []Rule {
	return []Rule{
		{
			Name: "HeartbeatHostDead", Severity: "critical", For: "0s", NoData: "OK",
			Summary: "host {{ $labels.source }} is dead", Why: `source="%s", service="host"`,
			About:    "All collectors that know of it say so. The alert of each of its services is left out.",
			InfluxQL: deadInflux(` AND service = 'host'`),
			PromQL:   dead(`{service="host"}`) + ` == 1 unless on () (` + manyDead() + `)`,
		},
		{
			Name: "HeartbeatServiceDead", Severity: "critical", For: "0s", NoData: "OK",
			Summary: whose + " is dead", Why: `source="%s", service="%s"`,
			About:    "It ended, or was silent for too long, and its host was not.",
			InfluxQL: deadInflux(` AND service <> 'host'`),
			PromQL:   dead(`{service!="host"}`) + ` == 1 unless on () (` + manyDead() + `)`,
		},
		{
			Name: "HeartbeatManyDead", Severity: "page", For: "0s", NoData: "OK",
			Summary:  "{{ $value }} peers are dead at once",
			About:    "In the place of an alert for each of them: look for what they have in common. Bury those that will not come back: heartbeat-sender leave -host NAME.",
			InfluxQL: `SELECT sum(dead) FROM (` + deadInflux("") + `)`, Above: 9,
			PromQL: manyDead(),
		},
		{
			Name: "HeartbeatDiedBriefly", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  whose + " died and came back",
			About:    "A death that was shorter than two samples: a crash that somebody mended at once.",
			InfluxQL: `SELECT deaths FROM (SELECT spread(deaths_total) AS deaths, last(dead) AS dead FROM heartbeat_peer WHERE time > now() - 5m GROUP BY ` + peer + `, host) WHERE dead = 0`,
			PromQL:   `max by (` + peer + `) (increase(heartbeat_peer_deaths_total[5m])) > 0 unless max by (` + peer + `) (max_over_time(heartbeat_peer_dead[5m])) == 1`,
		},
		{
			Name: "HeartbeatFlapping", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  whose + " dies and comes back again and again",
			About:    "Three changes into or out of dead in ten minutes: a crash loop, or a link for which the interval is too short.",
			InfluxQL: latest(`last(flapping)`, `heartbeat_peer`) + peer,
			PromQL:   `max by (` + peer + `) (heartbeat_peer_flapping) == 1`,
		},
		{
			Name: "HeartbeatConflict", Severity: "warning", For: "0s", NoData: "OK",
			Summary:  "two processes beat as " + whose,
			About:    "Each hides the death of the other: give their services, or their hosts, different names. The log of the collector has both addresses.",
			InfluxQL: `SELECT spread(conflicts_total) FROM heartbeat_peer WHERE time > now() - 10m GROUP BY ` + peer,
			PromQL:   `max by (` + peer + `) (increase(heartbeat_peer_conflicts_total[10m])) > 0`,
		},
		{
			Name: "HeartbeatCollectorIsolated", Severity: "page", For: "0s", NoData: "OK",
			Summary:  "collector {{ $labels.host }} is cut off from its hosts",
			About:    "More than isolation_ratio of its hosts fell silent together. It says unknown of them until that is over, or isolation_hold has passed.",
			InfluxQL: latest(`last(isolated)`, `heartbeat_collector`) + `host`,
			PromQL:   `max by (host) (heartbeat_collector_isolated) == 1`,
		},
		{
			Name: "HeartbeatCollectorSilent", Severity: "page", For: "1m", NoData: "Alerting",
			Summary:  "no collector says anything",
			About:    "Telegraf is down, cannot write, or is not scraped: nobody watches anybody.",
			InfluxQL: `SELECT 0 * last(isolated) FROM heartbeat_collector WHERE time > now() - 2m`, // only no data fires
			PromQL:   `absent(heartbeat_collector_isolated)`,
		},
		{
			Name: "HeartbeatCollectorGone", Severity: "critical", For: "2m", NoData: "OK",
			Summary: "collector {{ $labels.host }} says nothing any more",
			About:   "It did in the last hour, and others still do.",
			PromQL:  `max by (host) (max_over_time(heartbeat_collector_isolated[1h])) * 0 + 1 unless max by (host) (heartbeat_collector_isolated)`,
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
