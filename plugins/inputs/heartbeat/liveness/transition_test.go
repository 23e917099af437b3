package liveness

import (
	"hash/fnv"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The stamps of a peer increase by at least a millisecond, because a database would merge two
// points of one series with the same stamp. But stamps follow a clock that was set back.
func TestStampsOfAPeerGrow(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Interval: time.Second, Process: Process{PID: 1}}
	var last time.Time
	grows := func(stamp time.Time) {
		require.GreaterOrEqual(t, stamp.Sub(last), time.Millisecond)
		last = stamp
	}
	for range 3 {
		b.Process.PID++ // each a restart: beat and event in one instant
		out := l.tracker.Observe(l.now, &b)
		grows(out.At)
		for _, tr := range out.Transitions {
			grows(tr.At)
		}
		grows(l.tracker.View(0, l.now).At)
	}
	require.Less(t, last.Sub(l.now), 20*time.Millisecond)
	back := l.now.Add(-time.Hour)
	require.Equal(t, back, l.tracker.View(0, back).At.UTC(), "a clock set back")
}

func TestStampsFollowOnlyAClockSetBackFar(t *testing.T) {
	p := &peer{process: processOf(Process{}, ""), traits: &noTraits}
	require.Equal(t, epoch, p.nextStamp(epoch.Add(999*time.Microsecond)).UTC(), "whole milliseconds")
	require.Equal(t, epoch.Add(time.Millisecond), p.nextStamp(epoch.Add(-4*time.Second)).UTC())
	require.Equal(t, epoch.Add(-6*time.Second), p.nextStamp(epoch.Add(-6*time.Second)).UTC())
}

func TestFlappingForTenMinutes(t *testing.T) {
	p := &peer{process: processOf(Process{}, ""), traits: &noTraits}
	for range flapChanges {
		p.noteChange(time.Minute)
	}
	require.True(t, p.flapping(11*time.Minute))
	require.False(t, p.flapping(11*time.Minute+1))
	p = &peer{process: processOf(Process{}, ""), traits: &noTraits}
	p.noteChange(time.Minute)
	require.False(t, p.flapping(time.Minute+1))
}

func TestLabelsStayUntilTheyChange(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Labels: []Label{{"site", "north"}, {"rack", "7"}}}
	l.observe(b)
	before := l.tracker.View(0, l.now).Labels
	b.Labels = []Label{{"rack", "8"}}
	closing := l.observe(b).Transitions
	require.Len(t, closing, 1, "the series with the old label ends")
	require.Equal(t, []any{Left, ReasonReplaced, before}, []any{closing[0].State, closing[0].Reason, closing[0].Labels})
	require.Empty(t, l.observe(b).Transitions)
	require.Equal(t, []Label{{"site", "north"}, {"rack", "8"}}, l.tracker.View(0, l.now).Labels)
	require.Equal(t, []Label{{"site", "north"}, {"rack", "7"}}, before, "views that were returned do not change")
}

func TestViewsHandedOutKeepTheirLabels(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Labels: []Label{{"a", "1"}, {"b", "1"}, {"c", "1"}}}
	l.observe(b)
	one := l.tracker.lookUp(b.ID)
	one.editTraits().labels = append(make([]Label, 0, 8), one.labels...) // spare capacity behind the labels
	before := one.labels[:4:4]
	b.Labels = []Label{{"d", "1"}}
	l.observe(b)
	require.Zero(t, before[3])
}

func TestConnectedFollowsTheLatestBeat(t *testing.T) {
	l := newRig(t)
	b := Beat{ID: ID{Source: "a", Service: "x"}, Conn: 1}
	l.observe(b)
	require.True(t, l.tracker.View(0, l.now).Connected)
	b.Conn = 2
	l.observe(b)
	ended := func(conn ConnID) { l.tracker.ConnEnded(l.now, conn, Closed, addrOf(conn)) }
	ended(1)
	require.True(t, l.tracker.View(0, l.now).Connected, "the latest beat came over another one")
	ended(2)
	require.False(t, l.tracker.View(0, l.now).Connected)
}

func TestExitCodeAndAddress(t *testing.T) {
	l := newRig(t)
	id := ID{Source: "a", Service: "x"}
	view := func() View { return l.tracker.View(0, l.now) }
	l.observe(Beat{ID: id, Status: SaysDead, ExitCode: 137, HasExitCode: true, Addr: netip.MustParseAddr("10.0.0.1")})
	require.EqualValues(t, 137, view().ExitCode)
	require.InDelta(t, 1.0, view().Suspicion, 0)
	l.observe(Beat{ID: id, Addr: netip.MustParseAddr("10.0.0.2")})
	require.False(t, view().HasExitCode, "it is alive again")
	require.Equal(t, "10.0.0.2", view().Addr.String())
	l.observe(Beat{ID: id, Status: SaysLeaving, ExitCode: 3, HasExitCode: true})
	require.EqualValues(t, 3, view().ExitCode)
	require.Equal(t, ReasonLeaving, view().Reason)
}

// A station is a collector and its reports about one service that beats, dies, comes back, is
// restarted, exits and says goodbye.
type station struct {
	*rig
	run   string // run of the sender on its path to this collector; empty if it numbers no beats
	seq   int64
	conn  ConnID
	pause func() // called after each beat
}

func newStation(t *testing.T, start time.Time, run string) *station {
	s := &station{rig: newRig(t), run: run, pause: func() {}}
	s.start, s.now, s.tracker = start, start, New(s.opts, start)
	return s
}

func (s *station) live() {
	for _, word := range []struct {
		status Status
		pid    uint32
		then   time.Duration
	}{
		{SaysAlive, 100, 2 * time.Second},
		{SaysAlive, 100, 2 * time.Second},
		{SaysAlive, 100, 2 * time.Minute}, // dead of silence
		{SaysAlive, 100, 2 * time.Second},
		{SaysAlive, 200, 2 * time.Second}, // restarted
		{SaysDead, 200, 2 * time.Second},
		{SaysAlive, 100, 2 * time.Second}, // the pid is used again
		{SaysLeaving, 100, 2 * time.Second},
	} {
		s.beat(word.status, word.pid)
		s.pause()
		s.pass(word.then)
	}
}

func (s *station) beat(status Status, pid uint32) {
	b := Beat{ID: peerID("web-1", "nginx"), Status: status, Process: Process{PID: pid}, Interval: 10 * time.Second, Conn: s.conn}
	if s.run != "" {
		s.seq++
		b.Run, b.Seq = s.run, s.seq
	}
	s.observe(b)
}

// restart makes another collector continue from the record of the service that record returns.
func (s *station) restart(record func(*Tracker) Record) {
	s.replace([]Record{record(s.tracker)}, 0)
}

// ids returns the IDs of the reported events, in order, without suspicions, which differ
// between collectors if only one of them lost a connection.
func (s *station) ids() (ids []int64) {
	for _, tr := range s.told {
		if tr.Event != Changed || tr.State == Dead || tr.State == Left {
			ids = append(ids, tr.EventID)
		}
	}
	return ids
}

// These two collectors do not start or tick at the same time, receive beats over two paths of
// one sender, and only one of them loses a connection.
func TestCollectorsGiveAnEventOneID(t *testing.T) {
	one, other := newStation(t, epoch, "k3v9.1"), newStation(t, epoch.Add(33*time.Millisecond), "k3v9.2")
	one.live()
	other.pass(time.Hour)
	other.conn = 1
	other.pause = func() {
		if other.seq == 2 {
			other.ended(other.conn, Closed)
		}
	}
	other.live()
	require.Greater(t, len(other.told), len(one.told), "it was suspect there")
	require.Len(t, one.ids(), 5, "dead, restarted, exited, restarted, left")
	require.Equal(t, one.ids(), other.ids())
}

// A collector that is restarted after each beat assigns the same IDs as one that is not; after
// a crash, which loses the numbers of beats, no ID is assigned twice.
func TestRestartNeitherChangesNorRepeatsEventIDs(t *testing.T) {
	for _, run := range []string{"k3v9.1", ""} {
		steady, restarted, crashed := newStation(t, epoch, run), newStation(t, epoch, run), newStation(t, epoch, run)
		restarted.pause = func() {
			restarted.restart(func(t *Tracker) Record { return t.Record(0, restarted.now) })
		}
		crashed.pause = func() {
			crashed.restart(func(t *Tracker) Record {
				running := t.RunningRecord(0, crashed.now)
				return running.After(0, 0)
			})
		}
		for _, s := range []*station{steady, restarted, crashed} {
			s.live()
			seen := make(map[int64]bool)
			for _, tr := range s.told {
				require.False(t, seen[tr.EventID], "%+v", tr)
				seen[tr.EventID] = true
			}
		}
		require.Len(t, steady.told, len(restarted.told))
		for i, tr := range steady.told {
			require.Equal(t, tr.EventID, restarted.told[i].EventID, "%d: %+v", i, tr)
		}
	}
}

// The numbers of beats start over if a run has no name, and at each collector to which a
// sender beats.
func TestNumbersThatBeginAnewRepeatNoEventID(t *testing.T) {
	unnamed := newStation(t, epoch, "")
	for range 3 {
		for seq, status := range []Status{SaysAlive, SaysLeaving} {
			unnamed.observe(Beat{
				ID: peerID("ct", "job"), Process: Process{PID: 1}, Seq: int64(seq) + 1, Status: status, Interval: time.Second,
				HasExitCode: status == SaysLeaving,
			})
			unnamed.pass(time.Second)
		}
	}
	twoServers := newStation(t, epoch, "")
	for i := range 4 {
		conn := ConnID(i + 1)
		for seq := range int64(2) {
			twoServers.observe(Beat{
				ID: peerID("web-1", "nginx"), Process: Process{PID: 7}, Run: "k3v9." + []string{"1", "2"}[i%2], Seq: int64(i/2)*2 + seq + 1,
				Interval: 10 * time.Second, Conn: conn,
			})
			twoServers.pass(time.Second)
		}
		twoServers.ended(conn, Closed)
	}
	for what, s := range map[string]*station{"unnamed": unnamed, "two servers": twoServers} {
		seen := make(map[int64]bool)
		require.GreaterOrEqual(t, len(s.told), 6, what)
		for _, tr := range s.told {
			require.False(t, seen[tr.EventID], "%s: %+v", what, tr)
			seen[tr.EventID] = true
		}
	}
}

// The IDs are stored: a collector of the next version must assign the same.
func TestEventIDsAreWhatTheyWere(t *testing.T) {
	s := newStation(t, epoch, "k3v9.1")
	s.live()
	require.Equal(t, []int64{6333493633068025, 179091329716060, 4324484529262171, 32096851004926, 5030889991293917}, s.ids())

	h := fnv.New64a()
	h.Write([]byte("nginx\xff\x03\x02\x01\x00\x00\x00\x00\x00"))
	require.Equal(t, h.Sum64(), uint64(newDigest.text("nginx").number(0x010203)))
}
