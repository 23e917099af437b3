package grafana

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Panel is the visible content of one panel.
type Panel struct {
	Title string
	Type  string
	Empty bool // no query returned data

	Values []Value // of a panel of numbers

	Columns []string // of a table
	Rows    [][]Cell
	Sorted  []string // the initial sort order: columns with "up" or "down"
	Paged   bool

	Series []Series // of lines and timelines
}

// A Value is a text with its colour in the form #RRGGBB.
type Value struct{ Title, Text, Color string }

// A Cell is a cell of a table. Color and Background are empty if they are not visible.
type Cell struct {
	Text, Color, Background string
	Links                   []string
}

// A Series is a line, or a row of a timeline, with all different values that it had.
type Series struct {
	Name   string
	Last   Value
	Values []Value
}

// Show returns the visible content of each panel, by title.
func (d *Drawing) Show(t testing.TB) map[string]Panel {
	t.Helper()
	command := exec.CommandContext(t.Context(), lookPath(t, "node"), builtFile(t, "show.bundle.js"))
	command.Stdin = bytes.NewReader(d.input(t))
	var said bytes.Buffer
	command.Stderr = &said
	answer, err := command.Output()
	require.NoError(t, err, "%s", &said)
	var panels []Panel
	require.NoError(t, json.Unmarshal(answer, &panels))
	shown := make(map[string]Panel)
	for i := range panels {
		require.NotContains(t, shown, panels[i].Title, "two panels have this title")
		shown[panels[i].Title] = panels[i]
	}
	return shown
}
