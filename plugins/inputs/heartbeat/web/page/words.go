package page

import (
	"fmt"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// evidence says in words what each reason means.
var evidence = map[liveness.Reason]string{
	liveness.ReasonNone:        "expected, and not heard yet",
	liveness.ReasonBeat:        "a beat arrived",
	liveness.ReasonSilence:     "no beat, and nothing else is known",
	liveness.ReasonHung:        "no beat, but TCP of its host answers",
	liveness.ReasonUnreachable: "no beat, and TCP of its host does not answer",
	liveness.ReasonConnClosed:  "its connection was closed without a goodbye",
	liveness.ReasonConnReset:   "its connection was reset",
	liveness.ReasonExited:      "its watcher saw it end",
	liveness.ReasonHost:        "as its host",
	liveness.ReasonLeaving:     "it said goodbye",
	liveness.ReasonFinished:    "it said goodbye with exit code 0",
	liveness.ReasonOverdue:     "it promised to be back and is not",
	liveness.ReasonNeverSeen:   "expected, and not one beat came",
	liveness.ReasonIsolated:    "held: the collector itself is probably cut off",
	liveness.ReasonRestored:    "known from before a long stop of the collector",
	liveness.ReasonReplaced:    "it goes on under another name",
	liveness.ReasonForgotten:   "forgotten",
	liveness.ReasonOverrun:     "a job began and did not end in time",
	liveness.ReasonMateLost:    "known through another collector, which is not reachable",
}

// why says in words why a peer is what it is.
func why(d *liveness.Details) string {
	if d.Reason == liveness.ReasonExited && d.HasExitCode {
		return fmt.Sprintf("%s with exit code %d", evidence[d.Reason], d.ExitCode)
	}
	return evidence[d.Reason]
}

// statuses are what peers say of themselves, by liveness.Health.
var statuses = [...]string{
	liveness.HealthUntold: "", liveness.HealthOK: "ok", liveness.HealthWarning: "warning",
	liveness.HealthCritical: "critical", liveness.HealthOther: "other",
}

// isDown reports whether something may be wrong with a peer. The metric heartbeat_down is
// there for the same ones.
func isDown(d *liveness.Details) bool {
	switch d.State {
	case liveness.Dead, liveness.Suspect:
		return true
	case liveness.Unknown:
		return d.Reason == liveness.ReasonIsolated || d.Reason == liveness.ReasonHost || d.Reason == liveness.ReasonMateLost
	case liveness.Alive, liveness.Left:
	}
	return false
}
