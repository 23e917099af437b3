// Command bench measures the cost of heartbeats and the delay of verdicts with real processes on
// this machine: Telegraf with the plugin, the programs that it is compared with, and the sender.
// It also simulates several collectors in virtual time, for cases that would take too long in
// real time. It knows the built programs, /proc and the wire format, and, for simulations, the
// plugin's packages that decide verdicts. Measurements never use the plugin's code: the Go
// benchmarks beside that code measure it from inside (go test -bench).
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

// A command registers its flags and returns the function to run after they are parsed.
type command struct {
	name, does string
	flags      func(*flag.FlagSet) func()
}

var commands = []command{
	{"cost", "processor time per beat and memory per connection, compared with socket_listener and a bare reader", costCommand},
	{"curve", "processor time and memory of a whole Telegraf with increasing numbers of peers", curveCommand},
	{"execd", "cost of a metric in the external plugin, compared with Telegraf's own shim", execdCommand},
	{"latency", "time from the end of a process to its verdict", latencyCommand},
	{"fields", "disk space in InfluxDB of each field of heartbeat_peer", fieldsCommand},
	{"collectors", "false deaths that two collectors report while paths break, in virtual time", collectorsCommand},
	{"mates", "cost of a cluster of two collectors while all peers are well", matesCommand},
	{"storm", "messages between two collectors when all peers fall silent at once", stormCommand},
	{"relay", "cost of hosts that beat through one central Telegraf", relayCommand},
	{"sender", "size and memory of heartbeat-sender", senderCommand},
	{"idle", "memory of an idle connection, compared with the same servers as cost", idleCommand},
	{"state", "writes to the state file while all peers are well", stateCommand},
	{"exec", "time that heartbeat-sender exec adds to a command while no collector answers", execCommand},
	{"budgets", "all budgets, with the figures in the file that " + figuresEnv + " names", budgetsCommand},
	{"note", "save a figure that was measured by hand (NAME VALUE), or the figures that Go benchmarks print", noteCommand},
	{loadRole, "", loadCommand}, // these run in the other processes of a measurement
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

// started contains each *process that runs.
var started sync.Map

// fail stops all processes and exits, because a measurement cannot continue after an error.
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
