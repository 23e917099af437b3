package sender_test

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// Within a major version the file may get more declarations; none changes or goes away.
// docs/support.md promises that. UPDATE_GOLDEN=1 writes it.
func TestAPIIsStable(t *testing.T) {
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var all []string
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			all = append(all, exported(t, name)...)
		}
	}
	slices.Sort(all)
	testkit.RequireGolden(t, "api.txt", strings.Join(all, "\n")+"\n")
}

// exported returns the exported declarations of a file, without comments and bodies.
func exported(t *testing.T, name string) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.FileExports(file)
	var all []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if !isExported(d) {
				continue
			}
			d.Body = nil
		case *ast.GenDecl:
			if d.Tok == token.IMPORT || len(d.Specs) == 0 {
				continue
			}
		}
		var text strings.Builder
		require.NoError(t, format.Node(&text, files, decl))
		all = append(all, text.String())
	}
	return all
}

// isExported reports whether a function is exported, and its receiver's type, too.
func isExported(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return f.Name.IsExported()
	}
	of := f.Recv.List[0].Type
	if star, is := of.(*ast.StarExpr); is {
		of = star.X
	}
	name, is := of.(*ast.Ident)
	return is && name.IsExported() && f.Name.IsExported()
}
