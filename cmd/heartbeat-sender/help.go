package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

const helpHead = `heartbeat-sender tells collectors that this host, or a service on it, is alive.

Usage: heartbeat-sender COMMAND [FLAGS]
`

const helpSources = `
A flag overrules the environment, which overrules the file. All but -every, -grace, -cancel, -json,
-config and the -back-in of exec and leave can be given in all three, lists with commas or as here:
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
Exit codes: 0 delivered (several collectors: to one at least), 1 not answered, or peer not known,
            2 command line, 3 settings: environment, file, host name, target; 4 refused
`
	helpExecExit = `
Exit codes: that of CMD; 128+N if signal N ended it, 127 if it is not there, 126 if it cannot be
            run, 2 command line. Nothing else keeps CMD from running
`
	helpCheckExit = `
Exit codes: 0 all is well, 1 something is not, 2 command line, 3 settings, 4 refused by a collector
`
)

// help is the text of the help command.
func help() string {
	var b strings.Builder
	b.WriteString(helpHead)
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-20s%s\n", strings.TrimSpace(c.name+" "+c.takes), c.usage)
	}
	b.WriteString("\nFlags, those of some commands with their names:\n")
	b.WriteString(helpOf(options(), true) + helpSources + helpExamples + helpExit)
	return b.String()
}

// commandHelp tells what one command can do.
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
	b.WriteString("\nMost can be given in the environment or in the file instead: see heartbeat-sender help\n")
	b.WriteString(cmp.Or(map[string]string{"exec": helpExecExit, "check": helpCheckExit}[c.name], helpExit))
	return b.String()
}

// helpOf explains options, in 100 columns.
func helpOf(all []*option, whose bool) string { return cli.Help(tableOf(all, whose), 22, 100) }
