package charts

import (
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts/grafana"
)

var pictures = flag.String("pictures", "", "draw dashboards of many peers into this directory")

var hour = grafana.View{From: time.UnixMilli(1_795_900_000_000), To: time.UnixMilli(1_795_903_600_000), Step: time.Minute}

// drawing returns a drawing of the dashboard for Prometheus in which answer gives the result of
// each query.
func drawing(t *testing.T, answer func(p *grafana.Asked, target int) []grafana.PromSeries) *grafana.Drawing {
	return grafana.New(t, Dashboard(Prometheus, false), hour, func(p *grafana.Asked) []grafana.Frame {
		answers := make([][]grafana.PromSeries, len(p.Targets))
		for i := range p.Targets {
			answers[i] = answer(p, i)
		}
		return grafana.FromPromQL(p.Targets, answers, hour)
	})
}

func atTheEnd(value string) []any { return []any{float64(hour.To.Unix()), value} }

func TestNoDataIsNotZero(t *testing.T) {
	nothing := func(*grafana.Asked, int) []grafana.PromSeries { return nil }
	influx := grafana.New(t, Dashboard(InfluxDB, false), hour, func(*grafana.Asked) []grafana.Frame { return []grafana.Frame{} })
	for _, d := range []*grafana.Drawing{drawing(t, nothing), influx} {
		for title, p := range d.Show(t) {
			require.True(t, p.Empty, title)
			if p.Type == "stat" {
				require.Len(t, p.Values, 1, title)
				require.Equal(t, "no data", p.Values[0].Text, title)
			}
		}
	}
}

func TestNothingIsRedWhenNobodyIsDead(t *testing.T) {
	shown := drawing(t, func(p *grafana.Asked, _ int) []grafana.PromSeries {
		if p.Type != "stat" {
			return nil
		}
		return []grafana.PromSeries{{Value: atTheEnd("0")}}
	}).Show(t)
	for _, title := range []string{"Dead", "Suspect", "Unknown", "Left", "Alive"} {
		require.Equal(t, []grafana.Value{{Text: "0", Color: "#00000000"}}, shown[title].Values, title)
	}
}

// peersIn returns an answer function for many peers, of which every tenth is dead.
func peersIn(peers int) func(p *grafana.Asked, target int) []grafana.PromSeries {
	return func(p *grafana.Asked, target int) []grafana.PromSeries {
		shown, dead := peers, (peers+9)/10
		switch {
		case p.Title == "Who is down, since when, why":
			shown = dead
		case p.Type == "state-timeline":
			shown = min(peers, 100)
		case p.Type == "timeseries":
			shown = min(peers, 10)
		case p.Type == "stat":
			count := map[string]int{"Dead": dead, "Alive": peers - dead, "Availability": 98}[p.Title]
			return []grafana.PromSeries{{Metric: map[string]string{"host": "collector"}, Value: atTheEnd(strconv.Itoa(count))}}
		}
		var all []grafana.PromSeries
		for i := range shown {
			labels := map[string]string{"source": fmt.Sprintf("web-%04d.eu-central.example.com", i), "service": "checkout"}
			if p.Type == "table" {
				if p.Title == "Who is down, since when, why" {
					labels["ip"], labels["pid"], labels["reason"] = "192.0.2.1", strconv.Itoa(4000+i), "silence"
				}
				value := strconv.Itoa(i % 7)
				if p.Targets[target].Expr == availability {
					value = strconv.FormatFloat(100-float64(i%20)/8, 'f', 3, 64)
				}
				all = append(all, grafana.PromSeries{Metric: labels, Value: atTheEnd(value)})
				continue
			}
			line := grafana.PromSeries{Metric: labels}
			for at := hour.From; at.Before(hour.To); at = at.Add(hour.Step) {
				value := "0"
				if i%10 == 0 && at.After(hour.From.Add(time.Duration(i)*hour.Step/2)) {
					value = "7"
				}
				line.Values = append(line.Values, []any{float64(at.Unix()), value})
			}
			all = append(all, line)
		}
		return all
	}
}

func TestDashboardHoldsManyPeers(t *testing.T) {
	for _, peers := range []int{5, 200, 5000} {
		t.Run(strconv.Itoa(peers), func(t *testing.T) {
			d := drawing(t, peersIn(peers))
			shown := d.Show(t)
			down, each := shown["Who is down, since when, why"], shown["Each peer in the time shown"]
			require.Len(t, down.Rows, (peers+9)/10)
			require.Len(t, each.Rows, peers)
			require.True(t, down.Paged && each.Paged)
			require.Len(t, shown["State of each peer"].Series, min(peers, 100))
			if *pictures != "" {
				for _, d.Theme = range []string{"dark", "light"} {
					d.Picture(t, filepath.Join(*pictures, fmt.Sprintf("%d-%s.png", peers, d.Theme)))
				}
			}
		})
	}
}
