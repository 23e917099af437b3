package charts

import (
	"fmt"
	"strings"
)

// VMUI returns the dashboard of vmui, the page that is part of VictoriaMetrics, as its flag
// -vmui.customDashboardsPath reads it. It knows graphs alone: no tables, no variables, no words
// for numbers.
func VMUI() []byte {
	rows := list{}
	panels := list{}
	var row object
	for _, p := range Panels() {
		if p.Row != "" {
			row, panels = object{"title": p.Row}, list{}
			rows = append(rows, row)
		}
		if p.Kind != Table {
			panels = append(panels, p.graph())
			row["panels"] = panels
		}
	}
	return toJSON(object{"title": "Heartbeat", "rows": rows})
}

func (p *Panel) graph() object {
	about := p.About
	if p.Kind == Timeline {
		about += " " + p.Shown.legend()
	}
	graph := object{"title": p.Title, "description": about, "expr": list{inVMUI(p.Few())}, "showLegend": true, "width": p.Width / 2}
	if p.Kind == Stat {
		graph["width"] = 4 // of 12: a graph needs more than a number
	}
	if len(p.By) > 0 {
		graph["alias"] = list{p.legend("{{", "}}")}
	}
	return graph
}

// inVMUI writes for a day what Grafana writes for the time shown, and leaves out what its
// reader chooses. MetricsQL takes rates over the step of the graph.
func inVMUI(query string) string {
	return strings.NewReplacer(
		selection, "", `[$__rate_interval]`, "", `$__range_s`, "86400", `$__range`, "1d",
	).Replace(query)
}

// legend says in words what numbers mean.
func (w *Words) legend() string {
	texts := make([]string, len(w.values))
	for i, known := range w.values {
		texts[i] = fmt.Sprintf("%d is %s", known.value, known.text)
	}
	return strings.Join(texts, ", ") + "."
}
