package api

import "strings"

// Why returns what a reason means, in words that go on from "web-1/nginx is dead: ". A
// reason that is not known is its own explanation.
func Why(reason string) string {
	if text, known := whys[reason]; known {
		return text
	}
	return reason
}

var whys = map[string]string{
	"none":        "it is expected, and no beat has come yet",
	"beat":        "its beats come in time",
	"silence":     "no beat came in time, and nothing else is known",
	"hung":        "no beat came in time, but its host answers: the process is stuck or stopped",
	"unreachable": "no beat came in time, and its host does not answer: it is down, or the network is",
	"conn_closed": "its connection was closed without a goodbye: the process has ended",
	"conn_reset":  "its connection was reset: the process ended with unread data, its host rebooted, or a firewall cut it",
	"exited":      "its sender saw it end",
	"host":        "its host is: begin there",
	"leaving":     "it said goodbye",
	"finished":    "it said goodbye with exit code 0",
	"overdue":     "it promised to be back and is not",
	"overrun":     "a run of it began and did not end within its 'max_runtime'",
	"never_seen":  "'expect' or a check names it, and no beat ever came",
	"isolated":    "the collector itself is probably cut off, so the verdict is held",
	"restored":    "it was well before a long stop of the collector, and has not been heard since",
	"replaced":    "it goes on under another name",
	"forgotten":   "it was forgotten",
	"mate_lost":   "it is known through another collector, which is not reachable",
}

// Allows returns what a rule is that allows a silence, in words that go on from "35s of
// silence, by ".
func Allows(rule string) string {
	switch {
	case rule == "interval":
		return "its declared interval and the option 'missed_beats'"
	case rule == "adaptive":
		return "its declared interval and how late its beats usually are (adaptive)"
	case rule == "grace_ms":
		return "its declared interval and the grace period that it asks for"
	case strings.HasPrefix(rule, "rule "):
		return rule + " of [[inputs.heartbeat.rule]]"
	}
	return "the option '" + rule + "'"
}
