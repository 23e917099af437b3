package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// Two collectors, hosts that beat to both, and paths from a host to a collector that
// break, each for itself.
const (
	simulatedHosts = 60
	realDeaths     = 10
	simulatedBeat  = 10 * time.Second
	breakEvery     = 2 * time.Hour // a path, in the mean
	breakLeast     = 45 * time.Second
	breakMost      = 300 * time.Second
	partEvery      = 2 * time.Hour // in the row with collectors that are parted,
	partFrom       = 105 * time.Minute
	silenceOfBeat  = 35 * time.Second // allowed by three missed beats
	answered       = 5 * time.Second  // by then two collectors that meet again have asked each other
)

// A setting is how two collectors stand to each other.
type setting struct {
	name   string
	mates  bool // they ask each other
	parted bool // from time to time
}

var settings = []setting{
	{"each for itself", false, false},
	{"asking", true, false},
	{"asking, parted 12.5 % of the time", true, true},
}

// seeds of the paths. The first is that of the simulation from which this one comes.
var seeds = [][2]uint64{{7, 11}, {1, 2}, {3, 4}, {5, 6}}

func collectorsCommand(set *flag.FlagSet) func() {
	hours := set.Int("hours", 12, "of virtual time, at least 2")
	name := set.String("setting", "", "only settings whose name contains this")
	return func() {
		header("collectors", "seed", "living hosts that nobody heard for 35 s", "events of false deaths", "of those, heard by a reachable collector", "real deaths told",
			"mean, worst delay", "questions a second", "events", "told twice")
		avoidable := 0
		for i := range settings {
			for _, seed := range seeds {
				if strings.Contains(settings[i].name, *name) {
					span := time.Duration(*hours) * time.Hour
					told := simulate(&settings[i], seed, span)
					fmt.Println(told.row(settings[i].name, seed, span))
					avoidable += told.avoidable
				}
			}
		}
		if *name == "" {
			note("collectors/avoidable", float64(avoidable))
		}
	}
}

// A story is what two collectors have told.
type story struct {
	events, twice int             // in all; those whose id was told before
	unheard       int             // silences of hosts that beat, of more than is allowed, that both collectors heard
	wrong         int             // events of deaths of hosts that beat
	avoidable     int             // of those: the collector that was not asked, or not listened to, had heard it in time
	delays        []time.Duration // from the last beat that anybody heard of a host that ended until its death is told first
	asked         int64
}

func (s *story) row(name string, seed [2]uint64, span time.Duration) string {
	var sum, worst time.Duration
	for _, d := range s.delays {
		sum, worst = sum+d, max(worst, d)
	}
	mean := sum / time.Duration(max(len(s.delays), 1))
	return fmt.Sprintf("| %s | %d, %d | %d | %d | %d | %d of %d | %.1f s, %.1f s | %.2f | %d | %d |", name, seed[0], seed[1], s.unheard, s.wrong, s.avoidable,
		len(s.delays), realDeaths, mean.Seconds(), worst.Seconds(), float64(s.asked)/span.Seconds(), s.events, s.twice)
}

// A simulatedHost beats until it ends.
type simulatedHost struct {
	beat   liveness.Beat
	phase  time.Duration
	ends   time.Duration
	broken [2]time.Duration // until when its path to each collector is
	heard  [2]time.Duration // last by each
	told   bool             // that it is dead, after it had ended
}

// last returns when it was heard last by anybody.
func (h *simulatedHost) last() time.Duration { return max(h.heard[0], h.heard[1]) }

// A simulation is one run.
type simulation struct {
	setting    *setting
	random     *rand.Rand
	start      time.Time
	at         time.Duration // since start
	joined     time.Duration // when the collectors began to reach each other; < 0 while they do not
	hosts      []*simulatedHost
	byID       map[liveness.ID]*simulatedHost
	collectors [2]*collector
	ids        map[int64]struct{}
	story      story
}

// simulate plays a setting. The same seed breaks the same paths in each.
func simulate(how *setting, seed [2]uint64, span time.Duration) *story {
	s := &simulation{
		setting: how, random: rand.New(rand.NewPCG(seed[0], seed[1])), start: time.Unix(1_800_000_000, 0),
		byID: make(map[liveness.ID]*simulatedHost), ids: make(map[int64]struct{}),
	}
	s.addHosts(span)
	for k := range s.collectors {
		s.collectors[k] = newCollector(fmt.Sprintf("collector-%d", k+1), uint64(k+1), how.mates, s.start, func(change *liveness.Transition) {
			s.hear(k, change)
		})
	}
	for ; s.at < span; s.at += liveness.TickInterval {
		s.step()
	}
	for _, c := range s.collectors {
		asked, _ := c.tracker.Asked()
		s.story.asked += asked
	}
	return &s.story
}

func (s *simulation) addHosts(span time.Duration) {
	for i := range simulatedHosts {
		h := &simulatedHost{phase: time.Duration(s.random.IntN(100)) * liveness.TickInterval, ends: span + time.Hour}
		h.beat = liveness.Beat{Interval: simulatedBeat, Run: "r", Process: liveness.Process{Boot: "b"}, Watched: true}
		h.beat.ID, _ = liveness.NewID(fmt.Sprintf("web-%d", i), liveness.HostService, 0)
		if i < realDeaths {
			h.ends = time.Duration(1+s.random.IntN(int((span-time.Hour).Seconds()))) * time.Second
		}
		s.hosts, s.byID[h.beat.ID] = append(s.hosts, h), h
	}
}

// step lets a tick pass.
func (s *simulation) step() {
	for _, c := range s.collectors {
		c.now = s.start.Add(s.at)
	}
	switch parted := s.setting.parted && s.at%partEvery > partFrom; {
	case parted:
		s.joined = -1
	case s.joined < 0:
		s.joined = s.at
	}
	for _, h := range s.hosts {
		s.beat(h)
	}
	for _, c := range s.collectors {
		c.tick()
	}
	s.talk()
}

// beat breaks paths of a host, and has it beat when that is due.
func (s *simulation) beat(h *simulatedHost) {
	const seconds = int((breakMost - breakLeast) / time.Second)
	for k := range h.broken {
		if h.broken[k] < s.at && s.random.IntN(int(breakEvery/liveness.TickInterval)) == 0 {
			h.broken[k] = s.at + breakLeast + time.Duration(s.random.IntN(seconds))*time.Second
		}
	}
	if s.at >= h.ends || (s.at-h.phase)%simulatedBeat != 0 {
		return
	}
	h.beat.Seq++
	unheard := s.at-h.last() > silenceOfBeat && h.beat.Seq > 1
	for k, c := range s.collectors {
		if h.broken[k] < s.at {
			h.heard[k] = s.at
			c.observe(&h.beat)
		}
	}
	if unheard && h.last() == s.at {
		s.story.unheard++
	}
}

// talk leads messages until nobody has any. Those between collectors that are parted are
// lost.
func (s *simulation) talk() {
	for _, c := range s.collectors {
		c.talk()
	}
	for {
		sent := [2][][]byte{s.collectors[0].sent, s.collectors[1].sent}
		if len(sent[0])+len(sent[1]) == 0 {
			return
		}
		for k, c := range s.collectors {
			c.sent = nil
			for _, message := range sent[1-k] {
				if s.joined >= 0 {
					c.circle.Receive(message, c.now)
				}
			}
		}
	}
}

// hear notes an event that a collector tells.
func (s *simulation) hear(k int, change *liveness.Transition) {
	s.story.events++
	if _, before := s.ids[change.EventID]; before {
		s.story.twice++
	}
	s.ids[change.EventID] = struct{}{}
	if change.Event != liveness.Changed || change.State != liveness.Dead {
		return
	}
	h := s.byID[change.ID]
	switch {
	case s.at < h.ends:
		s.story.wrong++
		if s.setting.mates && s.joined >= 0 && s.at-s.joined >= answered && s.at-h.heard[1-k] < silenceOfBeat {
			s.story.avoidable++
		}
	case !h.told:
		h.told = true
		s.story.delays = append(s.story.delays, s.at-h.last())
	}
}
