package manual

import (
	"fmt"
	"strings"
)

// Zsh returns the completion of the program for zsh.
func (p *Program) Zsh() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %s\n# Completion of %[1]s for zsh. Written by make docs: do not edit.\n\n", p.Name)
	b.WriteString("local -a subcommands=(\n")
	for _, c := range p.named() {
		fmt.Fprintf(&b, "\t%s\n", quoted(c.Name+":"+strings.ReplaceAll(c.Usage, ":", `\:`)))
	}
	b.WriteString(")\n\nif (( CURRENT == 2 )); then\n\t_describe -t commands command subcommands\n")
	if !p.nameless() {
		b.WriteString("\treturn\n")
	}
	b.WriteString("fi\n\ncase $words[2] in\n")
	for _, c := range p.named() {
		fmt.Fprintf(&b, "%s)\n\tshift words\n\t(( CURRENT-- ))\n%s\t;;\n", c.Name, p.zshArguments(c))
	}
	if p.nameless() {
		fmt.Fprintf(&b, "*)\n%s\t;;\n", p.zshArguments(Command{}))
	}
	b.WriteString("esac\n")
	return b.String()
}

// zshArguments completes the flags of a command, and what follows them.
func (p *Program) zshArguments(c Command) string {
	var b strings.Builder
	b.WriteString("\t_arguments -S")
	for _, o := range p.optionsOf(c.Name) {
		spec := "-" + o.Name + "[" + zshText(o.Usage) + "]"
		if o.Many {
			spec = "*" + spec
		}
		switch {
		case takesFile(o):
			spec += ":" + file + ":_files"
		case takesValue(o):
			spec += ":" + o.Value + ": "
		}
		fmt.Fprintf(&b, " \\\n\t\t%s", quoted(spec))
	}
	switch {
	case c.Wraps:
		fmt.Fprintf(&b, " \\\n\t\t'(-)1:command: _command_names -e' \\\n\t\t'*::arguments: _normal'")
	case c.Helps:
		fmt.Fprintf(&b, " \\\n\t\t%s", quoted("1:command:("+strings.Join(p.names(), " ")+")"))
	}
	return b.String() + "\n"
}

// zshText may stand in brackets.
func zshText(text string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(text)
}
