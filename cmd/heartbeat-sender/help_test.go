package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// A screen has 55 lines of 100 columns. The help fills it: another flag needs the room of
// something else.
func TestHelpFitsOnAScreen(t *testing.T) {
	texts := map[string]string{"help": help()}
	for _, c := range commands() {
		texts[c.name+" -h"] = commandHelp(&c)
	}
	for _, text := range texts {
		require.True(t, strings.HasSuffix(text, "\n"))
		for line := range strings.Lines(text) {
			require.LessOrEqual(t, utf8.RuneCountInString(line), 100, line)
		}
	}
	require.LessOrEqual(t, strings.Count(help(), "\n"), 55)
}

func TestHelpNamesEveryOptionAndCommand(t *testing.T) {
	for _, c := range commands() {
		require.Contains(t, help(), "\n  "+c.name+" ")
		for _, o := range options() {
			line := "\n  " + o.flag() + " "
			require.Contains(t, help(), line)
			require.Equal(t, o.of(&c), strings.Contains(commandHelp(&c), line), "%s %s", c.name, o.name)
		}
	}
}

func TestOptionsAreWellFormed(t *testing.T) {
	known := map[string]bool{}
	for _, o := range options() {
		require.False(t, known[o.name], o.name)
		known[o.name] = true
		for name := range strings.FieldsSeq(o.commands) {
			require.NotNil(t, commandNamed(name), o.name)
		}
		if o.initial != "" {
			require.NoError(t, new(settings).set(o, []string{o.initial}), o.name)
		}
	}
}
