// Command bench measures what a heartbeat costs and how soon verdicts come, with real
// processes on this machine: Telegraf with the plugin, its rivals, and the sender. It also
// plays to several collectors, in virtual time, what no machine can wait for.
// It knows the built programs, /proc and the wire format, and of the plugin what decides
// verdicts, to simulate it; it never knows its code where it measures: that is measured
// from inside by the benchmarks beside it (go test -bench).
//
//	make bench                              # everything that BENCHMARKS.md shows
//	go run ./internal/bench                 # lists the subcommands
//	go run ./internal/bench cost -load udp
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// A command registers its flags and returns what runs once they are parsed.
type command struct {
	name, does string
	flags      func(*flag.FlagSet) func()
}

var commands = []command{
	{"cost", "processor time and memory of a beat and a connection, beside socket_listener and a bare reader", costCommand},
	{"curve", "what a whole Telegraf takes with more and more peers", curveCommand},
	{"execd", "a metric on its way out of the external plugin, beside Telegraf's own shim", execdCommand},
	{"latency", "from the end of a process to its verdict", latencyCommand},
	{"fields", "what InfluxDB keeps of each field of heartbeat_peer", fieldsCommand},
	{"collectors", "what two collectors tell while paths break, in virtual time", collectorsCommand},
	{"mates", "what two collectors cost each other while all is well", matesCommand},
	{"storm", "what two collectors tell each other when all peers fall silent at once", stormCommand},
	{"relay", "what the hosts behind one central Telegraf cost", relayCommand},
	{"sender", "size and memory of heartbeat-sender", senderCommand},
	{"idle", "memory of an idle connection, from more and more of them, beside the same servers", idleCommand},
	{"state", "what is written to the state file while all peers are well", stateCommand},
	{"exec", "what heartbeat-sender exec adds to a command while no collector answers", execCommand},
	{"budgets", "all budgets, with the figures that are kept in the file " + figuresEnv + " names", budgetsCommand},
	{"note", "keeps a figure that was measured by hand (NAME VALUE), or those that benchmarks print", noteCommand},
	{loadRole, "", loadCommand}, // the other processes of a measurement
	{bareRole, "", bareCommand},
}

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { fail("%s", <-signals) }() // ends with the program
	for _, c := range commands {
		if len(os.Args) > 1 && os.Args[1] == c.name {
			set := flag.NewFlagSet(c.name, flag.ExitOnError)
			do := c.flags(set)
			set.Parse(os.Args[2:]) //nolint:errcheck // it exits
			do()
			saveFigures()
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: go run ./internal/bench COMMAND [-h]")
	for _, c := range commands[:len(commands)-2] {
		fmt.Fprintf(os.Stderr, "  %-10s %s\n", c.name, c.does)
	}
	os.Exit(2)
}

// started is each *process that runs.
var started sync.Map

// fail ends everything: a measurement that fails has nothing to go on with.
func fail(format string, args ...any) {
	started.Range(func(p, _ any) bool { p.(*process).stop(); return true })
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}
