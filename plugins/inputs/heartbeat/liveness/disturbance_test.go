package liveness

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// These tests disturb a collector: 150 hosts beat once a second, and after two minutes
// something happens that is not the death of a host. Three hosts really die before the
// disturbance and three during it. After a pause, the overdue tick comes before the beats
// received meanwhile are read, because that order is harder.
const (
	crowd      = 150
	realDeaths = 6
	troubleAt  = 120 * time.Second
	aftermath  = 140 * time.Second
)

// A disturbance is one such event. Its bounds follow from the rules: by when the hold must
// end, and how long it may last.
type disturbance struct {
	name     string
	kind     string
	lasts    time.Duration
	released time.Duration // the latest end of the hold, after the end of the disturbance; 0 if it causes no isolation
}

// oneBeat is the time after a disturbance within which every host has beaten.
const oneBeat = time.Second + 20*time.Millisecond + TickInterval

var disturbances = []disturbance{
	{"pause 4 s, TCP backlog", "pause-tcp", 4 * time.Second, 0},
	{"pause 40 s, TCP backlog", "pause-tcp", 40 * time.Second, 0},
	{"pause 40 s, UDP queue overflows", "pause-udp", 40 * time.Second, 0},
	{"VM suspended 40 s, clock stands still", "vm", 40 * time.Second, oneBeat},
	{"VM suspended 40 s, clock goes on", "vm-clock", 40 * time.Second, oneBeat},
	{"wall clock +1 h, no monotonic one", "wall", 0, 0},
	{"own network down 10 s, UDP", "net-udp", 10 * time.Second, oneBeat},
	{"own network down 180 s, UDP", "net-udp", 180 * time.Second, oneBeat},
	// TCP backs off: the time from the last try in the outage to the next try can be as long
	// as the outage.
	{"own network down 40 s, TCP", "net-tcp", 40 * time.Second, 45 * time.Second},
	{"uplink of half the peers down 40 s", "half", 40 * time.Second, oneBeat},
	// The death is reported after the hold: suspect after 1.7 s, and a minute more.
	{"40 % of the peers really die", "rack", 0, 62 * time.Second},
}

func TestDisturbancesKillNobody(t *testing.T) {
	t.Parallel()
	for _, d := range disturbances {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			var worst time.Duration
			for seed := range uint64(5) {
				worst = max(worst, d.play(t, seed))
			}
			t.Logf("%-40s | 0 false deaths | last real death reported after %.1f s", d.name, worst.Seconds())
		})
	}
}

// An arrival is a beat and the time from which the collector can read it.
type arrival struct {
	at  time.Duration
	who int
	seq int64
}

func (d disturbance) end() time.Duration { return troubleAt + d.lasts }

func (d disturbance) pauses() bool {
	return d.kind == "pause-tcp" || d.kind == "pause-udp" || d.kind == "vm" || d.kind == "vm-clock"
}

// clock returns the time that the collector's clock shows.
func (d disturbance) clock(at time.Duration) time.Time {
	switch {
	case d.kind == "vm" && at >= d.end():
		at -= d.lasts
	case d.kind == "wall" && at >= troubleAt:
		at += time.Hour
	}
	return epoch.Add(at)
}

// deathTimes returns the hosts that really die, and the times of their deaths.
func (d disturbance) deathTimes() map[int]time.Duration {
	deathTimes := make(map[int]time.Duration)
	for i := range 3 {
		deathTimes[i] = 115*time.Second + time.Duration(i)*100*time.Millisecond
		deathTimes[i+3] = troubleAt + d.lasts*2/5 + time.Duration(i)*time.Second
	}
	if d.kind == "rack" {
		for i := range crowd * 2 / 5 {
			deathTimes[realDeaths+i] = troubleAt + time.Duration(i)*time.Millisecond
		}
	}
	return deathTimes
}

// arrivals returns all beats in the order in which the collector can read them.
func (d disturbance) arrivals(rnd *rand.Rand, deathTimes map[int]time.Duration) []arrival {
	all := make([]arrival, 0, 100*crowd)
	for who := range crowd {
		all = append(all, d.arrivalsOf(rnd, who, deathTimes)...)
	}
	slices.SortStableFunc(all, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return all
}

func (d disturbance) arrivalsOf(rnd *rand.Rand, who int, deathTimes map[int]time.Duration) []arrival {
	var all []arrival
	var backOff time.Duration // how long TCP waits before its next try
	phase := seconds(rnd.Float64())
	died, mortal := deathTimes[who]
	for seq := int64(1); ; seq++ {
		sent := phase + time.Duration(seq-1)*time.Second + seconds(math.Abs(rnd.NormFloat64())*0.002)
		if sent > d.end()+aftermath || mortal && sent > died {
			return all
		}
		at := sent + seconds(0.001+rnd.ExpFloat64()*0.002)
		if troubleAt < at && at < d.end() {
			var arrives bool
			if at, arrives = d.delayed(rnd, who, at, &backOff); !arrives {
				continue
			}
		}
		all = append(all, arrival{max(at, backOff), who, seq})
	}
}

// delayed returns when the collector can read a beat that would have arrived during the
// disturbance, and whether it can read that beat at all.
func (d disturbance) delayed(rnd *rand.Rand, who int, at time.Duration, backOff *time.Duration) (time.Duration, bool) {
	switch d.kind {
	case "pause-tcp": // the beat waits in the socket's buffer
		return d.end() + seconds(0.002+0.2*rnd.Float64()), true
	case "pause-udp": // the buffer is full after three seconds
		return d.end() + seconds(0.002+0.05*rnd.Float64()), at <= troubleAt+3*time.Second
	case "vm", "vm-clock", "net-udp":
		return 0, false
	case "half":
		return at, who%2 == 0
	case "net-tcp":
		if *backOff == 0 {
			*backOff = at
			for rto := 0.2; *backOff < d.end(); rto = min(2*rto, 120) {
				*backOff += seconds(rto * (1 + 0.1*rnd.Float64()))
			}
		}
	}
	return at, true
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// A play is one run of a disturbance.
type play struct {
	disturbance
	*rig
	at         time.Duration // the real time, which the clock of the collector may not show
	deathTimes map[int]time.Duration
	allowed    [crowd]time.Duration // silence allowed after the last beat
	heard      [crowd]time.Duration
	deaths     map[int]time.Duration // when they were reported
	off        time.Duration         // when the hold ended
	on         time.Duration         // when it began
}

func newPlay(t *testing.T, d disturbance) *play {
	p := &play{disturbance: d, rig: newRig(t), deaths: make(map[int]time.Duration)}
	p.hook = func(_ Fate, transitions []Transition) { p.note(transitions) }
	return p
}

// play runs the disturbance and returns how long after it the last real death was reported.
func (d disturbance) play(t *testing.T, seed uint64) time.Duration {
	rnd := rand.New(rand.NewPCG(seed, uint64(len(d.name))))
	p := newPlay(t, d)
	p.deathTimes = d.deathTimes()
	beats := d.arrivals(rnd, p.deathTimes)
	for at := TickInterval; at < d.end()+aftermath; at += TickInterval {
		if late := d.pauses() && troubleAt < at && at < d.end(); late {
			at = d.end()
		} else {
			beats = p.read(beats, at)
		}
		p.tick(at)
	}
	return p.judge()
}

// read processes the beats that arrived before the given time.
func (p *play) read(beats []arrival, until time.Duration) []arrival {
	for ; len(beats) > 0 && beats[0].at <= until; beats = beats[1:] {
		b := beats[0]
		p.at, p.now = b.at, p.clock(b.at)
		out := p.observe(Beat{
			ID: peerID(fmt.Sprint("web-", b.who), HostService), Run: "r", Seq: b.seq, Interval: time.Second, Watched: true,
		})
		p.heard[b.who], p.allowed[b.who] = b.at, out.Silence.Dead
	}
	return beats
}

func (p *play) tick(at time.Duration) {
	was := p.tracker.Isolated()
	p.at, p.now = at, p.clock(at)
	p.rig.tick()
	switch is := p.tracker.Isolated(); {
	case is && !was:
		require.Zero(p.t, p.on, "isolated twice")
		p.on = at
	case was && !is:
		p.off = at
	}
}

func (p *play) note(transitions []Transition) {
	for _, tr := range transitions {
		if tr.Event != Changed || tr.State != Dead {
			continue
		}
		var who int
		_, err := fmt.Sscanf(tr.ID.Source, "web-%d", &who)
		require.NoError(p.t, err)
		died, mortal := p.deathTimes[who]
		require.True(p.t, mortal && p.at >= died, "%v is reported dead at %v, last beat at %v", tr.ID, p.at, p.heard[who])
		p.deaths[who] = p.at
	}
}

// judge checks when the real deaths were reported.
func (p *play) judge() time.Duration {
	var worst time.Duration
	if p.released > 0 && p.on > 0 {
		require.LessOrEqual(p.t, p.off, p.end()+p.released, "the hold is over")
		require.Positive(p.t, p.off)
	} else {
		require.Zero(p.t, p.on, "isolated")
	}
	for who, died := range p.deathTimes {
		told, yes := p.deaths[who]
		require.True(p.t, yes, "%d is never reported", who)
		require.LessOrEqual(p.t, told, p.latest(who), "%d, last beat at %v, is reported at %v", who, p.heard[who], told)
		worst = max(worst, told-died)
	}
	return worst
}

// latest returns when the death of host who must be reported: after the silence allowed since
// its last beat, in which a pause does not count, plus the length of a hold. Hosts that stay
// silent are reported when the hold is over.
func (p *play) latest(who int) time.Duration {
	latest := p.heard[who] + p.allowed[who] + slack
	if p.pauses() && p.heard[who] <= p.end() && latest > troubleAt {
		latest += p.lasts
	}
	if p.on > 0 && latest > p.on {
		bonus := min(p.off-p.on, longestBonus)
		if p.kind == "rack" {
			bonus = 0
		}
		latest = max(latest, p.off+bonus+slack)
	}
	return latest
}

// The schedule learns nothing from beats that are read late because the collector did not
// listen: the silence allowed while the backlog is read, and afterwards, is the same as
// before, to within a few milliseconds.
func TestStallTeachesNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"pause-tcp", "pause-udp", "vm", "vm-clock"} {
		for _, lasts := range []time.Duration{4 * time.Second, 40 * time.Second} {
			d := disturbance{name: fmt.Sprint(kind, " ", lasts), kind: kind, lasts: lasts}
			t.Run(d.name, func(t *testing.T) {
				t.Parallel()
				d.compareSilences(t)
			})
		}
	}
}

func (d disturbance) compareSilences(t *testing.T) {
	p := newPlay(t, d)
	beats := d.arrivals(rand.New(rand.NewPCG(1, 2)), nil)
	var before, after, longest mean
	for at := TickInterval; at < d.end()+aftermath; at += TickInterval {
		if troubleAt < at && at < d.end() {
			at = d.end()
		} else {
			beats = p.read(beats, at)
		}
		p.tick(at)
		switch {
		case at > d.end()+10*time.Second:
			after.add(p.allowed[:])
		case at > troubleAt: // while the backlog is read, and afterwards
			longest.add([]time.Duration{slices.Max(p.allowed[:])})
		case at > troubleAt/2: // once the schedules are settled
			before.add(p.allowed[:])
		}
	}
	t.Logf("%-14s | %v before | at most %v meanwhile | %v after", d.name, before.value(), longest.max, after.value())
	require.InDelta(t, before.value().Seconds(), after.value().Seconds(), 0.002)
	require.Less(t, longest.max, before.max+25*time.Millisecond)
}

// A mean is the mean allowed silence of all peers at all ticks.
type mean struct {
	sum, max time.Duration
	n        int
}

func (m *mean) add(silences []time.Duration) {
	for _, s := range silences {
		m.sum, m.max, m.n = m.sum+s, max(m.max, s), m.n+1
	}
}

func (m *mean) value() time.Duration { return (m.sum / time.Duration(m.n)).Round(time.Microsecond) }
