package api

import "strings"

// Why returns what a reason means, in words that go on from "web-1/nginx is dead: ". One that
// is not known is its own explanation.
func Why(reason string) string {
	if text, known := whys[reason]; known {
		return text
	}
	return reason
}

var whys = map[string]string{
	"none":        "expected, and not heard yet",
	"beat":        "its beats come in time",
	"silence":     "no beat, and nothing else is known",
	"hung":        "no beat, but TCP of its host answers",
	"unreachable": "no beat, and TCP of its host does not answer",
	"conn_closed": "its connection was closed without a goodbye",
	"conn_reset":  "its connection was reset",
	"exited":      "its watcher saw it end",
	"host":        "as its host",
	"leaving":     "it said goodbye",
	"finished":    "it said goodbye with exit code 0",
	"overdue":     "it promised to be back and is not",
	"overrun":     "a job began and did not end in time",
	"never_seen":  "expected, and not one beat came",
	"isolated":    "held: the collector itself is probably cut off",
	"restored":    "known from before a long stop of the collector",
	"replaced":    "it goes on under another name",
	"forgotten":   "it is forgotten",
	"off_hours":   "it is not expected at this hour",
	"mate_lost":   "known through another collector, which is not reachable",
}

// Allows returns what a rule is that allows a silence, in words that go on from "35s of
// silence, by ".
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
