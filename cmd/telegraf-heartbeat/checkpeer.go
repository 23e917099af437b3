package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	checkPeerHead = `telegraf-heartbeat check-peer is a monitoring plugin in the Nagios convention,
which Icinga, NRPE and others run. It prints one line about one peer, or all.

Usage: telegraf-heartbeat check-peer [flags]

`
	checkPeerTail = `
Exit codes: 0 alive, left, or not expected at this hour (off_hours), 1 suspect,
            2 dead, 3 unknown: state unknown, no such peer, a wrong flag, or
            neither a collector nor a state file of the last 10 min.
`
)

// The statuses of monitoring plugins are their exit codes (Monitoring Plugins Development
// Guidelines).
const (
	statusOK = iota
	statusWarning
	statusCritical
	statusUnknown
)

var statusWords = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

const (
	hostService = "host" // the service of a peer that is a host
	oldestFile  = 10 * time.Minute
	mostNamed   = 5 // peers in one line
)

// checkPeerFlags returns the flags of check-peer, in the order of the help.
func checkPeerFlags() []cli.Flag {
	flags := []cli.Flag{
		{Name: "H", Value: "HOST", Usage: "host of the peer; without it, all peers are counted"},
		{Name: "service", Value: "NAME", Initial: hostService, Usage: "service on that host"},
		{Name: "left", Value: "CODE", Initial: "0", Usage: "exit code for a peer that said goodbye"},
	}
	return append(append(flags, placeFlags()...), cli.Flag{Name: "help", Usage: "print the flags and exit"})
}

func checkPeerUsage() string { return checkPeerHead + execd.Help(checkPeerFlags()) + checkPeerTail }

// A check has the arguments of the command check-peer.
type check struct {
	places  []place
	host    string // "" for all peers
	service string
	left    int // status of a peer that has left
}

// checkPeer is the command check-peer. It prints one line on stdout, errors included.
func checkPeer(ctx context.Context, args []string, c *console) error {
	asked, err := parseCheckPeer(args, c.getenv)
	if errors.Is(err, cli.ErrHelp) {
		_, err := io.WriteString(c.stdout, checkPeerUsage())
		return err
	}
	status, text, data := statusUnknown, "", ""
	if err == nil {
		status, text, data, err = asked.answer(ctx, c.now())
	}
	if err != nil {
		status, text = statusUnknown, err.Error()
	}
	line := "HEARTBEAT " + statusWords[status] + " - " + withoutPipes(text)
	if data != "" {
		line += " | " + data
	}
	if _, err := fmt.Fprintln(c.stdout, line); err != nil {
		return execd.Failure(statusUnknown, err)
	}
	if status == statusOK {
		return nil
	}
	return &cli.Error{Code: status}
}

// withoutPipes escapes pipes in a text: performance data begins after the first pipe.
func withoutPipes(text string) string {
	return strings.ReplaceAll(wire.Printable(text), "|", `\x7c`)
}

// parseCheckPeer parses the command line.
func parseCheckPeer(args []string, getenv func(string) string) (*check, error) {
	given, rest, err := cli.Parse(checkPeerFlags(), args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected argument %.64q: did you mean -H %.64s?", rest[0], rest[0])
	}
	if err != nil {
		return nil, err
	}
	c := &check{service: hostService}
	host, named := given.Last("H")
	if named {
		if c.host, err = wire.Host(host); err != nil {
			return nil, fmt.Errorf("'-H': %w", err)
		}
	}
	if service, ok := given.Last("service"); ok {
		c.service = service
		if !named {
			return nil, errors.New("'-service' needs '-H'")
		}
	}
	if left, ok := given.Last("left"); ok {
		if c.left, err = strconv.Atoi(left); err != nil || c.left < statusOK || c.left > statusUnknown {
			return nil, fmt.Errorf("'-left' must be an exit code, 0 to 3, not %.64q", left)
		}
	}
	c.places, err = placesOf(given, getenv)
	return c, err
}

// answer returns a status, its text, and performance data.
func (c *check) answer(ctx context.Context, now time.Time) (status int, text, data string, err error) {
	if c.host == "" {
		return c.answerForAll(ctx, now)
	}
	var known []string
	for i := range c.places {
		l, failed := c.places[i].recent(ctx, api.Query{Source: c.host}, now)
		if failed != nil { // another collector may know the peer
			err = failed
			continue
		}
		for j := range l.peers {
			switch p := &l.peers[j]; {
			case p.Source != c.host:
			case service(p) == c.service:
				status, text, data = c.judge(p, now)
				return status, text + l.age(now), data, nil
			default:
				known = append(known, service(p))
			}
		}
	}
	if err != nil {
		return 0, "", "", err
	}
	return statusUnknown, c.unknownPeer(known), "", nil
}

// unknownPeer returns the text for an unknown peer, with the known services of its host.
func (c *check) unknownPeer(known []string) string {
	text := "no peer " + c.host + "/" + c.service + " is known"
	if len(known) > 0 {
		text += "; known on this host: " + joinNames(known)
	}
	return text
}

// judge returns the status, text and performance data of a peer.
func (c *check) judge(p *peer, now time.Time) (status int, text, data string) {
	states := map[string]int{
		liveness.Alive.String(): statusOK, liveness.Suspect.String(): statusWarning, dead: statusCritical, liveness.Left.String(): c.left,
	}
	status, known := states[p.State]
	if !known && p.Reason != liveness.ReasonOffHours.String() {
		status = statusUnknown
	}
	text = fmt.Sprintf("%s %s for %s", p.Name(), p.State, formatSpan(now.Sub(instant(p.Since))))
	if p.State != liveness.Alive.String() {
		text += ": " + p.Reason
	}
	if p.ExitCode != nil {
		text += ", exit code " + strconv.FormatInt(*p.ExitCode, 10)
	}
	if p.Promised > 0 {
		text += ", back in " + formatPromise(p)
	}
	if p.Heard > 0 && !p.inTime {
		data = fmt.Sprintf("age=%ss;%s;%s;0", formatSeconds(p.Age), threshold(p.SuspectAfter), threshold(p.DeadAfter))
	}
	return status, text, data
}

// answerForAll counts all peers. Suspect peers are not a warning: they are soon dead or
// alive again.
func (c *check) answerForAll(ctx context.Context, now time.Time) (status int, text, data string, err error) {
	counts, all, held, age := make(map[string]int), 0, false, ""
	var names []string
	for i := range c.places {
		l, err := c.places[i].recent(ctx, api.Query{State: dead, Most: mostNamed + 1}, now)
		if err != nil {
			return 0, "", "", err
		}
		for state, n := range l.counts {
			counts[state] += n
			all += n
		}
		for _, p := range l.peers {
			if p.State == dead {
				names = append(names, p.Name())
			}
		}
		held, age = held || l.held, cmp.Or(age, l.age(now))
	}
	text = fmt.Sprintf("%d of %d dead", counts[dead], all)
	switch {
	case counts[dead] > 0:
		status, text = statusCritical, text+": "+joinNames(names)
	case held:
		status, text = statusUnknown, text+": the collector is isolated"
	}
	parts := make([]string, 0, len(states))
	for _, state := range states {
		limit := ";;;0;"
		if state == dead {
			limit = ";;0;0;"
		}
		parts = append(parts, state+"="+strconv.Itoa(counts[state])+limit+strconv.Itoa(all))
	}
	return status, text + age, strings.Join(parts, " "), nil
}

// recent is like list, but refuses a file that is too old.
func (p *place) recent(ctx context.Context, q api.Query, now time.Time) (*listing, error) {
	l, err := p.list(ctx, q, now)
	if err == nil && !l.written.IsZero() && now.Sub(l.written) > oldestFile {
		err = fmt.Errorf("%s was last written %s ago", l.place, formatSpan(now.Sub(l.written)))
		if p.client != nil {
			err = fmt.Errorf("no collector answers on %s, and %w", p.client, err)
		}
	}
	return l, err
}

// age returns a text with the age of a listing that is not live.
func (l *listing) age(now time.Time) string {
	if l.written.IsZero() {
		return ""
	}
	return " (not live: " + l.place + ", last written " + formatSpan(now.Sub(l.written)) + " ago)"
}

// joinNames joins names, but no more than mostNamed.
func joinNames(names []string) string {
	names = slices.Clone(names)
	if len(names) > mostNamed {
		names = append(names[:mostNamed], "...")
	}
	return strings.Join(names, ", ")
}

// threshold formats a threshold, or returns "" if there is none.
func threshold(secs float64) string {
	if secs == 0 {
		return ""
	}
	return formatSeconds(secs)
}

// formatSeconds formats seconds with the precision of a chart.
func formatSeconds(secs float64) string {
	if secs < 10 {
		return strconv.FormatFloat(math.Round(secs*10)/10, 'f', -1, 64)
	}
	return strconv.FormatFloat(math.Round(secs), 'f', 0, 64)
}
