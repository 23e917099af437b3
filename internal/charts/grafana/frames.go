package grafana

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Frame is a table of data from a data source.
type Frame struct {
	RefID  string  `json:"refId"`
	Name   string  `json:"name,omitempty"`
	Fields []Field `json:"fields"`
}

// A Field is a column of a Frame. NaN and infinities, which JSON does not support, are the
// strings "NaN", "+Inf" and "-Inf".
type Field struct {
	Name   string            `json:"name"`
	Type   string            `json:"type"` // time (ms), number, string, boolean
	Labels map[string]string `json:"labels,omitempty"`
	Config map[string]any    `json:"config,omitempty"`
	Values []any             `json:"values"`
}

// FromInfluxQL returns frames with an answer of InfluxDB.
func FromInfluxQL(target *Target, answer []InfluxSeries) []Frame {
	if target.ResultFormat == "table" {
		return influxTable(target, answer)
	}
	var frames []Frame
	for _, series := range answer {
		for column := 1; column < len(series.Columns); column++ {
			values := Field{
				Name: "Value", Type: "number", Labels: series.Tags,
				Config: map[string]any{"displayNameFromDS": influxName(target.Alias, &series, series.Columns[column])},
			}
			at := Field{Name: "Time", Type: "time"}
			for _, row := range series.Values {
				at.Values = append(at.Values, row[0])
				values.Values = append(values.Values, row[column])
				values.Type = typeOf(row[column], values.Type)
			}
			frames = append(frames, Frame{RefID: target.RefID, Fields: []Field{at, values}})
		}
	}
	return frames
}

// influxTable makes one frame of all series. Its columns are the time, the tags and the fields.
func influxTable(target *Target, answer []InfluxSeries) []Frame {
	if len(answer) == 0 {
		return nil
	}
	// In Grafana, tags are in the random order of a map. Here, the order is reversed on purpose,
	// so that code that relies on it fails.
	tags := slices.Sorted(maps.Keys(answer[0].Tags))
	slices.Reverse(tags)
	columns := answer[0].Columns[1:]
	fields := []Field{{Name: "Time", Type: "time"}}
	for _, name := range tags {
		fields = append(fields, Field{Name: name, Type: "string", Config: map[string]any{"displayNameFromDS": name}})
	}
	for _, name := range columns {
		fields = append(fields, Field{Name: name, Type: "number", Config: map[string]any{"displayNameFromDS": name}})
	}
	for _, series := range answer {
		for _, row := range series.Values {
			fields[0].Values = append(fields[0].Values, row[0])
			for i, name := range tags {
				fields[1+i].Values = append(fields[1+i].Values, series.Tags[name])
			}
			for i := range columns {
				field := &fields[1+len(tags)+i]
				field.Values = append(field.Values, row[1+i])
				field.Type = typeOf(row[1+i], field.Type)
			}
		}
	}
	return []Frame{{RefID: target.RefID, Name: answer[0].Name, Fields: fields}}
}

func typeOf(value any, otherwise string) string {
	switch value.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	}
	return otherwise
}

var aliased = regexp.MustCompile(`\$(\w+)|\[\[([\s\S]+?)\]\]`)

// influxName returns the alias with its variables replaced. A variable stays unchanged if the
// series has no such tag.
func influxName(alias string, series *InfluxSeries, column string) string {
	if alias == "" {
		return series.Name + "." + column
	}
	return aliased.ReplaceAllStringFunc(alias, func(whole string) string {
		name := strings.Trim(whole, "$[]")
		switch name {
		case "m", "measurement":
			return series.Name
		case "col":
			return column
		}
		if tag, ok := strings.CutPrefix(name, "tag_"); ok {
			if value, ok := series.Tags[tag]; ok {
				return value
			}
		}
		return whole
	})
}

// FromPromQL returns frames with the answers of Prometheus to the queries of a panel.
func FromPromQL(targets []Target, answers [][]PromSeries, v View) []Frame {
	var frames []Frame
	tables := 0
	for i := range targets {
		if targets[i].Format == "table" {
			tables++
		}
	}
	for i := range targets {
		switch {
		case targets[i].Format == "table":
			frames = append(frames, promTable(&targets[i], answers[i], tables))
		case len(answers[i]) == 0:
			frames = append(frames, Frame{RefID: targets[i].RefID, Fields: []Field{}})
		default:
			frames = append(frames, promLines(&targets[i], answers[i], v)...)
		}
	}
	return frames
}

func promLines(target *Target, answer []PromSeries, v View) []Frame {
	var frames []Frame
	for _, series := range answer {
		at := Field{Name: "Time", Type: "time"}
		if !target.Instant {
			at.Config = map[string]any{"interval": v.Step.Milliseconds()} // a longer time without a point is a gap
		}
		values := Field{Name: "Value", Type: "number", Labels: series.Metric}
		if name := promName(target, series.Metric); name != "" {
			values.Config = map[string]any{"displayNameFromDS": name}
		}
		for _, point := range series.points() {
			at.Values = append(at.Values, 1000*point[0].(float64))
			values.Values = append(values.Values, parseNumber(point[1]))
		}
		frames = append(frames, Frame{RefID: target.RefID, Fields: []Field{at, values}})
	}
	return frames
}

// promTable makes one frame of all series. Its columns are the time, the labels and the value.
func promTable(target *Target, answer []PromSeries, tables int) Frame {
	value := "Value"
	if tables > 1 {
		value = "Value #" + target.RefID
	}
	var labels []string
	for _, series := range answer {
		for _, name := range slices.Sorted(maps.Keys(series.Metric)) {
			if !slices.Contains(labels, name) {
				labels = append(labels, name)
			}
		}
	}
	fields := []Field{{Name: "Time", Type: "time", Values: []any{}}}
	for _, name := range labels {
		fields = append(fields, Field{Name: name, Type: "string", Config: map[string]any{"filterable": true}})
	}
	fields = append(fields, Field{Name: value, Type: "number", Values: []any{}})
	for _, series := range answer {
		for _, point := range series.points() {
			fields[0].Values = append(fields[0].Values, 1000*point[0].(float64))
			for i, name := range labels {
				fields[1+i].Values = append(fields[1+i].Values, series.Metric[name])
			}
			last := &fields[len(fields)-1]
			last.Values = append(last.Values, parseNumber(point[1]))
		}
	}
	return Frame{RefID: target.RefID, Fields: fields}
}

var legend = regexp.MustCompile(`\{\{\s*(.+?)\s*\}\}`)

// promName returns the legend with its variables replaced. A variable becomes empty if the series
// has no such label.
func promName(target *Target, labels map[string]string) string {
	switch {
	case target.LegendFormat == "__auto" && len(labels) > 0:
		return ""
	case target.LegendFormat != "" && target.LegendFormat != "__auto":
		return legend.ReplaceAllStringFunc(target.LegendFormat, func(whole string) string {
			return labels[strings.TrimSpace(strings.Trim(whole, "{}"))]
		})
	case len(labels) == 0:
		return target.Expr
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "__name__" {
			pairs = append(pairs, name+`="`+labels[name]+`"`)
		}
	}
	return labels["__name__"] + "{" + strings.Join(pairs, ", ") + "}"
}
