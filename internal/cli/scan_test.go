package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatementsAreFoundWithTheirLines(t *testing.T) {
	text := "# x = 1\r\na = \"# [\" # no\r\n[[ inputs . heartbeat ]] # 'c\nb = [ # d\n  1, 2,\n\n]\n" +
		"c = '''\n[t]\nx = 1\n''''' \n  [t.u]\nd.e = {f = 1, g = \"}\"}\nh = \"\"\"\\\"\"\"\"\"\ni = 1979-05-27T07:32:00Z"
	type found struct {
		line               int
		under, name, value string
	}
	var got []found
	for _, s := range Statements(text) {
		got = append(got, found{s.Line, s.Under, s.Name, s.Value})
	}
	require.Equal(t, []found{
		{2, "", "a", `"# ["`},
		{3, "", "[[ inputs . heartbeat ]]", ""},
		{4, "[[inputs.heartbeat]]", "b", "[   1, 2,]"},
		{8, "[[inputs.heartbeat]]", "c", "'''\n[t]\nx = 1\n'''''"},
		{12, "", "[t.u]", ""},
		{13, "[t.u]", "d.e", `{f = 1, g = "}"}`},
		{14, "[t.u]", "h", `"""\"""""`},
		{15, "[t.u]", "i", "1979-05-27T07:32:00Z"},
	}, got)
}

func TestNameIsSuggestedOnlyIfItIsNear(t *testing.T) {
	names := []string{"dead_after", "detector", "service_addresses", "state_file", "welcome"}
	for word, want := range map[string]string{
		"dead_aftr":       "dead_after",
		"dead_atfer":      "dead_after",
		"Dead-After":      "dead_after",
		"service_address": "service_addresses",
		"statefile":       "state_file",
		"timeout":         "",
		"x":               "",
	} {
		require.Equal(t, want, Nearest(word, names), word)
	}
}

// A word may be as long as a file; the table of its distances would be many times
// that.
func TestNothingIsNearAVeryLongWord(t *testing.T) {
	require.Empty(t, Nearest(strings.Repeat("welcome", 1<<20), []string{"welcome", "state_file"}))
}

func TestDistanceCountsLetters(t *testing.T) {
	require.Equal(t, 0, distance("abc", "abc"))
	require.Equal(t, 1, distance("abc", "acb"), "swapped")
	require.Equal(t, 1, distance("abc", "abd"), "replaced")
	require.Equal(t, 1, distance("abc", "ab"), "removed")
	require.Equal(t, 3, distance("", "abc"), "inserted")
}
