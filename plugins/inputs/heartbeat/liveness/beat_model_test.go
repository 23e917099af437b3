package liveness

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestShortPathHasTheSameResult gives the same beats to two trackers, one of which never uses
// the short path of Observe, and checks that they never differ.
func TestShortPathHasTheSameResult(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			tw := newTwins(t, seed)
			for tw.step = range 1000 {
				tw.something()
				tw.compare()
			}
			t.Logf("%d of %d beats took the short path", tw.plain, tw.beats)
			if tw.plain < tw.beats/50 || tw.plain > tw.beats/2 {
				t.Error("too few or too many beats took the short path")
			}
		})
	}
}

type twins struct {
	t            *testing.T
	rnd          *rand.Rand
	now          time.Time
	one, other   *Tracker // other never uses the short path
	senders      []*Beat  // the latest beat of each sender
	handles      map[*Beat][2]Handle
	step         int
	doing        string
	beats, plain int
}

func newTwins(t *testing.T, seed uint64) *twins {
	rnd := rand.New(rand.NewPCG(seed, 11))
	opts := defaults()
	opts.DeadAfter, opts.ForgetDead, opts.ForgetLeft, opts.Grace = 20*time.Second, 40*time.Second, 15*time.Second, 2*time.Second
	opts.Mates, opts.MaxPeers, opts.MaxBeatsPerSecond = seed%2 == 1, 12, 1+rnd.IntN(3)
	tw := &twins{t: t, rnd: rnd, now: epoch, one: New(opts, epoch), other: New(opts, epoch), handles: make(map[*Beat][2]Handle)}
	for i := range 10 {
		tw.senders = append(tw.senders, twinSender(i))
	}
	return tw
}

func twinSender(i int) *Beat {
	addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	b := &Beat{
		ID: ID{Source: fmt.Sprint("h", i/2), Service: []string{HostService, "web", ""}[i%3]}, Addr: addr, Remote: addr,
		Process: Process{Boot: "b", PID: uint32(100 + i), Start: time.Minute}, Run: fmt.Sprintf("life%d.%d", i/2, i%2),
		Interval: time.Duration(i%3) * time.Second, Conn: ConnID(i),
	}
	if b.ID.Service == "" {
		b.ID.PID = b.Process.PID
	}
	if i > 6 { // a queue delivers the beats of these senders
		b.Watched, b.Conn = true, 7
	}
	if i == 1 { // this sender does not number its beats
		b.Seq, b.Run = -1, ""
	}
	return b
}

func (tw *twins) something() {
	switch draw := tw.rnd.IntN(100); {
	case draw < 70:
		tw.beat()
	case draw < 96:
		tw.pass(TickInterval)
	case draw == 96:
		tw.pass(time.Duration(tw.rnd.IntN(8)) * time.Second) // a stall, or almost one
	case draw == 97:
		conn, end, from := ConnID(tw.rnd.IntN(len(tw.senders))), End(tw.rnd.IntN(4)), netip.AddrFrom4([4]byte{10, 0, 0, 1})
		tw.doing = fmt.Sprint("end ", end, " of ", conn)
		tw.same(tw.one.ConnEnded(tw.now, conn, end, from), tw.other.ConnEnded(tw.now, conn, end, from))
	case draw == 98:
		tw.doing = "save"
		records, gone := tw.one.TakeUnsaved(nil, 5, tw.now)
		others, alsoGone := tw.other.TakeUnsaved(nil, 5, tw.now)
		tw.same(records, others)
		tw.same(gone, alsoGone)
		tw.same(tw.one.DropUnsaved(5), tw.other.DropUnsaved(5))
	case len(tw.one.order) > 0 && tw.one.opts.Mates:
		tw.reportFromMate()
	}
}

func (tw *twins) pass(d time.Duration) {
	tw.now = tw.now.Add(d)
	tw.doing = fmt.Sprint("tick after ", d)
	tw.same(tw.one.Tick(tw.now), tw.other.Tick(tw.now))
}

// reportFromMate makes a mate report a peer in the same state as here, or almost the same, or
// ask about it.
func (tw *twins) reportFromMate() {
	i := tw.rnd.IntN(len(tw.one.order))
	w := tw.one.Word(i, tw.now)
	tw.doing = fmt.Sprintf("mate says %+v", w)
	w.Age = max(w.Age+time.Duration(tw.rnd.IntN(3)-1)*time.Second, 0)
	if tw.rnd.IntN(2) == 0 {
		answer := tw.one.Answer(nil, []uint64{w.ID}, tw.now)
		tw.same(answer, tw.other.Answer(nil, []uint64{w.ID}, tw.now))
	}
	_, transitions := tw.one.HearWords(tw.now, []Word{w}, "mate", 0)
	_, others := tw.other.HearWords(tw.now, []Word{w}, "mate", 0)
	tw.same(transitions, others)
	tw.same(tw.one.TakeSaid(tw.now), tw.other.TakeSaid(tw.now))
}

func (tw *twins) beat() {
	i := tw.rnd.IntN(len(tw.senders))
	if tw.rnd.IntN(50) == 0 { // it starts over
		tw.senders[i] = twinSender(i)
		tw.senders[i].Run = fmt.Sprintf("again%d.%d", tw.step, i%2)
	}
	sender := tw.senders[i]
	if sender.SentMS = tw.now.UnixMilli(); sender.Seq >= 0 {
		sender.Seq++
	}
	said := *sender
	if tw.rnd.IntN(10) == 0 {
		tw.alter(&said)
	}
	if said.Begins { // the start of a job has no number
		sender.Seq--
	}
	said.Seq = max(said.Seq, 0)
	if tw.rnd.IntN(4) == 0 { // the change is permanent
		*sender = said
		sender.Status, sender.Begins, sender.Job, sender.Cancel, sender.BackIn = SaysAlive, false, "", false, 0
	}
	tw.doing = fmt.Sprintf("beat %+v", said)
	handles := tw.handles[sender]
	said.Handle = handles[0]
	if p := tw.one.peerOf(&said); p != nil && tw.one.isRoutine(p, &said, tw.now.Sub(tw.one.epoch), tw.now) {
		tw.plain++
	}
	tw.beats++
	out := tw.one.Observe(tw.now, &said)
	said.Handle = handles[1]
	tw.other.out, tw.other.continued = tw.other.out[:0], continued{}
	same := tw.other.observeAny(tw.now, &said)
	tw.handles[sender] = [2]Handle{out.Handle, same.Handle}
	if tw.rnd.IntN(4) == 0 { // the next beat uses another connection
		delete(tw.handles, sender)
	}
	out.Handle, same.Handle = Handle{}, Handle{}
	tw.same(out, same)
}

// alter changes one thing that a beat reports.
func (tw *twins) alter(b *Beat) {
	n := tw.rnd.IntN(3)
	switch tw.rnd.IntN(24) {
	case 0:
		b.Addr = netip.AddrFrom4([4]byte{10, 0, 1, byte(n)})
	case 1:
		b.Remote = netip.AddrFrom4([4]byte{10, 0, 2, byte(n)})
	case 2:
		b.Labels = []Label{{"site", strconv.Itoa(n)}}
	case 3:
		b.Process.Boot = []string{"", "b", "c"}[n]
	case 4:
		b.Process.PID = uint32(n)
	case 5:
		b.Process.Start = time.Duration(n) * time.Minute
	case 6:
		b.Status, b.BackIn = SaysLeaving, time.Duration(n)*10*time.Second
		if tw.rnd.IntN(2) == 0 { // sent by hand: the process still beats
			b.Run, b.Seq, b.Process.PID = "hand", 1, 0
		}
	case 7:
		b.Status, b.HasExitCode, b.ExitCode = SaysDead, n > 0, int64(n)
	case 8:
		b.Health = Health(n)
	case 9:
		b.Run = []string{"", b.life() + ".9", "other.1"}[n] // the same life over another path, or another life
	case 10:
		b.Seq += int64(n - 1)
	case 11:
		b.Seq = 0
	case 12:
		b.Interval = time.Duration(n) * time.Second
	case 13:
		b.Margin = time.Duration(n) * time.Second
	case 14:
		b.Status, b.Cancel = SaysLeaving, true
	case 15:
		b.Watched = !b.Watched
	case 16:
		b.Verified = !b.Verified
	case 17:
		b.Signed, b.SentMS = true, tw.now.UnixMilli()+int64(n)
	case 18:
		b.SentMS = tw.now.UnixMilli() - int64(n)*5000
	case 19:
		b.User = uint32(n)
	case 20:
		b.Job, b.Begins, b.MaxRuntime = []string{"", "job", "job"}[n], n != 1, time.Duration(tw.rnd.IntN(3))*5*time.Second
	case 21:
		b.Job = "job"
	case 22:
		b.Conn = ConnID(n * 7)
	case 23:
		b.ID.Service, b.ID.PID = []string{HostService, "web", "db"}[n], 0
	}
}

// same checks that both trackers returned the same result.
func (tw *twins) same(one, other any) {
	tw.t.Helper()
	if !reflect.DeepEqual(one, other) && fmt.Sprintf("%+v", one) != fmt.Sprintf("%+v", other) {
		tw.t.Fatalf("step %d, %s:\n%+v\n%+v", tw.step, tw.doing, one, other)
	}
}

// compare checks that both trackers have the same internal state.
func (tw *twins) compare() {
	tw.t.Helper()
	a, b := tw.one, tw.other
	for conn, p := range a.conns.latest { // with several peers, the choice is random when one is removed
		b.conns.latest[conn] = b.order[p.index]
	}
	tw.same(slices.Concat(a.wake, []time.Duration{a.earliest}), slices.Concat(b.wake, []time.Duration{b.earliest}))
	tw.same(a.counts, b.counts)
	for i := range a.order {
		tw.same(a.Record(i, tw.now), b.Record(i, tw.now))
		tw.same(a.Word(i, tw.now), b.Word(i, tw.now))
	}
	inside := func(t *Tracker) []any {
		return []any{t.order, t.unsaved, t.facts, t.news, t.unreported, t.carriers, t.speakers, t.strangers, t.carries}
	}
	one, other := inside(a), inside(b)
	for i := range one {
		if !reflect.DeepEqual(one[i], other[i]) {
			tw.t.Fatalf("step %d, %s: they differ inside:\n%+v\n%+v", tw.step, tw.doing, one[i], other[i])
		}
	}
	defer func() {
		if tw.t.Failed() {
			tw.t.Logf("step %d, %s", tw.step, tw.doing)
		}
	}()
	checkInvariants(tw.t, a)
}
