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

// watcher returns what watches targets and tells s what it sees; they are what
// the first peers of s are about. The status hears whether it sees them, and seen what it sees.
func (c *call) watcher(s *sender.Sender, targets []watch.Target, st *status, seen *view) *watch.Watcher {
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
		seen.note(&s.Peers[i], state)
		text := describe(state, targets[i].Grace)
		peer := s.Peers[i]
		see(&peer, state)
		if err := s.Update(peer); err != nil {
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

// look looks once at what is watched, and makes the first of peers say how that is. It
// takes half of the time that there is.
func (c *call) look(ctx context.Context, peers []sender.Peer, watched watchlist) error {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Until(end)/2))
		defer cancel()
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.lookByProbes(ctx, peers[len(watched.targets):], watched.probes) }) // ends with ctx
	return c.lookAtTargets(ctx, peers, watched.targets)
}

func (c *call) lookAtTargets(ctx context.Context, peers []sender.Peer, targets []watch.Target) error {
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
		see(&peers[i], state)
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

// isUnknown reports whether nobody knows how a target is: of one that was never
// seen and of one that has ended, only a look could tell.
func isUnknown(s watch.State) bool {
	return s.Unseen && (s.Phase == watch.Starting || s.Phase == watch.Away)
}

// see makes p what is to be said of a peer whose process is in a state.
func see(p *sender.Peer, s watch.State) {
	p.PID, p.StartMS = s.Process.PID, s.Process.StartMS
	p.Silent = s.Phase == watch.Starting && !s.Unseen
	if isUnknown(s) {
		p.Status = statusUnknown
		return
	}
	switch s.Phase {
	case watch.Away: // its silence would be judged by the collector's patience, not by ours
		p.Status = statusRestarting
	case watch.Stopped: // how it ended is no news: it was told to
		p.Status = sender.StatusLeaving
	case watch.Dead:
		p.Status, p.Exit = sender.StatusDead, sender.Exit(s.Exit)
	}
}

// describe tells an operator about a state of a target with that grace.
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

// changePause is the time between two lines about the changes of one target, on
// average: a service may crash in a loop, and who writes a pid file may name
// another process each time it is read.
const changePause = time.Minute

// changesAtOnce is how many changes in a row are logged at once.
const changesAtOnce = 3

// A changeLog logs how a target changes. Of changes that come too fast the last
// one is logged when its time has come, with how many there were before it.
type changeLog struct {
	say func(text string, dead bool)

	mu     sync.Mutex // guards what follows
	paid   time.Time  // until then each line has had its pause
	text   string     // of the last change
	dead   bool
	unsaid int // changes that are not logged yet
}

func (l *changeLog) add(text string, dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.dead = text, dead
	l.unsaid++
	if l.unsaid > 1 {
		return // its time will come
	}
	if wait := time.Until(l.paid.Add(-(changesAtOnce - 1) * changePause)); wait > 0 {
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
	if now := time.Now(); l.paid.Before(now) {
		l.paid = now
	}
	l.paid = l.paid.Add(changePause)
	l.unsaid = 0
	l.say(text, l.dead)
}

// followProbes runs the probes that peers of s are about until ctx ends, and tells s
// what they say. Beats wait for none of them.
func (c *call) followProbes(ctx context.Context, s *sender.Sender, watched watchlist) {
	var wg sync.WaitGroup
	for i := range watched.probes {
		p, peer := &watched.probes[i], s.Peers[len(watched.targets)+i]
		changes := &changeLog{say: func(text string, bad bool) { c.sayChange(peer.Service, text, bad) }}
		wg.Go(func() { // ends with ctx
			p.Run(ctx, func(state probe.State) {
				text := describeState(state, p.Limit())
				if peer = said(peer, state); peer.Silent {
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

// said returns what is to be said of a peer, as it was said before, whose probe is in a state. One
// failure is no death, but if it is the first thing that is known of the peer, the peer may be dead
// since before a restart of this program: to call it alive would be one death more.
func said(peer sender.Peer, state probe.State) sender.Peer {
	peer.Silent = peer.Silent && state.Status == probe.Fail && !state.Dead
	peer.Status, peer.Exit = state.Status, sender.Exit{}
	if state.Dead {
		peer.Status, peer.Exit = sender.StatusDead, sender.Exit{HasCode: true, Code: int64(state.Code)}
	}
	return peer
}

// lookByProbes runs each probe once and makes its peer say what that is. One failure
// tells nothing yet: then nothing is said, as of a process that is not found.
func (c *call) lookByProbes(ctx context.Context, peers []sender.Peer, probes []probe.Probe) {
	for i, state := range onceEach(ctx, probes) {
		switch state.Status {
		case "":
			peers[i].Silent = true
			c.warnf("%s: the probe takes longer than half of -timeout, so nothing is reported for it", peers[i].Service)
		case probe.Fail:
			peers[i].Silent = true
			c.warnf("%s: %s, so nothing is reported for it", peers[i].Service, describeState(state, probes[i].Limit()))
		default:
			peers[i] = said(peers[i], state)
		}
	}
}

// checkProbesAloud tells what each probe says. One that fails is a failure: its name or
// path may be misspelt.
func (c *call) checkProbesAloud(ctx context.Context, peers []sender.Peer, probes []probe.Probe) (failed error) {
	for i, state := range onceEach(ctx, probes) {
		p := &probes[i]
		peers[i].Silent = false // its identity is asked all the same
		c.say("target", "%s is %s: %s", peers[i].Service, describeCommand(p.Args), describeState(state, p.Limit()))
		if state.Status == probe.Fail {
			failed = &cli.Error{Code: cli.ExitFailed}
		}
	}
	return failed
}

// onceEach runs all probes at the same time. Of one that has not ended before ctx does
// the state is zero.
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

// describeCommand returns what to call a probe in messages. Its arguments may be secret.
func describeCommand(args []string) string { return fmt.Sprintf("probe %.64q", args[0]) }

// describeState tells an operator what a probe says that may take so long.
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
