package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// This file has what a running program and its successor know about each other. At a reload, the
// successor takes over in the same process (decision 40). This works only on Linux: see reloading.

// errRestart is the cause of a goodbye after which the program starts again.
var errRestart = errors.New("other settings")

// trialTime limits how long a program is tested before it takes over: it asks systemd and collectors.
const trialTime = 30 * time.Second

// tryRun prints which targets the command run would see and which collectors it would reach.
// Collectors record nothing. The running program starts this test before the new program takes
// over.
func (c *call) tryRun(ctx context.Context, s *sender.Sender, watched watchlist) error {
	w := &watch.Watcher{Targets: watched.targets, Warnf: c.warnf}
	if err := c.checkTargets(ctx, w); err != nil {
		return err
	}
	states, err := w.Look(ctx)
	if err != nil {
		return err
	}
	seen := newView(s)
	for i, state := range states {
		seen.note(&s.Peers[i], state)
	}
	for i := range s.Peers {
		s.Peers[i].Silent = false // so that Check includes it
	}
	ctx, cancel := context.WithTimeout(ctx, trialTime/2)
	defer cancel()
	var wg sync.WaitGroup
	for _, server := range s.Servers {
		wg.Go(func() { // ends with ctx
			if err := s.Check(ctx, server).Err; err != nil {
				seen.set(server, "does not answer: "+oneLine(err.Error()))
			}
		})
	}
	wg.Wait()
	fmt.Fprint(c.stdout, seen)
	return nil
}

// A view has one line for each collector and peer of a program, with what the program
// knows about it.
type view struct {
	sender *sender.Sender

	mu    sync.Mutex // guards lines
	lines map[string]string
}

func newView(s *sender.Sender) *view {
	v := &view{sender: s, lines: make(map[string]string)}
	for _, server := range s.Servers {
		v.lines[server] = answers
	}
	for i := range s.Peers {
		v.lines[nameOf(&s.Peers[i])] = ""
	}
	return v
}

const answers = "answers"

// note records the state of the process of a peer.
func (v *view) note(p *sender.Peer, s watch.State) {
	text := "does not run"
	switch {
	case isUnknown(s):
		text = "cannot be looked at"
	case s.Phase == watch.Running:
		text = fmt.Sprintf("runs as process %d", s.Process.PID)
	case s.Phase == watch.Away: // the new program cannot know that
		text = "is restarting"
	}
	v.set(nameOf(p), text)
}

func (v *view) set(name, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lines[name] = text
}

func (v *view) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var b strings.Builder
	for name, text := range v.lines {
		fmt.Fprintf(&b, "%s %s\n", name, text)
	}
	return b.String()
}

// compare compares v with the view that the new program has printed. gone are the names that are
// missing from that view. It returns an error if the new program does not reach a collector that
// answers here, or does not see what runs here.
func (v *view) compare(printed string) (gone []string, err error) {
	others := make(map[string]string)
	for line := range strings.Lines(printed) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		others[name] = text
	}
	reached := false
	for _, text := range others {
		reached = reached || text == answers
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, text := range v.lines {
		switch other, ok := others[name]; {
		case !ok:
			gone = append(gone, name)
		case text == answers && !v.sender.Answers(name): // no connection is lost
		case other != text && text != "":
			differ := fmt.Sprintf("the new program finds that %s %s; here it %s", name, other, text)
			if err == nil || differ < err.Error() { // of several errors, always return the same one
				err = errors.New(differ)
			}
		}
	}
	if len(gone) > 0 && !reached {
		err = errors.New("no collector answers the new program")
	}
	return gone, err
}

// sayGoodbye says goodbye for peers that are no longer in the settings, even if their states
// are unknown: otherwise they would be reported dead.
func (v *view) sayGoodbye(names []string) {
	for _, p := range v.sender.Peers {
		if slices.Contains(names, nameOf(&p)) {
			p.Status, p.Silent, p.Exit = sender.StatusLeaving, false, sender.Exit{}
			v.sender.Update(p) //nolint:errcheck // it was valid before
		}
	}
}

// holdTime is how long the connections of the previous program are kept open: by then the new
// connections have carried beats for all peers.
func holdTime(interval time.Duration) time.Duration {
	return min(max(2*interval, 5*time.Second), 30*time.Second)
}
