package charts

// A Record is a recording rule: a series that Prometheus and vmalert compute and store.
type Record struct {
	Name   string
	PromQL string
}

// The names of the recorded series.
const (
	deadSince = `heartbeat:dead_since`
	deathWave = `heartbeat:death_wave`
)

// maxGapInWave is the longest time, in seconds, between two successive deaths of a wave.
const maxGapInWave = `20`

// Deaths within a short time usually have one cause, so they are reported in one message. They
// form a wave, which is identified by the time of its first death. A peer keeps its wave: a
// different wave would be a different alert.
const (
	ownWave = `last_over_time(` + deathWave + `[3m])`

	// newest is the newest wave. A death until newestUntil belongs to it. Both are NaN if no peer
	// is dead.
	newest      = `scalar(max(` + ownWave + ` and ` + deadSince + `))`
	newestUntil = `scalar(max(` + deadSince + ` and ` + ownWave + ` == ` + newest + `)) + ` + maxGapInWave
	joins       = deadSince + ` >= ` + newest + ` - ` + maxGapInWave + ` <= ` + newestUntil
)

// Records returns all recording rules in the order in which they are evaluated.
func Records() []Record {
	return []Record{
		{
			Name: deadSince,
			PromQL: `max by (` + alertLabels + `) (` + latest("since_timestamp_seconds", "") + ` and ` + latest("dead", "") + ` == 1)
and ` + dead("") + ` == 1`,
		},
		{
			Name: deathWave,
			PromQL: ownWave + ` and (` + deathNotOver() + `)
or
0 * (` + joins + `) + ` + newest + `
or
floor(0 * ` + deadSince + ` + scalar(min(` + deadSince + ` unless ` + ownWave + ` unless (` + joins + `))))`,
		},
	}
}

// deathNotOver returns a query for the peers whose death is not over: the peer is dead; or it was
// dead, and no collector has reported otherwise since; or it came back recently or flaps, and may
// die again. A peer that left, was forgotten or is not expected at this hour is not included.
func deathNotOver() string {
	isAlive := `max by (` + alertLabels + `) (` + latest("alive", "") + `) == 1`
	isFlapping := `max by (` + alertLabels + `) (` + latest("flapping", "") + `) == 1`
	reason := `max by (` + alertLabels + `) (` + latest("reason_code", "") + `)`
	isOver := reason + ` == ` + reasonReplaced + ` or ` + reason + ` == ` + reasonForgotten + ` or ` + reason + ` == ` + reasonOffHours
	return `
  ` + deadSince + `
  or last_over_time(` + deadSince + `[1h]) unless (` + dead("") + ` == 0 or ` + isOver + `)
  or (last_over_time(` + deadSince + `[5m]) or ` + isFlapping + `) and ` + isAlive + `
`
}
