package charts

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// documents is the address of the project's documents.
const documents = "https://github.com/telegraf-heartbeat/telegraf-heartbeat/blob/main/docs/"

// RulesFile returns the rules as Prometheus and vmalert read them.
func RulesFile() []byte {
	var rules list
	for _, r := range Records() {
		rules = append(rules, object{"record": r.Name, "expr": r.PromQL})
	}
	for _, r := range Rules() {
		rule := object{
			"alert": r.Name, "expr": cmp.Or(r.Kept, r.PromQL), "labels": object{"severity": r.Severity},
			"annotations": r.annotations(Prometheus, r.Summary),
		}
		if r.Wave != "" {
			rule["expr"] = r.Wave
			rule["labels"] = object{"severity": r.Severity, "wave": "{{ $value | humanizeTimestamp }}"}
			rule["annotations"] = r.annotations(Prometheus, r.Summary+whyAndWhetherBack)
		}
		if r.For != "0s" {
			rule["for"] = r.For
		}
		rules = append(rules, rule)
	}
	return toYAML("Alerts for Prometheus and vmalert: rule_files, or -rule.",
		object{"groups": list{object{"name": "heartbeat", "interval": "10s", "rules": rules}}})
}

// annotations returns the texts of an alert.
func (r *Rule) annotations(s Source, summary string) object {
	dashboard := "/d/heartbeat-" + s.Name
	if strings.Contains(r.Summary, "$labels.source") {
		dashboard += "?var-source={{ $labels.source | urlquery }}"
	}
	return object{
		"summary": summary, "description": r.About, "dashboard": dashboard,
		"runbook_url": documents + "charts.md#" + strings.ToLower(r.Name),
	}
}

// whyAndWhetherBack is appended to the summary of a death. It queries the reason when the alert
// is evaluated: with the reason as a label, each change of the reason would be a new alert.
const whyAndWhetherBack = `{{ $peer := printf "source=%q, service=%q" $labels.source $labels.service }}` +
	`{{ if not $labels.service }}{{ $peer = printf "source=%q, pid=%q" $labels.source $labels.pid }}{{ end }}` +
	`{{ range query (printf "count by (reason) (heartbeat_down_since_timestamp_seconds{state=\"dead\", %s})" $peer) }}: {{ .Labels.reason }}{{ end }}` +
	`{{ range query (printf "count(heartbeat_peer_alive{%s} == 1)" $peer) }}, and is back{{ end }}`

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
	above := -1e15 // any value fires
	if s == InfluxDB {
		query = object{"refId": "A", "query": r.InfluxQL, "rawQuery": true, "resultFormat": "time_series"}
		above = r.Above
	}
	return object{
		"uid":   "heartbeat-" + s.Name + "-" + strings.ToLower(strings.TrimPrefix(r.Name, "Heartbeat")),
		"title": r.Name, "condition": "C", "for": r.For, "noDataState": r.noData(s), "execErrState": "Error",
		"labels":      object{"severity": r.Severity},
		"annotations": r.annotations(s, r.Summary),
		"data": list{
			alertStep("A", "heartbeat-"+s.Name, query),
			alertStep("B", "__expr__", object{"refId": "B", "type": "reduce", "reducer": "last", "expression": "A"}),
			alertStep("C", "__expr__", object{"refId": "C", "type": "threshold", "expression": "B", "conditions": list{
				object{"evaluator": object{"type": "gt", "params": list{above}}},
			}}),
		},
	}
}

func (r *Rule) noData(s Source) string {
	if s == Prometheus {
		return "OK" // the rule for missing data uses absent()
	}
	return r.NoData
}

func alertStep(id, source string, model object) object {
	return object{"refId": id, "datasourceUid": source, "relativeTimeRange": object{"from": 3600, "to": 0}, "model": model}
}

func toYAML(comment string, value object) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# %s\n# Written by go test ./internal/charts -update.\n", comment)
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(value); err != nil {
		panic(err) // impossible: value has only strings, numbers, lists and maps
	}
	return text.Bytes()
}
