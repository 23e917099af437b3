//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/charts/grafana"
)

var picturesDir = flag.String("pictures", "", "draw the dashboard with Grafana's code into this directory")

func TestDraw(t *testing.T) {
	s := tellCharts(t)
	v := grafana.View{From: s.from, To: time.Now(), Step: step}
	for name, d := range map[string]*grafana.Drawing{
		"influxdb":   grafana.Ask(t, charts.Dashboard(charts.InfluxDB, false), s.influx.url, v),
		"prometheus": grafana.Ask(t, charts.Dashboard(charts.Prometheus, false), s.prom.url, v),
		"victoria":   grafana.Ask(t, charts.Dashboard(charts.Prometheus, false), s.victoria.url, v),
	} {
		begin := time.Now()
		shown := d.Show(t)
		fmt.Println(name, time.Since(begin))
		for title, p := range shown {
			fmt.Printf("%s | %s | %+v\n", name, title, p)
		}
		if *picturesDir != "" {
			for _, theme := range []string{"dark", "light"} {
				begin := time.Now()
				d.Theme = theme
				d.Picture(t, filepath.Join(*picturesDir, name+"-"+theme+".png"))
				fmt.Println(theme, time.Since(begin))
			}
		}
	}
}
