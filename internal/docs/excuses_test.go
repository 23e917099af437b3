//go:build unix

package docs

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// An excuse states why a block is not checked here:
//
//	<!-- run by TestName -->       this test, in any package, runs the same
//	<!-- not run: REASON -->       the block is never run
//	<!-- not compared: REASON -->  the text is not printed by our programs
//
// It is in the line above the block.
type excuse struct{ kind, reason string }

var (
	excuses = regexp.MustCompile(`^ *<!-- (?:(run by) (Test\w+)|(not run|not compared): (.+)) -->$`)
	likeOne = regexp.MustCompile(`<!-- *(?:not (?:run|compared)|run by)\b`)
)

// excuseIn returns the excuse in a line, or an empty excuse.
func excuseIn(line string) excuse {
	found := excuses.FindStringSubmatch(line)
	if found == nil {
		return excuse{}
	}
	return excuse{found[1] + found[3], found[2] + found[4]}
}

func TestExcusesHaveTheirForm(t *testing.T) {
	for _, document := range append(documents(t), pluginREADME) {
		used := 0
		for _, b := range blocksOf(t, document) {
			if b.excuse.kind != "" {
				used++
			}
			if problem := b.excuse.problem(b.language == "text"); problem != "" {
				t.Errorf("%s:%d: %s", document, b.line-1, problem)
			}
		}
		if all := len(likeOne.FindAllString(read(t, document), -1)); all != used {
			t.Errorf("%s: %d of %d excuses are of the forms that excuses_test.go lists, and above a block", document, used, all)
		}
	}
}

// problem returns what is wrong with an excuse, or "".
func (e excuse) problem(printed bool) string {
	switch {
	case e.kind == "not run" && printed:
		return "printed output is not run: write <!-- not compared: REASON -->"
	case e.kind == "not compared" && !printed:
		return "only printed output is compared: write <!-- not run: REASON -->"
	}
	return ""
}

func TestWrongExcusesAreFound(t *testing.T) {
	for line, want := range map[string]string{
		"<!-- run by TestUnits -->":        "",
		"<!-- not run: stays -->":          "",
		"<!-- not compared: a diagram -->": "only printed output",
	} {
		problem := excuseIn(line).problem(false)
		require.Equal(t, want == "", problem == "", line)
		require.Contains(t, problem, want)
	}
	require.Contains(t, excuseIn("<!-- not run: stays -->").problem(true), "not compared")
	require.Empty(t, excuseIn("<!-- not run -->"))
}
