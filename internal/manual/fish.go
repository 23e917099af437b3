package manual

import (
	"fmt"
	"slices"
	"strings"
)

// Fish returns the completion of the program for fish.
func (p *Program) Fish() string {
	var b strings.Builder
	after := "__" + strings.ReplaceAll(p.Name, "-", "_") + "_after"
	fmt.Fprintf(&b, "# Completion of %s for fish. Written by make docs: do not edit.\n\n", p.Name)
	fmt.Fprintf(&b, fishAfter, after)
	fmt.Fprintf(&b, "complete -c %s -f\n", p.Name)
	for _, c := range p.named() {
		fmt.Fprintf(&b, "complete -c %s -n 'not %s' -a %s -d %s\n", p.Name, after, c.Name, fishQuoted(c.Usage))
	}
	for _, o := range p.Options {
		takes := ""
		switch {
		case takesFile(o):
			takes = " -r -F"
		case takesValue(o):
			takes = " -x"
		}
		fmt.Fprintf(&b, "complete -c %s -n %s -o %s%s -d %s\n", p.Name, fishQuoted(p.fishCondition(after, o)), o.Name, takes, fishQuoted(o.Usage))
	}
	for _, c := range p.named() {
		switch {
		case c.Wraps:
			values := strings.Join(flags(p.optionsOf(c.Name), takesValue), " ")
			fmt.Fprintf(&b, "complete -c %s -n '%s %s' -x -a '(__fish_complete_subcommand --fcs-skip=2 %s)'\n", p.Name, after, c.Name, values)
		case c.Helps:
			fmt.Fprintf(&b, "complete -c %s -n '%s %s' -x -a '%s'\n", p.Name, after, c.Name, strings.Join(p.names(), " "))
		}
	}
	return b.String()
}

// fishCondition tells when an option is possible.
func (p *Program) fishCondition(after string, o Option) string {
	if slices.Contains(o.Commands, "") {
		return "not " + after + " " + strings.Join(p.names(), " ")
	}
	return after + " " + strings.Join(o.Commands, " ")
}

const fishAfter = `# Is the first word one of these, or any word at all?
function %s
	set -l words (commandline -opc)
	test (count $words) -gt 1; or return
	test (count $argv) -eq 0; or contains -- $words[2] $argv
end

`

// fishQuoted returns a text as one word of fish.
func fishQuoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
