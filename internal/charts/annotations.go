package charts

// An Annotation marks the times of events in all charts.
type Annotation struct {
	Name     string
	Title    string // of one mark, a template that uses labels; with InfluxDB, the reason is shown instead
	Color    string
	Shown    bool // at first; the reader can change it
	InfluxQL string
	PromQL   string
}

// Annotations returns all annotations. There is none for goodbyes, because Prometheus has no
// counter for them.
func Annotations() []Annotation {
	// An event that two collectors reported is marked once. Both have the same id, but InfluxQL
	// cannot group by a field. Therefore, equal events within two seconds are grouped.
	events := func(which string) string {
		return `SELECT last_pid, source, service, state, reason FROM (SELECT last(last_pid) AS last_pid FROM heartbeat_event WHERE ` + inRange + which +
			` GROUP BY time(2s), source, service, pid, state, reason fill(none))`
	}
	counted := func(counter string) string {
		return `max by (` + peer + `) (increase(heartbeat_peer_` + counter + selection + `[1m])) > 0`
	}
	return []Annotation{
		{
			Name: "Deaths", Title: "{{source}} {{service}} died", Color: "red", Shown: true,
			InfluxQL: events(chosen + ` AND state = 'dead'`),
			PromQL:   counted("deaths_total"),
		},
		{
			Name: "Restarts", Title: "{{source}} {{service}} was restarted", Color: "orange",
			InfluxQL: events(chosen + ` AND (reason = 'restarted' OR reason = 'rebooted')`),
			PromQL:   counted("restarts_total"),
		},
		{
			Name: "Collector", Title: "collector {{host}} is cut off", Color: "purple", Shown: true,
			InfluxQL: `SELECT last_pid, source, service, state, reason FROM heartbeat_event WHERE ` + inRange + ` AND (reason = 'started' OR reason = 'isolated') AND source = ''`,
			PromQL:   `max by (host) (heartbeat_collector_isolated) == 1`,
		},
	}
}
