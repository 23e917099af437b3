package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// watcher returns what watches targets and tells s what it sees; they are what
// the first peers of s are about. The status hears whether it sees them.
func (c *call) watcher(s *sender.Sender, targets []watch.Target, st *status) *watch.Watcher {
	w := &watch.Watcher{Targets: targets, Warnf: c.warnf}
	logs := make([]changeLog, len(targets))
	for i := range logs {
		logs[i].say = func(text string, dead bool) { c.sayChange(s.Peers[i].Service, text, dead) }
	}
	said := make(map[int]watch.State)
	w.Report = func(i int, state watch.State) {
		st.see(s.Peers[i].Service, !state.Unseen)
		state.Unseen = isUnknown(state) // else the last look is as good as another
		if before, ok := said[i]; ok && before == state {
			return
		}
		said[i] = state
		text := describe(state)
		if err := s.Update(seen(s.Peers[i], state)); err != nil {
			text = err.Error()
		}
		logs[i].add(text, state.Phase == watch.Dead || state.Unseen)
	}
	return w
}

func (c *call) sayChange(service, text string, dead bool) {
	if dead {
		c.warnf("%s: %s", service, text)
		return
	}
	c.infof("%s: %s", service, text)
}

// checkTargets returns an error if there is nothing else to speak for than a
// target that cannot be watched. Of those of [[watch]] it is said, but they take
// neither the host nor each other away; nor does a systemd that does not answer.
func (c *call) checkTargets(ctx context.Context, w *watch.Watcher) error {
	err := w.Check(ctx)
	if err == nil || c.settings.target != (watch.Target{}) && !errors.Is(err, watch.ErrUnseen) {
		return invalid(err)
	}
	c.log(logError, "%v", err)
	return nil
}

// look asks once how targets are, and makes the first of peers say that. It
// takes half of the time that there is.
func (c *call) look(ctx context.Context, peers []sender.Peer, targets []watch.Target) error {
	if len(targets) == 0 {
		return nil
	}
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Until(end)/2))
		defer cancel()
	}
	w := &watch.Watcher{Targets: targets, Warnf: c.warnf}
	if err := c.checkTargets(ctx, w); err != nil {
		return err
	}
	states, err := w.Look(ctx)
	if err != nil {
		c.warnf("%v", err)
	}
	for i, state := range states {
		peers[i] = seen(peers[i], state)
	}
	return nil
}

// statusRestarting is what is said of a process that ended, within the grace
// that it has to be back. Like any word of one's own it means alive.
const statusRestarting = "restarting"

// statusUnknown is what is said of a target that cannot be looked at. Silence
// would make it dead, or left after a restart of the sender, and nobody knows
// that: so it is alive, with a word that is worth an alert.
const statusUnknown = "unknown"

// isUnknown tells whether nobody knows how a target is: of one that was never
// seen and of one that has ended, only a look could tell.
func isUnknown(s watch.State) bool {
	return s.Unseen && (s.Phase == watch.Starting || s.Phase == watch.Away)
}

// seen returns what is to be said of a peer whose process is in a state.
func seen(p sender.Peer, s watch.State) sender.Peer {
	p.PID, p.StartMS = s.Process.PID, s.Process.StartMS
	p.Silent = s.Phase == watch.Starting && !s.Unseen
	if isUnknown(s) {
		p.Status = statusUnknown
		return p
	}
	switch s.Phase {
	case watch.Away: // its silence would be judged by the collector's patience, not by ours
		p.Status = statusRestarting
	case watch.Stopped: // how it ended is no news: it was told to
		p.Status = sender.StatusLeaving
	case watch.Dead:
		p.Status, p.Exit = sender.StatusDead, sender.Exit(s.Exit)
	}
	return p
}

// describe tells an operator about a state.
func describe(s watch.State) string {
	if isUnknown(s) {
		return "unknown, because it cannot be looked at"
	}
	switch s.Phase {
	case watch.Starting:
		return "not running yet"
	case watch.Running:
		return fmt.Sprintf("running as process %d", s.Process.PID)
	case watch.Away:
		return fmt.Sprintf("process %d ended, perhaps another one comes", s.Process.PID)
	case watch.Stopped:
		return "stopped on purpose" + ending(s.Exit)
	}
	return "dead" + ending(s.Exit)
}

func ending(e watch.Exit) string {
	switch {
	case e.Signal != "":
		return ", ended by " + e.Signal
	case e.HasCode:
		return fmt.Sprintf(", exit code %d", e.Code)
	}
	return ""
}
