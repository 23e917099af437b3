package cli

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

func TestExitCodeIsThatOfTheCause(t *testing.T) {
	cause := errors.New("x")
	require.Equal(t, 0, ExitCode(nil))
	require.Equal(t, ExitFailed, ExitCode(cause))
	err := fmt.Errorf("y: %w", Exit(ExitConfig, cause))
	require.Equal(t, ExitConfig, ExitCode(err))
	require.ErrorIs(t, err, cause)
	require.NoError(t, Exit(ExitUsage, nil))
	require.Empty(t, (&Error{Code: 7}).Error())
}

var table = []Flag{
	{Name: "config", Value: "FILE", Initial: "/a/b", Usage: strings.Repeat("word ", 12)},
	{Name: "tag", Value: "KEY=VALUE", Usage: "label", Note: "[run, once]"},
	{Name: "quiet", Usage: "say nothing"},
	{Name: "help", Usage: "print the flags"},
}

func TestFlagsAreReadInTheirOrder(t *testing.T) {
	given, rest, err := Parse(table, strings.Fields("-tag a --tag=b -quiet -quiet=false c -tag d"))
	require.NoError(t, err)
	require.Equal(t, Given{"tag": {"a", "b"}, "quiet": {"true", "false"}}, given)
	require.Equal(t, []string{"c", "-tag", "d"}, rest)
	text, ok := given.Last("tag")
	require.True(t, ok)
	require.Equal(t, "b", text)
	_, ok = given.Last("config")
	require.False(t, ok)
	require.False(t, given.Switch("quiet"), "the last one counts")
	require.False(t, given.Switch("help"))
	require.True(t, Given{"quiet": {"false", "1"}}.Switch("quiet"))
	_, _, err = Parse(table, []string{"-quiet=maybe"})
	require.EqualError(t, err, `-quiet: "maybe" is neither true nor false`)
}

func TestUnknownFlagIsRefusedWithAHint(t *testing.T) {
	for args, want := range map[string]string{
		"-confg x":   "flag provided but not defined: -confg (did you mean -config?)",
		"-nonsense":  "flag provided but not defined: -nonsense",
		"-config":    "flag needs an argument: -config",
		"--quite -a": "flag provided but not defined: -quite (did you mean -quiet?)",
	} {
		_, _, err := Parse(table, strings.Fields(args))
		require.EqualError(t, err, want)
	}
	for args, want := range map[string][]string{
		"":              {},
		"- -quiet":      {"-", "-quiet"},
		"-- -quiet":     {"-quiet"},
		"-quiet -- a":   {"a"},
		"-tag -- b":     {"b"},
		"-config= -tag": nil,
	} {
		given, rest, err := Parse(table, strings.Fields(args))
		if want == nil {
			require.EqualError(t, err, "flag needs an argument: -tag")
			continue
		}
		require.NoError(t, err, args)
		require.Equal(t, want, append([]string{}, rest...), args)
		require.Equal(t, strings.Contains(args, "-tag"), given["tag"] != nil, args)
	}
	for _, args := range []string{"-h", "-help", "--help"} {
		_, _, err := Parse(table, []string{args})
		require.ErrorIs(t, err, ErrHelp)
	}
}

func TestHelpIsBroken(t *testing.T) {
	require.Equal(t, "  -config FILE           word word word word word word word word word word word\n"+
		"                         word (default /a/b)\n"+
		"  -tag KEY=VALUE         label [run, once]\n"+
		"  -quiet                 say nothing\n"+
		"  -help                  print the flags\n", Help(table, 25, 80))
}

// What it is about begins at the statement that is found, whatever the way in
// which it is written.
func TestMistakeIsFoundWhereItsStatementBegins(t *testing.T) {
	for text, lines := range map[string]map[string]int{
		"a = 1":                       {"a": 1},
		"# a = 1\n\n  a = 1\n":        {"a": 3},
		"a = 1\r\n\r\nb = 2\r\n":      {"a": 1, "b": 3},
		"\xef\xbb\xbfa = 1\nb = 2":    {"a": 1, "b": 2},
		"\xef\xbb\xbf[a]\nb = 2":      {"a": 1},
		"ab = 1\na = 2":               {"ab": 1, "a": 2},
		"\"a\" = 1\n'b c' = 2":        {"a": 1, "b c": 2},
		"a = \"\"\"\nb = 1\"\"\"\n":   {"a": 1},
		"a = \"\"\"\nb = 1\"\"\"":     {"a": 1},
		"a = '''\nb = 1\n'''\nb = 2":  {"a": 1, "b": 4},
		"a = [\n\"b = 1\",\n]\nb = 2": {"a": 1, "b": 4},
		"a = \"\\n\\n\"\nb = 2":       {"a": 1, "b": 2},
		"a = {b = 1}\nb = 2":          {"a": 1, "b": 2},
		"\na.b = 1\na.c = 2\nd = 1":   {"a": 2, "d": 4},
		"\n[a]\nb = 1\n[b]\n":         {"a": 2, "b": 4},
		"a = 1\n[b.c]\na = 2":         {"a": 1, "b": 2},
		"a = 1\n[[b]]\na = 2":         {"a": 1, "b": 2},
	} {
		for key, line := range lines {
			f := File{Name: "x.toml", Text: text}
			at, err := f.Decode(text, func(text string) error { return withoutKey(text, key) })
			require.EqualError(t, err, "there is "+key, text)
			require.Equal(t, line, at.Line, "%s in %s", key, text)
		}
		f := File{Name: "x.toml", Text: text}
		at, err := f.Decode(text, func(text string) error { return withoutKey(text, "missing") })
		require.NoError(t, err)
		require.Nil(t, at)
	}
}

func withoutKey(text, key string) error {
	var content map[string]any
	if err := toml.Unmarshal([]byte(text), &content); err != nil {
		return err
	}
	if _, ok := content[key]; ok {
		return errors.New("there is " + key)
	}
	return nil
}

func TestVersionSaysWhatABugReportNeeds(t *testing.T) {
	require.Contains(t, Version("x"), runtime.Version())
	platform := runtime.GOOS + "/" + runtime.GOARCH
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8",
		Main:      debug.Module{Version: "v1.2.3"},
		Deps:      []*debug.Module{{Path: "example.com/a", Version: "v9"}, {Path: "example.com/telegraf", Version: "v1.39.3"}},
		Settings:  []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}},
	}
	require.Equal(t, "x v1.2.3 (commit abc, telegraf v1.39.3, go1.26.8, "+platform+")", describe("x", info, []string{"example.com/telegraf"}))
	require.Equal(t, "x (unknown) (commit unknown, go1, "+platform+")", describe("x", &debug.BuildInfo{GoVersion: "go1"}, nil))
}
