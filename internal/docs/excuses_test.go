//go:build unix

package docs

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
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
	defined := testsOfAllPackages(t)
	for _, document := range append(documents(t), pluginREADME) {
		used := 0
		for _, b := range blocksOf(t, document) {
			if b.excuse.kind != "" {
				used++
			}
			if problem := b.excuse.problem(b.language == "text", defined); problem != "" {
				t.Errorf("%s:%d: %s", document, b.line-1, problem)
			}
		}
		if all := len(likeOne.FindAllString(read(t, document), -1)); all != used {
			t.Errorf("%s: %d of %d excuses are of the forms that excuses_test.go lists, and above a block", document, used, all)
		}
	}
}

// problem returns what is wrong with an excuse, or "".
func (e excuse) problem(printed bool, defined map[string]bool) string {
	switch {
	case e.kind == "run by" && !defined[e.reason]:
		return "there is no test " + e.reason
	case e.kind == "not run" && printed:
		return "printed output is not run: write <!-- not compared: REASON -->"
	case e.kind == "not compared" && !printed:
		return "only printed output is compared: write <!-- not run: REASON -->"
	}
	return ""
}

func TestWrongExcusesAreFound(t *testing.T) {
	defined := map[string]bool{"TestUnits": true}
	for line, want := range map[string]string{
		"<!-- run by TestUnits -->":        "",
		"<!-- run by TestNothing -->":      "there is no test TestNothing",
		"<!-- not run: stays -->":          "",
		"<!-- not compared: a diagram -->": "only printed output",
	} {
		problem := excuseIn(line).problem(false, defined)
		require.Equal(t, want == "", problem == "", line)
		require.Contains(t, problem, want)
	}
	require.Contains(t, excuseIn("<!-- not run: stays -->").problem(true, defined), "not compared")
	require.Empty(t, excuseIn("<!-- not run -->"))
}

// testsOfAllPackages returns the names of all test functions.
func testsOfAllPackages(t *testing.T) map[string]bool {
	t.Helper()
	definition := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	defined := make(map[string]bool)
	for _, dir := range []string{"cmd", "deploy", "internal", "plugins", "sender"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			name, err := filepath.Rel(root, path)
			require.NoError(t, err)
			for _, found := range definition.FindAllStringSubmatch(read(t, filepath.ToSlash(name)), -1) {
				defined[found[1]] = true
			}
			return nil
		}))
	}
	return defined
}
