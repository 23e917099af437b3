package heartbeat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
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
		got, err := parseExpected(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "/nginx", "web-1/", "web 1", "web-1/ngi nx", strings.Repeat("a", 300)} {
		_, err := parseExpected(text)
		require.Error(t, err, text)
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
		known := func() int { return h.intake.count() }
		_, _, stop := startInBubble(t, h)
		require.Zero(t, known())
		require.Len(t, log.Warnings(), 1)
		require.Contains(t, log.Warnings()[0], "of 'expect_files' failed: ")

		write("# the web\nweb-1\n\n  web-2/nginx # the proxy\nweb 3\n")
		time.Sleep(rereadFiles + time.Second)
		require.Equal(t, 2, known())
		require.Len(t, log.Warnings(), 2)
		require.Contains(t, log.Warnings()[1], "line 5 of "+`"`+path+`"`+` of 'expect_files': "web 3"`)

		require.NoError(t, os.Remove(path))
		time.Sleep(rereadFiles + time.Second)
		require.Equal(t, 2, known(), "nobody stops being expected because a file is gone")

		write("web-1\n")
		time.Sleep(rereadFiles + time.Second)
		require.Equal(t, 1, known())
		stop()
	})
}

// Files that cannot be read when a collector starts forget nobody whom the one
// before it expected.
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
			require.Equal(t, 3, h.intake.count())
			time.Sleep(4 * time.Minute)
			stop()
			events = append(events, eventsOf(acc, "web-1")...)
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, os.Mkdir(path, 0o700)) // in its place
		}
		require.Equal(t, []string{"dead never_seen"}, events, "told once")
	})
}

func TestManyBadLinesAreFewInTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("bad line\n", 10000)+"web-1\n"), 0o600))
	h := newPlugin(t)
	h.ExpectFiles = []string{path}
	all, err := h.expected()
	require.Equal(t, []liveness.Expected{{Source: "web-1"}}, all)
	require.Len(t, strings.Split(err.Error(), "\n"), wrongToTell)
}
