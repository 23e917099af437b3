// Package grafana draws dashboards in tests with Grafana's own open-source packages, which "make
// grafana" installs. It shows what a panel makes of the answers of a database, as texts and
// colours and as a picture. It knows how Grafana handles queries and answers, and never what our
// panels are about.
package grafana

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Mark is an annotation.
type Mark struct {
	Name  string `json:"name"`
	Time  int64  `json:"time"` // ms
	Color string `json:"color"`
	Text  string `json:"text"`
}

// A Drawing is a dashboard with the frames of its panels.
type Drawing struct {
	Theme string // dark or light
	Width int    // in pixels
	Marks []Mark

	view  View
	board map[string]any
}

// New returns a drawing of a dashboard. The function frames returns the frames of a panel.
func New(t testing.TB, dashboard []byte, v View, frames func(p *Asked) []Frame) *Drawing {
	t.Helper()
	d := &Drawing{Theme: "dark", Width: 1400, view: v}
	require.NoError(t, json.Unmarshal(dashboard, &d.board))
	d.view.Variables = variables(t, dashboard, v.Variables)
	d.fill(t, d.board["panels"].([]any), frames)
	return d
}

func (d *Drawing) fill(t testing.TB, panels []any, frames func(p *Asked) []Frame) {
	t.Helper()
	for _, p := range panels {
		p := p.(map[string]any)
		if children, ok := p["panels"].([]any); ok { // of a collapsed row
			d.fill(t, children, frames)
			continue
		}
		var asked Asked
		text, err := json.Marshal(p)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &asked))
		p["frames"] = frames(&asked)
	}
}

// Open opens all collapsed rows.
func (d *Drawing) Open() {
	var all []any
	for _, p := range d.board["panels"].([]any) {
		row := p.(map[string]any)
		children, _ := row["panels"].([]any)
		all = append(append(all, p), children...) // they already have their positions
		if row["type"] == "row" {
			row["collapsed"], row["panels"] = false, []any{}
		}
	}
	d.board["panels"] = all
}

// height returns the height of the dashboard in rows of Grafana's grid.
func (d *Drawing) height() int {
	rows := 0
	for _, p := range d.board["panels"].([]any) {
		place := p.(map[string]any)["gridPos"].(map[string]any)
		rows = max(rows, int(place["y"].(float64)+place["h"].(float64)))
	}
	return rows
}

func (d *Drawing) input(t testing.TB) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"dashboard": d.board, "theme": d.Theme, "width": d.Width, "annotations": d.Marks,
		"from": d.view.From.UnixMilli(), "to": d.view.To.UnixMilli(), "variables": d.view.Variables,
	})
	require.NoError(t, err)
	return text
}

// Picture draws the dashboard as a PNG.
func (d *Drawing) Picture(t testing.TB, file string) {
	t.Helper()
	const cell, gap = 30, 8
	text := fmt.Sprintf(`<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/picture.bundle.css"><div id="page"></div>`+
		`<script>window.__grafana_public_path__ = "/public/"; window.input = %s</script><script src="/picture.bundle.js"></script>`, d.input(t))
	pages := http.NewServeMux()
	pages.Handle("/", http.FileServer(http.Dir(filepath.Dir(builtFile(t, "picture.bundle.js")))))
	pages.HandleFunc("/picture.html", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	server := httptest.NewServer(pages)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // usually two seconds; more if it hangs
	defer cancel()
	command := exec.CommandContext(ctx, lookPath(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--user-data-dir="+t.TempDir(), "--enable-logging=stderr",
		"--virtual-time-budget=20000", "--screenshot="+file,
		fmt.Sprintf("--window-size=%d,%d", d.Width, d.height()*(cell+gap)+gap), server.URL+"/picture.html")
	command.WaitDelay = time.Minute
	said, err := command.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Contains(t, string(said), `"drawn"`, "%s", said)
	require.NotContains(t, string(said), `"failed: `, "%s", said)
	compress(t, file)
}

// compress makes a picture smaller by merging colours that look the same.
func compress(t testing.TB, file string) {
	t.Helper()
	drawn, err := os.ReadFile(file)
	require.NoError(t, err)
	picture, err := png.Decode(bytes.NewReader(drawn))
	require.NoError(t, err)
	coarse := image.NewRGBA(picture.Bounds())
	draw.Draw(coarse, coarse.Bounds(), picture, image.Point{}, draw.Src)
	for i, level := range coarse.Pix {
		coarse.Pix[i] = level&^3 | level>>6 // rounds to one of 64 levels; black and white do not change
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	require.NoError(t, encoder.Encode(&small, coarse))
	require.NoError(t, os.WriteFile(file, small.Bytes(), 0o600))
}

// lookPath returns the path of an installed program, or skips the test.
func lookPath(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s, to draw dashboards", name)
	}
	return path
}

// builtFile returns the path of a file that "make grafana" makes. It skips the test if the file is
// missing or out of date.
func builtFile(t testing.TB, name string) string {
	t.Helper()
	root, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		require.NotEqual(t, root, filepath.Dir(root), "no go.mod above the test")
		root = filepath.Dir(root)
	}
	file := filepath.Join(root, "build", "grafana", name)
	made, err := os.Stat(file)
	if err != nil {
		t.Skipf("needs %s, run \"make grafana\"", name)
	}
	sources, err := filepath.Glob(filepath.Join(root, "internal", "charts", "grafana", "*.js*"))
	require.NoError(t, err)
	for _, source := range sources {
		info, err := os.Stat(source)
		require.NoError(t, err)
		if info.ModTime().After(made.ModTime()) {
			t.Skipf("%s is out of date: run \"make grafana\"", name)
		}
	}
	return file
}

// A View is the time range that a dashboard shows, with the values of its variables.
type View struct {
	From, To  time.Time
	Step      time.Duration     // between two points of a line
	Variables map[string]string // replace the initial values of the dashboard
}

// variables returns the initial values of a dashboard's variables, replaced by those in chosen.
func variables(t testing.TB, dashboard []byte, chosen map[string]string) map[string]string {
	t.Helper()
	var board struct {
		Templating struct {
			List []struct {
				Name, Type, AllValue string
				Query                any
				Current              struct{ Value any }
			}
		}
	}
	require.NoError(t, json.Unmarshal(dashboard, &board))
	all := make(map[string]string)
	for _, v := range board.Templating.List {
		value, _ := v.Current.Value.(string)
		if list, ok := v.Current.Value.([]any); ok && len(list) > 0 {
			value, _ = list[0].(string)
		}
		query, _ := v.Query.(string)
		switch {
		case v.Type == "datasource":
			value = query
		case value == "$__all":
			value = v.AllValue
		case value == "" && v.Type == "custom":
			value, _, _ = strings.Cut(query, ",")
		case value == "" && v.Type != "query":
			value = query
		}
		all[v.Name] = value
	}
	maps.Copy(all, chosen)
	return all
}
