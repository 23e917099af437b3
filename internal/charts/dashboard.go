package charts

import (
	"encoding/json"
	"strconv"
	"strings"
)

// A Source is a kind of database that Grafana reads.
type Source struct {
	Name string // as files are called
	Type string // as Grafana calls it
	Text string // as people call it
}

// The sources. VictoriaMetrics is a Prometheus to Grafana.
var (
	InfluxDB   = Source{"influxdb", "influxdb", "InfluxDB (InfluxQL)"}
	Prometheus = Source{"prometheus", "prometheus", "Prometheus or VictoriaMetrics"}
)

// Sources are all of them.
var Sources = []Source{InfluxDB, Prometheus}

type (
	object = map[string]any
	list   = []any
)

// dataSource is what the reader of the dashboard has chosen.
func (s Source) dataSource() object { return object{"type": s.Type, "uid": "${datasource}"} }

// Dashboard returns the dashboard of a source, as provisioning reads it. The
// same with what Grafana's import dialogue asks for is that for hand-made
// imports.
func Dashboard(s Source, byHand bool) []byte {
	d := object{
		"uid":           "heartbeat-" + s.Name,
		"title":         "Heartbeat",
		"description":   "Who is alive, who is dead, since when and why. Data of telegraf-heartbeat in " + s.Text + ".",
		"tags":          list{"heartbeat", "telegraf"},
		"schemaVersion": 39,
		"version":       1,
		"editable":      true,
		"graphTooltip":  1,
		"refresh":       "10s",
		"time":          object{"from": "now-6h", "to": "now"},
		"timezone":      "browser",
		"templating":    object{"list": variables(s)},
		"annotations":   object{"list": annotations(s)},
		"panels":        place(s, Panels()),
	}
	if byHand {
		d["__inputs"] = list{}
		d["__requires"] = list{
			object{"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0"},
			object{"type": "datasource", "id": s.Type, "name": s.Text, "version": "1.0.0"},
		}
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		panic(err) // it is made of texts and numbers
	}
	return append(text, '\n')
}

func variables(s Source) list {
	all := list{object{"name": "datasource", "label": "Data source", "type": "datasource", "query": s.Type, "refresh": 1, "hide": 0}}
	for _, name := range []string{"source", "service"} {
		query := any(`SHOW TAG VALUES FROM "heartbeat_peer" WITH KEY = "` + name + `"`)
		if s == Prometheus {
			query = object{"query": "label_values(heartbeat_peer_alive, " + name + ")", "refId": name}
		}
		all = append(all, object{
			"name": name, "label": strings.ToUpper(name[:1]) + name[1:], "type": "query", "datasource": s.dataSource(),
			"query": query, "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
			"current": object{"text": "All", "value": "$__all"},
		})
	}
	if s == InfluxDB {
		all = append(all, object{
			"name": "recent", "label": "Now is the last", "type": "custom", "query": "1m,30s,3m,10m",
			"current": object{"text": "1m", "value": "1m"}, "description": "At least twice the interval of Telegraf",
		})
	}
	return all
}

// annotations mark what happened.
func annotations(s Source) list {
	var all list
	for _, a := range Annotations() {
		mark := object{"name": a.Name, "datasource": s.dataSource(), "enable": a.Shown, "iconColor": a.Color}
		if s == InfluxDB {
			mark["query"], mark["textColumn"], mark["tagsColumn"] = a.InfluxQL, "reason", "source,service,state"
		} else {
			mark["expr"], mark["step"], mark["titleFormat"], mark["tagKeys"] = a.PromQL, "15s", a.Title, "source,service,reason"
		}
		all = append(all, mark)
	}
	return all
}

// place gives each panel its place, from left to right and from top to bottom.
func place(s Source, panels []Panel) list {
	var all list
	x, y, tall, id := 0, 0, 0, 0
	next := func() int { id++; return id }
	for i := range panels {
		p := &panels[i]
		if p.Row != "" || x+p.Width > 24 {
			x, y = 0, y+tall
		}
		if p.Row != "" {
			all = append(all, object{"id": next(), "type": "row", "title": p.Row, "collapsed": false, "panels": list{}, "gridPos": grid(0, y, 24, 1)})
			y++
		}
		panel := p.draw(s)
		panel["id"], panel["gridPos"] = next(), grid(x, y, p.Width, p.Tall)
		all = append(all, panel)
		x, tall = x+p.Width, p.Tall
	}
	return all
}

func grid(x, y, w, h int) object { return object{"x": x, "y": y, "w": w, "h": h} }

// draw returns a panel without its place.
func (p *Panel) draw(s Source) object {
	panel := object{
		"title": p.Title, "description": p.About, "datasource": s.dataSource(),
		"targets": p.targets(s), "options": options[p.Kind], "type": types[p.Kind],
	}
	defaults := format(p.Unit, p.Shown)
	overrides := list{}
	switch p.Kind {
	case Stat:
		defaults["noValue"] = "0"
		if p.Shown != nil {
			defaults["noValue"] = "silent"
		}
	case Timeline:
		defaults["custom"] = object{"lineWidth": 0, "fillOpacity": 80}
	case Lines:
		defaults["custom"] = object{"drawStyle": "line", "lineInterpolation": "stepAfter", "showPoints": "auto", "fillOpacity": 10, "spanNulls": false}
		panel["interval"] = "30s" // at least two samples of Telegraf's usual interval
	case Table:
		for _, c := range p.Columns {
			overrides = append(overrides, override(c))
		}
		panel["transformations"] = p.transformations(s)
	}
	panel["fieldConfig"] = object{"defaults": defaults, "overrides": overrides}
	return panel
}

var types = [...]string{Stat: "stat", Timeline: "state-timeline", Table: "table", Lines: "timeseries"}

var options = [...]object{
	Stat: {
		"reduceOptions": object{"values": false, "calcs": list{"lastNotNull"}, "fields": ""},
		"colorMode":     "background", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
	},
	Timeline: {
		"mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.9, "perPage": 50,
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "single", "sort": "none"},
	},
	Table: {"showHeader": true, "cellHeight": "sm", "sortBy": list{object{"displayName": "down", "desc": true}}},
	Lines: {
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	},
}

// format tells how a value looks.
func format(unit string, shown *Words) object {
	if unit == "" {
		unit = "short"
	}
	look := object{"unit": unit, "color": object{"mode": "palette-classic"}, "mappings": list{}}
	if shown == nil {
		return look
	}
	mapped, steps := object{}, list{}
	for _, w := range shown.values {
		mapped[strconv.Itoa(w.value)] = object{"text": w.text, "color": w.color, "index": w.value}
		steps = append(steps, object{"value": w.value, "color": w.color})
	}
	steps[0].(object)["value"] = nil // from there down
	look["mappings"] = list{object{"type": "value", "options": mapped}}
	look["color"] = object{"mode": "thresholds"}
	look["thresholds"] = object{"mode": "absolute", "steps": steps}
	return look
}

// override formats one column.
func override(c Column) object {
	look := format(c.Unit, c.Shown)
	properties := list{object{"id": "unit", "value": look["unit"]}}
	if c.Shown != nil {
		properties = append(properties, object{"id": "mappings", "value": look["mappings"]})
	}
	return object{"matcher": object{"id": "byName", "options": c.Name}, "properties": properties}
}

// targets returns the queries.
func (p *Panel) targets(s Source) list {
	switch {
	case s == InfluxDB && p.Kind == Table:
		return list{p.influxQL(s, "table")}
	case s == InfluxDB:
		return list{p.influxQL(s, "time_series")}
	case p.Kind != Table:
		target := promQL(s, "A", p.PromQL, p.Kind == Stat)
		target["legendFormat"] = p.legend("{{", "}}")
		return list{target}
	}
	var all list
	for i, c := range p.Columns {
		if c.PromQL == "" {
			continue
		}
		target := promQL(s, refID(i), c.PromQL, true)
		target["format"] = "table"
		all = append(all, target)
	}
	return all
}

func refID(i int) string { return string(rune('A' + i)) }

func (p *Panel) influxQL(s Source, format string) object {
	return object{
		"refId": "A", "datasource": s.dataSource(), "rawQuery": true, "query": p.InfluxQL, "resultFormat": format,
		"alias": p.legend("$tag_", ""),
	}
}

func promQL(s Source, id, expr string, instant bool) object {
	return object{
		"refId": id, "datasource": s.dataSource(), "expr": expr, "instant": instant, "range": !instant, "editorMode": "code",
	}
}

// legend names a line by its tags.
func (p *Panel) legend(begin, end string) string {
	names := make([]string, len(p.By))
	for i, tag := range p.By {
		names[i] = begin + tag + end
	}
	return strings.Join(names, " ")
}

// transformations make one table of what the queries give.
func (p *Panel) transformations(s Source) list {
	names, hidden := object{"host": "collector", "reason": "why", "last_pid": "pid"}, object{"Time": true}
	if s == Prometheus {
		for i, c := range p.Columns {
			names["Value #"+refID(i)] = c.Name
		}
	}
	return list{
		object{"id": "merge", "options": object{}},
		object{"id": "organize", "options": object{"renameByName": names, "excludeByName": hidden, "indexByName": object{}}},
	}
}
