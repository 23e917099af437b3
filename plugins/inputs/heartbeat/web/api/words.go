package api

import "strings"

// Why explains a reason, in words that follow "web-1/nginx is dead: ". It returns an unknown
// reason as it is.
func Why(reason string) string {
	if text, known := whys[reason]; known {
		return text
	}
	return reason
}

var whys = map[string]string{
	"none":        "expected, no beat received yet",
	"beat":        "its beats arrive in time",
	"silence":     "no beat, cause unknown",
	"hung":        "no beat, but its host answers over TCP",
	"unreachable": "no beat, and its host does not answer over TCP",
	"conn_closed": "its connection was closed without a goodbye",
	"conn_reset":  "its connection was reset",
	"exited":      "its watcher saw it end",
	"host":        "its host is in that state, too",
	"leaving":     "it said goodbye",
	"finished":    "it said goodbye with exit code 0",
	"overdue":     "its maintenance window is over and it is not back",
	"overrun":     "a job started and did not finish in time",
	"never_seen":  "expected, but no beat was ever received",
	"isolated":    "the collector itself is probably cut off from the network",
	"restored":    "restored after a long stop of the collector",
	"replaced":    "it now beats under another name",
	"forgotten":   "it is forgotten",
	"off_hours":   "it is not expected at this hour",
	"mate_lost":   "known through another collector, which is unreachable",
}

// Allows explains the rule of a timeout, in words that follow "35s of silence, set by ".
func Allows(rule string) string {
	switch {
	case rule == "interval":
		return "its declared interval and the option 'missed_beats'"
	case rule == "adaptive":
		return "its declared interval and how late its beats usually are (adaptive)"
	case rule == "grace":
		return "its declared interval and the option 'grace'"
	case rule == "schedule":
		return "its schedule"
	case rule == "check":
		return "the schedule of its check"
	case rule == "grace_ms":
		return "its declared interval and the grace period that it asks for"
	case strings.HasPrefix(rule, "rule "):
		return rule + " of [[inputs.heartbeat.rule]]"
	}
	return "the option '" + rule + "'"
}
