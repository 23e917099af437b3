package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// parseFlags returns the flags that args give to c, and the argument after
// them if c takes one.
func parseFlags(c *command, args []string) ([]value, []string, error) {
	set := flag.NewFlagSet(c.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	all := options()
	given := make([]value, len(all))
	for i := range all {
		given[i].option = &all[i]
		add := func(text string) error { given[i].texts = append(given[i].texts, text); return nil }
		if o := &all[i]; o.isSwitch() {
			set.BoolFunc(o.name, o.usage, add)
		} else {
			set.Func(o.name, o.usage, add)
		}
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil, nil, err
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w; see heartbeat-sender %s -h", c.name, err, c.name)
	}
	given = slices.DeleteFunc(given, func(v value) bool { return len(v.texts) == 0 })
	return given, set.Args(), checkFlags(c, given, set.Args())
}

// checkFlags refuses what c has no use for, and a flag without a value: in a
// script it stands for a variable that is not set.
func checkFlags(c *command, given []value, rest []string) error {
	for _, v := range given {
		switch {
		case !v.option.of(c):
			return fmt.Errorf("%s has no flag %s: it is one of %s", c.name, v.option.flag(), list(v.option.commands))
		case slices.Contains(v.texts, ""):
			return fmt.Errorf("%s: the value is empty", v.option.flag())
		}
	}
	switch {
	case strings.HasSuffix(c.takes, "..."):
	case len(rest) > 0 && c.takes == "":
		return fmt.Errorf("%s takes no argument %.64q; flags begin with -", c.name, rest[0])
	case len(rest) > 1:
		return fmt.Errorf("%s takes one argument, not %.64q", c.name, rest[1])
	}
	return nil
}

// flag returns the name of the option on the command line.
func (o *option) flag() string { return "-" + o.name }

func list(words string) string { return strings.ReplaceAll(words, " ", ", ") }
