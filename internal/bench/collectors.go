package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// The simulation has two collectors, and hosts that beat to both. Each path from a host to a
// collector breaks at random.
const (
	simulatedHosts = 60
	realDeaths     = 10
	simulatedBeat  = 10 * time.Second
	breakEvery     = 2 * time.Hour // for each path, on average
	breakLeast     = 45 * time.Second
	breakMost      = 300 * time.Second
	partEvery      = 2 * time.Hour // in the setting with separated collectors,
	partFrom       = 105 * time.Minute
	silenceOfBeat  = 35 * time.Second // the allowed silence with three missed beats
	answered       = 5 * time.Second  // after two collectors reconnect, their first questions take at most this long
)

// A setting defines how two collectors work together.
type setting struct {
	name   string
	mates  bool // they ask each other before they report a death
	parted bool // sometimes they cannot reach each other
}

var settings = []setting{
	{"independent", false, false},
	{"asking", true, false},
	{"asking, separated 12.5 % of the time", true, true},
}

// The seeds of the random numbers. The first seed is from an older simulation, for comparison.
var seeds = [][2]uint64{{7, 11}, {1, 2}, {3, 4}, {5, 6}}

func collectorsCommand(set *flag.FlagSet) func() {
	hours := set.Int("hours", 12, "hours of virtual time, at least 2")
	name := set.String("setting", "", "only settings whose name contains this")
	return func() {
		header("collectors", "seed", "living hosts that reached no collector for 35 s", "reported false deaths", "false deaths of hosts that reached one", "real deaths reported",
			"mean, worst delay", "questions per second", "events", "reported twice")
		avoidable := 0
		for i := range settings {
			for _, seed := range seeds {
				if strings.Contains(settings[i].name, *name) {
					span := time.Duration(*hours) * time.Hour
					outcome := simulate(&settings[i], seed, span)
					fmt.Println(outcome.row(settings[i].name, seed, span))
					avoidable += outcome.avoidable
				}
			}
		}
		if *name == "" {
			note("collectors/avoidable", float64(avoidable))
		}
	}
}

// A story counts the events that two collectors reported.
type story struct {
	events, twice int             // all events; events whose id was reported before
	silences      int             // times that living hosts were silent too long for both collectors
	wrong         int             // reported deaths of living hosts
	avoidable     int             // wrong deaths that the other, reachable collector could have prevented
	delays        []time.Duration // from the last received beat of an ended host until its death is first reported
	asked         int64
}

func (s *story) row(name string, seed [2]uint64, span time.Duration) string {
	var sum, worst time.Duration
	for _, d := range s.delays {
		sum, worst = sum+d, max(worst, d)
	}
	mean := sum / time.Duration(max(len(s.delays), 1))
	return fmt.Sprintf("| %s | %d, %d | %d | %d | %d | %d of %d | %.1f s, %.1f s | %.2f | %d | %d |", name, seed[0], seed[1], s.silences, s.wrong, s.avoidable,
		len(s.delays), realDeaths, mean.Seconds(), worst.Seconds(), float64(s.asked)/span.Seconds(), s.events, s.twice)
}

// A simulatedHost beats until it ends.
type simulatedHost struct {
	beat          liveness.Beat
	phase         time.Duration
	ends          time.Duration
	broken        [2]time.Duration // when its broken path to each collector works again
	received      [2]time.Duration // when each collector last received a beat
	deathReported bool             // its death was reported after it ended
}

// lastReceived returns the time at which any collector last received a beat of the host.
func (h *simulatedHost) lastReceived() time.Duration { return max(h.received[0], h.received[1]) }

// A simulation is one run of a setting with a seed.
type simulation struct {
	setting    *setting
	random     *rand.Rand
	start      time.Time
	at         time.Duration // since start
	joined     time.Duration // since when the collectors can reach each other; < 0 while they cannot
	hosts      []*simulatedHost
	byID       map[liveness.ID]*simulatedHost
	collectors [2]*collector
	ids        map[int64]struct{}
	story      story
}

// simulate runs a setting. With the same seed, the same paths break in each setting.
func simulate(how *setting, seed [2]uint64, span time.Duration) *story {
	s := &simulation{
		setting: how, random: rand.New(rand.NewPCG(seed[0], seed[1])), start: time.Unix(1_800_000_000, 0),
		byID: make(map[liveness.ID]*simulatedHost), ids: make(map[int64]struct{}),
	}
	s.addHosts(span)
	for k := range s.collectors {
		s.collectors[k] = newCollector(fmt.Sprintf("collector-%d", k+1), uint64(k+1), how.mates, s.start, func(change *liveness.Transition) {
			s.record(k, change)
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

// step simulates one tick.
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

// beat breaks paths of a host at random, and sends its beat if one is due.
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
	tooLong := s.at-h.lastReceived() > silenceOfBeat && h.beat.Seq > 1
	for k, c := range s.collectors {
		if h.broken[k] < s.at {
			h.received[k] = s.at
			c.observe(&h.beat)
		}
	}
	if tooLong && h.lastReceived() == s.at {
		s.story.silences++
	}
}

// talk passes messages on until none is left. Messages between separated collectors are dropped.
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

// record counts an event that collector k reports.
func (s *simulation) record(k int, change *liveness.Transition) {
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
		if s.setting.mates && s.joined >= 0 && s.at-s.joined >= answered && s.at-h.received[1-k] < silenceOfBeat {
			s.story.avoidable++
		}
	case !h.deathReported:
		h.deathReported = true
		s.story.delays = append(s.story.delays, s.at-h.lastReceived())
	}
}
