package liveness_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// BenchmarkStorm is how long each call takes at the most, under the lock of the judge,
// when 100,000 hosts are silent at once, at two collectors that ask each other and at one
// that is alone.
//
//	go test -run '^$' -bench Storm -benchtime 3x ./plugins/inputs/heartbeat/liveness
func BenchmarkStorm(b *testing.B) {
	for _, mates := range []bool{false, true} {
		b.Run(map[bool]string{false: "alone", true: "two"}[mates], func(b *testing.B) {
			longest := make(map[string]time.Duration)
			for b.Loop() {
				storm(longest, mates)
			}
			for what, took := range longest {
				b.ReportMetric(float64(took.Nanoseconds())/1e6, "ms-"+what)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func storm(longest map[string]time.Duration, mates bool) {
	const hosts, part = 100_000, 512
	opts := options()
	opts.IsolationPercent, opts.Mates = 0, mates
	now := time.Now()
	var both [2]*liveness.Tracker
	for k := range both {
		both[k] = liveness.New(opts, now)
		for i := range hosts {
			both[k].Observe(now, &liveness.Beat{ID: liveness.ID{Source: fmt.Sprintf("web-%07d", i), Service: "host"}, Run: "r", Seq: 1, Interval: interval})
		}
		both[k].TakeSaid(now)
	}
	time1 := func(what string, do func()) {
		begin := time.Now()
		do()
		longest[what] = max(longest[what], time.Since(begin))
	}
	for died := 0; died < 2*hosts; {
		now = now.Add(liveness.TickInterval)
		for k, t := range both {
			var changes []liveness.Transition
			time1("Tick", func() { changes = t.Tick(now) })
			for _, c := range changes {
				if c.State == liveness.Dead {
					died++
				}
			}
			var said liveness.Said
			time1("TakeSaid", func() { said = t.TakeSaid(now) })
			other := both[1-k]
			for len(said.Asked) > 0 {
				some := said.Asked[:min(part, len(said.Asked))]
				said.Asked = said.Asked[len(some):]
				var words []liveness.Word
				time1("Answer", func() { words = other.Answer(nil, some, now) })
				time1("HearWords", func() { t.HearWords(now, words, "other", 0) })
			}
			if said.Question > 0 {
				t.Settle(said.Question)
			}
			for len(said.Words) > 0 {
				some := said.Words[:min(part, len(said.Words))]
				said.Words = said.Words[len(some):]
				time1("HearWords", func() { other.HearWords(now, some, "other", 0) })
			}
		}
	}
}
