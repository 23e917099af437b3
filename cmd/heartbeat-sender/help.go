package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

const helpHead = `heartbeat-sender reports to collectors that this host, or a service on it, is alive.

Usage: heartbeat-sender COMMAND [FLAGS]
`

const helpSources = `
Flags override the environment, and the environment overrides the file. Options can be set in all
three, except -every, -grace, -cancel, -json, -config and the -back-in of exec and leave. Examples:
  -back-in 15m       HEARTBEAT_BACK_IN=15m                 back_in = "15m"
  -tag a=1 -tag b=2  HEARTBEAT_TAG=a=1,b=2                 tag = ["a=1", "b=2"]
`

const helpExamples = `
Examples:
  heartbeat-sender run -server tcp://collector.example.com:7878
  heartbeat-sender once -server tcp://collector.example.com:7878 -every 5m -splay 20s
  heartbeat-sender leave -server tcp://collector.example.com:7878 -back-in 15m
`

const (
	helpExit = `
Exit codes: 0 delivered (to at least one collector), 1 no answer, or unknown peer, 2 command line,
            3 settings: environment, file, host name, target; 4 refused by a collector
`
	helpExecExit = `
Exit codes: the code of CMD; 128+N if signal N ended it, 127 if it does not exist, 126 if it cannot
            be run, 2 command line. CMD runs in all other cases
`
	helpCheckExit = `
Exit codes: 0 all is well, 1 a step failed, 2 command line, 3 settings, 4 refused by a collector
`
)

// help is the text of the help command.
func help() string {
	var b strings.Builder
	b.WriteString(helpHead)
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-20s%s\n", strings.TrimSpace(c.name+" "+c.takes), c.usage)
	}
	b.WriteString("\nFlags (brackets list the commands that accept a flag, if not all do):\n")
	b.WriteString(helpOf(options(), true) + helpSources + helpExamples + helpExit)
	return b.String()
}

// commandHelp returns the help of one command.
func commandHelp(c *command) string {
	known := optionsOf(c)
	takes := c.takes
	if len(known) > 0 {
		takes = "[FLAGS] " + takes
	}
	var b strings.Builder
	fmt.Fprintf(&b, "heartbeat-sender %s: %s\n\n", c.name, c.usage)
	fmt.Fprintf(&b, "Usage: %s\n", strings.TrimSpace("heartbeat-sender "+c.name+" "+takes))
	b.WriteString(c.more)
	if len(known) == 0 {
		return b.String()
	}
	b.WriteString("\nFlags:\n" + helpOf(known, false))
	b.WriteString("\nMost can also be set in the environment or in the file: see heartbeat-sender help\n")
	b.WriteString(cmp.Or(map[string]string{"exec": helpExecExit, "check": helpCheckExit}[c.name], helpExit))
	return b.String()
}

// helpOf returns the help of options, in 100 columns.
func helpOf(all []*option, whose bool) string { return cli.Help(tableOf(all, whose), 22, 100) }
