package main

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	series    = 200
	perSeries = 1080 // samples of each series: three hours, one every 10 s
)

// influxConfig makes InfluxDB write its final files soon.
const influxConfig = `reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = "{dir}/meta"
[data]
dir = "{dir}/data"
wal-dir = "{dir}/wal"
cache-snapshot-write-cold-duration = "2s"
compact-full-write-cold-duration = "3s"
[http]
bind-address = "{address}"
log-enabled = false
[monitor]
store-enabled = false
`

// A kind is a group of fields that change in the same way, which determines how much space a
// database needs for them.
type kind struct {
	name   string
	value  func(sample int, r *rand.Rand) string
	fields []string
}

// kinds groups the fields of a beating peer by how they change between some samples.
func kinds(samples []peerSample) []kind {
	all := []kind{
		{name: "integer, rarely changes", value: func(int, *rand.Rand) string { return "1i" }},
		{name: "integer, grows with each beat", value: func(sample int, _ *rand.Rand) string { return fmt.Sprintf("%di", 1000+sample) }},
		{name: "fraction, rarely changes", value: func(int, *rand.Rand) string { return "1794990000.123" }},
		{name: "fraction, changes each time", value: func(_ int, r *rand.Rand) string { return fmt.Sprintf("%.9f", 10*r.Float64()) }},
	}
	fieldsOf := func(line string) []string { return strings.Split(strings.Fields(line)[1], ",") }
	for _, field := range fieldsOf(samples[0].peer) {
		name, value, _ := strings.Cut(field, "=")
		k := 0
		if !strings.HasSuffix(value, "i") {
			k = 2
		}
		if slices.ContainsFunc(samples, func(s peerSample) bool { return !slices.Contains(fieldsOf(s.peer), field) }) {
			k++
		}
		all[k].fields = append(all[k].fields, name)
	}
	return all
}

func fieldsCommand(*flag.FlagSet) func() {
	return func() {
		all := kinds(samples(3))
		influx := start(influxConfig, "build/servers/usr/bin/influxd")
		defer influx.stop()
		url := "http://" + influx.address
		stamps := []time.Duration{time.Millisecond, time.Nanosecond}
		for i, k := range all {
			for _, stamp := range stamps {
				k.write(url, fmt.Sprintf("kind_%d_%s", i, stamp), stamp)
			}
		}
		time.Sleep(30 * time.Second) // InfluxDB has written its final files
		header("fields", "how they change", "bytes per sample in InfluxDB", "with timestamps in nanoseconds")
		var sums [2]float64
		for i, k := range all {
			var kept [2]float64
			for j, stamp := range stamps {
				kept[j] = bytesPerSample(filepath.Join(influx.dir, "data", fmt.Sprintf("kind_%d_%s", i, stamp)))
				sums[j] += kept[j] * float64(len(k.fields))
			}
			fmt.Printf("| %s | %s | %.2f B | %.2f B |\n", strings.Join(k.fields, ", "), k.name, kept[0], kept[1])
		}
		fmt.Printf("| all fields of a peer | | %.1f B | %.1f B |\n", sums[0], sums[1])
	}
}

// write writes one field of the kind to a new database, with timestamps that are multiples of
// stamp.
func (k *kind) write(url, database string, stamp time.Duration) {
	post(url+"/query?q=CREATE+DATABASE+"+database, "")
	r := rand.New(rand.NewPCG(1, 2))
	for first := 0; first < perSeries; first += 60 {
		var lines strings.Builder
		for sample := first; sample < first+60; sample++ {
			for s := range series {
				at := int64(1_795_000_000+10*sample)*1e9 + r.Int64N(1e9)/int64(stamp)*int64(stamp) // gathers are not exactly periodic
				fmt.Fprintf(&lines, "heartbeat_peer,service=shop,source=web-%d v=%s %d\n", s, k.value(sample, r), at)
			}
		}
		post(url+"/write?db="+database, lines.String())
	}
}

func post(url, body string) {
	answer := must(http.Post(url, "text/plain", strings.NewReader(body)))
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		fail("%s: %s", url, must(io.ReadAll(answer.Body)))
	}
}

// bytesPerSample returns the bytes per sample in InfluxDB's data files below dir.
func bytesPerSample(dir string) float64 {
	size := int64(0)
	check(filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".tsm") {
			size += must(entry.Info()).Size()
		}
		return err
	}))
	return float64(size) / (series * perSeries)
}
