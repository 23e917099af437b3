package execd

import (
	"reflect"
	"slices"
	"strings"
)

// optionNames returns the options that a table at path below value's struct
// may hold: the toml tags, those of embedded structs included. It returns nil
// if there is no such table.
func optionNames(value any, path []string) []string {
	t := typeAt(value, path)
	if t == nil {
		return nil
	}
	fields := fieldsOf(t)
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names
}

// typeAt returns the type of the option at path below value's struct, or nil if
// there is none.
func typeAt(value any, path []string) reflect.Type {
	t := reflect.TypeOf(value)
	for _, name := range path {
		fields := fieldsOf(t)
		i := slices.IndexFunc(fields, func(f option) bool { return f.name == name })
		if i < 0 {
			return nil
		}
		t = fields[i].kind
	}
	return t
}

// An option is a field of a struct as the decoder sees it.
type option struct {
	name string
	kind reflect.Type
}

// fieldsOf returns the options of a struct, or of the struct that a pointer,
// slice or map of t leads to.
func fieldsOf(t reflect.Type) []option {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var all []option
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		switch {
		case name == "-":
		case field.Anonymous && name == "":
			all = append(all, fieldsOf(field.Type)...)
		case field.IsExported() && name == "":
			all = append(all, option{field.Name, field.Type})
		case field.IsExported():
			all = append(all, option{name, field.Type})
		}
	}
	return all
}

// nearest returns the candidate that word was probably meant to be, or "".
func nearest(word string, candidates []string) string {
	best, found := 1+len(word)/4, ""
	for _, candidate := range candidates {
		if d := distance(strings.ToLower(word), candidate); d <= best && (found == "" || d < best) {
			best, found = d, candidate
		}
	}
	return found
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
