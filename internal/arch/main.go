// Command arch counts the dependencies between the parts of each folder of a module. The parts of a
// folder are its files and its subfolders. The command knows imports and definitions, and
// nothing about what code does. The tests beside it check the rules of the packages.
//
//	go run ./internal/arch [-v] [-C DIR] [FOLDER ...]
//
// A part depends on another part if it uses something that is defined there. The command sorts
// the parts of a folder so that as few dependencies as possible point backward. If a
// dependency still points backward, the code cannot be read from top to bottom.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	dir := flag.String("C", ".", "the module")
	verbose := flag.Bool("v", false, "list the dependencies that point backward")
	flag.Parse()
	if err := run(*dir, flag.Args(), *verbose, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run counts the dependencies in the folders, or in all folders with more than one part.
func run(dir string, folders []string, verbose bool, out io.Writer) error {
	dependencies, err := dependenciesOf(dir)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		folders = slices.Sorted(maps.Keys(dependencies))
	}
	fmt.Fprintf(out, "%-36s %6s %6s %6s\n", "folder", "parts", "deps", "back")
	for _, folder := range folders {
		folder = path.Clean(filepath.ToSlash(folder))
		all := dependencies[folder]
		order := sortParts(all)
		back := backward(all, order)
		fmt.Fprintf(out, "%-36s %6d %6d %6d\n", folder, len(order), len(all), len(back))
		for _, a := range back {
			if verbose {
				fmt.Fprintf(out, "    %s -> %s (%s)\n", a.from, a.to, all[a])
			}
		}
	}
	return nil
}

// A dependency is between two parts of one folder.
type dependency struct{ from, to string }

// dependenciesOf returns the dependencies in each folder of a module, each with the name of
// something that is used.
func dependenciesOf(dir string) (map[string]map[dependency]string, error) {
	packages, exports, err := listPackages(dir)
	if err != nil {
		return nil, err
	}
	dependencies := make(map[string]map[dependency]string)
	for _, p := range packages {
		if err := p.addDependencies(dependencies, exports); err != nil {
			return nil, fmt.Errorf("checking %s failed: %w", p.ImportPath, err)
		}
	}
	return dependencies, nil
}

// A pkg is a package as go list describes it.
type pkg struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Imports                 []string
	Module                  *struct {
		Path, Dir string
		Main      bool
	}
}

// listPackages returns the packages of the module in dir, and the export data of all packages that they
// import.
func listPackages(dir string) (own []*pkg, exports map[string]string, err error) {
	command := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles,Imports,Module", "./...")
	command.Dir, command.Stderr = dir, os.Stderr
	text, err := command.Output()
	if err != nil {
		return nil, nil, err
	}
	exports = make(map[string]string)
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		p := new(pkg)
		if err := decoder.Decode(p); errors.Is(err, io.EOF) {
			return own, exports, nil
		} else if err != nil {
			return nil, nil, err
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main {
			own = append(own, p)
		}
	}
}

// addDependencies adds the dependencies between the files of p, and the dependencies on its
// imports.
func (p *pkg) addDependencies(all map[string]map[dependency]string, exports map[string]string) error {
	set := token.NewFileSet()
	files := make([]*ast.File, 0, len(p.GoFiles))
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	uses := make(map[*ast.Ident]types.Object)
	config := types.Config{Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	if _, err := config.Check(p.ImportPath, set, files, &types.Info{Uses: uses}); err != nil {
		return err
	}
	for use, object := range uses {
		from := set.Position(use.Pos()).Filename
		to := set.Position(object.Pos()).Filename
		if object.Pkg() == nil || object.Pkg().Path() != p.ImportPath || from == to {
			continue
		}
		addDependency(all, p.folder(), path.Base(from), path.Base(to), object.Name())
	}
	for _, file := range files {
		from := p.folder() + "/" + path.Base(set.Position(file.Pos()).Filename)
		for _, spec := range file.Imports {
			if to, ours := strings.CutPrefix(importPath(spec), p.Module.Path+"/"); ours {
				p.addImport(all, from, to)
			}
		}
	}
	return nil
}

// folder returns the path of the package relative to the root of its module.
func (p *pkg) folder() string {
	return cmp.Or(strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/"), ".")
}

// addImport adds an import to the innermost folder that contains both packages.
func (*pkg) addImport(all map[string]map[dependency]string, from, to string) {
	steps, others := strings.Split(from, "/"), strings.Split(to, "/")
	for i := range steps {
		if i >= len(others) || steps[i] != others[i] {
			if i < len(others) {
				addDependency(all, cmp.Or(strings.Join(steps[:i], "/"), "."), steps[i], others[i], to)
			}
			return
		}
	}
}

func addDependency(all map[string]map[dependency]string, folder, from, to, what string) {
	if all[folder] == nil {
		all[folder] = make(map[dependency]string)
	}
	a := dependency{from, to}
	if known, ok := all[folder][a]; !ok || what < known {
		all[folder][a] = what
	}
}

// sortParts returns the parts from top to bottom. It first sorts them by the number of parts that
// they use minus the number of parts that use them (Eades, Lin, Smyth 1993). Then it moves single
// parts as long as that reduces the number of dependencies that point backward.
func sortParts(dependencies map[dependency]string) []string {
	balance := make(map[string]int)
	for a := range dependencies {
		balance[a.from]++
		balance[a.to]--
	}
	order := slices.SortedFunc(maps.Keys(balance), func(a, b string) int {
		return cmp.Or(cmp.Compare(balance[b], balance[a]), cmp.Compare(a, b))
	})
	for better := true; better; {
		better = false
		for i := range order {
			for at := range order {
				moved := slices.Insert(slices.Delete(slices.Clone(order), i, i+1), at, order[i])
				if len(backward(dependencies, moved)) < len(backward(dependencies, order)) {
					order, better = moved, true
				}
			}
		}
	}
	return order
}

// backward returns the dependencies that point backward.
func backward(dependencies map[dependency]string, order []string) []dependency {
	place := make(map[string]int, len(order))
	for i, part := range order {
		place[part] = i
	}
	back := make([]dependency, 0, len(dependencies))
	for a := range dependencies {
		if place[a.from] > place[a.to] {
			back = append(back, a)
		}
	}
	slices.SortFunc(back, func(a, b dependency) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return back
}

func importPath(spec *ast.ImportSpec) string {
	imported, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		panic(err) // impossible: the parser has accepted it
	}
	return imported
}
