package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

const peersHead = `telegraf-heartbeat peers prints who is dead or alive, since when and why, from
the state files of the collectors of this host. It disturbs none of them.

Usage: telegraf-heartbeat peers [flags]

`

// peersFlags returns all there are, in the order of the help.
func peersFlags() []cli.Flag {
	return []cli.Flag{
		{Name: "dead", Usage: "only the dead"},
		{Name: "config", Value: "FILE", Usage: "where the collector is configured, for its 'state_file'"},
		{Name: "state-file", Value: "FILE", Usage: "a state file itself"},
		{Name: "help", Usage: "print the flags, exit"},
	}
}

func peersUsage() string { return peersHead + execd.Help(peersFlags()) }

// peers is the command of that name.
func peers(args []string, stdout io.Writer, now time.Time) error {
	given, rest, err := cli.Parse(peersFlags(), args)
	config, _ := given.Last("config")
	path, _ := given.Last("state-file")
	switch {
	case errors.Is(err, cli.ErrHelp):
		_, err := io.WriteString(stdout, peersUsage())
		return err
	case err != nil:
	case len(rest) > 0:
		err = fmt.Errorf("argument %.64q is not expected", rest[0])
	case config != "" && path != "":
		err = errors.New("'-config' and '-state-file' exclude each other")
	}
	if err != nil {
		return execd.Failure(cli.ExitUsage, fmt.Errorf("%w; see 'telegraf-heartbeat peers -help'", err))
	}
	paths := []string{path}
	if path == "" {
		if paths, err = stateFiles(config); err != nil {
			return err
		}
	}
	for _, path := range paths {
		if err := printPeers(stdout, path, given.Switch("dead"), now); err != nil {
			return err
		}
	}
	return nil
}

// stateFiles returns where the collectors of a configuration keep their state.
func stateFiles(config string) ([]string, error) {
	plugins, err := execd.Plugins(config)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, plugin := range plugins {
		if h, ok := plugin.(*heartbeat.Heartbeat); ok && h.StatePath() != "" {
			paths = append(paths, h.StatePath())
		}
	}
	if len(paths) == 0 {
		return nil, errors.New(`'state_file' is "none": nothing is kept that could be printed`)
	}
	return paths, nil
}

func printPeers(w io.Writer, path string, onlyDead bool, now time.Time) error {
	state, err := statefile.Read(path, now)
	if err != nil {
		return err
	}
	all := state.Peers
	fmt.Fprintf(w, "%s, last written %s ago: %s\n", path, ago(state.Last, now), countStates(all))
	if state.Trouble != nil {
		fmt.Fprintf(w, "%v\n", state.Trouble)
	}
	if onlyDead {
		all = slices.DeleteFunc(all, func(r liveness.Record) bool { return r.State != liveness.Dead })
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, urgentFirst)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// With several collectors, which one has heard a peer last.
	mates := slices.ContainsFunc(all, func(r liveness.Record) bool { return r.HeardBy != "" })
	head, by := "STATE\tSINCE\tPEER\tREASON\tHEARD\tALLOWED\tRULE\tADDRESS", ""
	if mates {
		head += "\tHEARD BY"
	}
	fmt.Fprintln(table, head)
	for i := range all {
		r := &all[i]
		if mates {
			by = "\t" + cmp.Or(r.HeardBy, "this collector")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s%s\n", r.State, r.Since.Local().Format(time.DateTime), r.ID, r.Reason,
			heard(r, now), r.Dead.Round(100*time.Millisecond), r.Rule, address(r), by)
	}
	return table.Flush()
}

// urgency is the order in which states are looked at in the night.
var urgency = map[liveness.State]int{
	liveness.Dead: 0, liveness.Suspect: 1, liveness.Unknown: 2, liveness.Left: 3, liveness.Alive: 4,
}

func urgentFirst(a, b liveness.Record) int {
	return cmp.Or(cmp.Compare(urgency[a.State], urgency[b.State]), b.Since.Compare(a.Since), cmp.Compare(a.ID.String(), b.ID.String()))
}

func countStates(all []liveness.Record) string {
	var counts [len(liveness.States)]int
	for i := range all {
		counts[all[i].State]++
	}
	texts := make([]string, 0, len(counts))
	for _, state := range liveness.States {
		texts = append(texts, fmt.Sprintf("%d %s", counts[state], state))
	}
	return strings.Join(texts, ", ")
}

func heard(r *liveness.Record, now time.Time) string {
	switch {
	case r.Expected:
		return "never"
	case r.Guessed, r.Foreign && r.State == liveness.Alive: // the file says that all was well, not when each beat came
		return "in time"
	}
	return ago(r.Heard, now) + " ago"
}

func address(r *liveness.Record) string {
	if !r.Addr.IsValid() {
		return "-"
	}
	return r.Addr.String()
}

func ago(then, now time.Time) string { return max(now.Sub(then), 0).Round(time.Second).String() }
