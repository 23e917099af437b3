// Package heartbeat_pipeline is an input that knows nobody and emits what
// inputs.heartbeat would: that is what Telegraf's own pipeline costs. make builds it
// into a Telegraf that is only measured.
package heartbeat_pipeline

import (
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs"
)

// Pipeline emits as many metrics as so many peers that beat would.
type Pipeline struct {
	Peers          int `toml:"peers"`
	BeatsPerSecond int `toml:"beats_per_second"`

	done chan struct{}
	all  sync.WaitGroup
}

// SampleConfig returns nothing: nobody but a benchmark uses it.
func (*Pipeline) SampleConfig() string { return "" }

// Start emits beats.
func (p *Pipeline) Start(acc telegraf.Accumulator) error {
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
				for i := range p.BeatsPerSecond * int(step/time.Millisecond) / 1000 {
					acc.AddFields("heartbeat", map[string]any{
						"status": "alive", "lost": int64(0), "seq": int64(i), "interval_seconds": 10.0,
						"gap_seconds": 10.001, "jitter_seconds": 0.001,
					}, map[string]string{"source": "web-1", "ip": "127.0.0.1", "service": "shop", "pid": "4711"}, now)
				}
			}
		}
	})
	return nil
}

// Gather emits all peers.
func (p *Pipeline) Gather(acc telegraf.Accumulator) error {
	now := time.Now()
	for i := range p.Peers {
		acc.AddGauge("heartbeat_peer", map[string]any{
			"alive": int64(1), "dead": int64(0), "state_code": int64(1), "reason_code": int64(1),
			"since_timestamp_seconds": 1795000000.5, "age_seconds": 1.5 + float64(i), "dead_after_seconds": 35.0,
			"flapping": int64(0), "last_pid": int64(i), "beats_total": int64(i), "lost_total": int64(0), "restarts_total": int64(0),
			"deaths_total": int64(0), "dead_seconds_total": 0.0, "mistakes_total": int64(0), "conflicts_total": int64(0),
		}, map[string]string{"source": "web-1", "service": "shop"}, now)
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
