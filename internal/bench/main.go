// Command bench measures what a heartbeat costs and how soon verdicts come, with real
// processes on this machine: Telegraf with the plugin, its rivals, and the sender.
// It knows the built programs, /proc and the wire format; it never knows the code of
// the plugin or of Telegraf, which are measured from inside by the benchmarks beside
// them (go test -bench).
//
//	make bench                              # everything that BENCHMARKS.md shows
//	go run ./internal/bench                 # lists the subcommands
//	go run ./internal/bench cost -load udp
package main

import (
	"flag"
	"fmt"
	"os"
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
	{"sender", "size and memory of heartbeat-sender", senderCommand},
	{loadRole, "", loadCommand}, // the other processes of a measurement
	{bareRole, "", bareCommand},
}

func main() {
	for _, c := range commands {
		if len(os.Args) > 1 && os.Args[1] == c.name {
			set := flag.NewFlagSet(c.name, flag.ExitOnError)
			do := c.flags(set)
			set.Parse(os.Args[2:]) //nolint:errcheck // it exits
			if err := run(do); err != nil {
				fmt.Fprintf(os.Stderr, "bench %s: %v\n", c.name, err)
				os.Exit(1)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: go run ./internal/bench COMMAND [-h]")
	for _, c := range commands[:len(commands)-2] {
		fmt.Fprintf(os.Stderr, "  %-8s %s\n", c.name, c.does)
	}
	os.Exit(2)
}

// A failure is the error that ends a measurement. There is nothing to go on with, so
// check and must panic with it: what is deferred on the way stops all processes.
type failure struct{ error }

func run(do func()) (err error) {
	defer func() {
		switch problem := recover().(type) {
		case nil:
		case failure:
			err = problem
		default:
			panic(problem)
		}
	}()
	do()
	return nil
}

func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func fail(format string, args ...any) { check(fmt.Errorf(format, args...)) }
