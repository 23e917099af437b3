package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A desk is a Circle without peers that keeps what it sends and logs.
type desk struct {
	*Circle
	now    time.Time
	sent   [][]byte
	log    []string
	want   []string // of the peers, what was done to them
	idle   bool     // its metrics are not taken
	joined time.Time
	until  time.Time // it speaks
	again  int       // how often it was to tell again what it had told
	more   bool      // there is more to be told of each peer than a record of a mate says
}

func newDesk(name string, start uint64, now time.Time) *desk {
	d := &desk{now: now}
	d.Circle = NewCircle(&Options{Name: name, Secret: testKey, Peers: d, Log: d}, start, now, func(m []byte) { d.sent = append(d.sent, m) })
	return d
}

func (d *desk) Infof(format string, args ...any) { d.log = append(d.log, fmt.Sprintf(format, args...)) }
func (d *desk) Warnf(format string, args ...any) {
	d.log = append(d.log, "W! "+fmt.Sprintf(format, args...))
}
func (*desk) News() <-chan struct{}                            { return nil }
func (*desk) Said() liveness.Said                              { return liveness.Said{} }
func (*desk) Count() int                                       { return 0 }
func (*desk) Words(int) ([]liveness.Word, int)                 { return nil, 0 }
func (*desk) Answer([]liveness.Word, []uint64) []liveness.Word { return nil }
func (*desk) RecordsOf(hashes []uint64) []liveness.Record {
	return make([]liveness.Record, len(hashes))
}
func (*desk) HearWords(string, time.Duration, []liveness.Word) []uint64 { return nil }
func (d *desk) HearFact(_ string, f *liveness.Fact) {
	d.want = append(d.want, "fact of "+f.Beat.ID.String())
}

func (d *desk) HearRecords(_ string, _ time.Duration, all []liveness.Record) []uint64 {
	for i := range all {
		d.want = append(d.want, "record of "+all[i].ID.String())
	}
	if d.more {
		return make([]uint64, len(all))
	}
	return nil
}
func (d *desk) Settle(question uint32) { d.want = append(d.want, fmt.Sprint("settle ", question)) }
func (*desk) MatesChanged()            {}
func (d *desk) StartReporting(again bool) {
	d.want = append(d.want, fmt.Sprint("speak ", again))
}
func (d *desk) ReportUntil(until time.Time)                        { d.until = until }
func (d *desk) DeferToMate(until time.Time)                        { d.joined = until }
func (d *desk) StopReporting()                                     { d.want = append(d.want, "hush") }
func (d *desk) RepeatRecent()                                      { d.again++ }
func (*desk) TakeReported() []liveness.ReportedEvent               { return nil }
func (*desk) NoteReported(time.Duration, []liveness.ReportedEvent) {}
func (*desk) Ticks() uint64                                        { return 1 << 32 }
func (d *desk) CanReport() (able, isolated bool)                   { return !d.idle, false }
func (d *desk) Flows() bool                                        { return !d.idle }
func (*desk) Asked() (asked, spared int64)                         { return 0, 0 }
func (*desk) CatchPanic(_ string, do func()) bool                  { do(); return true }

// pass lets time pass for desks that receive each other's messages.
func pass(d time.Duration, desks ...*desk) {
	for ; d > 0; d -= tickPause {
		for _, one := range desks {
			one.now = one.now.Add(tickPause)
			one.Tick(one.now)
		}
		exchange(desks)
	}
}

func exchange(desks []*desk) {
	for again := true; again; {
		again = false
		for _, from := range desks {
			sent := from.sent
			from.sent = nil
			for _, m := range sent {
				for _, to := range desks {
					if to != from {
						to.Receive(m, to.now)
						again = true
					}
				}
			}
		}
	}
}

// Of two collectors the first by name reports events. When it is killed, the other takes over,
// and when it is back it takes over again. A restarted collector does not count as a second one
// with the same name.
func TestRestartedCollectorIsNotASecondOne(t *testing.T) {
	begin := time.Now()
	one, two := newDesk("c1", 1, begin), newDesk("c2", 2, begin)
	pass(7*time.Second, one, two)
	require.True(t, one.status.Speaks)
	require.False(t, two.status.Speaks)
	require.Len(t, two.status.Mates, 1)
	require.Equal(t, 1, two.again)

	again := newDesk("c1", 3, two.now.Add(300*time.Millisecond))
	two.now = again.now
	pass(500*time.Millisecond, again, two)
	require.Len(t, two.status.Mates, 1)
	require.Zero(t, two.status.Differ)
	require.Equal(t, 2, two.again, "the one that is back was not told")
	require.ElementsMatch(t, []string{`Found collector "c1"`, `Found collector "c1"`, `Collector "c1" was restarted`}, two.log)
	require.True(t, two.status.Speaks, "the one that spoke was killed")
	require.Equal(t, []string{"speak true"}, two.want)
	pass(10*time.Second, again, two)
	require.True(t, again.status.Speaks)
	require.False(t, two.status.Speaks)
	require.Len(t, two.log, 3)
	require.Equal(t, []string{"speak false"}, one.want)
	require.Equal(t, []string{"speak false"}, again.want)
	require.Zero(t, one.joined)
	require.WithinRange(t, again.joined, again.epoch.Add(startPatience-presencePause-tickPause), again.epoch.Add(startPatience), "the other one spoke then")
}

// A collector that was suspended leaves events to the mate that has taken over until it has
// processed waiting messages. A collector that is alone waits as long.
func TestSuspendedCollectorListensFirst(t *testing.T) {
	for _, alone := range []bool{false, true} {
		one, two := newDesk("c1", 1, time.Now()), newDesk("c2", 2, time.Now())
		all := []*desk{one, two}
		if alone {
			all = all[:1]
		}
		pass(10*time.Second, all...)
		require.Equal(t, one.now.Add(presenceValid), one.until)
		before := one.joined
		pass(10*time.Second, all[1:]...)
		one.now, one.want, one.sent = one.now.Add(10*time.Second), nil, nil
		pass(presenceValid, all...)
		require.Equal(t, []string{"hush"}, one.want)
		pass(time.Second, all...)
		require.Equal(t, []string{"hush", "speak false"}, one.want)
		require.Equal(t, alone, !one.joined.After(before), "what a mate that spoke has seen is known")
		if !alone {
			require.Equal(t, []string{"speak true", "hush"}, two.want)
		}
	}
}

// While a collector starts, it may not have found its mates yet: it declares no peer dead because
// no mate answers.
func TestNoQuestionIsSettledBeforeMatesCanAnswer(t *testing.T) {
	one := newDesk("c1", 1, time.Now())
	one.ask([]uint64{7}, 3, one.now)
	pass(startPatience-tickPause, one)
	require.Empty(t, one.want)
	pass(tickPause, one)
	require.Equal(t, []string{"speak false", "settle 3"}, one.want)
}

// Two collectors with one name are logged once, and still counted later.
func TestTwoCollectorsWithOneName(t *testing.T) {
	begin := time.Now()
	one, two, twin := newDesk("c1", 1, begin), newDesk("c2", 2, begin), newDesk("c2", 3, begin)
	pass(20*time.Second, one, two, twin)
	require.Equal(t, 2, one.status.Differ)
	const twice = `another collector has the same name: give each its own 'name' in [inputs.heartbeat.cluster]`
	count := 0
	for _, line := range one.log {
		if line == `W! Collector "c2" differs: `+twice {
			count++
		}
	}
	require.Equal(t, 2, count, "once of each: %q", one.log)
	require.Equal(t, 1, two.status.Differ)
}

// A message that is not signed with the secret, is older than the latest one, or is for another
// collector changes nothing.
func TestForeignMessagesChangeNothing(t *testing.T) {
	begin := time.Now()
	one, two := newDesk("c1", 1, begin), newDesk("c2", 2, begin)
	pass(2*time.Second, one, two)
	require.Len(t, one.status.Mates, 1)
	before := len(one.log)
	h := header{version: version, kind: kindBye, start: 2, counter: 1 << 40, sent: 2 * time.Second, name: "c2"}
	one.Receive(signMessage([]byte("another secret of 16 bytes"), &h, nil), one.now)
	h.counter = 1
	one.Receive(signMessage(testKey, &h, nil), one.now)
	h.counter, h.to = 1<<40, 7
	one.Receive(signMessage(testKey, &h, nil), one.now)
	one.Receive([]byte("PING"), one.now)
	one.Tick(one.now)
	require.Len(t, one.status.Mates, 1)
	require.Len(t, one.log, before)
	h.to = 0
	one.Receive(signMessage(testKey, &h, nil), one.now)
	require.Empty(t, one.status.Mates, "so that would have been heard")
}

// A delayed message is recognized as old, and ignored if it is too old.
func TestOldMessagesAreIgnored(t *testing.T) {
	var m mate
	require.Zero(t, m.excessDelay(10*time.Second, 3*time.Second), "the first one")
	require.Zero(t, m.excessDelay(11*time.Second, 4*time.Second))
	require.InDelta(t, time.Second, m.excessDelay(12*time.Second, 6*time.Second), float64(10*time.Millisecond))
	require.InDelta(t, time.Minute, m.excessDelay(13*time.Second, 66*time.Second), float64(100*time.Millisecond))
	require.Zero(t, m.excessDelay(75*time.Second, 67*time.Second), "a faster one")
}

// Facts and records that no collector can have made are skipped, and the others are used.
func TestImpossibleFactsAndRecordsAreSkipped(t *testing.T) {
	begin := time.Now()
	one, two := newDesk("c1", 1, begin), newDesk("c2", 2, begin)
	one.check = func(r *liveness.Record) error {
		if r.ID.Source == "" || !r.Reason.Valid() {
			return errors.New("nobody's")
		}
		return nil
	}
	pass(time.Second, one, two)
	one.want = nil
	id := func(source string, pid uint32) liveness.ID {
		return liveness.ID{Source: source, Service: "x"[min(pid, 1):], PID: pid}
	}
	two.sendJSON(kindRecords, 0, recordSet{WallNS: two.now.UnixNano(), Records: []liveness.Record{
		{ID: id("a", 0)}, {}, {ID: id("b", 0), Reason: 250}, {ID: id("c", 0)},
	}}, two.now)
	two.sendJSON(kindFacts, 0, []liveness.Fact{
		{Beat: liveness.Beat{ID: id("d", 0)}},
		{},
		{Beat: liveness.Beat{ID: id("e", 0), Status: 9}},
		{Beat: liveness.Beat{ID: id("f", 0), BackIn: -1}},
		{Beat: liveness.Beat{ID: id("f", 0), Begins: true, MaxRuntime: 1<<63 - 1}},
		{Beat: liveness.Beat{ID: id("g", 7)}, Before: id("a", 0)},
		{Beat: liveness.Beat{ID: id("h", 7)}, Before: id("h", 6)},
	}, two.now)
	exchange([]*desk{one, two})
	require.Equal(t, []string{"record of a/x", "record of c/x", "fact of d/x", "fact of h/7"}, one.want)
	require.Equal(t, `W! Received an invalid message from collector "c2": nobody's`, one.log[len(one.log)-1], "once")
}

// A mate whose record is behind ours gets our record, once: otherwise two collectors that never
// agree would exchange records forever.
func TestRecordsAreAnsweredOnce(t *testing.T) {
	begin := time.Now()
	one, two := newDesk("c1", 1, begin), newDesk("c2", 2, begin)
	pass(time.Second, one, two)
	one.want, two.want, one.more, two.more = nil, nil, true, true
	two.sendJSON(kindRecords, 0, recordSet{WallNS: two.now.UnixNano(), Records: make([]liveness.Record, 3)}, two.now)
	for range 5 {
		for _, from := range []*desk{one, two} {
			sent := from.sent
			from.sent = nil
			for _, m := range sent {
				one.Receive(m, one.now)
				two.Receive(m, two.now)
			}
		}
	}
	require.Len(t, one.want, 3)
	require.Len(t, two.want, 3)
}

// The log names the options that differ.
func TestDifferentOptionsAreNamed(t *testing.T) {
	begin := time.Now()
	one, two := newDesk("c1", 1, begin), newDesk("c2", 2, begin)
	one.rules = map[string]uint64{"dead_after": 1, "expect": 2, "rule": 3}
	two.rules = map[string]uint64{"dead_after": 1, "expect": 4, "tag_keys\n": 5}
	pass(2*time.Second, one, two)
	require.Equal(t, 1, one.status.Differ)
	require.Contains(t, one.log, `W! Collector "c2" differs: its options differ ("expect", "rule", "tag_keys\n"): `+
		`set them the same on all collectors, or their verdicts and series will differ`)
}

// If Telegraf does not accept the metrics of a collector, its reports may not have left it. The
// collector that takes over reports them again.
func TestReportsOfABlockedOutputAreReportedAgain(t *testing.T) {
	begin := time.Now()
	one, two := newDesk("c1", 1, begin), newDesk("c2", 2, begin)
	pass(10*time.Second, one, two)
	require.True(t, one.status.Speaks)
	two.want = nil
	one.idle = true
	pass(time.Second, one, two)
	require.Equal(t, []string{"speak true"}, two.want)
	one.idle = false
	pass(time.Second, one, two)
	require.Equal(t, []string{"speak true", "hush"}, two.want)
	require.Equal(t, "speak false", one.want[len(one.want)-1], "what the other one has told has left it")
}

// A collector that stops while its output is blocked sends no goodbye: its mate reports again
// what may not have left it.
func TestNoGoodbyeWhileTheOutputIsBlocked(t *testing.T) {
	for _, blocked := range []bool{false, true} {
		begin := time.Now()
		one, two := newDesk("c1", 1, begin), newDesk("c2", 2, begin)
		pass(10*time.Second, one, two)
		require.True(t, one.status.Speaks)
		two.want, one.idle = nil, blocked
		one.Bye(one.now)
		exchange([]*desk{one, two})
		pass(5*time.Second, two)
		require.Equal(t, []string{fmt.Sprint("speak ", blocked)}, two.want)
	}
}

// A collector that takes long to restore its peers waits for its mates after that, so that it
// speaks only when it could have heard them.
func TestPatienceBeginsWithTheCircle(t *testing.T) {
	now := time.Now()
	c := NewCircle(&Options{Name: "collector-1", Secret: testKey}, 1, now, nil)
	began := now.Add(time.Minute)
	c.Begin(began)
	require.False(t, c.ready(began.Add(startPatience-1)))
	require.True(t, c.ready(began.Add(startPatience)))
}

// The facts kept for mates that are found later are bounded, and dropped when we are ready.
func TestEarlyFactsAreBounded(t *testing.T) {
	now := time.Now()
	c := NewCircle(&Options{Name: "collector-1", Secret: testKey}, 1, now, nil)
	for range 2 {
		c.keepEarly(make([]liveness.Fact, maxEarly-1), now)
	}
	require.Len(t, c.early, maxEarly)
	c.keepEarly(nil, now.Add(startPatience))
	require.Empty(t, c.early)
}
