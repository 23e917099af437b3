package main

import (
	"context"
	"fmt"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// watcher returns what watches targets and tells s what it sees; they are what
// the first peers of s are about.
func (c *call) watcher(s *sender.Sender, targets []watch.Target) *watch.Watcher {
	w := &watch.Watcher{Targets: targets, Warnf: c.warnf}
	logs := make([]changeLog, len(targets))
	for i := range logs {
		logs[i].say = func(text string, dead bool) { c.sayChange(s.Peers[i].Service, text, dead) }
	}
	w.Report = func(i int, state watch.State) {
		text := describe(state)
		peer := s.Peers[i]
		see(&peer, state)
		if err := s.Tell(peer); err != nil {
			text = err.Error()
		}
		logs[i].add(text, state.Phase == watch.Dead)
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
// neither the host nor each other away.
func (c *call) checkTargets(ctx context.Context, w *watch.Watcher) error {
	err := w.Check(ctx)
	if err == nil || c.settings.target != (watch.Target{}) {
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
		c.warnf("%v", err) // of those that nobody could ask, nothing is said
	}
	for i, state := range states {
		see(&peers[i], state)
	}
	return nil
}

// statusRestarting is what is said of a process that ended, within the grace
// that it has to be back. Like any word of one's own it means alive.
const statusRestarting = "restarting"

// see makes what is said of a peer that of a state of its process.
func see(p *sender.Peer, s watch.State) {
	p.PID, p.StartMS = s.Process.PID, s.Process.StartMS
	p.Silent = s.Phase == watch.Starting
	switch s.Phase {
	case watch.Away: // its silence would be judged by the collector's patience, not by ours
		p.Status = statusRestarting
	case watch.Stopped: // how it ended is no news: it was told to
		p.Status = wire.StatusLeaving
	case watch.Dead:
		p.Status, p.Exit = wire.StatusDead, sender.Exit(s.Exit)
	}
}

// describe tells an operator about a state.
func describe(s watch.State) string {
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
