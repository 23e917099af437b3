package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A column is a column of the table of peers. Rare columns are shown only if a peer needs
// them.
type column struct {
	head  string
	cell  func(*peer) string
	shown func(*peer) bool // nil for always
}

var columns = []column{
	{head: "STATE", cell: func(p *peer) string { return p.State }},
	{head: "SINCE", cell: func(p *peer) string { return formatTime(p.Since) }},
	{head: "PEER", cell: func(p *peer) string { return p.Name() }},
	{head: "REASON", cell: func(p *peer) string { return p.Reason }},
	{head: "HEARD", cell: heard},
	{head: "ALLOWED", cell: func(p *peer) string { return formatAllowed(p.DeadAfter) }},
	{head: "RULE", cell: func(p *peer) string { return p.Rule }},
	{head: "BACK IN", cell: formatPromise, shown: func(p *peer) bool { return p.Promised > 0 }},
	{head: "ADDRESS", cell: func(p *peer) string { return cmp.Or(p.IP, "-") }},
	{
		head: "HEARD BY", cell: func(p *peer) string { return cmp.Or(p.HeardBy, "this collector") },
		shown: func(p *peer) bool { return p.HeardBy != "" },
	},
}

// printTable prints a line for each peer.
func printTable(w *bytes.Buffer, peers []peer) {
	if len(peers) == 0 {
		return
	}
	shown := slices.DeleteFunc(slices.Clone(columns), func(c column) bool {
		return c.shown != nil && !slices.ContainsFunc(peers, func(p peer) bool { return c.shown(&p) })
	})
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	cells := make([]string, len(shown))
	for i, c := range shown {
		cells[i] = c.head
	}
	fmt.Fprintln(table, strings.Join(cells, "\t"))
	for i := range peers {
		for j, c := range shown {
			cells[j] = wire.Printable(c.cell(&peers[i]))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	table.Flush() //nolint:errcheck // into a buffer
}

// explain prints a description of a peer.
func explain(w *bytes.Buffer, p *peer, now time.Time) {
	say := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s%s\n", what, wire.Printable(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintln(w, wire.Printable(fmt.Sprintf("%s: %s since %s, for %s", p.Name(), p.State, formatTime(p.Since), formatSpan(now.Sub(instant(p.Since))))))
	say("reason", "%s: %s", p.Reason, api.Why(p.Reason))
	if p.ExitCode != nil {
		say("exit", "code %d", *p.ExitCode)
	}
	from := ""
	if p.IP != "" {
		from += ", from " + p.IP
	}
	if p.Observed != "" && p.Observed != p.IP {
		from += " (observed " + p.Observed + ")"
	}
	if p.PID != 0 {
		from += ", pid " + strconv.FormatUint(uint64(p.PID), 10)
	}
	if p.Heard > 0 {
		from += ", by " + cmp.Or(p.HeardBy, "this collector")
	}
	say("heard", "%s%s", heard(p), from)
	if p.DeadAfter > 0 {
		say("allowed", "%s of silence, set by %s", formatAllowed(p.DeadAfter), api.Allows(p.Rule))
	}
	explainCalendar(say, p)
	if p.Left > 0 {
		say("deadline", "dead at %s, in %s, if no beat comes", formatTime(p.Left+unixSeconds(now)), formatSpan(seconds(p.Left)))
	}
	if p.Promised > 0 {
		say("promise", "to be back in %s", formatPromise(p))
	}
	if p.Runs > 0 {
		say("runs", "%d started and not finished", p.Runs)
	}
	if p.Status != "" {
		say("status", "%s, reported by the peer", p.Status)
	}
	if p.Flapping {
		say("flapping", "three changes to or from dead within ten minutes")
	}
}

// explainCalendar prints the schedule, hours and class of a peer.
func explainCalendar(say func(what, format string, args ...any), p *peer) {
	if p.Due > 0 {
		say("schedule", "%s: a beat is due at %s, and may be %s late", cmp.Or(p.Schedule, "by a rule or a check"), formatTime(p.Due), formatSpan(seconds(p.Grace)))
	}
	switch {
	case p.OffUntil > 0:
		say("hours", "%s: it is not expected before %s", p.Hours, formatTime(p.OffUntil))
	case p.Hours != "":
		say("hours", "%s: it is expected now", p.Hours)
	}
	if p.Class != "" {
		say("class", "%s: silence does not make it dead", p.Class)
	}
}

func heard(p *peer) string {
	switch {
	case p.Heard == 0:
		return "never"
	case p.inTime:
		return "in time"
	}
	return formatSpan(seconds(p.Age)) + " ago"
}

func formatPromise(p *peer) string {
	if p.Promised == 0 {
		return "-"
	}
	return formatSpan(seconds(p.Promised))
}

// formatAllowed formats an allowed silence; a short one with tenths of seconds.
func formatAllowed(secs float64) string {
	if d := seconds(secs); d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return formatSpan(seconds(secs))
}

// formatTime formats an instant in local time.
func formatTime(unix float64) string { return instant(unix).Local().Format(time.DateTime) }

// instant and seconds convert times and durations of the API.
func instant(unix float64) time.Time { return time.UnixMicro(int64(unix * 1e6)) }

func seconds(secs float64) time.Duration { return time.Duration(secs * float64(time.Second)) }

// formatSpan formats a duration in its two largest units, such as 3d4h or 17m30s.
func formatSpan(d time.Duration) string {
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	d = d.Round(time.Second)
	for i, unit := range units {
		if d < unit.size {
			continue
		}
		text := strconv.FormatInt(int64(d/unit.size), 10) + unit.name
		if i+1 < len(units) {
			if part := d % unit.size / units[i+1].size; part > 0 {
				text += strconv.FormatInt(int64(part), 10) + units[i+1].name
			}
		}
		return text
	}
	return "0s"
}
