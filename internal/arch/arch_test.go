package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	module = "github.com/telegraf-heartbeat/telegraf-heartbeat"
	plugin = "plugins/inputs/heartbeat"

	std      = "std" // any package of the standard library
	telegraf = "github.com/influxdata/telegraf/..."
	toml     = "github.com/BurntSushi/toml"
	yaml     = "go.yaml.in/yaml/v3"
)

// rules are the rules of a directory. An import is allowed if it matches one of the patterns: a
// path, a path and everything below it (x/...), or std.
type rules struct {
	dir     string
	imports []string
	never   []string // forbidden, even if std is allowed
	tests   []string // the imports allowed in tests; nil allows all

	// A timeless package only computes: it never asks for the time, and it starts no goroutines.
	timeless bool
}

// allRules keeps the sender small, the judging part testable without waiting, and the plugin fit
// to be copied into Telegraf's source. Never change it only to make a build pass.
var allRules = []rules{
	{
		dir: plugin + "/wire",
		imports: []string{
			"bytes", "crypto/hmac", "crypto/sha256", "crypto/subtle",
			"encoding/binary", "errors", "fmt", "io", "math", "net/netip",
			"slices", "strconv", "strings", "unicode", "unicode/utf16", "unicode/utf8",
		},
		tests:    pluginTests,
		timeless: true,
	},
	{
		dir: plugin + "/liveness",
		imports: []string{
			"cmp", "container/list", "errors", "fmt", "iter", "maps", "math",
			"net/netip", "slices", "strconv", "strings", "time", in("calendar"),
		},
		tests:    pluginTests,
		timeless: true,
	},
	{
		dir:      plugin + "/calendar", // when a peer is expected; never which peer
		imports:  []string{"errors", "fmt", "slices", "strconv", "strings", "time", "time/tzdata", "github.com/robfig/cron/v3"},
		tests:    pluginTests,
		timeless: true,
	},
	{
		dir:     plugin + "/regular",
		imports: []string{"context", "errors", "fmt", "io", "io/fs", "os", "path/filepath", "syscall", "time"},
		tests:   pluginTests,
	},
	{
		dir:     plugin + "/loglimit",
		imports: []string{"fmt", "maps", "net/netip", "sync", "time"},
		tests:   pluginTests,
	},
	{
		dir:     plugin + "/statefile", // files and records, and when to save them
		imports: []string{std, "golang.org/x/sys/...", in("liveness"), in("loglimit")},
		never:   []string{"net", "net/http"},
		tests:   pluginTests,
	},
	{
		dir:     plugin + "/serve", // sockets; never the content of a payload, or which peers are alive
		imports: []string{std, "golang.org/x/sys/unix", in("wire"), in("regular")},
		tests:   pluginTests,
	},
	{
		dir:     plugin + "/verify", // which beats are genuine; never which peers are alive
		imports: []string{std, in("wire"), in("regular")},
		never:   []string{"net", "net/http"},
		tests:   pluginTests,
	},
	{
		dir:      plugin + "/herald", // which events this collector reports; never what the mates are, or metrics
		imports:  []string{"maps", "slices", "time", in("liveness")},
		tests:    pluginTests,
		timeless: true,
	},
	{
		dir:     plugin + "/judge", // verdicts and their metrics; never a socket, a secret or a state file
		imports: []string{std, telegraf, in("liveness"), in("herald"), in("wire"), in("loglimit"), in("regular")},
		never:   []string{"net", "net/http"},
		tests:   pluginTests,
	},
	{
		dir:     plugin + "/web", // requests and who may send them; never which peers are alive
		imports: []string{std, in("wire"), in("regular"), in("web/api"), in("calendar")},
		tests:   pluginTests,
	},
	{
		dir:     plugin + "/web/page", // how peers are shown; never how they are judged
		imports: []string{std, in("liveness"), in("web/api")},
		tests:   pluginTests,
	},
	{
		dir:     plugin + "/web/api", // the API over HTTP, in JSON
		imports: []string{std},
		tests:   pluginTests,
	},
	{
		dir:     plugin + "/cluster", // other collectors; never beats as bytes, metrics or files
		imports: []string{std, in("liveness"), in("cluster/bus"), in("loglimit")},
		never:   []string{"net", "net/http"},
		tests:   append([]string{in("herald")}, pluginTests...),
	},
	{
		dir:     plugin + "/cluster/bus", // messages as bytes; never their content
		imports: []string{std, "github.com/nats-io/nats-server/v2/server", "github.com/nats-io/nats.go", in("loglimit")},
		never:   []string{"net/http", "os", "os/exec", "os/signal"},
		tests:   append([]string{"github.com/nats-io/..."}, pluginTests...),
	},
	{
		dir:     plugin,
		imports: []string{std, telegraf, in("...")},
		never:   []string{"net", "net/http"},
		tests:   pluginTests,
	},
	{
		dir:     "internal/proc",
		imports: []string{std},
	},
	{
		dir:     "sender",
		imports: []string{std, module + "/" + plugin + "/wire", module + "/internal/proc"},
	},
	{
		dir:     "internal/watch", // it knows nothing of beats and collectors
		imports: []string{std, "golang.org/x/sys/unix", module + "/internal/proc", module + "/" + plugin + "/regular"},
		never:   []string{"net"},
	},
	{
		dir:     "internal/proc/job", // it knows nothing of beats and collectors
		imports: []string{std, "golang.org/x/sys/unix"},
		never:   []string{"net", "crypto/tls"},
	},
	{
		dir:     "internal/proc/handover", // it knows nothing of beats and collectors
		imports: []string{std, "golang.org/x/sys/unix"},
		never:   []string{"net", "crypto/tls"},
	},
	{
		dir:     "internal/probe", // it knows nothing of beats and collectors
		imports: []string{std, "golang.org/x/sys/unix", module + "/internal/proc", module + "/internal/proc/job"},
		never:   []string{"net", "crypto/tls"},
	},
	{
		dir:     "internal/winservice", // it knows nothing of beats and collectors
		imports: []string{std, "golang.org/x/sys/windows/..."},
		never:   []string{"net", "crypto/tls"},
	},
	{
		dir:     "internal/cli", // for all commands; the plugin never imports it, because the plugin is copied into Telegraf's source
		imports: []string{std, toml},
		never:   []string{"net", "os/exec", "os/signal", "regexp"}, // these would make the sender larger
	},
	{
		dir: "cmd/heartbeat-sender",
		imports: []string{
			std, toml, "golang.org/x/sys/unix",
			module + "/sender", module + "/internal/cli", module + "/internal/proc/job", module + "/internal/proc",
			module + "/internal/proc/handover", module + "/internal/probe", module + "/internal/watch",
			module + "/internal/winservice",
			module + "/" + plugin + "/wire", module + "/" + plugin + "/regular",
		},
	},
	{
		dir: "internal/execd", // runs any plugin (the command passes ours in); from wire it uses the filter for foreign text
		imports: []string{
			std, toml, telegraf, "golang.org/x/sys/unix",
			module + "/internal/cli", module + "/" + plugin + "/wire", module + "/" + plugin + "/regular",
		},
	},
	{
		dir: "cmd/telegraf-heartbeat",
		imports: []string{
			std, module + "/internal/execd", module + "/internal/cli", module + "/" + plugin, in("statefile"), in("liveness"), in("wire"), in("web/api"),
		},
		never: []string{"net", "net/http"},
	},

	// Tools and tests of the project. No program contains them.
	{dir: "internal/arch", imports: []string{std}, tests: kit()},
	{ // it measures processes and simulates collectors
		dir:     "internal/bench",
		imports: []string{std, in("wire"), in("liveness"), in("cluster"), in("herald"), in("judge")},
	},
	{dir: "internal/texts", imports: []string{std}, never: []string{"net", "os/exec"}},
	{dir: "internal/charts", imports: []string{std, yaml, in("liveness")}, never: []string{"net", "os/exec"}},
	{dir: "internal/charts/grafana", imports: kit(), tests: kit()}, // helps tests
	{dir: "internal/dist", imports: []string{std}, tests: kit()},
	{dir: "internal/kafka", imports: []string{std, "github.com/twmb/franz-go/pkg/kfake"}, tests: kit()}, // a module of its own
	{dir: "internal/testkit", imports: kit("golang.org/x/sys/unix"), tests: kit("golang.org/x/sys/unix")},
	{dir: "internal/docs", imports: []string{}, tests: kit(yaml)}, // this and the following have only tests
	{dir: "internal/systemd", imports: []string{}, tests: kit(telegraf, yaml, "golang.org/x/sys/unix")},
	{dir: "internal/faults", imports: []string{}, tests: kit(telegraf, "golang.org/x/sys/unix", in("wire"), in("cluster/bus"))},
	{
		dir:     "internal/e2e",
		imports: []string{},
		tests: kit(telegraf, "golang.org/x/sys/unix", module+"/internal/charts", module+"/internal/charts/grafana", module+"/sender",
			in("wire"), in("statefile"), in("liveness"), in("web/page"), in("web/api"), "github.com/chromedp/..."),
	},
	{dir: "internal/verdicts", imports: []string{}, tests: kit(in("liveness"))}, // plays traces to the tracker
	{dir: "deploy", imports: []string{}, tests: kit(toml, yaml, in("wire"))},
}

// in returns the import path of a package of the plugin.
func in(dir string) string { return module + "/" + plugin + "/" + dir }

// kit returns the imports allowed in tests outside the plugin, and more.
func kit(more ...string) []string {
	return append(more, std, "github.com/stretchr/testify/...", module+"/internal/testkit")
}

// pluginTests are the packages that also exist in Telegraf's source.
var pluginTests = []string{
	std, telegraf, toml, "github.com/stretchr/testify/...", "github.com/google/go-cmp/...",
	module + "/" + plugin + "/...",
}

// clocks are the functions of package time that return the current time or wait.
var clocks = []string{
	"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until",
}

func TestPackagesKeepTheirRules(t *testing.T) {
	for _, r := range allRules {
		t.Run(r.dir, func(t *testing.T) {
			names, err := filepath.Glob(filepath.Join(root, r.dir, "*.go"))
			require.NoError(t, err)
			require.NotEmpty(t, names, "no Go files in %s: if the package was moved, change allRules", r.dir)
			for _, name := range names {
				for _, problem := range r.problems(parse(t, name)) {
					t.Error(problem)
				}
			}
		})
	}
}

// Without this test, a new directory would have no rules.
func TestEveryPackageHasRules(t *testing.T) {
	eachGoFile(t, func(name string) {
		dir := path.Dir(name)
		if path.Base(dir) == "testdata" {
			return // built in another module
		}
		if !slices.ContainsFunc(allRules, func(r rules) bool { return r.dir == dir }) {
			t.Errorf("%s: add rules for %s to allRules", name, dir)
		}
	})
}

// A reader must be able to see a package at a glance.
func TestNoPackageIsTooLarge(t *testing.T) {
	const most = 18
	files := make(map[string]int)
	eachGoFile(t, func(name string) {
		if !strings.HasSuffix(name, "_test.go") {
			files[path.Dir(name)]++
		}
	})
	for dir, n := range files {
		if n > most {
			t.Errorf("%s has %d files: at most %d, tests aside", dir, n, most)
		}
	}
}

// Each package comment says what the package knows, and what it never knows.
func TestEveryPackageSaysWhatItKnows(t *testing.T) {
	said := make(map[string]string)
	eachGoFile(t, func(name string) {
		if tree := parse(t, filepath.Join(root, name)).tree; tree.Doc != nil {
			said[path.Dir(name)] += tree.Doc.Text()
		}
	})
	for _, r := range allRules {
		words := strings.Fields(said[r.dir])
		knows := slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(word, "know") })
		never := slices.ContainsFunc(words, func(word string) bool { return word == "never" || word == "nothing" || word == "no" })
		if !knows || !never {
			t.Errorf("%s: its package comment does not say what it knows and what it never knows", r.dir)
		}
	}
}

// eachGoFile calls do with the path of each Go file of the project.
func eachGoFile(t *testing.T, do func(name string)) {
	t.Helper()
	require.NoError(t, fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if entry.IsDir() && (name == "build" || name == ".git") {
			return fs.SkipDir
		}
		if err == nil && path.Ext(name) == ".go" {
			do(name)
		}
		return err
	}))
}

// A test that sleeps is slow, and fails on a slower machine. In the virtual time of
// testing/synctest, neither is true.
func TestTestsSleepInVirtualTimeOnly(t *testing.T) {
	eachGoFile(t, func(name string) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		f := parse(t, filepath.Join(root, name))
		virtual := slices.ContainsFunc(f.tree.Imports, func(spec *ast.ImportSpec) bool { return importPath(spec) == "testing/synctest" })
		if !virtual && len(uses(f, "Sleep")) > 0 {
			t.Errorf("%s sleeps: wait for what you wait for, or use testing/synctest", name)
		}
	})
}

// A check that finds nothing may be broken. This test makes sure that each check works.
func TestRulesFindWhatIsForbidden(t *testing.T) {
	pure := rules{dir: "pure", imports: []string{"errors", "time"}, tests: []string{std}, timeless: true}
	glue := rules{dir: "glue", imports: []string{std, telegraf}, never: []string{"crypto/tls"}}
	tests := []struct {
		name   string
		rules  rules
		file   string
		source string
		want   string
	}{
		{"a package not listed", pure, "a.go", `import "sync"`, `imports "sync"`},
		{"a foreign package in a test", pure, "a_test.go", `import "example.com/x"`, `imports "example.com/x"`},
		{"a package excluded from std", glue, "a.go", `import "crypto/tls"`, `imports "crypto/tls"`},
		{"a neighbour by name", glue, "a.go", `import "github.com/influxdata/telegrafer"`, "telegrafer"},
		{"the time", pure, "a.go", "import \"time\"\nvar x = time.Now()", "take the time as an argument"},
		{"the time under another name", pure, "a.go", "import t \"time\"\nvar x = t.Now", "take the time as an argument"},
		{"a goroutine", pure, "a.go", "func f() { go f() }", "starts a goroutine"},

		{"what is listed", pure, "a.go", `import "errors"`, ""},
		{"all below a path", glue, "a.go", `import "github.com/influxdata/telegraf/config"`, ""},
		{"the path itself", glue, "a.go", `import "github.com/influxdata/telegraf"`, ""},
		{"any test where there is no rule", glue, "a_test.go", `import "example.com/x"`, ""},
		{"durations and instants", pure, "a.go", "import \"time\"\nvar x = time.Time{}.After", ""},
		{"the time in a test", pure, "a_test.go", "import \"time\"\nvar x = time.Now()", ""},
		{"the time in glue", glue, "a.go", "import \"time\"\nvar x = time.Now()", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set := token.NewFileSet()
			tree, err := parser.ParseFile(set, tt.file, "package p\n"+tt.source, parser.SkipObjectResolution)
			require.NoError(t, err)

			problems := tt.rules.problems(file{set, tree})
			if tt.want == "" {
				require.Empty(t, problems)
				return
			}
			require.Len(t, problems, 1)
			require.Contains(t, problems[0], tt.want)
		})
	}
}

// A file is a parsed source file.
type file struct {
	set  *token.FileSet
	tree *ast.File
}

func parse(t *testing.T, name string) file {
	t.Helper()
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution|parser.ParseComments)
	require.NoError(t, err)
	return file{set, tree}
}

func (f file) position(n ast.Node) string { return f.set.Position(n.Pos()).String() }

func (f file) isTest() bool {
	return strings.HasSuffix(f.set.Position(f.tree.Pos()).Filename, "_test.go")
}

// problems returns the violations of the rules in a file.
func (r rules) problems(f file) []string {
	if f.isTest() {
		return r.importProblems(f, r.tests, nil)
	}
	problems := r.importProblems(f, r.imports, r.never)
	if r.timeless {
		problems = append(problems, timeProblems(f)...)
	}
	return problems
}

func (r rules) importProblems(f file, allowed, never []string) []string {
	if allowed == nil {
		return nil
	}
	problems := make([]string, 0, len(f.tree.Imports))
	for _, spec := range f.tree.Imports {
		imported := importPath(spec)
		if matchesAny(allowed, imported) && !slices.Contains(never, imported) {
			continue
		}
		problems = append(problems, fmt.Sprintf(
			"%s: imports %q, which is not allowed in %s: pass in what the package needs, or move this code to its caller",
			f.position(spec), imported, r.dir))
	}
	return problems
}

func timeProblems(f file) []string {
	var problems []string
	for _, use := range uses(f, clocks...) {
		problems = append(problems, f.position(use)+": time."+use.Sel.Name+": take the time as an argument")
	}
	ast.Inspect(f.tree, func(n ast.Node) bool {
		if statement, ok := n.(*ast.GoStmt); ok {
			problems = append(problems, f.position(statement)+": starts a goroutine: return the work to the caller instead")
		}
		return true
	})
	return problems
}

// uses finds the places where the file refers to one of these functions of package time.
func uses(f file, functions ...string) []*ast.SelectorExpr {
	clock := nameOfTime(f.tree)
	var found []*ast.SelectorExpr
	ast.Inspect(f.tree, func(n ast.Node) bool {
		use, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := use.X.(*ast.Ident); ok && of.Name == clock && slices.Contains(functions, use.Sel.Name) {
			found = append(found, use)
		}
		return true
	})
	return found
}

// nameOfTime returns the name under which the file imports package time.
func nameOfTime(tree *ast.File) string {
	for _, spec := range tree.Imports {
		if importPath(spec) == "time" && spec.Name != nil {
			return spec.Name.Name
		}
	}
	return "time"
}

func matchesAny(patterns []string, imported string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if pattern == std {
			first, _, _ := strings.Cut(imported, "/")
			return !strings.Contains(first, ".")
		}
		above, isTree := strings.CutSuffix(pattern, "/...")
		return imported == above || isTree && strings.HasPrefix(imported, above+"/")
	})
}
