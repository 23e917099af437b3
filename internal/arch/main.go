// Command arch counts how the rooms of each folder of a module lean on one another: its
// files, and the folders below it. It knows imports and definitions, never what code
// does. The tests beside it keep the rules of the rooms.
//
//	go run ./internal/arch [-v] [-C DIR] [FOLDER ...]
//
// An arrow goes from a room to another one in which something is defined that it uses. A
// folder's rooms are put in the order in which as few arrows as possible run back up;
// those that still do are what keeps the code from being read from top to bottom.
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
	verbose := flag.Bool("v", false, "name the arrows that run back up")
	flag.Parse()
	if err := run(*dir, flag.Args(), *verbose, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run counts the arrows of folders, or of all that have more than one room.
func run(dir string, folders []string, verbose bool, out io.Writer) error {
	arrows, err := arrowsOf(dir)
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		folders = slices.Sorted(maps.Keys(arrows))
	}
	fmt.Fprintf(out, "%-36s %6s %6s %6s\n", "folder", "rooms", "arrows", "up")
	for _, folder := range folders {
		folder = path.Clean(filepath.ToSlash(folder))
		all := arrows[folder]
		order := inOrder(all)
		up := upward(all, order)
		fmt.Fprintf(out, "%-36s %6d %6d %6d\n", folder, len(order), len(all), len(up))
		for _, a := range up {
			if verbose {
				fmt.Fprintf(out, "    %s -> %s (%s)\n", a.from, a.to, all[a])
			}
		}
	}
	return nil
}

// An arrow is between two rooms of one folder.
type arrow struct{ from, to string }

// arrowsOf returns the arrows of each folder of a module, each with something that it
// stands for.
func arrowsOf(dir string) (map[string]map[arrow]string, error) {
	packages, exports, err := list(dir)
	if err != nil {
		return nil, err
	}
	arrows := make(map[string]map[arrow]string)
	for _, p := range packages {
		if err := p.addArrows(arrows, exports); err != nil {
			return nil, fmt.Errorf("checking %s failed: %w", p.ImportPath, err)
		}
	}
	return arrows, nil
}

// A pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Imports                 []string
	Module                  *struct {
		Path, Dir string
		Main      bool
	}
}

// list returns the packages of the module in dir, and the export data of all that
// they import.
func list(dir string) (own []*pkg, exports map[string]string, err error) {
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

// addArrows adds those between the files of p, and those of its imports.
func (p *pkg) addArrows(all map[string]map[arrow]string, exports map[string]string) error {
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
		add(all, p.folder(), path.Base(from), path.Base(to), object.Name())
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

// folder is where the package is, from the root of its module.
func (p *pkg) folder() string {
	return cmp.Or(strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/"), ".")
}

// addImport adds an import to the folder in which both are: as rooms of their own, or
// within such rooms.
func (*pkg) addImport(all map[string]map[arrow]string, from, to string) {
	steps, others := strings.Split(from, "/"), strings.Split(to, "/")
	for i := range steps {
		if i >= len(others) || steps[i] != others[i] {
			if i < len(others) {
				add(all, cmp.Or(strings.Join(steps[:i], "/"), "."), steps[i], others[i], to)
			}
			return
		}
	}
}

func add(all map[string]map[arrow]string, folder, from, to, what string) {
	if all[folder] == nil {
		all[folder] = make(map[arrow]string)
	}
	a := arrow{from, to}
	if known, ok := all[folder][a]; !ok || what < known {
		all[folder][a] = what
	}
}

// inOrder returns the rooms from the top down: first by who leans on more rooms than
// lean on it (Eades, Lin, Smyth 1993), then each moved for as long as that lets fewer
// arrows run up.
func inOrder(arrows map[arrow]string) []string {
	lean := make(map[string]int)
	for a := range arrows {
		lean[a.from]++
		lean[a.to]--
	}
	order := slices.SortedFunc(maps.Keys(lean), func(a, b string) int {
		return cmp.Or(cmp.Compare(lean[b], lean[a]), cmp.Compare(a, b))
	})
	for better := true; better; {
		better = false
		for i := range order {
			for at := range order {
				moved := slices.Insert(slices.Delete(slices.Clone(order), i, i+1), at, order[i])
				if len(upward(arrows, moved)) < len(upward(arrows, order)) {
					order, better = moved, true
				}
			}
		}
	}
	return order
}

// upward returns the arrows that run back up.
func upward(arrows map[arrow]string, order []string) []arrow {
	place := make(map[string]int, len(order))
	for i, room := range order {
		place[room] = i
	}
	up := make([]arrow, 0, len(arrows))
	for a := range arrows {
		if place[a.from] > place[a.to] {
			up = append(up, a)
		}
	}
	slices.SortFunc(up, func(a, b arrow) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return up
}

func importPath(spec *ast.ImportSpec) string {
	imported, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		panic(err) // the parser has read it before
	}
	return imported
}
