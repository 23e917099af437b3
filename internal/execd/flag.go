package execd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/influxdata/telegraf/config"
)

// A Flag is one of a command line. The help, the parser, the manual page and
// the completions know it from here.
type Flag struct {
	Name    string
	Value   string // what stands for its value in the help; empty for a switch
	Initial string // its default
	Usage   string

	// To is where it goes: a *string, a *time.Duration or a *bool. It is nil
	// for -help, which package flag knows by itself.
	To any
}

// FlagSet returns what parses the flags. It prints nothing: the caller prints
// the error, once.
func FlagSet(name string, flags []Flag) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range flags {
		switch to := f.To.(type) {
		case *string:
			set.StringVar(to, f.Name, f.Initial, f.Usage)
		case *time.Duration:
			set.Func(f.Name, f.Usage, func(text string) error { return setDuration(to, text) })
		case *bool:
			set.BoolVar(to, f.Name, false, f.Usage)
		}
	}
	return set
}

// setDuration reads what Telegraf reads as a duration, so that days are a unit.
func setDuration(to *time.Duration, text string) error {
	var d config.Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return errors.New(`it is not a duration like "10s", "90m" or "7d"`)
	}
	*to = time.Duration(d)
	return nil
}

// Where the help explains a flag, and where it ends.
const (
	helpColumn = 25
	helpWidth  = 80
)

// FlagHelp returns what a help says of the flags.
func FlagHelp(flags []Flag) string {
	var b strings.Builder
	for _, f := range flags {
		words := strings.Fields(f.Usage)
		if f.Initial != "" {
			words = append(words, "(default "+f.Initial+")")
		}
		line := fmt.Sprintf("  %-*s", helpColumn-3, strings.TrimSpace("-"+f.Name+" "+f.Value))
		for _, word := range words {
			if len(line)+len(word) >= helpWidth {
				b.WriteString(line + "\n")
				line = strings.Repeat(" ", helpColumn-1)
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
