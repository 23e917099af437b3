package main

import (
	"fmt"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

// A step is one line of what check says.
type step struct {
	server string // that is tried; empty for what is about this host
	step   string // the first word of the line
	text   string // the others
}

// say tells a step: at once, or when all of them are printed as one document.
func (c *call) say(what, format string, args ...any) {
	text := oneLine(fmt.Sprintf(format, args...))
	if c.settings.json {
		c.steps = append(c.steps, step{c.server, what, text})
		return
	}
	fmt.Fprintf(c.stdout, "%-10s %s\n", what, text)
}

// printSteps prints the document, and returns the end of the command. A quoted string of TOML
// is one of JSON too: package encoding/json would make the program larger than its 6 MB.
func (c *call) printSteps(code int) error {
	separator := ""
	fmt.Fprintf(c.stdout, "{\n  \"exit_code\": %d,\n  \"steps\": [", code)
	for _, s := range c.steps {
		fmt.Fprintf(c.stdout, "%s\n    {\"server\": %s, \"step\": %s, \"text\": %s}", separator, cli.Quote(s.server), cli.Quote(s.step), cli.Quote(s.text))
		separator = ","
	}
	fmt.Fprintln(c.stdout, "\n  ]\n}")
	if code == 0 {
		return nil
	}
	return &cli.Error{Code: code}
}
