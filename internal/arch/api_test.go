package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program that imports the sender sees only the types of package sender and of the standard
// library, so that the protocol and its package can change.
func TestSenderExportsNoTypeOfAnotherPackage(t *testing.T) {
	const sender = module + "/sender"
	_, files, err := listPackages(root)
	require.NoError(t, err)
	load := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	api, err := load.Import(sender)
	require.NoError(t, err)
	require.NotEmpty(t, api.Scope().Names())
	require.Empty(t, foreignTypes(api))

	// The check also finds types that are nested in another type.
	for _, source := range []string{
		`type A struct{ B []map[string]*func(wire.Label) }`,
		`type A struct{ wire.Key }`,
		`type A = wire.Key`,
		`func F() (chan wire.Key, error) { return nil, nil }`,
		`type a struct{ B wire.Key }; func F() a { return a{} }`,
		`type A int; func (A) M(...wire.Key) {}`,
		`type A interface{ M() [2]wire.Key }`,
		`type A[T interface{ *wire.Key | int }] struct{}`,
		`var V wire.Key`,
	} {
		pkg := check(t, load, `package sender; import "`+module+"/"+plugin+`/wire"; `+source)
		require.NotEmpty(t, foreignTypes(pkg), source)
	}
	pkg := check(t, load, `package sender; import "`+module+"/"+plugin+`/wire"; type A struct { b wire.Key }; func f(wire.Key) {}`)
	require.Empty(t, foreignTypes(pkg), "importing programs cannot see these")
}

func check(t *testing.T, load types.Importer, source string) *types.Package {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "a.go", source, 0)
	require.NoError(t, err)
	config := types.Config{Importer: load}
	pkg, err := config.Check(module+"/sender", fset, []*ast.File{file}, nil)
	require.NoError(t, err)
	return pkg
}

// foreignTypes returns the types of other packages of this module that the exported names of pkg
// expose.
func foreignTypes(pkg *types.Package) []string {
	s := sight{of: pkg, seen: make(map[types.Type]bool)}
	for _, name := range pkg.Scope().Names() {
		if object := pkg.Scope().Lookup(name); object.Exported() {
			s.look(name, object.Type())
		}
	}
	return s.foreign
}

// A sight collects the types that an importing program can see.
type sight struct {
	of      *types.Package
	seen    map[types.Type]bool
	foreign []string
}

func (s *sight) look(where string, seen types.Type) {
	if s.seen[seen] {
		return
	}
	s.seen[seen] = true
	switch seen := seen.(type) {
	case *types.Named:
		s.lookNamed(where, seen)
	case *types.Alias:
		s.look(where, seen.Rhs())
	case *types.Signature:
		s.look(where, seen.Params())
		s.look(where, seen.Results())
	case *types.Tuple:
		for v := range seen.Variables() {
			s.look(where, v.Type())
		}
	case *types.Struct:
		for field := range seen.Fields() {
			if field.Exported() {
				s.look(where+"."+field.Name(), field.Type())
			}
		}
	case *types.Interface:
		for method := range seen.Methods() {
			s.look(where+"."+method.Name(), method.Type())
		}
		for embedded := range seen.EmbeddedTypes() {
			s.look(where, embedded)
		}
	case *types.Union:
		for term := range seen.Terms() {
			s.look(where, term.Type())
		}
	case *types.Map:
		s.look(where, seen.Key())
		s.look(where, seen.Elem())
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		s.look(where, seen.Elem())
	}
}

func (s *sight) lookNamed(where string, seen *types.Named) {
	if pkg := seen.Obj().Pkg(); pkg != nil && pkg.Path() != s.of.Path() {
		if strings.HasPrefix(pkg.Path(), module) {
			s.foreign = append(s.foreign, fmt.Sprintf("%s shows %s", where, seen))
		}
		return // the standard library does not refer to this module
	}
	for parameter := range seen.TypeParams().TypeParams() {
		s.look(where, parameter.Constraint())
	}
	for argument := range seen.TypeArgs().Types() {
		s.look(where, argument)
	}
	for method := range seen.Methods() {
		if method.Exported() {
			s.look(where+"."+method.Name(), method.Type())
		}
	}
	s.look(where, seen.Underlying())
}
