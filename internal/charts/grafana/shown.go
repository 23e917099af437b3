package grafana

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Panel is what is seen in one panel.
type Panel struct {
	Title string
	Type  string
	Empty bool // no query gave anything

	Values []Value // of numbers

	Columns []string // of a table
	Rows    [][]Cell
	Sorted  []string // by which columns at first, with "up" or "down"
	Paged   bool

	Series []Series // of lines and timelines
}

// A Value is a text with its colour, as #RRGGBB.
type Value struct{ Title, Text, Color string }

// A Cell is one of a table. A colour that is not seen is empty.
type Cell struct {
	Text, Color, Background string
	Links                   []string
}

// A Series is a line, or a row of a timeline, with all different texts it had.
type Series struct {
	Name   string
	Last   Value
	Values []Value
}

// Show returns what is seen in each panel, by title.
func (d *Drawing) Show(t testing.TB) map[string]Panel {
	t.Helper()
	command := exec.CommandContext(t.Context(), program(t, "node"), built(t, "show.bundle.js"))
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
