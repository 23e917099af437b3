//go:build linux

package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"
	parser "github.com/influxdata/telegraf/plugins/parsers/influx"
	"github.com/influxdata/telegraf/plugins/serializers/influx"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
)

const (
	gauges = "alive, dead, state_code, reason_code, status_code, since_timestamp_seconds, age_seconds, dead_after_seconds, " +
		"flapping, last_pid"
	counters = "beats_total, lost_total, restarts_total, deaths_total, dead_seconds_total, mistakes_total, conflicts_total"
)

// A shape is how a Gather tells of a peer: the fields of each of its points.
type shape struct {
	name   string
	points []string
}

var shapes = []shape{
	{"one point of type gauge", []string{gauges + ", " + counters}},
	{"a point of type gauge, one of type counter", []string{gauges, counters}},
}

// comparePoints measures what a peer costs in each shape: on its way through Telegraf
// as an external plugin, in InfluxDB, and in Prometheus.
func comparePoints(dir, url string, pid int) error {
	fmt.Println("\n| a peer and Gather | lines | line protocol | CPU of the pipeline | CPU of InfluxDB | InfluxDB keeps | Prometheus keeps |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|")
	for i := range shapes {
		s, name := &shapes[i], fmt.Sprint("shape_", i)
		bytes, pipeline, err := s.pipeline()
		if err != nil {
			return err
		}
		used, err := s.write(url, name, pid)
		if err != nil {
			return err
		}
		time.Sleep(20 * time.Second) // everything is written, in the form in which it stays
		kept, err := sizeOf(filepath.Join(dir, "data", name), ".tsm")
		if err != nil {
			return err
		}
		blocks, err := s.blocks(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %d | %d B | %.1f us | %.1f us | %.1f B | %.1f B |\n", s.name, len(s.points), bytes,
			pipeline.Seconds()*1e6, used.Seconds()*1e6, kept, blocks)
	}
	return nil
}

// valueOf returns the value of a field, as the groups say.
func valueOf(field string, sample int, r *rand.Rand) string {
	for _, g := range groups {
		for name := range strings.SplitSeq(g.fields, ", ") {
			if name == field {
				return g.value(sample, r)
			}
		}
	}
	panic("no group has " + field)
}

// lines returns what is told of a peer at one Gather.
func (s *shape) lines(peer, sample int, at int64, r *rand.Rand) []string {
	lines := make([]string, 0, len(s.points))
	for _, fields := range s.points {
		pairs := strings.Split(fields, ", ")
		for i, field := range pairs {
			pairs[i] = field + "=" + valueOf(field, sample, r)
		}
		lines = append(lines, fmt.Sprintf("heartbeat_peer,service=shop,source=web-%d %s %d\n", peer, strings.Join(pairs, ","), at))
	}
	return lines
}

// pipeline makes the metrics of many peers, and sends them through what lies between
// them and an output of Telegraf: line protocol, written, read, and written again. It
// returns the bytes of a peer and the processor time.
func (s *shape) pipeline() (int, time.Duration, error) {
	const peers = 100_000
	var read parser.Parser
	write := influx.Serializer{}
	if err := write.Init(); err != nil {
		return 0, 0, err
	}
	if err := read.Init(); err != nil {
		return 0, 0, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	var patterns []telegraf.Metric
	for _, line := range s.lines(1, 1, begin*1e9, r) {
		made, err := read.Parse([]byte(line))
		if err != nil {
			return 0, 0, err
		}
		patterns = append(patterns, made...)
	}
	bytes, before := 0, spent()
	for range peers {
		for _, pattern := range patterns {
			m := metric.New("heartbeat_peer", nil, nil, pattern.Time(), telegraf.Gauge)
			for _, tag := range pattern.TagList() {
				m.AddTag(tag.Key, tag.Value)
			}
			for _, field := range pattern.FieldList() {
				m.AddField(field.Key, field.Value)
			}
			text, err := write.Serialize(m)
			if err != nil {
				return 0, 0, err
			}
			bytes += len(text)
			arrived, err := read.Parse(text)
			if err != nil {
				return 0, 0, err
			}
			if _, err := write.Serialize(arrived[0]); err != nil {
				return 0, 0, err
			}
		}
	}
	return bytes / peers, (spent() - before) / peers, nil
}

// spent returns the processor time of this process.
func spent() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// write writes all samples to InfluxDB and returns what that took of its time, a peer
// and sample.
func (s *shape) write(url, database string, pid int) (time.Duration, error) {
	if err := post(url+"/query?q=CREATE+DATABASE+"+database, nil); err != nil {
		return 0, err
	}
	before, err := measure.Idle(pid)
	if err != nil {
		return 0, err
	}
	r := rand.New(rand.NewPCG(1, 2))
	for sample := range samples {
		var text strings.Builder
		for peer := range series {
			at := int64(begin+10*sample)*1e9 + r.Int64N(1000)*1e6
			for _, line := range s.lines(peer, sample, at, r) {
				text.WriteString(line)
			}
		}
		if err := post(url+"/write?db="+database, strings.NewReader(text.String())); err != nil {
			return 0, err
		}
	}
	after, err := measure.Idle(pid)
	return (after - before) / (series * samples), err
}

// blocks has promtool make the blocks that Prometheus keeps, and returns their bytes,
// a peer and sample.
func (s *shape) blocks(dir string) (float64, error) {
	const part = 4 // of the peers are enough
	file, err := os.Create(dir + ".om")
	if err != nil {
		return 0, err
	}
	defer file.Close()
	text := bufio.NewWriter(file)
	r := rand.New(rand.NewPCG(1, 2))
	for _, field := range strings.Split(strings.Join(s.points, ", "), ", ") {
		fmt.Fprintf(text, "# TYPE heartbeat_peer_%s gauge\n", field)
		for peer := range series / part {
			for sample := range samples {
				fmt.Fprintf(text, "heartbeat_peer_%s{host=\"collector\",service=\"shop\",source=\"web-%d\"} %s %s\n", field, peer,
					strings.TrimSuffix(valueOf(field, sample, r), "i"), strconv.Itoa(begin+10*sample))
			}
		}
	}
	fmt.Fprintln(text, "# EOF")
	if err := text.Flush(); err != nil {
		return 0, err
	}
	promtool := exec.Command("build/servers/usr/bin/promtool", "tsdb", "create-blocks-from", "openmetrics", file.Name(), dir)
	if said, err := promtool.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, said)
	}
	size, err := sizeOf(dir, "")
	return size * part, err
}
