package heartbeat

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

func TestExpectedIsAHostAnAddressOrAService(t *testing.T) {
	for text, want := range map[string]liveness.Expected{
		"web-1":             {Source: "web-1"},
		"Web-1/nginx":       {Source: "web-1", Service: "nginx"},
		"web-1/a/b":         {Source: "web-1", Service: "a/b"},
		"10.0.0.5":          {Source: "10.0.0.5"},
		"::ffff:10.0.0.5":   {Source: "10.0.0.5"},
		"2001:DB8::1/nginx": {Source: "2001:db8::1", Service: "nginx"},
	} {
		got, err := judge.ParseExpected(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]liveness.Expected{
		"web-1.":              {Source: "web-1"},
		"web-1.example.com./": {},
		"fe80::1%eth0":        {Source: "fe80::1"},
		"web-1/24":            {Source: "web-1", Service: "24"},
		"4711":                {Source: "4711"},
		"web-1.2":             {Source: "web-1.2"},
		"web-1/a:9100":        {Source: "web-1", Service: "a:9100"},
	} {
		if got, err := judge.ParseExpected(text); want.Source != "" {
			require.NoError(t, err, text)
			require.Equal(t, want, got, text)
		} else {
			require.Error(t, err, text)
		}
	}
	for text, want := range map[string]string{
		"":                       "has no host or address",
		"/nginx":                 "has no host or address",
		"web-1/":                 `has no service after the "/"`,
		"web 1":                  "host: ' ' in",
		"web-1/ngi nx":           "service: ' ' in",
		strings.Repeat("a", 300): "has 300 bytes, allowed are 1 to 253",
		"*.example.com":          "is a pattern: list each host by name",
		"web-?":                  "is a pattern",
		"web-1/*":                "is a pattern",
		"web-[1-3]":              "host: '[' in",
		"10.0.0.0/24":            "is a network: list each address",
		"2001:db8::/32":          "is a network",
		"10.0.0.0/255.255.255.0": "is a network",
		"web-1:9100":             "has a port",
		"10.0.0.5:9100":          "has a port",
		"[2001:db8::1]:9100":     "has brackets",
		"[2001:db8::1]":          "has brackets",
		"tcp://web-1:7878":       "is a URL: write only the host",
		"http://web-1/nginx":     "is a URL",
		"10.0.0.256":             "is not an address",
		"10.0.0.0-10.0.0.9":      "is not an address",
		"10.0.0":                 "is not an address",
		"web-1, web-2":           "host: ',' in",
		"müller-pc":              "host: 'ü' in",
		"web-1..":                "ends in more than one dot",
	} {
		_, err := judge.ParseExpected(text)
		require.ErrorContains(t, err, want, text)
	}
	h := newPlugin(t)
	h.Expect = []string{"web-1", "web 2"}
	require.ErrorContains(t, h.Init(), `'expect': "web 2" `)
}

func TestExpectedThatNeverComesIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.Expect = []string{"web-1", "web-2/nginx"}
		acc, connect, stop := startInBubble(t, h)
		c := connect()
		c.send(frame(`{"host":"web-2","service":"nginx","pid":7,"interval_ms":600000}`))
		time.Sleep(4 * time.Minute)
		gather(t, h)
		c.Close()
		stop()
		require.Equal(t, []string{"dead never_seen"}, eventsOf(acc, "web-1"))
		require.Equal(t, "alive beat", eventsOf(acc, "web-2")[0])
	})
}

// Files are read again. A bad line costs only itself, and a file that cannot
// be read changes nothing.
func TestExpectFilesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "hosts")
		write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
		log := &testutil.CaptureLogger{}
		h := newPlugin(t)
		h.Log, h.ExpectFiles = log, []string{path}
		known := func() int { return h.judge.Count() }
		_, _, stop := startInBubble(t, h)
		require.Zero(t, known())
		require.Len(t, log.Warnings(), 1)
		require.Contains(t, log.Warnings()[0], "in 'expect_files': ")

		write("# the web\nweb-1\n\n  web-2/nginx # the proxy\nweb 3\n")
		time.Sleep(regular.RereadPause + time.Second)
		require.Equal(t, 2, known())
		require.Len(t, log.Warnings(), 2)
		require.Contains(t, log.Warnings()[1], path+`:5: "web 3" host: ' ' in "web 3" is not allowed ('expect_files')`)

		require.NoError(t, os.Remove(path))
		time.Sleep(regular.RereadPause + time.Second)
		require.Equal(t, 2, known(), "nobody stops being expected because a file is gone")

		write("web-1\n")
		time.Sleep(regular.RereadPause + time.Second)
		require.Equal(t, 1, known())
		stop()
	})
}

// If files cannot be read when a collector starts, it still expects the peers that its
// predecessor expected.
func TestUnreadableExpectFilesForgetNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "hosts")
		require.NoError(t, os.WriteFile(path, []byte("web-1\n10.0.0.5\nweb-2/nginx\n"), 0o600))
		events := make([]string, 0, 2)
		for range 2 {
			h := newPlugin(t)
			h.StateFile, h.ExpectFiles = filepath.Join(dir, "state"), []string{path}
			acc, _, stop := startInBubble(t, h)
			require.Equal(t, 3, h.judge.Count())
			time.Sleep(4 * time.Minute)
			stop()
			events = append(events, eventsOf(acc, "web-1")...)
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, os.Mkdir(path, 0o700)) // in its place
		}
		require.Equal(t, []string{"dead never_seen"}, events, "told once")
	})
}

// A file that blocks delays neither the start nor the stop.
func TestExpectFileThatBlocksHoldsUpNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no FIFOs in its file system")
	}
	path := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, exec.Command("mkfifo", path).Run())
	log := &testutil.CaptureLogger{}
	h := newPlugin(t)
	h.Log, h.ExpectFiles, h.Expect = log, []string{path, "/dev/zero"}, []string{"web-1"}
	require.NoError(t, h.Init())
	require.NoError(t, h.Start(new(testutil.Accumulator)))
	defer h.Stop()
	require.Equal(t, 1, h.judge.Count(), "what the options name is expected all the same")
	require.Len(t, log.Warnings(), 2)
	require.Contains(t, log.Warnings()[0], "is not a regular file")
	require.Contains(t, log.Warnings()[1], "is not a regular file")
}
