package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// testCall is a call on the host web-1 with nothing but args. The usual file
// holds text, or is not there.
func testCall(t *testing.T, text string, args ...string) *call {
	name := filepath.Join(t.TempDir(), "heartbeat-sender.toml")
	if text != "" {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	return &call{
		args: args, stdout: new(bytes.Buffer), stderr: new(bytes.Buffer), configFile: name,
		hostName: func() (string, error) { return "web-1", nil },
	}
}

// load does what run does before it calls the command.
func load(t *testing.T, c *call) error {
	cmd, args, err := findCommand(c.args)
	require.NoError(t, err)
	return c.load(cmd, args)
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	for _, given := range []struct {
		file, env, flag bool
		timeout         time.Duration
		tags            string
	}{
		{false, false, false, 3 * time.Second, ""},
		{true, false, false, 11 * time.Second, "file"},
		{false, true, false, 12 * time.Second, "env"},
		{true, true, false, 12 * time.Second, "env"},
		{false, false, true, 13 * time.Second, "flag"},
		{true, false, true, 13 * time.Second, "flag"},
		{false, true, true, 13 * time.Second, "flag"},
		{true, true, true, 13 * time.Second, "flag"},
	} {
		c := testCall(t, "", "once")
		if given.file {
			c = testCall(t, "timeout = \"11s\"\ntag = [\"from=file\"]\n", "once")
		}
		if given.env {
			c.environ = []string{"HEARTBEAT_TIMEOUT=12s", "HEARTBEAT_TAG=from=env"}
		}
		if given.flag {
			c.args = append(c.args, "-timeout", "13s", "-tag", "from=flag")
		}
		require.NoError(t, load(t, c), "%+v", given)
		require.Equal(t, given.timeout, c.settings.timeout, "%+v", given)
		var tags []sender.Tag
		if given.tags != "" {
			tags = []sender.Tag{{Key: "from", Value: given.tags}}
		}
		require.Equal(t, tags, c.settings.peer.Tags, "%+v", given)
	}
}

// What is told first is what is wrong with the command line: it is there for
// all to see. Then comes the file, then the environment.
func TestFirstMistakeIsToldFirst(t *testing.T) {
	wrong := func() *call {
		c := testCall(t, "\n\nsplay = 1\nhost = 1\nip = 1\n", "once", "-timeout", "13")
		c.environ = []string{"HEARTBEAT_SPLAY=12"}
		return c
	}
	c := wrong()
	require.ErrorContains(t, load(t, c), ".toml:3: splay: ")
	c = wrong()
	c.configFile = ""
	require.ErrorContains(t, load(t, c), "HEARTBEAT_SPLAY: ")
	c = wrong()
	c.configFile, c.environ = "", nil
	require.ErrorContains(t, load(t, c), "-timeout: ")
	c = wrong()
	c.args = append(c.args, "-nonsense")
	require.ErrorContains(t, load(t, c), "-nonsense")
	c = wrong()
	c.args = append(c.args, "-h")
	require.ErrorIs(t, load(t, c), cli.ErrHelp)
}

// The interval of "run" declares nothing for "once", and what is not for a
// command is checked all the same.
func TestFileIsForAllCommands(t *testing.T) {
	file := "interval = \"30s\"\nsplay = \"5s\"\nback_in = \"1m\"\nstatus = \"fine\"\n"
	for name, want := range map[string]settings{
		"run":   {interval: 30 * time.Second, backIn: time.Minute, grace: 10 * time.Second, peer: sender.Peer{Status: "fine"}},
		"once":  {peer: sender.Peer{Status: "fine"}, timeout: 3 * time.Second, splay: 5 * time.Second},
		"leave": {timeout: 3 * time.Second},
	} {
		c := testCall(t, file, name)
		require.NoError(t, load(t, c), name)
		require.Equal(t, want, c.settings, name)

		c = testCall(t, strings.Replace(file, "5s", "5", 1), name)
		require.ErrorContains(t, load(t, c), `:2: splay: "5" lacks a unit`, name)
	}
}

func TestHostWithoutNameNeedsOne(t *testing.T) {
	noName := func() (string, error) { return "", errors.New("uname failed") }
	c := testCall(t, "", "once", "-server", "tcp://192.0.2.1:1")
	c.hostName = noName
	err := c.run(t.Context())
	require.EqualError(t, err, "the name of this host cannot be used: uname failed; give one with -host")
	require.Equal(t, cli.ExitConfig, exitCode(err))

	c = testCall(t, "", "leave", "-host", "Web-1")
	c.hostName = noName
	require.NoError(t, load(t, c))
	require.Equal(t, sender.Peer{Host: "web-1", NoIP: true}, c.settings.peer, "who knows whether it is this one")
}

func TestSplayIsCutShortBySignal(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	c := testCall(t, "", "once", "-server", "tcp://192.0.2.1:1", "-splay", "700h")
	err := c.run(ctx)
	require.EqualError(t, err, "stopped before the beat was sent")
	require.Equal(t, cli.ExitFailed, exitCode(err))
}

func TestTimesHaveUnits(t *testing.T) {
	for text, want := range map[string]string{
		"90s":     "",
		"1h30m":   "",
		"0s":      "",
		"0":       "",
		"9600h":   "",
		"10":      `"10" lacks a unit: write "10s"`,
		"2.5":     `"2.5" lacks a unit: write "2.5s"`,
		"1d":      "",
		"1d12h":   "",
		"0.5d":    `"0.5d" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"-1d":     `"-1d" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"400d":    "",
		"inf":     `"inf" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"infd":    `"infd" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"d":       `"d" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"1dd":     `"1dd" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"1d-1s":   `"1d-1s" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"1h1d":    `"1h1d" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"9e99d":   `"9e99d" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"1w":      `"1w" is not a duration: write one like 10s, 5m, 24h or 7d`,
		"-1s":     `"-1s" is not between 0s and 400d`,
		"9600h1s": `"9600h1s" is not between 0s and 400d`,
		"401d":    `"401d" is not between 0s and 400d`,
	} {
		_, err := timeIn(text, 0)
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.EqualError(t, err, want)
	}
}
