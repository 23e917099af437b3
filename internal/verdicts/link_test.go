package verdicts

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
)

// A beat is a beat that arrived. Times are in seconds since the start of the trace.
type beat struct {
	arrival float64
	send    float64
	seq     int64 // from 0
}

// A trace contains the beats of one sender in the order of arrival at the collector.
type trace struct {
	interval float64
	beats    []beat
}

// A link is a type of sender with a type of network.
type link struct {
	name     string
	interval float64
	length   int // beats of a trace at scale 1
	conns    conns
	send     func(r dice, n int, interval float64) []beat
}

// conns defines which connections carry the beats.
type conns uint8

const (
	datagrams conns = iota
	oneConn         // one connection for all
	oneShots        // one connection for each beat: a new process sends each beat, without a number
)

// start is the time at which a trace begins. It is not 0, so that beats can be earlier than
// expected.
const start = 1000.0

var links = [...]link{
	{"lan100ms", 0.1, 16000, datagrams, lan},
	{"lan1s", 1, 24000, datagrams, lan},
	{"wan", 0.1035, 60000, datagrams, wan},
	{"wifi", 1, 24000, oneConn, wifi},
	{"cron", 60, 18000, oneShots, cron},
	{"iid", 1, 12000, datagrams, iid},
}

// trace returns the beats of one sender. The same seed gives the same trace.
func (l *link) trace(seed uint64, scale float64) trace {
	const least = 3000 // two thirds of these are scored
	n := max(least, int(float64(l.length)*scale))
	name := fnv.New64a()
	name.Write([]byte(l.name))
	r := dice{rand.New(rand.NewPCG(name.Sum64(), seed))}
	return trace{l.interval, l.send(r, n, l.interval)}
}

// lan is a quiet switched network: the jitter is below a millisecond, and the sender occasionally
// pauses or a beat is lost.
func lan(r dice, n int, interval float64) []beat {
	var beats []beat
	var gap outage
	phase := r.Float64()
	for q := range n {
		send := start + phase + float64(q)*interval + math.Abs(r.normal(0, 0.0003))
		switch u := r.Float64(); {
		case u < 0.001:
			send += r.exp(0.02) // the scheduler
		case u < 0.0012:
			send += r.between(0.2, 1.5) // garbage collection, or a slow disk
		}
		lost := gap.swallows(r.chance(1e-4), func() int {
			if r.chance(0.2) {
				return 1 + int(r.exp(2)) // a short failure of the switch
			}
			return 0
		})
		if !lost {
			beats = append(beats, beat{send + 0.0002 + math.Abs(r.normal(0, 0.0001)), send, int64(q)})
		}
	}
	return byArrival(beats)
}

// wan is a link from Japan to Switzerland, like the trace of Hayashibara et al. (SRDS 2004).
// Losses come in bursts: most are short, and the longest lasts two minutes. Bursts and congestion
// are concentrated in bad periods, which are an eighth of the time.
func wan(r dice, n int, interval float64) []beat {
	var beats []beat
	var gap outage
	weather := spells{good: 73000, bad: 10000, left: int(r.exp(70000))}
	queue := 0.0
	for q := range n {
		bad := weather.next(r)
		send := start + float64(q)*interval + r.normal(0, 0.00019)
		// The delay of busy periods decays slowly. There is always light noise.
		if r.chance(pick(bad, 0.02, 0.002)) {
			queue += r.exp(pick(bad, 0.06, 0.03))
		}
		queue *= 0.8
		arrival := send + 0.1351 + queue + r.exp(pick(bad, 0.012, 0.005))
		lost := gap.swallows(r.chance(pick(bad, 6, 0.32)/7181), func() int { return r.pareto(0.545, 1093) - 1 })
		if !lost && !(bad && r.chance(0.002)) {
			beats = append(beats, beat{arrival, send, int64(q)})
		}
	}
	return byArrival(beats)
}

// wifi is a mobile sender with one TCP connection: the delay has a heavy tail, the sender sleeps
// to save power, and there are bad spells of about a minute when it roams.
func wifi(r dice, n int, interval float64) []beat {
	beats := make([]beat, 0, n)
	weather := spells{good: 1200, bad: 60, left: 900}
	last := 0.0
	for q := range n {
		bad := weather.next(r)
		send := start + float64(q)*interval + math.Abs(r.normal(0, 0.002))
		delay := 0.015 + 0.012*math.Exp(r.normal(0, 1))
		if r.chance(0.02) {
			delay += r.between(0.1, 0.5)
		}
		if bad {
			delay += min(20, 0.25*math.Pow(1-r.Float64(), -1/1.3))
		}
		if r.chance(pick(bad, 0.03, 0.0005)) { // TCP backs off
			delay += pick(bad, 0.2, 0.3) * float64(int(1)<<(1+r.IntN(int(pick(bad, 6, 4)))))
		}
		last = max(last, send+delay) // TCP keeps the order
		beats = append(beats, beat{last, send, int64(q)})
	}
	return beats
}

// cron starts a process each minute, which sends one beat. Some beats are late when the host is
// busy, some processes never run, and some lose the first packet of their connection.
func cron(r dice, n int, interval float64) []beat {
	var beats []beat
	var gap outage
	phase, busy := r.between(0, interval), 0
	for q := range n {
		if busy > 0 {
			busy--
		} else if r.chance(0.002) {
			busy = 10 + int(r.exp(20)) // a backup, or updates
		}
		send := start + phase + float64(q)*interval + r.between(0, 8)
		if busy > 0 {
			send += r.exp(8)
		} else if r.chance(0.03) {
			send += r.exp(1.5)
		}
		delay := 0.02 + r.exp(0.02)
		if r.chance(0.003) {
			delay += pick(r.chance(2.0/3), 1, 3)
		}
		lost := gap.swallows(r.chance(pick(busy > 0, 0.02, 0.0008)), func() int {
			if r.chance(0.1) {
				return 1 + int(r.exp(3))
			}
			return 0
		})
		if !lost {
			beats = append(beats, beat{send + delay, send, int64(q)})
		}
	}
	return byArrival(beats)
}

// iid has independent jitter and independent losses, so there is nothing to adapt to. Chen's
// detector and phi were made for such links.
func iid(r dice, n int, interval float64) []beat {
	var beats []beat
	for q := range n {
		send := start + float64(q)*interval
		arrival := send + max(0.001, r.normal(0.6, 0.15))
		if !r.chance(0.01) {
			beats = append(beats, beat{arrival, send, int64(q)})
		}
	}
	return byArrival(beats)
}

func byArrival(beats []beat) []beat {
	slices.SortStableFunc(beats, func(a, b beat) int {
		switch {
		case a.arrival < b.arrival:
			return -1
		case a.arrival > b.arrival:
			return 1
		}
		return 0
	})
	return beats
}

// An outage is the number of further beats that will be lost.
type outage int

// swallows reports whether the next beat is lost: because it is in the outage, or because a new
// outage begins with it. The function more returns how many further beats a new outage loses.
func (o *outage) swallows(begins bool, more func() int) bool {
	if *o > 0 {
		*o--
		return true
	}
	if begins {
		*o = outage(more())
	}
	return begins
}

// spells are alternating good and bad periods. Their mean lengths are in beats.
type spells struct {
	good, bad float64
	left      int
	isBad     bool
}

func (s *spells) next(r dice) (bad bool) {
	if s.left <= 0 {
		s.isBad = !s.isBad
		s.left = 1 + int(r.exp(pick(s.isBad, s.bad, s.good)))
	}
	s.left--
	return s.isBad
}

func pick(first bool, a, b float64) float64 {
	if first {
		return a
	}
	return b
}

// dice generates random numbers with distributions that package rand does not have.
type dice struct{ *rand.Rand }

func (r dice) chance(p float64) bool             { return r.Float64() < p }
func (r dice) between(low, high float64) float64 { return low + (high-low)*r.Float64() }
func (r dice) exp(mean float64) float64          { return mean * r.ExpFloat64() }
func (r dice) normal(mean, dev float64) float64  { return mean + dev*r.NormFloat64() }

// pareto returns a random integer from 1 to high.
func (r dice) pareto(alpha, high float64) int {
	most := 1 - math.Pow(high, -alpha)
	return int(math.Pow(1-r.Float64()*most, -1/alpha))
}
