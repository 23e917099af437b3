package web

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"
)

func TestBadChecksAreRefused(t *testing.T) {
	for want, c := range map[string]Check{
		"the token has 5 bytes: it must have at least 16": {Token: "short", Peer: "a/b"},
		"cannot be part of a URL":                         {Token: "has a space in its middle", Peer: "a/b"},
		"set 'peer', like":                                {Token: uuid},
		"cannot both be set":                              {Token: uuid, Peer: "a/b", Peers: []string{"a/*"}},
		`'peer': "a/" is not a peer`:                      {Token: uuid, Peer: "a/"},
		`'peer': "a b/c" is not a peer`:                   {Token: uuid, Peer: "a b/c"},
		`'peer': "a/*" is a pattern: write it in 'peers'`: {Token: uuid, Peer: "a/*"},
		`'peers': "a" is not a pattern`:                   {Token: uuid, Peers: []string{"a"}},
		`'peers': "a/[" is not a pattern`:                 {Token: uuid, Peers: []string{"a/["}},
		"'every' at least 100ms":                          {Token: uuid, Peer: "a/b", Every: time.Millisecond},
		"at most 400d":                                    {Token: uuid, Peer: "a/b", Grace: 401 * 24 * time.Hour},
		"must be durations":                               {Token: uuid, Peer: "a/b", MaxRuntime: -1},
		"'max_runtime' must be durations of at most":      {Token: uuid, Peer: "a/b", MaxRuntime: 400*24*time.Hour + 1},
		"and 'every' at least 100ms":                      {Token: uuid, Peer: "a/b", Every: time.Microsecond},
		"'schedule' and 'every' cannot both be set":       {Token: uuid, Peer: "a/b", Every: time.Hour, Schedule: "@daily"},
		"'schedule' needs 'peer'":                         {Token: uuid, Peers: []string{"a/*"}, Schedule: "@daily"},
		"'timezone' needs 'schedule'":                     {Token: uuid, Peer: "a/b", Timezone: "UTC"},
		"'grace' must be at least 2s":                     {Token: uuid, Peer: "a/b", Schedule: "@daily", Grace: time.Second},
		"'schedule', 'timezone': \"@weakly\" is not":      {Token: uuid, Peer: "a/b", Schedule: "@weakly"},
		"another check has the same token":                {Token: strings.ToUpper(unknown), Peer: "a/b"},
	} {
		_, err := NewChecks([]Check{{Token: unknown, Peer: "a/b"}, c}, nil, nil)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "check 2 of [[inputs.heartbeat.check]]")
		require.NotContains(t, err.Error(), c.Token)
	}
}

func TestPeersOfChecksAreExpected(t *testing.T) {
	checks, err := NewChecks([]Check{
		{Token: uuid, Peer: "Web-1/backup", Every: time.Hour}, {Token: unknown, Peer: "web-2/host"}, {Token: key, Peers: []string{"web-3/*"}},
	}, nil, nil)
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%+v", *checks.find(uuid)), uuid, "a token is not kept")
	expected, complete := checks.Read(t.Context())
	require.True(t, complete)
	require.Equal(t, []Expected{{"web-1", "backup", time.Hour, 0, nil}, {"web-2", "", 24 * time.Hour, time.Hour, nil}}, expected)
}

func TestSchedulesOfChecks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "checks")
	require.NoError(t, os.WriteFile(name, []byte(unknown+` web-2/payroll schedule="15 2 * * 1-5" timezone=Europe/Berlin grace=30m`), 0o600))
	checks, err := NewChecks([]Check{{Token: uuid, Peer: "web-1/backup", Schedule: "@daily", Timezone: "UTC"}}, []string{name}, new(testutil.CaptureLogger))
	require.NoError(t, err)
	expected, complete := checks.Read(t.Context())
	require.True(t, complete)
	require.Len(t, expected, 2)
	for i, want := range []struct {
		schedule string
		grace    time.Duration
	}{{"@daily UTC", time.Hour}, {"15 2 * * 1-5 Europe/Berlin", 30 * time.Minute}} {
		require.Equal(t, want.schedule, expected[i].Schedule.String())
		require.Equal(t, want.grace, expected[i].Grace)
		require.Zero(t, expected[i].Every)
	}
	var p Ping
	require.NoError(t, p.schedule(checks.find(uuid), url.Values{"every": {"5m"}, "grace": {"1m"}}, defaultEvery, defaultGrace))
	require.Zero(t, p.IntervalMS+p.GraceMS, "the check holds")
}

// A line that is wrong costs itself, and is logged once, without its token.
func TestFilesOfChecksAreReadAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "checks")
	log := new(testutil.CaptureLogger)
	checks, err := NewChecks([]Check{{Token: uuid, Peer: "web-1/backup"}}, []string{name}, log)
	require.NoError(t, err)
	write := func(text string) {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	peers := func() (names []string) {
		expected, _ := checks.Read(t.Context())
		for _, e := range expected {
			names = append(names, fmt.Sprintf("%s/%s %s+%s", e.Host, e.Service, e.Every, e.Grace))
		}
		return names
	}
	_, complete := checks.Read(t.Context())
	require.False(t, complete, "there may be more")
	require.Len(t, log.Warnings(), 1)
	require.Contains(t, log.Warnings()[0], "'check_files'")

	write("\ufeff# ours\n" + unknown + " web-2/backup every=7d grace=2h max_runtime=30m # weekly\r\n\n" +
		key + " web-3/*\n" + fleet + "\nshort a/b\n" + "another-token-of-a-check a/b evry=5m\n")
	require.Equal(t, []string{"web-1/backup 24h0m0s+1h0m0s", "web-2/backup 168h0m0s+2h0m0s"}, peers())
	require.Equal(t, 30*time.Minute, checks.find(unknown).MaxRuntime)
	require.True(t, checks.find(key).covers("web-3", "x"))
	require.Len(t, log.Warnings(), 4)
	require.Contains(t, log.Warnings()[1], name+":5: the peer is missing")
	require.Contains(t, log.Warnings()[2], name+":6: the token has 5 bytes")
	require.Contains(t, log.Warnings()[3], `word 3 is not one of every=, grace=, max_runtime=, schedule= and timezone=`)
	require.Equal(t, []string{"web-1/backup 24h0m0s+1h0m0s", "web-2/backup 168h0m0s+2h0m0s"}, peers())
	require.Len(t, log.Warnings(), 4, "once")
	for _, token := range []string{unknown, key, fleet, "another-token-of-a-check"} {
		require.NotContains(t, fmt.Sprint(log.Messages()), token)
	}

	require.NoError(t, os.Remove(name))
	require.Len(t, peers(), 2, "what was read applies")
	write(uuid + " web-9/x\n")
	require.Equal(t, []string{"web-1/backup 24h0m0s+1h0m0s"}, peers(), "the token of a table is that of the table")
	require.Nil(t, checks.find(unknown), "revoked")
	require.Equal(t, "web-1", checks.find(uuid).host)
	require.NoError(t, os.Chmod(name, 0o644)) //nolint:gosec // that is what is wrong with it
	require.Len(t, checks.Problems(), 1)
	require.ErrorContains(t, checks.Problems()[0], "make it 0600 or 0640")
}

// A second token on a line, where something else belongs, is in no message and no peer.
func TestWrongLinesOfChecksQuoteNoToken(t *testing.T) {
	const other = "anotherTokenOfSomebody01"
	file := filepath.Join(t.TempDir(), "checks")
	var text strings.Builder
	for _, rest := range []string{other, "[" + other, "web-1/x " + other, "web-1/x every=" + other, "web-1/x " + other + "=1h"} {
		fmt.Fprintln(&text, "firstTokenOfSomebody01", rest)
	}
	require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o600))
	log := &testutil.CaptureLogger{}
	checks, err := NewChecks(nil, []string{file}, log)
	require.NoError(t, err)
	peers, _ := checks.Read(t.Context())
	require.Empty(t, peers)
	require.Len(t, log.Warnings(), 5)
	require.NotContains(t, strings.Join(log.Warnings(), ""), other)
}
