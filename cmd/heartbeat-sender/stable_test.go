//go:build linux

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// Within a major version the file may get more lines, and an option more commands; nothing
// else changes and no line goes away. docs/support.md promises that. UPDATE_GOLDEN=1 writes it.
func TestOptionsAreStable(t *testing.T) {
	var got strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&got, "command %s\n", c.name)
	}
	for _, o := range options() {
		fmt.Fprintf(&got, "option %s value=%s default=%s commands=%q", o.name, o.value, o.initial, o.commands)
		if o.flagOnly != "" {
			fmt.Fprintf(&got, " flag-only=%q", o.flagOnly)
		}
		if o.watch {
			fmt.Fprint(&got, " watch")
		}
		fmt.Fprintln(&got)
	}
	testkit.RequireGolden(t, "options.txt", got.String())
}
