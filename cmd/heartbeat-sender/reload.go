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

// This file is what two programs know of each other of which one takes over from the other, as
// the same process (decision 40). Only on Linux it can: see reloading.

// errAnew is why a program says goodbye that is to begin anew.
var errAnew = errors.New("other settings")

// trialTime is how long a program may take to say whether it can take over: it asks systemd and
// collectors.
const trialTime = 30 * time.Second

// tryRun looks what run would see and whom it would reach, prints that, and tells nobody. The
// program that runs asks for it before it lets this one take over.
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
		s.Peers[i].Silent = false // to be asked about
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

// A view is what a program beats to and for, and what it knows of that: a line for each.
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

// note notes how the process is that a peer is about.
func (v *view) note(p *sender.Peer, s watch.State) {
	text := "does not run"
	switch {
	case isUnknown(s):
		text = "cannot be looked at"
	case s.Phase == watch.Running:
		text = fmt.Sprintf("runs as process %d", s.Process.PID)
	case s.Phase == watch.Away: // no other program can know that
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

// compare compares v with what another program has printed. Names that it lacks are gone. There is an
// error if it knows less, or otherwise: it does not reach who answers here, or does not see what runs.
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
		case text == answers && !v.sender.Answers(name): // nothing is lost
		case other != text && text != "":
			differ := fmt.Sprintf("the new program finds that %s %s; here it %s", name, other, text)
			if err == nil || differ < err.Error() { // the same each time, of several
				err = errors.New(differ)
			}
		}
	}
	if len(gone) > 0 && !reached {
		err = errors.New("no collector answers the new program")
	}
	return gone, err
}

// part has goodbye said for peers that nobody will name any more, also if nothing is known of them
// in this life: their silence would be a death.
func (v *view) part(names []string) {
	for _, p := range v.sender.Peers {
		if slices.Contains(names, nameOf(&p)) {
			p.Status, p.Silent, p.Exit = sender.StatusLeaving, false, sender.Exit{}
			v.sender.Update(p) //nolint:errcheck // it has been said of before
		}
	}
}

// holdTime is how long the connections of a former life are held: by then the new ones have carried
// beats for all peers.
func holdTime(interval time.Duration) time.Duration {
	return min(max(2*interval, 5*time.Second), 30*time.Second)
}
