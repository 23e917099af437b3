package cli

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

var environment = map[string]string{
	"NAME":   "web-1",
	"EMPTY":  "",
	"NUMBER": "500",
	"YES":    "true",
	"INJECT": "5\nb = 6",
	"NASTY":  "a\"b\\c'd\n#e\t${NAME}",
	"BAD":    "\xff",
}

func lookup(name string) (string, bool) {
	value, ok := environment[name]
	return value, ok
}

// The stock shim expands the whole file, comments included, turns pa$$word
// into paword and ${X:-y} into nothing.
func TestVariablesAreExpandedInStringsOnly(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"basic", `a = "x${NAME}y"`, `a = "xweb-1y"`},
		{"two", `a = "${NAME}/${NAME}"`, `a = "web-1/web-1"`},
		{"default unused", `a = "${NAME:-no}"`, `a = "web-1"`},
		{"default", `a = "${NONE:-http://x}"`, `a = "http://x"`},
		{"default of an empty one", `a = "${EMPTY:-x}"`, `a = "x"`},
		{"empty default", `a = "${NONE:-}"`, `a = ""`},
		{"empty", `a = "${EMPTY}"`, `a = ""`},
		{"array", `a = ["${NAME}", 'b']`, `a = ["web-1", 'b']`},
		{"comment", "# ${NONE}\na = 1 # \"${NONE}\"", "# ${NONE}\na = 1 # \"${NONE}\""},
		{"number", `a = ${NUMBER}`, `a = 500`},
		{"boolean in an array", `a = [${YES}, ${NUMBER}]`, `a = [true, 500]`},
		{"number by default", "a = ${NONE:-2.5} # ${NONE}", "a = 2.5 # ${NONE}"},
		{"dollars outside of strings", `a = $NAME $ $$`, `a = $NAME $ $$`},
		{"plain dollars", `a = "pa$$word $NAME $"`, `a = "pa$$word $NAME $"`},
		{"escaped", `a = "$${NAME} ${NAME}"`, `a = "${NAME} web-1"`},
		{"escaped quote", `a = "\"# ${NAME}" # ${NONE}`, `a = "\"# web-1" # ${NONE}`},
		{"literal without any", `a = 'c:\x$'`, `a = 'c:\x$'`},
		{"literal", `a = 'c:\x\${NAME}"'`, `a = "c:\\x\\web-1\""`},
		{"literal default", `a = '${NONE:-c:\x}'`, `a = "c:\\x"`},
		{"multi-line", "a = \"\"\"\n\"${NAME}\"\n\"\"\"", "a = \"\"\"\n\"web-1\"\n\"\"\""},
		{"multi-line literal", "a = '''\n\\${NAME}\n''' # '", "a = \"\"\"\n\\\\web-1\n\"\"\" # '"},
		{"quote at the end", "a = \"\"\"x\"\"\"\" # ${NONE}\"", "a = \"\"\"x\"\"\"\" # ${NONE}\""},
		{"not closed", "a = \"${NAME}\n# ${NONE}\nb = \"${NAME}\"", "a = \"${NAME}\n# ${NONE}\nb = \"web-1\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Expand(c.text, lookup)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestValueOfAVariableMeansItselfInEachKindOfString(t *testing.T) {
	for _, quote := range []string{`"`, `'`, `"""`, `'''`} {
		text, err := Expand("a = "+quote+"<${NASTY}>"+quote+"\nb = 2\n", lookup)
		require.NoError(t, err)
		require.Equal(t, 2, strings.Count(text, "\n"), "lines moved: %s", text)
		var got struct {
			A string
			B int
		}
		_, err = toml.Decode(text, &got)
		require.NoError(t, err, text)
		require.Equal(t, "<"+environment["NASTY"]+">", got.A)
		require.Equal(t, 2, got.B)
	}
}

func TestVariableThatCannotBeExpandedIsRefusedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\nb = \"${NONE}\"":        "line 2: variable 'NONE' is not set and has no default",
		"a = '''\n\n'''\nb = '${NONE}'": "line 4: variable 'NONE' is not set",
		`a = "${NAME:?no}"`:             "line 1: '${NAME:?no' is neither ${VAR} nor ${VAR:-default}",
		`a = "${}"`:                     "line 1: '${' is neither",
		`a = "${NONE:-${NAME}}"`:        "is neither",
		`a = "${NAME"`:                  "is neither",
		`a = "${BAD}"`:                  "line 1: variable 'BAD' is not valid UTF-8",
		"b = 1\na = ${NONE}":            "line 2: variable 'NONE' is not set and has no default",
		"a = ${NAME}":                   "line 1: ${NAME} has no quotes around it, so its value must be a number, true or false; for a string, write \"${NAME}\"",
		"a = ${EMPTY}":                  "line 1: ${EMPTY} has no quotes around it",
		"a = ${INJECT}":                 "line 1: ${INJECT} has no quotes around it",
		"a = ${NONE:-5m}":               "line 1: ${NONE:-5m} has no quotes around it",
		"a = ${NA ME}":                  "line 1: '${NA ME' is neither",
	} {
		_, err := Expand(text, lookup)
		require.ErrorContains(t, err, want)
	}
}

// Whatever is expanded without variables comes back unchanged.
func FuzzTextWithoutVariablesIsUnchanged(f *testing.F) {
	f.Add("a = \"\"\"\"\"\"\"\"\nb='x' # \"'")
	f.Add("[[a]]\nb = [1, \"]\", # [\n '''x''']\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "${") {
			t.Skip()
		}
		got, err := Expand(text, lookup)
		require.NoError(t, err)
		require.Equal(t, text, got)
		end := 0
		for _, s := range Statements(text) {
			require.Greater(t, s.end, end)
			end = s.end
		}
		require.LessOrEqual(t, end, len(text))
	})
}
