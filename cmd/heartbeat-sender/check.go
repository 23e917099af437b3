package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// checkCommand says step by step what works, for a person who wonders why
// nothing arrives.
func checkCommand(ctx context.Context, c *call) error {
	s, targets, err := c.sender()
	if err != nil {
		return err
	}
	failed := c.checkTargetsAloud(ctx, s, targets)
	for _, server := range s.Servers {
		c.say("server", "%s", server)
		if err := c.checkServer(ctx, s, server); err != nil {
			c.say("failed", "%v%s", err, hint(err))
			failed = &failure{code: max(exitCode(err), exitCode(failed))}
		}
	}
	return failed
}

// checkTargetsAloud tells how targets are. One that does not run is a failure:
// its name or path may be misspelt.
func (c *call) checkTargetsAloud(ctx context.Context, s *sender.Sender, targets []watch.Target) (failed error) {
	w := &watch.Watcher{Targets: targets}
	if err := w.Check(ctx); err != nil {
		c.say("failed", "%s", oneLine(err))
		failed = &failure{code: exitConfig}
	}
	states, err := w.Look(ctx)
	if err != nil {
		c.say("failed", "%s", oneLine(err))
	}
	for i, state := range states {
		p := &s.Peers[i]
		*p = seen(*p, state)
		c.say("target", "%s is %s: %s", p.Service, targets[i].String(), describe(state))
		if state.Phase != watch.Running && failed == nil {
			failed = &failure{code: exitNotDelivered}
		}
		p.Silent = false // its identity is asked all the same
	}
	return failed
}

func (c *call) checkServer(ctx context.Context, s *sender.Sender, server string) error {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	if err := c.resolve(ctx, server); err != nil {
		return err
	}
	x := s.Check(ctx, server)
	if x.Remote != "" {
		c.say("connected", "to %s from %s in %s", x.Remote, x.Local, x.Connecting.Round(time.Microsecond))
	}
	for i, answer := range x.Answers {
		if i == 0 {
			c.say("answered", "in %s", x.RoundTrip.Round(time.Microsecond))
			c.say("clock", "%s", skew(x.At, x.RoundTrip, answer.NowMS))
		}
		c.sayWho(&answer)
	}
	return x.Err
}

// resolve tells the addresses of a server, if it has a name.
func (c *call) resolve(ctx context.Context, server string) error {
	_, address, _ := strings.Cut(server, "://")
	host, _, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) != nil {
		return err
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return fmt.Errorf("resolving %.256q failed: %w", host, err)
	}
	c.say("resolved", "%s", strings.Join(addrs, ", "))
	return nil
}

// sayWho tells what a collector makes of a peer.
func (c *call) sayWho(answer *wire.Answer) {
	if answer.Error != "" {
		return // it is told as the failure
	}
	c.say("identity", "%s", sender.Printable(answer.ID))
	deadAfter := time.Duration(answer.DeadAfterMS) * time.Millisecond
	c.say("deadline", "dead after %s of silence", deadAfter)
	c.say("rule", "%s", sender.Printable(answer.Rule))
}

// skew tells how the clock of this host differs from that of a collector.
func skew(here time.Time, roundTrip time.Duration, thereMS int64) string {
	if thereMS == 0 {
		return "the collector does not tell its own"
	}
	// It looked at its clock on average half a round trip ago, and tells whole
	// milliseconds.
	ahead := here.Add(-roundTrip / 2).Sub(time.UnixMilli(thereMS))
	blur := roundTrip/2 + time.Millisecond
	switch {
	case ahead.Abs() <= blur:
		return fmt.Sprintf("the same as the collector's, within %s", blur.Round(time.Millisecond))
	case ahead > 0:
		return fmt.Sprintf("%s ahead of the collector's", ahead.Round(time.Millisecond))
	}
	return fmt.Sprintf("%s behind the collector's", -ahead.Round(time.Millisecond))
}

// hint adds what an error most likely means.
func hint(err error) string {
	var refused *sender.RefusedError
	var unknown *net.DNSError
	var late timeoutError
	switch {
	case errors.As(err, &refused):
		return ""
	case errors.As(err, &unknown):
		return " (is the name right, does this host reach its name server?)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return " (nothing listens there: does Telegraf run, with inputs.heartbeat on that port?)"
	case errors.As(err, &late):
		return " (nothing came back: a firewall between, a wrong address, or no heartbeat collector)"
	}
	return ""
}

func (c *call) say(what, format string, args ...any) {
	fmt.Fprintf(c.stdout, "%-10s %s\n", what, fmt.Sprintf(format, args...))
}
