package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A mate is one start of another collector.
type mate struct {
	name    string
	start   uint64
	version byte
	met     time.Time
	sent    time.Duration // when its last message was sent, as time since its start

	presence   presence
	seen       time.Time     // when we last received its presence; zero for never
	gone       bool          // it said goodbye
	replaced   bool          // another start with its name has appeared, and this one has been silent since
	maxAge     time.Duration // the maximum age that its last presence can have had on arrival
	reachable  bool          // messages pass in both directions, and it answers
	proved     bool          // it was reachable at some time
	unanswered uint32        // the question that it has not answered in time; 0 for none
	asked      uint32        // its last question that we have answered
	answered   uint32        // our last question that it has answered
	garbled    bool          // an invalid message from it was logged

	// fastest is the travel time of the fastest message. It is the difference between two clocks
	// that started at different times, so it can only be compared with other travel times of the
	// same mate.
	fastest   time.Duration
	fastestAt time.Duration   // when it was measured; 0 for never
	differs   map[string]bool // the differences that were logged
}

func (m *mate) String() string { return fmt.Sprintf("collector %q", m.name) }

// excessDelay returns how much longer a message of m traveled than its fastest message. sent is a
// time on the mate's clock, and received is a time on our clock.
func (m *mate) excessDelay(sent, received time.Duration) time.Duration {
	took := received - sent
	allowed := m.fastest + (received-m.fastestAt)/drift
	if m.fastestAt > 0 && took >= allowed {
		return took - allowed
	}
	m.fastest, m.fastestAt = took, max(received, 1)
	return 0
}

// processPresence processes the presence of a mate.
func (c *Circle) processPresence(m *mate, body []byte, now time.Time) error {
	var p presence
	if err := decode(body, &p); err != nil {
		return err
	}
	ours, hears := p.Hears[c.start]
	maxAge := presenceValid
	if hears { // the mate sent it after it received our message
		maxAge = now.Sub(c.epoch) - time.Duration(ours.SentMS)*time.Millisecond
	}
	if hears && maxAge >= presenceValid {
		return nil // the message was delayed, and the mate may no longer exist
	}
	if m.seen.IsZero() {
		c.markReplaced(m)
	}
	if m.presence.Speaks && !p.Speaks && !p.Able { // Telegraf may not have accepted its last reports
		c.reporterLost = true
	}
	first := m.seen.IsZero() || now.Sub(m.seen) >= presenceValid
	m.presence, m.seen, m.maxAge, m.gone, m.replaced = p, now, maxAge, false, false
	if m.unanswered > 0 && ours.Asked >= m.unanswered {
		m.unanswered, m.answered = 0, max(m.answered, ours.Asked)
	}
	if first {
		c.sendPresence(now) // so that the mate does not have to wait a second to find us
	}
	c.updateMates(now)
	return nil
}

// markReplaced marks all other mates with the same name as replaced, because they have probably
// ended. If one of them sends a message again, two running collectors have the same name.
func (c *Circle) markReplaced(m *mate) {
	for _, other := range c.mates {
		other.replaced = other.replaced || other != m && other.name == m.name
	}
}

func (c *Circle) processBye(m *mate, now time.Time) {
	m.gone = true
	c.updateMates(now)
}

// isReachable reports whether messages between m and us pass in both directions, and m answers
// questions in time.
func (c *Circle) isReachable(m *mate, now time.Time) bool {
	_, heard := m.presence.Hears[c.start]
	return !m.gone && !m.replaced && heard && m.unanswered == 0 && !m.seen.IsZero() && now.Sub(m.seen) < presenceValid && m.name != c.name
}

// reachableMates returns the reachable mates, sorted by name.
func (c *Circle) reachableMates() []*mate {
	var all []*mate
	for _, m := range c.mates {
		if m.reachable {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *mate) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.start, b.start)) })
	return all
}

// updateMates determines which mates are reachable, how they differ, and which collector reports
// events.
func (c *Circle) updateMates(now time.Time) {
	for start, m := range c.mates {
		before := m.reachable
		m.reachable = c.isReachable(m, now)
		switch {
		case m.reachable && !before:
			c.log.Infof("Found %s", m)
			m.answered, m.proved = c.question, true
			c.beginRound(true, now)
			c.peers.RepeatRecent()
			c.sendEarly(m, now)
		case before && !m.reachable:
			c.logLost(m)
		}
		if now.Sub(laterOf(m.seen, m.met)) > time.Minute {
			delete(c.mates, start)
		}
	}
	mates := c.reachableMates()
	c.updateReachable(mates, now)
	c.logDifferences(now)
	c.chooseReporter(mates, now)
	c.status.Speaks = c.reports
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (c *Circle) logLost(m *mate) {
	switch {
	case m.gone:
		c.log.Infof("%s has stopped", capitalized(m))
		return
	case m.replaced:
		c.log.Infof("%s was restarted", capitalized(m))
	default:
		c.log.Warnf("Lost %s: it sends nothing, receives nothing from this collector, or does not answer. "+
			"Check that it runs and that each can reach the other", m)
	}
	c.reporterLost = c.reporterLost || m.presence.Speaks
}

func capitalized(m *mate) string { return "C" + m.String()[1:] }

// updateReachable sets the reachable mates in the status, and notifies the peers if they have
// changed.
func (c *Circle) updateReachable(mates []*mate, now time.Time) {
	names := make([]string, 0, len(mates))
	for _, m := range mates {
		names = append(names, m.name)
	}
	c.status.Mates = names
	if c.ready(now) && (c.names == nil || !slices.Equal(names, c.names)) {
		c.names, c.substitutes, c.reportedAt = names, false, now
		c.peers.MatesChanged()
	}
}

// ready reports whether this collector has run long enough to know everything that its mates know.
func (c *Circle) ready(now time.Time) bool {
	return now.Sub(c.epoch) >= startPatience && now.Sub(c.resumed) >= presenceValid
}

// startOver is called after a pause during which a mate has taken over. This collector must then
// process waiting messages before it is ready, as after a start.
func (c *Circle) startOver(now time.Time) {
	c.resumed, c.readyAt, c.mateReportedAt = now, time.Time{}, time.Time{}
	c.setReporting(false, now)
}

// logDifferences logs how mates differ from this collector. It logs each difference once.
func (c *Circle) logDifferences(now time.Time) {
	differ := 0
	for _, m := range c.mates {
		if now.Sub(laterOf(m.seen, m.met)) >= presenceValid || m.gone {
			continue
		}
		if what := c.describeDifference(m, now); what != "" {
			differ++
			if !m.differs[what] {
				m.differs = map[string]bool{what: true}
				c.log.Warnf("%s differs: %s", capitalized(m), what)
			}
		}
	}
	c.status.Differ = differ
}

// describeDifference returns a description of how m differs and what to do about it, or "" if it
// does not differ.
func (c *Circle) describeDifference(m *mate, now time.Time) string {
	skew := time.Duration(m.presence.WallMS-m.seen.UnixMilli()) * time.Millisecond
	switch {
	case m.version != version:
		return fmt.Sprintf("it uses version %d of the cluster protocol, this collector uses %d: "+
			"its messages are ignored. Upgrade the older collector", m.version, version)
	case m.seen.IsZero():
		return ""
	case c.sharesName(m, now):
		return "another collector has the same name: give each its own 'name' in [inputs.heartbeat.cluster]"
	case !maps.Equal(m.presence.Rules, c.rules):
		return fmt.Sprintf("its options differ (%s): set them the same on all collectors, or their verdicts and series will differ", c.differingOptions(m))
	case skew.Abs() > maxClockSkew+m.maxAge:
		return "its clock and the clock of this collector differ by more than 2s, so their events have different timestamps: " +
			"check time synchronization on both hosts"
	}
	return ""
}

// differingOptions returns the names of the options that differ. Long names are shortened, because
// m can send any text.
func (c *Circle) differingOptions(m *mate) string {
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

// sharesName reports whether another running collector has the name of m.
func (c *Circle) sharesName(m *mate, now time.Time) bool {
	runs := func(m *mate) bool { return !m.gone && !m.replaced && now.Sub(m.seen) < presenceValid }
	for _, other := range c.mates {
		if other != m && other.name == m.name && runs(other) && runs(m) {
			return true
		}
	}
	return m.name == c.name
}

// chooseReporter decides whether this collector reports events. The fittest of the reachable
// collectors reports events. If several are equally fit, the one whose name sorts first does. If
// another collector still reports events, this one waits until that one stops.
func (c *Circle) chooseReporter(mates []*mate, now time.Time) {
	others := c.fitterMates(mates, now)
	mateReports := slices.ContainsFunc(mates, func(m *mate) bool { return m.presence.Speaks })
	should := c.ready(now) && (len(others) == 0 || c.shouldSubstitute(others, mateReports, now))
	c.noteReady(mates, now)
	if should != c.reports && (!should || !mateReports && !c.mayHaveStartedTogether(mates, now)) {
		c.setReporting(should, now)
	}
	if c.reports || mateReports {
		c.reporterLost = false
	}
}

// setReporting sets whether this collector reports events.
func (c *Circle) setReporting(reports bool, now time.Time) {
	if c.reports = reports; reports {
		c.peers.StartReporting(c.reporterLost)
	} else {
		c.peers.StopReporting()
		c.sendReported(now)
	}
	c.sendPresence(now)
}

// fitterMates returns the mates that are fitter to report events than this collector, or equally
// fit with a name that sorts first.
func (c *Circle) fitterMates(mates []*mate, now time.Time) (all []*mate) {
	able, isolated := c.peers.CanReport()
	own := fitness(able, isolated, c.ready(now))
	for _, m := range mates {
		p := &m.presence
		if theirs := fitness(p.Able, p.Isolated, p.Ready); theirs > own || theirs == own && m.name < c.name {
			all = append(all, m)
		}
	}
	return all
}

// shouldSubstitute reports whether this collector must report events although others take
// precedence. It must if no reachable collector reports events: the others probably leave that to a
// collector that this one cannot reach.
func (c *Circle) shouldSubstitute(others []*mate, mateReports bool, now time.Time) bool {
	leads := slices.ContainsFunc(others, func(m *mate) bool { return m.presence.Speaks })
	switch {
	case leads:
		c.substitutes = false
	case !c.substitutes && !mateReports && !c.reports && now.Sub(c.reportedAt) >= presenceValid:
		c.substitutes = true
	}
	if mateReports || c.reports {
		c.reportedAt = now
	}
	return c.substitutes
}

// noteReady records when this collector has become ready. It leaves events seen before that time to
// the mate that reported events then.
func (c *Circle) noteReady(mates []*mate, now time.Time) {
	if !c.readyAt.IsZero() {
		return
	}
	for _, m := range mates {
		if m.presence.Speaks {
			c.mateReportedAt = laterOf(c.mateReportedAt, m.seen)
		}
	}
	if !c.ready(now) {
		return
	}
	c.readyAt = now
	c.peers.DeferToMate(c.mateReportedAt)
	c.sendPresence(now)
}

// mayHaveStartedTogether reports whether a mate whose name sorts first may have become ready at the
// same time as this collector. If so, the next presence of that mate will say that it is ready.
func (c *Circle) mayHaveStartedTogether(mates []*mate, now time.Time) bool {
	return c.ready(now) && slices.ContainsFunc(mates, func(m *mate) bool {
		return m.name < c.name && !m.presence.Ready && m.seen.Sub(c.readyAt) < tickPause
	})
}

// fitness returns how fit a collector is to report events. A higher number is better.
func fitness(able, isolated, ready bool) (much int) {
	for _, is := range []bool{ready, able, !isolated} {
		much *= 2
		if is {
			much++
		}
	}
	return much
}
