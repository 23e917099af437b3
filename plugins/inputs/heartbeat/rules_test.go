package heartbeat

import (
	"fmt"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/influxdata/telegraf/config"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

func durationOption(d time.Duration) *config.Duration {
	option := config.Duration(d)
	return &option
}

// A quarterly job can be watched: days are a unit, and 400 of them are not too
// many, in an option, in a rule and as the interval of a beat.
func TestSilenceOfMonths(t *testing.T) {
	h := newPlugin(t)
	_, err := toml.Decode(`
dead_after = "400d"
forget_dead_after = "400d"
[[rule]]
  service = "quarterly"
  dead_after = "92d12h"
`, h)
	require.NoError(t, err)
	require.NoError(t, h.Init())
	tracker := liveness.New(h.liveness(h.valid.rules), time.Now())
	silence := func(service string, interval time.Duration) time.Duration {
		id, _ := liveness.NewID("web-1", service, 1)
		return tracker.SilenceFor(&liveness.Beat{ID: id, Interval: interval}).Dead
	}
	const day = 24 * time.Hour
	require.Equal(t, 400*day, silence("other", 0))
	require.Equal(t, 92*day+12*time.Hour, silence("quarterly", time.Minute))
	require.Equal(t, 400*day+time.Hour, silence("other", 400*day))
}

// The first rule that matches applies, and an acknowledgement names it.
func TestFirstRuleThatMatchesHolds(t *testing.T) {
	h := newPlugin(t)
	two, five := 2, 5
	h.Rules = []Rule{
		{Host: "EDGE-*", Service: "slow*", DeadAfter: durationOption(10 * time.Minute)},
		{Host: "edge-*", MissedBeats: &five},
		{IP: "10.9.0.0/16", MissedBeats: &two},
		{IP: "10.8.0.1", MaxDeadAfter: durationOption(20 * time.Second)},
		{Service: "nginx", DeadAfter: durationOption(15 * time.Second)},
		{Service: "cron", Grace: durationOption(time.Minute)},
	}
	start(t, h)
	c := dial(t, h)
	for _, test := range []struct{ beat, silence, rule string }{
		{`"host":"edge-1","service":"slow-job"`, "600000", "rule 1"},
		{`"host":"edge-1","service":"nginx"`, "55000", "rule 2"},
		{`"host":"web-1","service":"x","ip":"10.9.255.1"`, "25000", "rule 3"},
		{`"host":"web-1","service":"y","ip":"10.8.0.1"`, "20000", "rule 4"},
		{`"host":"web-1","service":"nginx","ip":"10.8.0.2"`, "15000", "rule 5"},
		{`"host":"web-1","service":"cron","ip":"10.8.0.2","grace_ms":5000`, "70000", "rule 6"},
		{`"host":"web-1","service":"apache","ip":"10.8.0.2"`, "35000", "adaptive"},
	} {
		answer := c.beat(fmt.Sprintf(`{%s,"pid":1,"interval_ms":10000,"ack":true}`, test.beat))
		require.Contains(t, answer, fmt.Sprintf(`"dead_after_ms":%s,"rule":%q`, test.silence, test.rule), test.beat)
	}
}

func TestRuleChangesOnlyWhatItNames(t *testing.T) {
	h := newPlugin(t)
	h.Rules = []Rule{{Host: "a", DisconnectGrace: durationOption(0), ForgetDeadAfter: durationOption(time.Hour)}}
	require.NoError(t, h.Init())
	want := h.terms()
	want.Grace, want.ForgetDead, want.Rule = 0, time.Hour, "rule 1"
	require.Equal(t, want, h.valid.rules[0].terms)
	require.Nil(t, termsOf(h.valid.rules)(liveness.ID{Source: "b", Service: "x"}, addr("")))
}

func TestBadRulesAreRefusedByNumberAndName(t *testing.T) {
	none := -1
	for want, rule := range map[string]Rule{
		"it has no condition: set 'host'":                 {MissedBeats: &none},
		"it changes nothing":                              {Host: "a"},
		"'ip' must be an address or a network":            {IP: "10.0.0.300", MissedBeats: new(int)},
		`'host': "[" is not a glob`:                       {Host: "[", DeadAfter: durationOption(time.Minute)},
		"'dead_after' must be at least 2s":                {Host: "a", DeadAfter: durationOption(time.Second)},
		"'max_dead_after' must be at least 2s":            {Host: "a", MaxDeadAfter: durationOption(time.Second)},
		"'missed_beats' must be between 1 and 1000":       {Host: "a", MissedBeats: &none},
		"'disconnect_grace' must be at least 0s":          {Host: "a", DisconnectGrace: durationOption(-1)},
		"'forget_dead_after' must be at least 1s":         {Host: "a", ForgetDeadAfter: durationOption(1)},
		"'grace' must be at least 2s":                     {Host: "a", Grace: durationOption(time.Second)},
		"'schedule' cannot be combined with 'dead_after'": {Host: "a", Schedule: "15 2 * * *", DeadAfter: durationOption(time.Minute)},
		"'schedule' cannot be combined with 'hours'":      {Host: "a", Schedule: "15 2 * * *", Hours: "06:00-20:00"},
		"'grace' cannot be combined with 'dead_after'":    {Host: "a", Grace: durationOption(time.Minute), DeadAfter: durationOption(time.Minute)},
		"'timezone' needs 'schedule'":                     {Host: "a", Grace: durationOption(time.Minute), Timezone: "UTC"},
		`'class' must be "ephemeral", not "cattle"`:       {Host: "a", Class: "cattle"},
		"'schedule', 'timezone': \"15 2\" has 2":          {Host: "a", Schedule: "15 2"},
		"'hours', 'timezone': \"Mars\" is not a":          {Host: "a", Hours: "06:00-20:00", Timezone: "Mars"},
	} {
		h := newPlugin(t)
		two := 2
		if rule.MissedBeats != nil && *rule.MissedBeats == 0 {
			rule.MissedBeats = &two
		}
		h.Rules = []Rule{{Host: "fine", MissedBeats: &two}, rule}
		require.ErrorContains(t, h.Init(), "rule 2 of [[inputs.heartbeat.rule]]: "+want)
	}
}

// Rules with a schedule, hours or a class: when a beat is due, when a peer is expected, and which
// peers may be silent.
func TestRulesOfCalendars(t *testing.T) {
	h := newPlugin(t)
	h.Rules = []Rule{
		{Service: "payroll", Schedule: "15 2 * * 1-5", Timezone: "Europe/Berlin"},
		{Service: "backup", Schedule: "@daily", Timezone: "UTC", Grace: durationOption(30 * time.Minute)},
		{Host: "desk-*", Hours: "Mon-Fri 06:00-20:00", Timezone: "Europe/Berlin", MissedBeats: new(int)},
		{Host: "worker-*", Class: "ephemeral"},
	}
	*h.Rules[2].MissedBeats = 5
	require.NoError(t, h.Init())
	terms := func(i int) liveness.Terms { return h.valid.rules[i].terms }
	require.Equal(t, "15 2 * * 1-5 Europe/Berlin", terms(0).Schedule.String())
	require.Equal(t, time.Hour, terms(0).Patience)
	require.Equal(t, "@daily UTC", terms(1).Schedule.String())
	require.Equal(t, 30*time.Minute, terms(1).Patience)
	require.Equal(t, "Mon-Fri 06:00-20:00 Europe/Berlin", terms(2).Hours.String())
	require.Equal(t, liveness.MarginOf(5), terms(2).Margin)
	require.True(t, terms(3).Ephemeral)
	require.False(t, terms(2).Ephemeral)
}
