package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// checkCommand tests each step of the way to the collectors and prints the results, for
// people or as JSON.
func checkCommand(ctx context.Context, c *call) error {
	err := c.check(ctx)
	if !c.settings.json {
		return err
	}
	if err != nil && err.Error() != "" {
		c.printStep("failed", "%v", err)
	}
	return c.printSteps(exitCode(err))
}

func (c *call) check(ctx context.Context) error {
	s, watched, err := c.sender(ctx)
	if err != nil {
		return err
	}
	s.Infof = nil // the steps contain all of it
	failed := c.asService(ctx, len(s.Peers) > 1, func() error {
		failed := c.printTargets(ctx, s, watched.targets)
		return cmp.Or(failed, c.printProbes(ctx, s.Peers[len(watched.targets):], watched.probes))
	})
	for _, server := range s.Servers {
		c.server = server
		c.printStep("server", "%s", server)
		if err := c.checkServer(ctx, s, server); err != nil {
			c.printStep("failed", "%s%s", wire.Printable(err.Error()), hint(err))
			failed = &cli.Error{Code: max(exitCode(err), exitCode(failed))}
		}
	}
	return failed
}

// printTargets prints the states of targets. A target that is not running makes check
// fail: its name or path may be misspelt.
func (c *call) printTargets(ctx context.Context, s *sender.Sender, targets []watch.Target) (failed error) {
	w := &watch.Watcher{Targets: targets}
	wrong := w.Check(ctx)
	if wrong != nil {
		c.printStep("failed", "%v", wrong)
		failed = &cli.Error{Code: cli.ExitConfig}
	}
	w.Warnf = func(format string, args ...any) { // why a target does not run
		if text := fmt.Sprintf(format, args...); wrong == nil || !strings.Contains(wrong.Error(), text) {
			c.printStep("failed", "%s", text)
		}
	}
	states, err := w.Look(ctx)
	if err != nil {
		c.printStep("failed", "%v", err)
	}
	for i, state := range states {
		p := &s.Peers[i]
		setReport(p, state)
		c.printStep("target", "%s is %s: %s", p.Service, targets[i].String(), describe(state, targets[i].Grace))
		if state.Phase != watch.Running && failed == nil {
			failed = &cli.Error{Code: cli.ExitFailed}
		}
		p.Silent = false // so that the collector is asked for its identity
	}
	return failed
}

func (c *call) checkServer(ctx context.Context, s *sender.Sender, server string) error {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	x := s.Check(ctx, server)
	for _, dead := range x.DeadNameServers {
		c.printStep("nameserver", "%s does not answer: every lookup waits for it first", dead)
	}
	if len(x.Resolved) > 0 {
		c.printStep("resolved", "%s", strings.Join(x.Resolved, ", "))
	}
	if x.Remote != "" {
		c.printStep("connected", "to %s from %s in %s", x.Remote, x.Local, x.Connecting.Round(time.Microsecond))
	}
	c.printTLS(s, x.TLS)
	if s.Key.ID != "" {
		c.printStep("signed", "with the key %s", s.Key.ID)
	}
	if x.Err == nil && len(x.Answers) == 0 {
		c.printStep("sent", "a datagram; datagrams are not answered, so whether it arrived is unknown")
	}
	for i, answer := range x.Answers {
		if i == 0 {
			c.printStep("answered", "in %s", x.RoundTrip.Round(time.Microsecond))
			c.printStep("clock", "%s", describeSkew(x.AnsweredAt, x.RoundTrip, answer.Time))
			if x.ClockAhead != 0 && x.Err == nil { // otherwise the clock was not the only problem
				c.printStep("refused", "at first, because this host's clock is wrong; every sender on it is refused once at start: set the clock")
			}
		}
		c.printPeer(&answer)
	}
	return x.Err
}

// printTLS prints the certificates of the collector and of this host.
func (c *call) printTLS(s *sender.Sender, state *tls.ConnectionState) {
	if state == nil {
		return
	}
	c.printStep("tls", "%s with %s", tls.VersionName(state.Version), describeCertificate(state.PeerCertificates[0]))
	config, err := s.TLS()
	if err == nil && len(config.Certificates) > 0 {
		c.printStep("shown", "%s", describeCertificate(config.Certificates[0].Leaf))
	}
}

// describeCertificate returns the names, the issuer and the expiry of a certificate.
func describeCertificate(cert *x509.Certificate) string {
	names := cert.DNSNames
	if len(names) == 0 {
		names = []string{cert.Subject.CommonName}
	}
	return fmt.Sprintf("%s, issued by %s, valid until %s", wire.Printable(strings.Join(names, ", ")),
		wire.Printable(cert.Issuer.CommonName), cert.NotAfter.UTC().Format(time.RFC3339))
}

// printPeer prints the identity and the deadline of a peer at a collector.
func (c *call) printPeer(answer *sender.Answer) {
	if answer.Error != "" {
		return // it is printed as the failure
	}
	c.printStep("identity", "%s", wire.Printable(answer.Peer))
	c.printStep("deadline", "dead after %s of silence", answer.DeadAfter.Round(100*time.Millisecond))
	c.printStep("rule", "%s", wire.Printable(answer.Rule))
}

// describeSkew describes how far the clock of this host is ahead of or behind a collector's
// clock.
func describeSkew(here time.Time, roundTrip time.Duration, there time.Time) string {
	if there.IsZero() {
		return "the collector does not report its time"
	}
	// The collector read its clock half a round trip ago on average, and reports
	// whole milliseconds.
	ahead := here.Add(-roundTrip / 2).Sub(there)
	blur := roundTrip/2 + time.Millisecond
	switch {
	case ahead.Abs() <= blur:
		return fmt.Sprintf("the same as the collector's, within %s", blur.Round(time.Millisecond))
	case ahead > 0:
		return fmt.Sprintf("%s ahead of the collector's", ahead.Round(time.Millisecond))
	}
	return fmt.Sprintf("%s behind the collector's", -ahead.Round(time.Millisecond))
}

// hint returns the most likely cause of an error, in parentheses.
func hint(err error) string {
	var (
		refused  *sender.RefusedError
		stranger x509.UnknownAuthorityError
		name     x509.HostnameError
		plain    tls.RecordHeaderError
		alert    *net.OpError
		unknown  *net.DNSError
		silent   *sender.UnansweredError
		late     timeoutError
	)
	switch {
	case errors.As(err, &refused):
	case errors.As(err, &stranger):
		return " (does -tls-ca contain the CA of the collector?)"
	case errors.As(err, &name):
		return " (is the name in the URL right? If so, give the name in the certificate with -tls-server-name)"
	case errors.As(err, &plain):
		return " (the collector does not speak TLS on that port: is it tcp:// instead of tls://?)"
	case errors.As(err, &alert) && alert.Op == "remote error":
		return " (does the collector require a client certificate that it trusts? Give -tls-cert and -tls-key)"
	case errors.As(err, &unknown):
		return " (is the name right? Can this host reach its name server?)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return " (nothing listens there: is Telegraf running, with inputs.heartbeat on that port?)"
	case errors.As(err, &silent):
		return " (it accepts connections but does not answer: it is starting up, or is not a heartbeat collector)"
	case errors.As(err, &late):
		return " (nothing came back: a firewall in between, a wrong address, or not a heartbeat collector)"
	}
	return ""
}

// The systemd units that run the sender: for the host alone, and for the host and its
// services.
const (
	hostUnit  = "heartbeat-sender.service"
	watchUnit = "heartbeat-sender-watch.service"
)

// asService runs look with the rights of the systemd unit that runs the sender: root can
// read more files, and would not notice missing permissions.
func (c *call) asService(ctx context.Context, services bool, look func() error) error {
	unit := hostUnit
	if services {
		unit = watchUnit
	}
	account, err := watch.AccountOf(ctx, unit)
	switch {
	case err != nil:
		c.printStep("failed", "%v", err)
		return &cli.Error{Code: cli.ExitConfig}
	case account == nil || account.UID == os.Geteuid():
		return look()
	case os.Geteuid() != 0:
		c.printStep("user", "not %s, the user of %s: only root can check what that user sees", account.User, unit)
		return look()
	}
	c.printStep("user", "%s, the user of %s", account.User, unit)
	var failed error
	err = withRightsOf(account, func() {
		if failed = look(); canRead(c.configFile) != nil {
			c.printStep("failed", "%s cannot read %q: make it readable by that user", account.User, c.configFile)
			failed = &cli.Error{Code: cli.ExitConfig}
		}
	})
	if err != nil {
		c.printStep("failed", "cannot switch to user %s: %v", account.User, err)
		return &cli.Error{Code: cli.ExitConfig}
	}
	return failed
}

// A step is one line in the output of check.
type step struct {
	server string // that is being tried; empty for steps about this host
	step   string // the first word of the line
	text   string // the rest of the line
}

// printStep prints a step: immediately, or with all others as one document.
func (c *call) printStep(what, format string, args ...any) {
	text := oneLine(fmt.Sprintf(format, args...))
	if c.settings.json {
		c.steps = append(c.steps, step{c.server, what, text})
		return
	}
	fmt.Fprintf(c.stdout, "%-10s %s\n", what, text)
}

// printSteps prints the document, and returns the result of the command. A quoted TOML
// string is also valid JSON: package encoding/json would make the program larger than 6 MB.
func (c *call) printSteps(code int) error {
	separator := ""
	fmt.Fprintf(c.stdout, "{\n  \"exit_code\": %d,\n  \"steps\": [", code)
	for _, s := range c.steps {
		fmt.Fprintf(c.stdout, "%s\n    {\"server\": %s, \"step\": %s, \"text\": %s}", separator, cli.Quote(s.server), cli.Quote(s.step), cli.Quote(s.text))
		separator = ","
	}
	fmt.Fprintln(c.stdout, "\n  ]\n}")
	if code == 0 {
		return nil
	}
	return &cli.Error{Code: code}
}
