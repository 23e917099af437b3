// Package grafana draws dashboards in tests with Grafana's own open packages,
// which "make grafana" brings: what a panel makes of the answers of a database,
// as texts and colours and as a picture. It knows what Grafana does with queries
// and answers, and never what our panels are about.
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

// New returns a drawing of a dashboard, for which frames gives the frames of
// each panel.
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
		if children, ok := p["panels"].([]any); ok { // of a row that is shut
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

// Open opens the rows that are shut.
func (d *Drawing) Open() {
	var all []any
	for _, p := range d.board["panels"].([]any) {
		row := p.(map[string]any)
		children, _ := row["panels"].([]any)
		all = append(append(all, p), children...) // they have their places already
		if row["type"] == "row" {
			row["collapsed"], row["panels"] = false, []any{}
		}
	}
	d.board["panels"] = all
}

// height is how many rows of Grafana's grid the dashboard takes.
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
	pages.Handle("/", http.FileServer(http.Dir(filepath.Dir(built(t, "picture.bundle.js")))))
	pages.HandleFunc("/picture.html", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	server := httptest.NewServer(pages)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // it takes two seconds, unless it hangs
	defer cancel()
	command := exec.CommandContext(ctx, program(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
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

// compress makes a picture smaller by colours that no eye tells apart.
func compress(t testing.TB, file string) {
	t.Helper()
	drawn, err := os.ReadFile(file)
	require.NoError(t, err)
	picture, err := png.Decode(bytes.NewReader(drawn))
	require.NoError(t, err)
	coarse := image.NewRGBA(picture.Bounds())
	draw.Draw(coarse, coarse.Bounds(), picture, image.Point{}, draw.Src)
	for i, level := range coarse.Pix {
		coarse.Pix[i] = level&^3 | level>>6 // of four neighbours one; black and white stay so
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	require.NoError(t, encoder.Encode(&small, coarse))
	require.NoError(t, os.WriteFile(file, small.Bytes(), 0o600))
}

// program returns where a program is that is not ours.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s, to draw dashboards", name)
	}
	return path
}

// built returns where "make grafana" has put a file.
func built(t testing.TB, name string) string {
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
		t.Skipf("needs %s, which \"make grafana\" makes", name)
	}
	sources, err := filepath.Glob(filepath.Join(root, "internal", "charts", "grafana", "*.js*"))
	require.NoError(t, err)
	for _, source := range sources {
		info, err := os.Stat(source)
		require.NoError(t, err)
		if info.ModTime().After(made.ModTime()) {
			t.Skipf("needs %s of the newest sources: \"make grafana\" makes it", name)
		}
	}
	return file
}

// A View is what a dashboard is looked at for.
type View struct {
	From, To  time.Time
	Step      time.Duration     // between the points of lines
	Variables map[string]string // beside what the dashboard itself begins with
}

// variables returns those of a dashboard as they are at first.
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
