// Package manual writes the manual pages and the completions of a program from
// the table of its options. Only tests use it: what it writes stands in deploy.
package manual

import "slices"

// A Program is what its manual and its completions are about.
type Program struct {
	Name     string
	Does     string // in one line
	Commands []Command
	Options  []Option // in the order of its help
}

// A Command is the first word of a command line.
type Command struct {
	Name  string // empty: the program without a command
	Takes string // arguments that follow the flags
	Usage string
	Wraps bool // what it takes is another command line
	Helps bool // what it takes is the name of a command
}

// An Option is a flag.
type Option struct {
	Name     string
	Value    string // what stands for its value; empty for a switch
	Initial  string // its default
	Usage    string
	Commands []string // that know it
	Many     bool     // it may be repeated
}

// file is the value of flags that name one.
const file = "FILE"

// named returns the commands that have a name.
func (p *Program) named() []Command {
	return slices.DeleteFunc(slices.Clone(p.Commands), func(c Command) bool { return c.Name == "" })
}

// nameless tells whether the program does something without a command.
func (p *Program) nameless() bool { return len(p.named()) < len(p.Commands) }

// optionsOf returns what a command knows.
func (p *Program) optionsOf(command string) []Option {
	return slices.DeleteFunc(slices.Clone(p.Options), func(o Option) bool { return !slices.Contains(o.Commands, command) })
}

// flags returns those of the options that match, as they are written.
func flags(options []Option, match func(Option) bool) []string {
	var all []string
	for _, o := range options {
		if flag := "-" + o.Name; match(o) && !slices.Contains(all, flag) {
			all = append(all, flag)
		}
	}
	return all
}

func anyOption(Option) bool    { return true }
func takesFile(o Option) bool  { return o.Value == file }
func takesValue(o Option) bool { return o.Value != "" }
func takesOther(o Option) bool { return takesValue(o) && !takesFile(o) }
