package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A mate is another collector, in one of its lives.
type mate struct {
	name    string
	start   uint64
	version byte
	met     time.Time
	sent    time.Duration // when its last message was sent, since its start

	presence  presence
	seen      time.Time     // when its presence came last; zero for never
	gone      bool          // it said goodbye
	replaced  bool          // another start of its name is there, and it was not heard since
	doubt     time.Duration // how old its presence was at the most when it came
	reachable bool          // it hears us, we hear it, and it answers
	proved    bool          // it has been reachable
	mute      uint32        // the question that it has left open for too long; 0 for none
	asked     uint32        // the last question of its that we have answered
	answered  uint32        // the last question of ours that it has answered
	garbled   bool          // that it is not understood was said

	// How long the fastest message was underway, by two clocks that began at different
	// times.
	fastest   time.Duration
	fastestAt time.Duration   // when that was measured; 0 for never
	differs   map[string]bool // what was said of how it differs
}

func (m *mate) String() string { return fmt.Sprintf("collector %q", m.name) }

// underway returns how much longer than the fastest message of m one was underway that
// was sent at a time of its clock and received at one of ours.
func (m *mate) underway(sent, received time.Duration) time.Duration {
	took := received - sent
	allowed := m.fastest + (received-m.fastestAt)/drift
	if m.fastestAt > 0 && took >= allowed {
		return took - allowed
	}
	m.fastest, m.fastestAt = took, max(received, 1)
	return 0
}

// takePresence takes in how a mate is.
func (c *Circle) takePresence(m *mate, body []byte, now time.Time) error {
	var p presence
	if err := decode(body, &p); err != nil {
		return err
	}
	ours, hears := p.Hears[c.start]
	doubt := presenceHolds
	if hears { // it was sent after it had heard us
		doubt = now.Sub(c.epoch) - time.Duration(ours.SentMS)*time.Millisecond
	}
	if hears && doubt >= presenceHolds {
		return nil // it has waited somewhere: that mate may be no more
	}
	if m.seen.IsZero() {
		c.replace(m)
	}
	if m.presence.Speaks && !p.Speaks && !p.Able { // what it has told may not have left it
		c.lost = true
	}
	first := m.seen.IsZero() || now.Sub(m.seen) >= presenceHolds
	m.presence, m.seen, m.doubt, m.gone, m.replaced = p, now, doubt, false, false
	if m.mute > 0 && ours.Asked >= m.mute {
		m.mute, m.answered = 0, max(m.answered, ours.Asked)
	}
	if first {
		c.present(now) // so that it hears of us now, and not in a second
	}
	c.review(now)
	return nil
}

// replace notes that a mate is there that has its name from one that has ended, most
// likely: if that one is heard again there are two.
func (c *Circle) replace(m *mate) {
	for _, other := range c.mates {
		other.replaced = other.replaced || other != m && other.name == m.name
	}
}

func (c *Circle) takeBye(m *mate, now time.Time) {
	m.gone = true
	c.review(now)
}

// hears reports whether m and we hear each other.
func (c *Circle) hears(m *mate, now time.Time) bool {
	_, heard := m.presence.Hears[c.start]
	return !m.gone && !m.replaced && heard && m.mute == 0 && !m.seen.IsZero() && now.Sub(m.seen) < presenceHolds && m.name != c.name
}

// reachable returns the mates that are, by name.
func (c *Circle) reachable() []*mate {
	var all []*mate
	for _, m := range c.mates {
		if m.reachable {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *mate) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.start, b.start)) })
	return all
}

// review sees which mates are reachable, what is different about them, and who speaks.
func (c *Circle) review(now time.Time) {
	for start, m := range c.mates {
		before := m.reachable
		m.reachable = c.hears(m, now)
		switch {
		case m.reachable && !before:
			c.log.Infof("Found %s", m)
			m.answered, m.proved = c.question, true
			c.beginRound(true, now)
			c.peers.TellAgain()
			c.tellEarly(m, now)
		case before && !m.reachable:
			c.lose(m)
		}
		if now.Sub(maxTime(m.seen, m.met)) > time.Minute {
			delete(c.mates, start)
		}
	}
	mates := c.reachable()
	c.reach(mates, now)
	c.compare(now)
	c.decideWhoSpeaks(mates, now)
	c.status.Speaks = c.speaks
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (c *Circle) lose(m *mate) {
	switch {
	case m.gone:
		c.log.Infof("%s has stopped", title(m))
		return
	case m.replaced:
		c.log.Infof("%s was restarted", title(m))
	default:
		c.log.Warnf("Lost %s: it sends nothing, receives nothing from this collector, or does not answer. "+
			"Check that it runs and that each can reach the other", m)
	}
	c.lost = c.lost || m.presence.Speaks
}

func title(m *mate) string { return "C" + m.String()[1:] }

// reach tells the peers which mates are reachable, if those are others now.
func (c *Circle) reach(mates []*mate, now time.Time) {
	names := make([]string, 0, len(mates))
	for _, m := range mates {
		names = append(names, m.name)
	}
	c.status.Mates = names
	if c.ready(now) && (c.names == nil || !slices.Equal(names, c.names)) {
		c.names, c.stands, c.spokenAt = names, false, now
		c.peers.MatesChanged()
	}
}

// ready reports whether we know what our mates know: one is there and has told it, or
// there is none.
func (c *Circle) ready(now time.Time) bool {
	return now.Sub(c.epoch) >= startPatience && now.Sub(c.resumed) >= presenceHolds
}

// resume begins anew after a pause in which a mate has taken over: what waits is to be heard
// first.
func (c *Circle) resume(now time.Time) {
	c.resumed, c.readyAt, c.spokeAt = now, time.Time{}, time.Time{}
	c.setSpeaks(false, now)
}

// compare says once of each mate how it differs.
func (c *Circle) compare(now time.Time) {
	differ := 0
	for _, m := range c.mates {
		if now.Sub(maxTime(m.seen, m.met)) >= presenceHolds || m.gone {
			continue
		}
		if what := c.difference(m, now); what != "" {
			differ++
			if !m.differs[what] {
				m.differs = map[string]bool{what: true}
				c.log.Warnf("%s differs: %s", title(m), what)
			}
		}
	}
	c.status.Differ = differ
}

// difference returns what is different about m, or nothing.
func (c *Circle) difference(m *mate, now time.Time) string {
	skew := time.Duration(m.presence.WallMS-m.seen.UnixMilli()) * time.Millisecond
	switch {
	case m.version != version:
		return fmt.Sprintf("it uses version %d of the cluster protocol, this collector uses %d: its messages are ignored. Upgrade the older one", m.version, version)
	case m.seen.IsZero():
		return ""
	case c.hasTwin(m, now):
		return "another collector has the same name: give each its own 'name' in [inputs.heartbeat.cluster]"
	case !maps.Equal(m.presence.Rules, c.rules):
		return fmt.Sprintf("its options differ (%s): set them the same on all collectors, or their verdicts and series will differ", c.otherRules(m))
	case skew.Abs() > clocksDiffer+m.doubt:
		return "its clock and the clock here are more than 2s apart, so their events have different timestamps: check time synchronization on both"
	}
	return ""
}

// otherRules names the options of m that are other ones. The names that it sends are cut: it
// may be mistaken.
func (c *Circle) otherRules(m *mate) string {
	var names []string
	for _, rules := range []map[string]uint64{c.rules, m.presence.Rules} {
		for name := range rules {
			if rules[name] != c.rules[name] || rules[name] != m.presence.Rules[name] {
				names = append(names, fmt.Sprintf("%.40q", name))
			}
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// hasTwin reports whether another collector that runs has the name of m.
func (c *Circle) hasTwin(m *mate, now time.Time) bool {
	runs := func(m *mate) bool { return !m.gone && !m.replaced && now.Sub(m.seen) < presenceHolds }
	for _, other := range c.mates {
		if other != m && other.name == m.name && runs(other) && runs(m) {
			return true
		}
	}
	return m.name == c.name
}

// decideWhoSpeaks lets the first by name tell events of those that are reachable, not
// isolated and able to. One that is to take over from another one that still speaks
// waits until that has stopped.
func (c *Circle) decideWhoSpeaks(mates []*mate, now time.Time) {
	others := c.goBefore(mates, now)
	waits := slices.ContainsFunc(mates, func(m *mate) bool { return m.presence.Speaks })
	should := c.ready(now) && (len(others) == 0 || c.standsIn(others, waits, now))
	c.noteReady(mates, now)
	if should != c.speaks && (!should || !waits && !c.begins(mates, now)) {
		c.setSpeaks(should, now)
	}
	if c.speaks || waits {
		c.lost = false
	}
}

// setSpeaks lets this collector tell events, or no more.
func (c *Circle) setSpeaks(speaks bool, now time.Time) {
	if c.speaks = speaks; speaks {
		c.peers.Speak(c.lost)
	} else {
		c.peers.Hush()
		c.tellTold(now)
	}
	c.present(now)
}

// goBefore returns the mates that are fitter to tell events than this collector, or as fit
// and before it by name.
func (c *Circle) goBefore(mates []*mate, now time.Time) (all []*mate) {
	able, isolated := c.peers.Able()
	own := fitness(able, isolated, c.ready(now))
	for _, m := range mates {
		p := &m.presence
		if theirs := fitness(p.Able, p.Isolated, p.Ready); theirs > own || theirs == own && m.name < c.name {
			all = append(all, m)
		}
	}
	return all
}

// standsIn reports whether this collector tells events though others go before it: none of
// them does, nor does anybody else that is reachable. They hear one that this one does not.
func (c *Circle) standsIn(others []*mate, waits bool, now time.Time) bool {
	leads := slices.ContainsFunc(others, func(m *mate) bool { return m.presence.Speaks })
	switch {
	case leads:
		c.stands = false
	case !c.stands && !waits && !c.speaks && now.Sub(c.spokenAt) >= presenceHolds:
		c.stands = true
	}
	if waits || c.speaks {
		c.spokenAt = now
	}
	return c.stands
}

// noteReady notes when we have become ready. What we saw while a mate spoke that one has told.
func (c *Circle) noteReady(mates []*mate, now time.Time) {
	if !c.readyAt.IsZero() {
		return
	}
	for _, m := range mates {
		if m.presence.Speaks {
			c.spokeAt = maxTime(c.spokeAt, m.seen)
		}
	}
	if !c.ready(now) {
		return
	}
	c.readyAt = now
	c.peers.Join(c.spokeAt)
	c.present(now)
}

// begins reports whether we have just become ready, and a mate that goes first may have
// too: if both have started together, its presence has yet to say so.
func (c *Circle) begins(mates []*mate, now time.Time) bool {
	return c.ready(now) && slices.ContainsFunc(mates, func(m *mate) bool {
		return m.name < c.name && !m.presence.Ready && m.seen.Sub(c.readyAt) < tickPause
	})
}

// fitness returns how fit a collector is to tell events: the more the better.
func fitness(able, isolated, ready bool) (much int) {
	for _, is := range []bool{ready, able, !isolated} {
		much *= 2
		if is {
			much++
		}
	}
	return much
}
