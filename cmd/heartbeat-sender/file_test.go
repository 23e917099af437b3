package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValuesOfTheFileAsTexts(t *testing.T) {
	for _, tt := range []struct {
		key     string
		content any
		want    []string
		err     string
	}{
		{"host", "web-1", []string{"web-1"}, ""},
		{"host", "", nil, ""},
		{"host", int64(1), nil, "1 is not a string in quotes"},
		{"host", true, nil, "true is not a string in quotes"},
		{"host", []any{"a"}, nil, "[a] is not a string in quotes"},
		{"interval", "10s", []string{"10s"}, ""},
		{"interval", int64(10), []string{"10"}, ""},
		{"interval", 2.5, []string{"2.5"}, ""},
		{"interval", false, nil, `false is not a duration in quotes, like "10s"`},
		{"tag", "a=1", []string{"a=1"}, ""},
		{"tag", []any{"a=1", "b=2"}, []string{"a=1", "b=2"}, ""},
		{"tag", make([]any, 0), make([]string, 0), ""},
		{"tag", []any{"a=1", int64(2)}, nil, `[a=1 2] is not a list of strings, like ["a", "b"]`},
		{"tag", map[string]any{"a": "1"}, nil, `a table is not a list of strings, like ["a", "b"]`},
		{"tag", []map[string]any{{"a": "1"}}, nil, `a table is not a list of strings, like ["a", "b"]`},
		{"quiet", true, []string{"true"}, ""},
		{"quiet", "true", nil, `"true" is not true or false`},
		{"quiet", int64(1), nil, "1 is not true or false"},
	} {
		o, err := optionWithKey(tt.key, options())
		require.NoError(t, err)
		got, err := o.texts(tt.content)
		require.Equal(t, tt.want, got)
		if tt.err == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, tt.err)
	}
}

// Whatever is not TOML is told in one line with its number.
func TestSyntaxErrorsAreOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"host":                     `x.toml:1: "host": `,
		"host = web-1":             `x.toml:1: host: expected value but found "web" instead; write strings and durations in quotes`,
		"\nhost: \"web-1\"\n":      `x.toml:2: "host: \"web-1\"": `,
		"a = \"\"\"\nb\n":          "x.toml:2: a: ",
		"a = \"x\ny\"":             "x.toml:1: a: ",
		"a = [1,\n\n":              "x.toml:2: a: ",
		"a = 1\n[a]":               `x.toml:2: "[a]": `,
		"a = \"\xff\"":             "x.toml:1: ",
		"a\x00":                    "x.toml:1: ",
		"a = 99999999999999999999": "x.toml:1: ",
	} {
		name := filepath.Join(t.TempDir(), "x.toml")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		err := new(settings).readFile(t.Context(), commandNamed("run"), name)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n", text)
	}
}
