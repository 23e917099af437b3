package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	watchEvery = 2 * time.Second

	// screenful is how many peers of a place fit into a terminal of 24 lines. With more, the
	// most urgent ones at the top would scroll away.
	screenful = 18

	clearScreen = "\x1b[H\x1b[2J"
)

// watch prints peers repeatedly, until ctx ends.
func watch(ctx context.Context, q *question, c *console) error {
	show := q.redraw
	if q.changes = !c.terminal(); q.changes {
		show = (&changes{question: q}).print
	}
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for first := true; ; first = false {
		found, err := q.look(ctx, c.now())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return execd.Failure(cli.ExitFailed, err)
		}
		var out bytes.Buffer
		show(&out, found, err, c.now())
		if _, err := c.stdout.Write(out.Bytes()); err != nil {
			return execd.Failure(cli.ExitFailed, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// redraw fills a terminal with the listings, or with an error.
func (q *question) redraw(w *bytes.Buffer, found []*listing, failed error, now time.Time) {
	w.WriteString(clearScreen)
	if failed != nil {
		fmt.Fprintln(w, wire.Printable(failed.Error()))
	}
	for _, l := range found {
		q.printListing(w, l, screenful, now)
	}
}

// changes prints the peers that have changed since the previous call.
type changes struct {
	*question
	known   map[string]peer // by name; nil before the first time
	trouble string          // why the listings are not live; "" if they are
}

func (c *changes) print(w *bytes.Buffer, found []*listing, failed error, now time.Time) {
	if trouble := troubleOf(found, failed); trouble != c.trouble {
		c.trouble = trouble
		if trouble == "" {
			trouble = "Live again."
		}
		fmt.Fprintln(w, now.Local().Format(time.TimeOnly), wire.Printable(trouble))
	}
	if failed != nil {
		return
	}
	after := make(map[string]peer)
	for _, l := range found {
		for _, p := range l.peers {
			after[p.Name()] = p
		}
	}
	if c.known != nil {
		c.compare(w, slices.SortedFunc(maps.Values(after), bySince))
	}
	for _, name := range slices.Sorted(maps.Keys(c.known)) {
		if _, there := after[name]; !there && (!c.dead || c.known[name].State == dead) {
			fmt.Fprintln(w, now.Local().Format(time.TimeOnly), "forgotten", wire.Printable(name))
		}
	}
	c.known = after
}

// bySince orders peers by the time of their last change.
func bySince(a, b peer) int {
	return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Name(), b.Name()))
}

// compare prints a line for each peer that has changed, as -listen does.
func (c *changes) compare(w *bytes.Buffer, after []peer) {
	for i := range after {
		p := &after[i]
		before, known := c.known[p.Name()]
		if !known {
			before.Peer = new(api.Peer)
		}
		lasted := seconds(p.Since - before.Since)
		switch {
		case known && p.State == before.State && lasted < time.Second: // a collector and a file round differently
			continue
		case c.dead && p.State != dead && before.State != dead:
			continue
		}
		line := fmt.Sprintf("%s %s %s %s", instant(p.Since).Local().Format(time.TimeOnly), p.State, p.Name(), p.Reason)
		if known {
			line += " after " + formatSpan(lasted)
		}
		if c.why {
			line += ": " + api.Why(p.Reason)
		}
		fmt.Fprintln(w, wire.Printable(line))
	}
}

// troubleOf returns why the listings are not live; "" if they are.
func troubleOf(found []*listing, failed error) string {
	if failed != nil {
		return failed.Error()
	}
	var notes []string
	for _, l := range found {
		notes = append(notes, l.notes...)
	}
	return strings.Join(notes, " ")
}
