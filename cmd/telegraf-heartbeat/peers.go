package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

const (
	peersHead = `telegraf-heartbeat peers prints which peers are dead or alive, since when and
why. It asks the collectors on this host, or reads the state file of one that
does not answer.

Usage: telegraf-heartbeat peers [flags] [NAME-GLOB]

NAME-GLOB is HOST or HOST/SERVICE, as in rules: 'web-*', '*/nginx'.

`
	peersTail = `
Exit codes: 0 printed, 1 failed or no peer has that name, 2 usage or, with
            -exit-code, one is dead, 3 configuration.
`
)

// exitDead is the exit code if a peer is dead, as in monitoring plugins.
const exitDead = 2

// peersFlags returns the flags of peers, in the order of the help.
func peersFlags() []cli.Flag {
	flags := []cli.Flag{
		{Name: "dead", Usage: "print only dead peers"},
		{Name: "json", Usage: "print a JSON array of peers, as the API does; notes go to stderr"},
		{Name: "watch", Usage: "print again every 2 s until stopped; if stdout is not a terminal, print a line for each change"},
		{Name: "why", Usage: "explain why each peer has its state, and print the rule that sets its allowed silence"},
		{Name: "exit-code", Usage: "exit with " + strconv.Itoa(exitDead) + " if a peer is dead"},
	}
	return append(append(flags, placeFlags()...), cli.Flag{Name: "help", Usage: "print the flags and exit"})
}

func peersUsage() string { return peersHead + execd.Help(peersFlags()) + peersTail }

// A question has the arguments of the command peers.
type question struct {
	places   []place
	glob     string // "" for all
	matches  func(host, service string) bool
	dead     bool
	json     bool
	watch    bool
	why      bool
	exitCode bool
	changes  bool // print changes: peers that are alive again, too
}

// dead is the state that -dead and -exit-code select.
var dead = liveness.Dead.String()

// A console is the environment of a command.
type console struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
}

// terminal reports whether stdout is a terminal.
func (c *console) terminal() bool {
	file, ok := c.stdout.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// peers runs the command peers.
func peers(ctx context.Context, args []string, c *console) error {
	q, err := parsePeers(args, c.getenv)
	switch {
	case errors.Is(err, cli.ErrHelp):
		_, err := io.WriteString(c.stdout, peersUsage())
		return err
	case err != nil:
		return err
	case q.watch:
		return watch(ctx, q, c)
	}
	found, err := q.look(ctx, c.now())
	if err != nil {
		return execd.Failure(cli.ExitFailed, err)
	}
	if err := q.print(c, found); err != nil {
		return execd.Failure(cli.ExitFailed, err)
	}
	return q.verdict(found)
}

// parsePeers parses the command line.
func parsePeers(args []string, getenv func(string) string) (*question, error) {
	given, rest, err := cli.Parse(peersFlags(), args)
	q := &question{
		dead: given.Switch("dead"), json: given.Switch("json"), watch: given.Switch("watch"),
		why: given.Switch("why"), exitCode: given.Switch("exit-code"),
		matches: func(string, string) bool { return true },
	}
	switch {
	case errors.Is(err, cli.ErrHelp):
		return nil, err
	case err != nil:
	case len(rest) > 1 && strings.HasPrefix(rest[1], "-"):
		err = fmt.Errorf("%.64q comes after a name: flags come first", rest[1])
	case len(rest) > 1:
		err = fmt.Errorf("%.64q is one name too many: quote globs, or the shell expands them", rest[1])
	case q.json && (q.watch || q.why):
		err = errors.New("'-json' cannot be combined with '-watch' or '-why'")
	case q.watch && q.exitCode:
		err = errors.New("'-watch' and '-exit-code' cannot be combined")
	case len(rest) == 1:
		q.glob = rest[0]
		q.matches, err = heartbeat.Glob(q.glob)
	}
	if err != nil {
		return nil, execd.Failure(cli.ExitUsage, fmt.Errorf("%w; see 'telegraf-heartbeat peers -help'", err))
	}
	q.places, err = placesOf(given, getenv)
	return q, err
}

// look returns the listings of all places, with the selected peers.
func (q *question) look(ctx context.Context, now time.Time) ([]*listing, error) {
	found, matched := make([]*listing, 0, len(q.places)), 0
	for i := range q.places {
		l, err := q.places[i].list(ctx, q.query(), now)
		if err != nil {
			return nil, err
		}
		l.peers = slices.DeleteFunc(l.peers, func(p peer) bool { return !q.matches(p.Source, service(&p)) })
		matched += len(l.peers)
		if q.dead && !q.changes {
			l.peers = slices.DeleteFunc(l.peers, func(p peer) bool { return p.State != dead })
		}
		found = append(found, l)
	}
	if q.glob != "" && matched == 0 {
		return nil, fmt.Errorf("no peer is called %.64q", q.glob)
	}
	return found, nil
}

// query returns the query for a collector. The collector may answer with more peers: it
// may interpret globs differently.
func (q *question) query() api.Query {
	host, _, _ := strings.Cut(q.glob, "/")
	switch {
	case q.glob == "" && q.dead && !q.changes:
		return api.Query{State: dead}
	case strings.ContainsAny(host, `[]{}\!`):
		return api.Query{}
	}
	return api.Query{Source: strings.ToLower(strings.TrimSuffix(host, "."))}
}

// service returns the part of a peer's name after its host.
func service(p *peer) string {
	return cmp.Or(p.Service, strconv.FormatUint(uint64(p.PID), 10))
}

// print prints the listings.
func (q *question) print(c *console, found []*listing) error {
	if q.json {
		return printJSON(c, found)
	}
	var out bytes.Buffer
	for _, l := range found {
		q.printListing(&out, l, len(l.peers), c.now())
	}
	_, err := c.stdout.Write(out.Bytes())
	return err
}

// printListing prints up to most peers of one place.
func (q *question) printListing(w *bytes.Buffer, l *listing, most int, now time.Time) {
	fmt.Fprintln(w, l.head(now))
	for _, note := range l.notes {
		fmt.Fprintln(w, note)
	}
	shown := l.peers[:min(most, len(l.peers))]
	if q.why {
		for i := range shown {
			explain(w, &shown[i], now)
		}
	} else {
		printTable(w, shown)
	}
	if more := len(l.peers) - len(shown); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
}

// printJSON prints one array, for a program. Notes go to stderr, for a person.
func printJSON(c *console, found []*listing) error {
	all := make([]peer, 0)
	for _, l := range found {
		if !l.written.IsZero() {
			fmt.Fprintln(c.stderr, l.head(c.now()))
		}
		for _, note := range l.notes {
			fmt.Fprintln(c.stderr, note)
		}
		all = append(all, l.peers...)
	}
	encoder := json.NewEncoder(c.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(all)
}

// verdict returns the result of the command.
func (q *question) verdict(found []*listing) error {
	isDead := func(p peer) bool { return p.State == dead }
	if q.exitCode && slices.ContainsFunc(found, func(l *listing) bool { return slices.ContainsFunc(l.peers, isDead) }) {
		return &cli.Error{Code: exitDead}
	}
	return nil
}
