package liveness

import (
	"hash/fnv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A station is a collector and what it tells of one service that beats, dies, comes
// back, is restarted, exits and says goodbye.
type station struct {
	tracker *Tracker
	now     time.Time
	run     string // of the sender on its way to this collector; empty if it numbers nothing
	seq     int64
	conn    ConnID
	pause   func() // called after each beat
	told    []Transition
}

func newStation(now time.Time, run string) *station {
	return &station{tracker: New(defaults(), now), now: now, run: run, pause: func() {}}
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
	s.told = append(s.told, s.tracker.Observe(s.now, &b).Transitions...)
}

func (s *station) pass(span time.Duration) {
	for end := s.now.Add(span); s.now.Before(end); {
		s.now = s.now.Add(TickInterval)
		s.told = append(s.told, s.tracker.Tick(s.now)...)
	}
}

// restart lets another collector go on from what record says of the service.
func (s *station) restart(record func(*Tracker) Record) {
	r := record(s.tracker)
	s.tracker = New(defaults(), s.now)
	s.tracker.Restore(&r, s.now, s.now)
}

// ids returns the ids of what was told, in order, of what is of all collectors alike
// if only one of them lost a connection: not that a service was doubted.
func (s *station) ids() (ids []int64) {
	for _, tr := range s.told {
		if tr.Event != Changed || tr.State == Dead || tr.State == Left {
			ids = append(ids, tr.EventID)
		}
	}
	return ids
}

// Two collectors do not start together or tick together, are reached by two ways of
// one sender, and one of them alone loses a connection.
func TestCollectorsGiveAnEventOneID(t *testing.T) {
	one, other := newStation(epoch, "k3v9.1"), newStation(epoch.Add(33*time.Millisecond), "k3v9.2")
	one.live()
	other.pass(time.Hour)
	other.conn = 1
	other.pause = func() {
		if other.seq == 2 {
			other.told = append(other.told, other.tracker.ConnEnded(other.now, other.conn, Closed, addrOf(other.conn))...)
		}
	}
	other.live()
	require.Greater(t, len(other.told), len(one.told), "it was suspect there")
	require.Len(t, one.ids(), 5, "dead, restarted, exited, restarted, left")
	require.Equal(t, one.ids(), other.ids())
}

// A collector that is restarted after each beat gives the ids that one gives that is
// not; after a crash, which forgets numbers, none is given twice.
func TestRestartNeitherChangesNorRepeatsEventIDs(t *testing.T) {
	for _, run := range []string{"k3v9.1", ""} {
		steady, restarted, crashed := newStation(epoch, run), newStation(epoch, run), newStation(epoch, run)
		restarted.pause = func() {
			restarted.restart(func(t *Tracker) Record { return t.Record(0, restarted.now) })
		}
		crashed.pause = func() {
			crashed.restart(func(t *Tracker) Record { return t.RunningRecord(0, crashed.now).After(0, 0) })
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

// The ids are stored: a collector of the next version has to give the same.
func TestEventIDsAreWhatTheyWere(t *testing.T) {
	s := newStation(epoch, "k3v9.1")
	s.live()
	require.Equal(t, []int64{3109979157730298, 8692102646702265, 4727377145075356, 8310103623401176, 5120515907042837}, s.ids())

	h := fnv.New64a()
	h.Write([]byte("nginx\xff\x03\x02\x01\x00\x00\x00\x00\x00"))
	require.Equal(t, h.Sum64(), uint64(newDigest.text("nginx").number(0x010203)))
}
