package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/probe"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// watcher returns a Watcher for targets, which belong to the first peers of s. It reports
// their states to s and their processes to seen, and records in st whether they could be
// checked.
func (c *call) watcher(s *sender.Sender, targets []watch.Target, st *status, seen *view) *watch.Watcher {
	w := &watch.Watcher{Targets: targets, Warnf: c.warnf}
	logs := make([]changeLog, len(targets))
	for i := range logs {
		logs[i].say = func(text string, dead bool) { c.logChange(s.Peers[i].Service, text, dead) }
	}
	said := make(map[int]watch.State)
	w.Report = func(i int, state watch.State) {
		st.setSeen(s.Peers[i].Service, !state.Unseen)
		state.Unseen = isUnknown(state) // otherwise the last check still counts
		if before, ok := said[i]; ok && before == state {
			return
		}
		said[i] = state
		seen.note(&s.Peers[i], state)
		text := describe(state, targets[i].Grace)
		peer := s.Peers[i]
		setReport(&peer, state)
		if err := s.Update(peer); err != nil {
			text = err.Error()
		}
		logs[i].add(text, state.Phase == watch.Dead || state.Unseen)
	}
	return w
}

func (c *call) logChange(service, text string, dead bool) {
	if dead {
		c.warnf("%s: %s", service, text)
		return
	}
	c.infof("%s: %s", service, text)
}

// checkTargets returns an error if the only target cannot be watched. It only logs errors
// about [[watch]] tables, so that the host and other services still beat, and errors
// because systemd does not answer.
func (c *call) checkTargets(ctx context.Context, w *watch.Watcher) error {
	err := w.Check(ctx)
	if err == nil || c.settings.target != (watch.Target{}) && !errors.Is(err, watch.ErrUnseen) {
		return settingsError(err)
	}
	c.log(logError, "%v", err)
	return nil
}

// look checks targets and probes once, and sets their states in the first peers. It takes
// at most half of the time until the deadline.
func (c *call) look(ctx context.Context, peers []sender.Peer, watched watchlist) error {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Until(end)/2))
		defer cancel()
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.setProbeStatuses(ctx, peers[len(watched.targets):], watched.probes) }) // ends with ctx
	return c.setTargetStates(ctx, peers, watched.targets)
}

func (c *call) setTargetStates(ctx context.Context, peers []sender.Peer, targets []watch.Target) error {
	if len(targets) == 0 {
		return nil
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
		setReport(&peers[i], state)
	}
	return nil
}

// statusRestarting is the status of a process that has ended but may still come back
// within the grace. Like any word without a special meaning, it means alive.
const statusRestarting = "restarting"

// statusUnknown is the status of a target that cannot be checked. Without beats, the
// collector would report the target dead, or left after a restart of the sender, and both
// may be wrong. This status means alive, and is worth an alert.
const statusUnknown = "unknown"

// isUnknown reports whether the state of a target is unknown: it was never seen or
// has ended, and the last check failed.
func isUnknown(s watch.State) bool {
	return s.Unseen && (s.Phase == watch.Starting || s.Phase == watch.Away)
}

// setReport sets the report for p, whose process is in state s.
func setReport(p *sender.Peer, s watch.State) {
	p.PID, p.StartMS = s.Process.PID, s.Process.StartMS
	p.Silent = s.Phase == watch.Starting && !s.Unseen
	if isUnknown(s) {
		p.Status = statusUnknown
		return
	}
	switch s.Phase {
	case watch.Away: // with silence, the collector's deadline would apply instead of our grace
		p.Status = statusRestarting
	case watch.Stopped: // it was asked to end, so the exit does not matter
		p.Status = sender.StatusLeaving
	case watch.Dead:
		p.Status, p.Exit = sender.StatusDead, sender.Exit(s.Exit)
	}
}

// describe returns the state of a target as text for an operator; grace is the target's restart grace.
func describe(s watch.State, grace time.Duration) string {
	if isUnknown(s) {
		return "unknown, because it cannot be checked"
	}
	switch s.Phase {
	case watch.Starting:
		return "not running yet"
	case watch.Running:
		return fmt.Sprintf("running as process %d", s.Process.PID)
	case watch.Away:
		return fmt.Sprintf("process %d ended; waiting %s for a restart", s.Process.PID, grace)
	case watch.Stopped:
		return "stopped on purpose" + describeExit(s.Exit)
	}
	return "dead" + describeExit(s.Exit)
}

func describeExit(e watch.Exit) string {
	switch {
	case e.Signal != "":
		return ", ended by " + e.Signal
	case e.HasCode:
		return fmt.Sprintf(", exit code %d", e.Code)
	}
	return ""
}

// changePause is the average time between two log lines about changes of one target:
// a service may crash in a loop, and a pid file may name another process each time
// it is read.
const changePause = time.Minute

// changesAtOnce is how many changes in a row are logged at once.
const changesAtOnce = 3

// A changeLog logs the changes of a target. If changes come too fast, it logs only
// the last one, later, with the number of earlier ones.
type changeLog struct {
	say func(text string, dead bool)

	mu        sync.Mutex // guards what follows
	busyUntil time.Time  // end of the pauses of all lines so far
	text      string     // of the last change
	dead      bool
	unsaid    int // number of changes not logged yet
}

func (l *changeLog) add(text string, dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.dead = text, dead
	l.unsaid++
	if l.unsaid > 1 {
		return // flush will log it
	}
	if wait := time.Until(l.busyUntil.Add(-(changesAtOnce - 1) * changePause)); wait > 0 {
		time.AfterFunc(wait, l.flush)
		return
	}
	l.write()
}

func (l *changeLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

func (l *changeLog) write() {
	text := l.text
	if skipped := l.unsaid - 1; skipped > 0 {
		text = fmt.Sprintf("%s (%d earlier changes were not logged)", text, skipped)
	}
	if now := time.Now(); l.busyUntil.Before(now) {
		l.busyUntil = now
	}
	l.busyUntil = l.busyUntil.Add(changePause)
	l.unsaid = 0
	l.say(text, l.dead)
}

// followProbes runs the probes of peers of s until ctx ends, and updates s with their
// results. Beats do not wait for probes.
func (c *call) followProbes(ctx context.Context, s *sender.Sender, watched watchlist) {
	var wg sync.WaitGroup
	for i := range watched.probes {
		p, peer := &watched.probes[i], s.Peers[len(watched.targets)+i]
		changes := &changeLog{say: func(text string, bad bool) { c.logChange(peer.Service, text, bad) }}
		wg.Go(func() { // ends with ctx
			p.Run(ctx, func(state probe.State) {
				text := describeState(state, p.Limit())
				if peer = nextReport(peer, state); peer.Silent {
					text += ", for the first time: nothing is reported yet"
				}
				if err := s.Update(peer); err != nil {
					text = err.Error()
				}
				changes.add(text, state.Status != probe.OK)
			})
		})
	}
	wg.Wait()
}

// nextReport returns the next report for a peer whose probe is in a state; peer is the
// previous report. One failure is not a death. But if the first result is a failure, the
// peer may already be reported dead: if it were reported alive now, it would be reported
// dead a second time.
func nextReport(peer sender.Peer, state probe.State) sender.Peer {
	peer.Silent = peer.Silent && state.Status == probe.Fail && !state.Dead
	peer.Status, peer.Exit = state.Status, sender.Exit{}
	if state.Dead {
		peer.Status, peer.Exit = sender.StatusDead, sender.Exit{HasCode: true, Code: int64(state.Code)}
	}
	return peer
}

// setProbeStatuses runs each probe once and sets the status of its peer. After one
// failure the state is unknown, so nothing is reported, as for a process that is not
// found.
func (c *call) setProbeStatuses(ctx context.Context, peers []sender.Peer, probes []probe.Probe) {
	for i, state := range onceEach(ctx, probes) {
		switch state.Status {
		case "":
			peers[i].Silent = true
			c.warnf("%s: the probe takes longer than half of -timeout, so nothing is reported for it", peers[i].Service)
		case probe.Fail:
			peers[i].Silent = true
			c.warnf("%s: %s, so nothing is reported for it", peers[i].Service, describeState(state, probes[i].Limit()))
		default:
			peers[i] = nextReport(peers[i], state)
		}
	}
}

// printProbes prints the result of each probe. A failed probe makes check fail: its name
// or path may be misspelt.
func (c *call) printProbes(ctx context.Context, peers []sender.Peer, probes []probe.Probe) (failed error) {
	for i, state := range onceEach(ctx, probes) {
		p := &probes[i]
		peers[i].Silent = false // so that the collector is asked for its identity
		c.printStep("target", "%s is %s: %s", peers[i].Service, describeCommand(p.Args), describeState(state, p.Limit()))
		if state.Status == probe.Fail {
			failed = &cli.Error{Code: cli.ExitFailed}
		}
	}
	return failed
}

// onceEach runs all probes at the same time. The state of a probe that does not end
// before ctx is zero.
func onceEach(ctx context.Context, probes []probe.Probe) []probe.State {
	states := make([]probe.State, len(probes))
	var wg sync.WaitGroup
	for i := range probes {
		wg.Go(func() { // ends with ctx
			if state, ended := probes[i].Once(ctx); ended {
				states[i] = state
			}
		})
	}
	wg.Wait()
	return states
}

// describeCommand describes a probe in messages, without its arguments, which may be secret.
func describeCommand(args []string) string { return fmt.Sprintf("probe %.64q", args[0]) }

// describeState describes the result of a probe with this time limit for an operator.
func describeState(s probe.State, limit time.Duration) string {
	text := "the probe says " + s.Status
	switch {
	case s.Status != probe.Fail:
		return text
	case s.Code == probe.TimedOut:
		text += fmt.Sprintf(", exit code %d: it took longer than %s", s.Code, limit)
	case s.Code == job.CannotRun:
		text += fmt.Sprintf(", exit code %d: it cannot be run", s.Code)
	case s.Code == job.NotFound:
		text += fmt.Sprintf(", exit code %d: it does not exist", s.Code)
	default:
		text += fmt.Sprintf(", exit code %d", s.Code)
	}
	if s.Dead {
		return "dead: " + text
	}
	return text
}
