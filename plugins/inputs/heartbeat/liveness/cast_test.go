package liveness

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A cast is a life with senders in it that beat by themselves, so that a test
// says only who falls silent and when.
type cast struct {
	t       *testing.T
	opts    Options
	tracker *Tracker
	now     time.Time
	actors  []*actor
	told    []saying
}

// An actor is a peer that beats until it is stopped.
type actor struct {
	beat   Beat
	next   time.Time
	paused bool
	lost   func() bool // of a beat; may be nil
}

// A saying is a transition and when it was told.
type saying struct {
	Transition
	at time.Time
}

func newCast(t *testing.T, change ...func(*Options)) *cast {
	opts := defaults()
	for _, apply := range change {
		apply(&opts)
	}
	return &cast{t: t, opts: opts, tracker: New(opts, epoch), now: epoch}
}

func peerID(source, service string) ID { return ID{Source: source, Service: service} }

// hosts names n hosts.
func hosts(n int) []ID {
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = peerID(fmt.Sprint("web-", i+1), HostService)
	}
	return ids
}

// join lets peers beat, the first time evenly spread over one interval.
func (c *cast) join(every time.Duration, ids ...ID) []*actor {
	joined := make([]*actor, 0, len(ids))
	for i, id := range ids {
		a := &actor{
			beat: Beat{ID: id, Interval: every, Run: "run of " + id.Source, Watched: true},
			next: c.now.Add(every * time.Duration(i) / time.Duration(len(ids))),
		}
		joined = append(joined, a)
	}
	c.actors = append(c.actors, joined...)
	return joined
}

func (c *cast) hear(transitions []Transition) {
	for _, tr := range transitions {
		c.told = append(c.told, saying{tr, c.now})
	}
}

func (c *cast) observe(b Beat) Outcome {
	out := c.tracker.Observe(c.now, &b)
	c.hear(out.Transitions)
	return out
}

// due sends the beats that are due; those of who is paused are lost.
func (c *cast) due() {
	for _, a := range c.actors {
		for ; !a.next.After(c.now); a.next = a.next.Add(a.beat.Interval) {
			a.beat.Seq++
			if !a.paused && (a.lost == nil || !a.lost()) {
				c.observe(a.beat)
			}
		}
	}
}

// pass lets time go on: ticks first, then the beats that came meanwhile.
func (c *cast) pass(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(TickInterval)
		c.hear(c.tracker.Tick(c.now))
		c.due()
	}
}

// passUntil lets time go on until something is so, and returns how long that
// took, at most limit.
func (c *cast) passUntil(limit time.Duration, so func() bool) time.Duration {
	start := c.now
	for !so() && c.now.Sub(start) < limit {
		c.pass(TickInterval)
	}
	return c.now.Sub(start)
}

func pause(actors ...*actor) { setPaused(true, actors) }

func resume(actors ...*actor) { setPaused(false, actors) }

func setPaused(paused bool, actors []*actor) {
	for _, a := range actors {
		a.paused = paused
	}
}

func (c *cast) ended(conn ConnID, end End) {
	c.hear(c.tracker.ConnEnded(c.now, conn, end, addrOf(conn)))
}

// restart lets another collector go on after a while from what this one
// knows. What is sent meanwhile is lost.
func (c *cast) restart(down time.Duration) {
	records := make([]Record, c.tracker.Len())
	for i := range records {
		records[i] = c.tracker.Record(i, c.now)
	}
	saved := c.now.Round(0) // a file holds no monotonic reading
	c.now = c.now.Add(down)
	c.tracker = New(c.opts, c.now)
	for i := range records {
		c.tracker.Restore(&records[i], saved, c.now)
	}
	for _, a := range c.actors {
		for ; a.next.Before(c.now); a.next = a.next.Add(a.beat.Interval) {
			a.beat.Seq++
		}
	}
}

func (c *cast) view(id ID) View {
	c.t.Helper()
	v, ok := viewOf(c.tracker, id, c.now)
	if !ok {
		c.t.Fatalf("%v is not known", id)
	}
	return v
}

func (c *cast) is(id ID) string {
	v, ok := viewOf(c.tracker, id, c.now)
	if !ok {
		return "not known"
	}
	return fmt.Sprint(v.State, " ", v.Reason)
}

// deaths returns who was told dead, in order.
func (c *cast) deaths() []saying {
	return slices.DeleteFunc(slices.Clone(c.told), func(s saying) bool { return s.Event != Changed || s.State != Dead })
}

// saidOf returns the states told of id.
func (c *cast) saidOf(id ID) []string {
	var said []string
	for _, s := range c.told {
		if s.ID == id && s.Event == Changed {
			said = append(said, fmt.Sprint(s.State, " ", s.Reason))
		}
	}
	return said
}
