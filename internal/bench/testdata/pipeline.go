// Package heartbeat_pipeline is an input that emits the same metrics as inputs.heartbeat
// but knows no peers. It measures the cost of Telegraf's own pipeline. make builds it into
// a Telegraf that is used only for measurements.
package heartbeat_pipeline

import (
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs"
	"github.com/influxdata/telegraf/plugins/parsers/influx"
)

// Pipeline emits as many metrics as a number of beating peers.
type Pipeline struct {
	Peers          int    `toml:"peers"`
	Peer           string `toml:"peer"` // the metric of a peer from inputs.heartbeat, in line protocol
	Beat           string `toml:"beat"` // the metric of a beat, in line protocol
	BeatsPerSecond int    `toml:"beats_per_second"`

	peer, beat telegraf.Metric
	done       chan struct{}
	all        sync.WaitGroup
}

// SampleConfig returns nothing: only a benchmark uses it.
func (*Pipeline) SampleConfig() string { return "" }

// Start emits beats.
func (p *Pipeline) Start(acc telegraf.Accumulator) (err error) {
	parser := &influx.Parser{}
	if err := parser.Init(); err != nil {
		return err
	}
	if p.peer, err = parser.ParseLine(p.Peer); err != nil {
		return err
	}
	if p.beat, err = parser.ParseLine(p.Beat); err != nil {
		return err
	}
	p.done = make(chan struct{})
	p.all.Go(func() { // ends with done
		const step = 50 * time.Millisecond
		ticks := time.NewTicker(step)
		defer ticks.Stop()
		for {
			select {
			case <-p.done:
				return
			case now := <-ticks.C:
				for range p.BeatsPerSecond * int(step/time.Millisecond) / 1000 {
					fields, tags := contents(p.beat)
					acc.AddFields("heartbeat", fields, tags, now)
				}
			}
		}
	})
	return nil
}

// contents returns maps of their own for each metric, as inputs make them.
func contents(m telegraf.Metric) (fields map[string]any, tags map[string]string) {
	fields, tags = make(map[string]any, len(m.FieldList())), make(map[string]string, len(m.TagList()))
	for _, field := range m.FieldList() {
		fields[field.Key] = field.Value
	}
	for _, tag := range m.TagList() {
		tags[tag.Key] = tag.Value
	}
	return fields, tags
}

// Gather emits all peers.
func (p *Pipeline) Gather(acc telegraf.Accumulator) error {
	now := time.Now()
	for range p.Peers {
		fields, tags := contents(p.peer)
		acc.AddGauge("heartbeat_peer", fields, tags, now)
	}
	return nil
}

// Stop ends the beats.
func (p *Pipeline) Stop() {
	close(p.done)
	p.all.Wait()
}

func init() {
	inputs.Add("heartbeat_pipeline", func() telegraf.Input { return &Pipeline{} })
}
