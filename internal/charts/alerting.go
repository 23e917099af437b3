package charts

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// RulesFile returns the rules as Prometheus and vmalert read them.
func RulesFile() []byte {
	var rules list
	for _, r := range Rules() {
		rule := object{
			"alert": r.Name, "expr": r.PromQL, "labels": object{"severity": r.Severity},
			"annotations": object{"summary": r.Summary + r.reason(), "description": r.About},
		}
		if r.For != "0s" {
			rule["for"] = r.For
		}
		rules = append(rules, rule)
	}
	return toYAML("Alerts for Prometheus and vmalert: rule_files, or -rule.",
		object{"groups": list{object{"name": "heartbeat", "rules": rules}}})
}

// reason asks for the reason of a death when the alert is told. In a label of
// the alert it would make another alert of it whenever it changes.
func (r *Rule) reason() string {
	if !r.Why {
		return ""
	}
	const query = `count by (reason) (heartbeat_down_since_timestamp_seconds{state="dead", source="%s", service="%s"` // and the end
	return fmt.Sprintf("{{ $q := printf %q $labels.source $labels.service }}", query+"})") +
		fmt.Sprintf("{{ if not $labels.service }}{{ $q = printf %q $labels.source $labels.service $labels.pid }}{{ end }}", query+`, pid="%s"})`) +
		"{{ range query $q }}: {{ .Labels.reason }}{{ end }}"
}

// Provisioned returns the rules as Grafana's provisioning reads them.
func Provisioned(s Source) []byte {
	var rules list
	for _, r := range Rules() {
		if s == Prometheus || r.InfluxQL != "" {
			rules = append(rules, r.provisioned(s))
		}
	}
	return toYAML("Alerts for Grafana, on the data source with the uid heartbeat-"+s.Name+".",
		object{"apiVersion": 1, "groups": list{object{
			"orgId": 1, "name": "heartbeat", "folder": "Heartbeat", "interval": "10s", "rules": rules,
		}}})
}

func (r *Rule) provisioned(s Source) object {
	query := object{"refId": "A", "expr": r.PromQL, "instant": true, "range": false}
	above := -1e15 // a series is enough
	if s == InfluxDB {
		query = object{"refId": "A", "query": r.InfluxQL, "rawQuery": true, "resultFormat": "time_series"}
		above = r.Above
	}
	return object{
		"uid":   "heartbeat-" + s.Name + "-" + strings.ToLower(strings.TrimPrefix(r.Name, "Heartbeat")),
		"title": r.Name, "condition": "C", "for": r.For, "noDataState": r.noData(s), "execErrState": "Error",
		"labels":      object{"severity": r.Severity},
		"annotations": object{"summary": grafanaText(r.Summary), "description": r.About},
		"data": list{
			step("A", "heartbeat-"+s.Name, query),
			step("B", "__expr__", object{"refId": "B", "type": "reduce", "reducer": "last", "expression": "A"}),
			step("C", "__expr__", object{"refId": "C", "type": "threshold", "expression": "B", "conditions": list{
				object{"evaluator": object{"type": "gt", "params": list{above}}},
			}}),
		},
	}
}

func (r *Rule) noData(s Source) string {
	if s == Prometheus {
		return "OK" // absent() has data when nothing else has
	}
	return r.NoData
}

// grafanaText is a summary for Grafana, where $value holds all of them.
func grafanaText(text string) string { return strings.ReplaceAll(text, "$value", "$values.B.Value") }

func step(id, source string, model object) object {
	return object{"refId": id, "datasourceUid": source, "relativeTimeRange": object{"from": 3600, "to": 0}, "model": model}
}

func toYAML(comment string, value object) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# %s\n# Written by go test ./internal/charts -update.\n", comment)
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(value); err != nil {
		panic(err) // it is made of texts and numbers
	}
	return text.Bytes()
}
