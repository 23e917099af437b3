package charts

import (
	"fmt"
	"strings"
)

// VMUI returns a dashboard for vmui, VictoriaMetrics' own page, in the format of its flag
// -vmui.customDashboardsPath. vmui only draws graphs: it has no tables, no variables and no words
// in place of numbers.
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
	graph := object{"title": p.Title, "description": about, "expr": list{forVMUI(p.Few())}, "showLegend": true, "width": p.Width / 2}
	if p.Kind == Stat {
		graph["width"] = 4 // of 12: a graph needs more room than a number
	}
	if len(p.By) > 0 {
		graph["alias"] = list{p.legend("{{", "}}")}
	}
	return graph
}

// forVMUI adapts a query to vmui. It replaces Grafana's variables for the time range by one day,
// and removes the selection of peers. It also removes the window of rates: MetricsQL then uses
// the step of the graph.
func forVMUI(query string) string {
	return strings.NewReplacer(
		selection, "", `[$__rate_interval]`, "", `$__range_s`, "86400", `$__range`, "1d",
	).Replace(query)
}

// legend returns a sentence that explains the numbers.
func (w *Words) legend() string {
	texts := make([]string, len(w.values))
	for i, known := range w.values {
		texts[i] = fmt.Sprintf("%d is %s", known.value, known.text)
	}
	return strings.Join(texts, ", ") + "."
}
