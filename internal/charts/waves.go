package charts

// A Record is a series that Prometheus and vmalert compute and keep.
type Record struct {
	Name   string
	PromQL string
}

// The names of what is kept.
const (
	deadSince = `heartbeat:dead_since`
	deathWave = `heartbeat:death_wave`
)

// sameWave is how many seconds after the last death of a wave another one still
// belongs to it.
const sameWave = `20`

// Deaths that follow each other closely have one cause, and are one message. They are
// a wave, named by the time of its first death. A peer keeps its wave, as another one
// would be another alert.
const (
	ownWave = `last_over_time(` + deathWave + `[3m])`

	// newest is the newest wave, and until when a death belongs to it; both are NaN if
	// nobody is dead.
	newest      = `scalar(max(` + ownWave + ` and ` + deadSince + `))`
	newestUntil = `scalar(max(` + deadSince + ` and ` + ownWave + ` == ` + newest + `)) + ` + sameWave
	joins       = deadSince + ` >= ` + newest + ` - ` + sameWave + ` <= ` + newestUntil
)

// Records are all of them, in the order in which they are computed.
func Records() []Record {
	return []Record{
		{
			Name: deadSince,
			PromQL: `max by (` + whom + `) (` + lately("since_timestamp_seconds", "") + ` and ` + lately("dead", "") + ` == 1)
and ` + dead("") + ` == 1`,
		},
		{
			Name: deathWave,
			PromQL: ownWave + ` and (` + troubled() + `)
or
0 * (` + joins + `) + ` + newest + `
or
floor(0 * ` + deadSince + ` + scalar(min(` + deadSince + ` unless ` + ownWave + ` unless (` + joins + `))))`,
		},
	}
}

// troubled has a series for each peer whose death is not over: it is dead; or it was,
// and no collector has said since that it is not; or it came back a short while ago, and
// may die again. A peer that has left, is forgotten or is not expected at this hour has none.
func troubled() string {
	isAlive := `max by (` + whom + `) (` + lately("alive", "") + `) == 1`
	isFlapping := `max by (` + whom + `) (` + lately("flapping", "") + `) == 1`
	reason := `max by (` + whom + `) (` + lately("reason_code", "") + `)`
	isOver := reason + ` == ` + reasonReplaced + ` or ` + reason + ` == ` + reasonForgotten + ` or ` + reason + ` == ` + reasonOffHours
	return `
  ` + deadSince + `
  or last_over_time(` + deadSince + `[1h]) unless (` + dead("") + ` == 0 or ` + isOver + `)
  or (last_over_time(` + deadSince + `[5m]) or ` + isFlapping + `) and ` + isAlive + `
`
}
