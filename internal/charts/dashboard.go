package charts

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Source is a kind of database that Grafana can query.
type Source struct {
	Name string // used in file names
	Type string // Grafana's name of the type
	Text string // for people to read
}

// The sources. For Grafana, VictoriaMetrics is a Prometheus.
var (
	InfluxDB   = Source{"influxdb", "influxdb", "InfluxDB (InfluxQL)"}
	Prometheus = Source{"prometheus", "prometheus", "Prometheus or VictoriaMetrics"}
)

// Sources lists all sources.
var Sources = []Source{InfluxDB, Prometheus}

type (
	object = map[string]any
	list   = []any
)

// dataSource refers to the data source that the reader of the dashboard has selected.
func (s Source) dataSource() object { return object{"type": s.Type, "uid": "${datasource}"} }

// uid returns the uid of the dashboard, which is part of its URL.
func (s Source) uid() string { return "heartbeat-" + s.Name }

// Dashboard returns the dashboard of a source as JSON. If byHand is set, it has the additional
// fields that Grafana's import dialogue needs.
func Dashboard(s Source, byHand bool) []byte {
	d := object{
		"uid":           s.uid(),
		"title":         "Heartbeat",
		"description":   "Which peers are alive, which are dead, since when and why. Reads data of telegraf-heartbeat from " + s.Text + ".",
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
		"panels":        layOut(s, Panels()),
	}
	if byHand {
		d["__inputs"] = list{}
		d["__requires"] = list{
			object{"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0"},
			object{"type": "datasource", "id": s.Type, "name": s.Text, "version": "1.0.0"},
		}
	}
	return toJSON(d)
}

func toJSON(value object) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // the text is not part of HTML
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		panic(err) // impossible: value has only strings, numbers, lists and maps
	}
	return text.Bytes()
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
			"current": object{"text": "1m", "value": "1m"}, "description": "At least twice Telegraf's interval",
		}, object{
			"name": "most", "label": "Peers at most", "type": "custom", "query": "20 : SLIMIT 20, 100 : SLIMIT 100, all : LIMIT 1000000",
			"current": object{"text": "20", "value": "SLIMIT 20"}, "description": "Limits the panels that draw each peer. InfluxDB 3 does not support SLIMIT: choose all",
		})
	}
	return all
}

// annotations returns the annotations of the dashboard.
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

// layOut places the panels from left to right and from top to bottom. Grafana stores the panels
// of a collapsed row inside the row.
func layOut(s Source, panels []Panel) list {
	var all list
	var row object
	x, y, tall, id := 0, 0, 0, 0
	next := func() int { id++; return id }
	for i := range panels {
		p := &panels[i]
		if p.Row != "" || x+p.Width > 24 {
			x, y = 0, y+tall
		}
		if p.Row != "" {
			row = object{"id": next(), "type": "row", "title": p.Row, "collapsed": p.Collapsed, "panels": list{}, "gridPos": gridPos(0, y, 24, 1)}
			all = append(all, row)
			y++
		}
		panel := p.draw(s)
		panel["id"], panel["gridPos"] = next(), gridPos(x, y, p.Width, p.Tall)
		if row["collapsed"] == true {
			row["panels"] = append(row["panels"].(list), panel)
		} else {
			all = append(all, panel)
		}
		x, tall = x+p.Width, p.Tall
	}
	return all
}

func gridPos(x, y, w, h int) object { return object{"x": x, "y": y, "w": w, "h": h} }

// draw returns the JSON of a panel without its id and position.
func (p *Panel) draw(s Source) object {
	panel := object{
		"title": p.Title, "description": p.About, "datasource": s.dataSource(),
		"targets": p.targets(s), "options": p.options(), "type": types[p.Kind],
	}
	look := p.look()
	defaults := object{"unit": look.unit, "mappings": look.mappings, "color": object{"mode": look.color}, "noValue": "no data"}
	if look.thresholds != nil {
		defaults["thresholds"] = look.thresholds
	}
	if p.Kind == Timeline || p.Kind == Lines {
		panel["maxDataPoints"] = 400 // for each peer: about one a minute in six hours
	}
	overrides := list{}
	switch p.Kind {
	case Timeline:
		defaults["custom"] = object{"lineWidth": 0, "fillOpacity": 80}
	case Lines:
		defaults["custom"] = object{"drawStyle": "line", "lineInterpolation": "stepAfter", "showPoints": "auto", "fillOpacity": 0, "spanNulls": false}
		panel["interval"] = "30s" // at least two samples of Telegraf's usual interval
		if slices.Contains(p.By, "state") {
			overrides = stateColors()
		}
	case Table:
		defaults["noValue"] = "" // leaves a cell empty
		defaults["custom"] = object{"minWidth": 90}
		for i := range p.Columns {
			overrides = append(overrides, p.Columns[i].override(s))
		}
	}
	if changes := p.transformations(s); changes != nil {
		panel["transformations"] = changes
	}
	panel["fieldConfig"] = object{"defaults": defaults, "overrides": overrides}
	return panel
}

var types = [...]string{Stat: "stat", Timeline: "state-timeline", Table: "table", Lines: "timeseries"}

func (p *Panel) options() object {
	switch p.Kind {
	case Stat:
		mode := "background"
		if p.Good != nil {
			mode = "value"
		}
		return object{
			"reduceOptions": object{"values": false, "calcs": list{"lastNotNull"}, "fields": ""},
			"colorMode":     mode, "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
		}
	case Timeline:
		return object{
			"mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.9, "perPage": 20,
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": object{"mode": "single", "sort": "none"},
		}
	case Table:
		return object{"showHeader": true, "cellHeight": "sm", "enablePagination": true, "sortBy": list{object{"displayName": p.SortBy, "desc": true}}}
	default:
		return object{
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	}
}

// A look defines how numbers are displayed.
type look struct {
	unit       string
	mappings   list
	color      string // Grafana's mode
	thresholds object
}

func (p *Panel) look() look {
	l := lookOf(p.Unit, p.Shown, p.Good)
	switch {
	case p.Count != "":
		l = lookOf("none", nil, []level{{0, "transparent"}, {1, states.color(p.Count)}})
	case p.Kind == Table:
		l.unit = text // columns with a unit override this
	case l.thresholds == nil:
		l.color = "palette-classic"
	}
	return l
}

// text is Grafana's unit for text, which may look like a number: a pid, or the name of a service
// that is named after its port.
const text = "string"

func lookOf(unit string, shown *Words, good []level) look {
	l := look{unit: cmp.Or(unit, "short"), mappings: list{}, color: "fixed"}
	if shown != nil {
		mapped := object{}
		for _, w := range shown.values {
			mapped[strconv.Itoa(w.value)] = object{"text": w.text, "color": w.color, "index": w.value}
			good = append(good, level{float64(w.value), w.color})
		}
		l.mappings = list{object{"type": "value", "options": mapped}}
	}
	if len(good) == 0 {
		return l
	}
	steps := list{}
	for i, from := range good {
		value := any(from.from)
		if i == 0 {
			value = nil // the first level has no lower limit
		}
		steps = append(steps, object{"value": value, "color": from.color})
	}
	l.color, l.thresholds = "thresholds", object{"mode": "absolute", "steps": steps}
	return l
}

// stateColors gives each line whose name begins with a state the colour of that state.
func stateColors() (overrides list) {
	for _, state := range states.values {
		overrides = append(overrides, object{
			"matcher":    object{"id": "byRegexp", "options": "/^" + state.text + "( |$)/"},
			"properties": list{object{"id": "color", "value": object{"mode": "fixed", "fixedColor": state.color}}},
		})
	}
	return overrides
}

// override returns the format of one column.
func (c *Column) override(s Source) object {
	l := lookOf(cmp.Or(c.Unit, text), c.Shown, c.Good)
	properties := list{object{"id": "unit", "value": l.unit}}
	if c.Shown != nil {
		properties = append(properties, object{"id": "mappings", "value": l.mappings})
	}
	if l.unit == text {
		properties = append(properties, object{"id": "custom.align", "value": "left"})
	}
	if c.Good != nil {
		properties = append(properties,
			object{"id": "color", "value": object{"mode": l.color}}, object{"id": "thresholds", "value": l.thresholds},
			object{"id": "custom.cellOptions", "value": object{"type": "color-text"}})
	}
	if c.Link {
		properties = append(properties, object{"id": "custom.width", "value": 260}, object{"id": "links", "value": list{object{
			"title": "only ${__value.raw}", "url": "/d/" + s.uid() + "?var-datasource=${datasource}&var-source=${__value.raw}&${__url_time_range}",
		}}})
	}
	return object{"matcher": object{"id": "byName", "options": c.Name}, "properties": properties}
}

// targets returns the queries of the panel.
func (p *Panel) targets(s Source) list {
	switch {
	case s == InfluxDB && p.Kind == Table:
		all := list{p.influxQL(s, "A", p.InfluxQL, "table")}
		if p.TagQuery != "" {
			all = append(all, p.influxQL(s, "B", p.TagQuery, "table"))
		}
		return all
	case s == InfluxDB:
		query := p.InfluxQL
		if p.Most != "" {
			query += " $most"
		}
		return list{p.influxQL(s, "A", query, "time_series")}
	case p.Kind != Table:
		target := promQL(s, "A", p.Few(), p.Kind == Stat)
		target["legendFormat"] = p.legend("{{", "}}")
		return list{target}
	}
	var all list
	for i := range p.Columns {
		c := &p.Columns[i]
		if c.PromQL == "" {
			continue
		}
		target := promQL(s, refID(i), c.PromQL, true)
		target["format"] = "table"
		all = append(all, target)
	}
	return all
}

// maxShown returns the maximum number of peers that are shown.
func (p *Panel) maxShown() int {
	if p.Kind == Timeline {
		return 100
	}
	return 10
}

// Few returns the PromQL query of p. It is limited to a few peers if p.Most is set.
func (p *Panel) Few() string {
	if p.Most == "" {
		return p.PromQL
	}
	return p.PromQL + " and on (" + strings.Join(p.By, ", ") + ") topk(" + strconv.Itoa(p.maxShown()) + ", " + p.Most + ")"
}

func refID(i int) string { return string(rune('A' + i)) }

func (p *Panel) influxQL(s Source, id, query, format string) object {
	return object{
		"refId": id, "datasource": s.dataSource(), "rawQuery": true, "query": query, "resultFormat": format,
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

// transformations returns Grafana's transformations of the panel, or nil if it needs none. For a
// table, they join the results of the queries. For lines, they remove the spaces around an empty
// tag from the names.
func (p *Panel) transformations(s Source) list {
	switch {
	case p.Kind == Table:
		return p.tableTransformations(s)
	case slices.Contains(p.By, "pid"):
		return list{object{"id": "renameByRegex", "options": object{"regex": "/ +( |$)/g", "renamePattern": "$1"}}}
	}
	return nil
}

func (p *Panel) tableTransformations(s Source) list {
	names, order := object{"reason": "why", "last_pid": "pid"}, object{}
	for i := range p.Columns {
		if s == Prometheus {
			names["Value #"+refID(i)] = p.Columns[i].Name
		}
		order[p.Columns[i].Name] = i
	}
	all := list{
		object{"id": "filterFieldsByName", "options": object{"exclude": object{"names": list{"Time"}}}}, // rows that differ in it would not be merged
		object{"id": "merge", "options": object{}},
	}
	if s == InfluxDB && p.TagQuery != "" { // keep only the peers of the first query
		all = append(all, object{"id": "filterByValue", "options": object{
			"type": "exclude", "match": "any",
			"filters": list{object{"fieldName": p.SortBy, "config": object{"id": "isNull", "options": object{}}}},
		}})
	}
	return append(all, object{"id": "organize", "options": object{"renameByName": names, "excludeByName": object{"silent": true}, "indexByName": addRenamed(order, names)}})
}

// addRenamed adds the fields that are renamed to order, in the positions of their new names.
func addRenamed(order, names object) object {
	places := maps.Clone(order)
	for name, renamed := range names {
		if place, ok := order[renamed.(string)]; ok {
			places[name] = place
		}
	}
	return places
}
