package heartbeat

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/filter"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A Rule has other terms for the peers that match all of its host, service and ip.
type Rule struct {
	Host    string `toml:"host"`
	Service string `toml:"service"`
	IP      string `toml:"ip"`

	DeadAfter       *config.Duration `toml:"dead_after"`
	MaxDeadAfter    *config.Duration `toml:"max_dead_after"`
	MissedBeats     *int             `toml:"missed_beats"`
	DisconnectGrace *config.Duration `toml:"disconnect_grace"`
	ForgetDeadAfter *config.Duration `toml:"forget_dead_after"`

	Schedule string           `toml:"schedule"`
	Grace    *config.Duration `toml:"grace"`
	Hours    string           `toml:"hours"`
	Timezone string           `toml:"timezone"`
	Class    string           `toml:"class"`
}

// ephemeral is the class of hosts that come and go.
const ephemeral = "ephemeral"

// compileRules checks rules. terms apply to peers without a rule.
func compileRules(rules []Rule, terms liveness.Terms) ([]*rule, error) {
	compiled := make([]*rule, 0, len(rules))
	for i := range rules {
		c, err := rules[i].compile(i+1, terms)
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, c)
	}
	return compiled, nil
}

// A rule is a compiled Rule.
type rule struct {
	host, service filter.Filter // nil matches all
	ip            netip.Prefix  // invalid matches all
	terms         liveness.Terms
}

// compile checks a rule and applies it to terms. number is its place in the
// configuration, from 1.
func (r *Rule) compile(number int, terms liveness.Terms) (*rule, error) {
	c := &rule{terms: terms}
	r.changeTerms(&c.terms)
	err := firstError(r.check(), r.compileMatch(c), r.compileCalendar(&c.terms))
	if err != nil {
		return nil, inRule(number, err)
	}
	c.terms.Rule = fmt.Sprintf("rule %d", number)
	return c, nil
}

func inRule(number int, err error) error {
	return fmt.Errorf("rule %d of [[inputs.heartbeat.rule]]: %w", number, err)
}

func (r *Rule) check() error {
	if r.Host == "" && r.Service == "" && r.IP == "" {
		return errors.New("it has no condition: set 'host', 'service' or 'ip' (host = \"*\" matches all peers)")
	}
	if r.changesNothing() {
		return errors.New("it changes nothing: set 'dead_after', 'max_dead_after', 'missed_beats', 'grace', " +
			"'schedule', 'hours', 'class', 'disconnect_grace' or 'forget_dead_after'")
	}
	set := func(d *config.Duration, check func(string, config.Duration, time.Duration) error, option string, least time.Duration) error {
		if d == nil {
			return nil
		}
		return check(option, *d, least)
	}
	missed := int64(1)
	if r.MissedBeats != nil {
		missed = int64(*r.MissedBeats)
	}
	return firstError(
		set(r.DeadAfter, atLeast, "dead_after", liveness.MinSilence),
		set(r.MaxDeadAfter, atLeastOrNone, "max_dead_after", liveness.MinSilence),
		set(r.DisconnectGrace, atLeast, "disconnect_grace", 0),
		set(r.ForgetDeadAfter, atLeastOrNone, "forget_dead_after", time.Second),
		set(r.Grace, atLeast, "grace", liveness.MinSilence),
		between("missed_beats", missed, 1, 1000),
		r.contradiction(),
	)
}

func (r *Rule) changesNothing() bool {
	return r.DeadAfter == nil && r.MaxDeadAfter == nil && r.MissedBeats == nil && r.DisconnectGrace == nil && r.ForgetDeadAfter == nil &&
		r.Grace == nil && r.Schedule == "" && r.Hours == "" && r.Class == ""
}

// contradiction returns an error if options of a rule exclude each other or need another
// option.
func (r *Rule) contradiction() error {
	silence := r.DeadAfter != nil || r.MaxDeadAfter != nil
	switch {
	case r.Schedule != "" && (silence || r.MissedBeats != nil):
		return errors.New("'schedule' cannot be combined with 'dead_after', 'max_dead_after' or 'missed_beats': 'grace' sets how late a beat may be")
	case r.Schedule != "" && (r.Hours != "" || r.Class != ""):
		return errors.New("'schedule' cannot be combined with 'hours' or 'class'")
	case r.Grace != nil && (r.DeadAfter != nil || r.MissedBeats != nil):
		return errors.New("'grace' cannot be combined with 'dead_after' or 'missed_beats'")
	case r.Timezone != "" && r.Schedule == "" && r.Hours == "":
		return errors.New("'timezone' needs 'schedule' or 'hours'")
	case r.Class != "" && r.Class != ephemeral:
		return fmt.Errorf("'class' must be %q, not %q", ephemeral, r.Class)
	}
	return nil
}

// defaultPatience is the default of 'grace' with a schedule.
const defaultPatience = time.Hour

// compileCalendar parses the schedule and the hours.
func (r *Rule) compileCalendar(terms *liveness.Terms) (err error) {
	if r.Schedule != "" {
		if terms.Schedule, err = calendar.ParseSchedule(r.Schedule, r.Timezone); err != nil {
			return fmt.Errorf("'schedule', 'timezone': %w", err)
		}
		terms.Patience = cmp.Or(terms.Patience, defaultPatience)
	}
	if r.Hours != "" {
		if terms.Hours, err = calendar.ParseHours(r.Hours, r.Timezone); err != nil {
			return fmt.Errorf("'hours', 'timezone': %w", err)
		}
	}
	return nil
}

// Glob returns a function that reports whether a host and a service match HOST or
// HOST/SERVICE, which are globs as in rules.
func Glob(text string) (func(host, service string) bool, error) {
	host, service, _ := strings.Cut(text, "/")
	var c rule
	if err := (&Rule{Host: host, Service: service}).compileMatch(&c); err != nil {
		return nil, err
	}
	return func(host, service string) bool {
		return c.matches(liveness.ID{Source: host, Service: service}, netip.Addr{})
	}, nil
}

func (r *Rule) compileMatch(c *rule) (err error) {
	if c.host, err = compileGlob("host", strings.ToLower(strings.TrimSuffix(r.Host, "."))); err != nil {
		return err
	}
	if c.service, err = compileGlob("service", r.Service); err != nil {
		return err
	}
	if r.IP == "" {
		return nil
	}
	if c.ip, err = parsePrefix(r.IP); err != nil {
		return fmt.Errorf("'ip' must be an address or a network like \"10.0.0.0/8\", not %q", r.IP)
	}
	return nil
}

func compileGlob(option, glob string) (filter.Filter, error) {
	if glob == "" {
		return nil, nil
	}
	compiled, err := filter.Compile([]string{glob})
	if err != nil {
		return nil, fmt.Errorf("'%s': %q is not a glob: %w", option, glob, err)
	}
	return compiled, nil
}

func (r *Rule) changeTerms(terms *liveness.Terms) {
	set := func(term *time.Duration, d *config.Duration) {
		if d != nil {
			*term = time.Duration(*d)
		}
	}
	set(&terms.DeadAfter, r.DeadAfter)
	set(&terms.MaxDeadAfter, r.MaxDeadAfter)
	set(&terms.Grace, r.DisconnectGrace)
	set(&terms.ForgetDead, r.ForgetDeadAfter)
	set(&terms.Patience, r.Grace)
	terms.Fixed, terms.Ephemeral = r.DeadAfter != nil, r.Class == ephemeral
	if r.MissedBeats != nil {
		terms.Margin = liveness.MarginOf(*r.MissedBeats)
	}
}

func (c *rule) matches(id liveness.ID, addr netip.Addr) bool {
	return (c.host == nil || c.host.Match(id.Source)) &&
		(c.service == nil || c.service.Match(id.Service)) &&
		(!c.ip.IsValid() || c.ip.Contains(addr.Unmap()))
}

// termsOf returns a function that returns the terms of the first rule that matches, or nil.
func termsOf(rules []*rule) func(liveness.ID, netip.Addr) *liveness.Terms {
	return func(id liveness.ID, addr netip.Addr) *liveness.Terms {
		for _, r := range rules {
			if r.matches(id, addr) {
				return &r.terms
			}
		}
		return nil
	}
}
