package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/probe"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

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
					text += ", for the first time: nothing is said yet"
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
			c.warnf("%s: the probe takes longer than half of -timeout, so nothing is said of it", peers[i].Service)
		case probe.Fail:
			peers[i].Silent = true
			c.warnf("%s: %s, so nothing is said of it", peers[i].Service, describeState(state, probes[i].Limit()))
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
		text += fmt.Sprintf(", exit code %d: it takes longer than %s", s.Code, limit)
	case s.Code == job.CannotRun:
		text += fmt.Sprintf(", exit code %d: it cannot be run", s.Code)
	case s.Code == job.NotFound:
		text += fmt.Sprintf(", exit code %d: it is not there", s.Code)
	default:
		text += fmt.Sprintf(", exit code %d", s.Code)
	}
	if s.Dead {
		return "dead: " + text
	}
	return text
}
