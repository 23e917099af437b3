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

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

const unknownPeer = `"error":"peer web-9/host is unknown, and 'accept' is \"known\": ` +
	`add it or its host to 'expect' or 'expect_files', or configure a check for it"`

// A connection that speaks for many hosts goes on, however many of them are not known.
func TestPeersThatAreNotKnownAreRefusedAndCostNoConnection(t *testing.T) {
	h := newPlugin(t)
	h.Accept, h.Expect = "known", []string{"web-1"}
	acc := start(t, h)
	c := dial(t, h)
	require.NotContains(t, c.beat(`{"host":"Web-1","service":"nginx","pid":7,"interval_ms":60000,"ack":true}`), "error")
	for range 2 * inARow {
		require.Contains(t, c.beat(`{"host":"web-9","pid":0,"ack":true}`), unknownPeer)
	}
	require.Contains(t, c.beat(`{"host":"web-9","pid":0,"check":true}`), unknownPeer, "a check tells it too")
	require.Contains(t, c.beat(`{"host":"web-9","pid":0,"status":"leaving","ack":true}`), `"known":false`)
	require.Contains(t, c.beat(`{"host":"web-9","pid":0,"status":"leaving","exit_code":0,"ack":true}`), unknownPeer)
	require.NotContains(t, c.beat(`{"host":"web-1","pid":0,"interval_ms":60000,"check":true}`), "error")
	require.NotContains(t, c.beat(`{"host":"web-1","pid":0,"interval_ms":60000,"ack":true}`), "error")
	require.EqualValues(t, 2*inARow+2, rejected(h, judge.ReasonUnknownPeer))
	h.Stop()
	require.Equal(t, []string{"alive beat", "alive beat"}, eventsOf(acc, "web-1"))
	require.Empty(t, eventsOf(acc, "web-9"))
}

func TestTokensAreAcceptedForWhomTheyMaySpeak(t *testing.T) {
	const key = "a-key-of-several-peers"
	h := newPlugin(t)
	h.Accept = "known"
	h.Checks = []Check{
		{Token: secretOf(backupToken), Peer: "web-1", Every: hours(24), Grace: hours(1)},
		{Token: secretOf(key), Peers: []string{"web-2/*"}},
	}
	url := startHTTP(t, h, new(testutil.Accumulator))
	client := newBrowser(t, nil)
	bearer := []string{"Authorization", "Bearer " + key}
	for _, x := range []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{"GET", "/ping/" + backupToken, "", nil, 200},
		{"GET", "/ping/web-1/cron", "", nil, 200}, // its host has a check
		{"GET", "/ping/" + key + "/cron", "", nil, 200},
		{"GET", "/ping/" + key + "/job/start", "", nil, 200},
		{"POST", "/beat", `{"host":"web-2","pid":0,"ack":true}`, bearer, 200},
		{"POST", "/beat", `{"host":"web-2","service":"nginx","pid":7,"check":true}`, bearer, 200},
		{"GET", "/ping/web-2/other", "", nil, 403},
		{"GET", "/ping/web-2/cron", "", nil, 200}, // it is known now
		{"GET", "/ping/web-3/cron", "", nil, 403},
		{"GET", "/ping/web-3/cron/start", "", nil, 403},
		{"GET", "/ping/web-3/cron/1", "", nil, 403},
		{"GET", "/ping/web-3/cron/leave", "", nil, 404},
		{"POST", "/heartbeat", `{"schema":1,"id":"x","hostname":"web-3"}`, nil, 403},
		{"POST", "/beat", `{"host":"web-3","pid":0}`, nil, 403},
	} {
		status, body := ask(t, client, x.method, url+x.path, x.body, x.header...)
		require.Equal(t, x.want, status, "%s %s: %s", x.path, x.body, body)
		if status == 403 {
			require.Contains(t, body, "'accept' is", x.path)
		}
	}
	require.Equal(t, 5, h.judge.Count())
}

// Peers in files are accepted as soon as the files are reloaded. An accepted peer stays
// accepted, also after a restart.
func TestAcceptedFollowsExpectFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "hosts")
		write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
		accepted := func(c *client, host string) bool {
			return !strings.Contains(c.beat(`{"host":"`+host+`","pid":0,"interval_ms":3600000,"ack":true}`), "error")
		}
		begin := func() (connect func() *client, stop func()) {
			h := newPlugin(t)
			h.Accept, h.ExpectFiles, h.StateFile = "known", []string{path}, filepath.Join(dir, "state")
			_, connect, stop = startInBubble(t, h)
			return connect, stop
		}
		write("web-1\n")
		connect, stop := begin()
		c := connect()
		require.True(t, accepted(c, "web-1"))
		require.False(t, accepted(c, "web-2"))
		write("web-2\nweb-3\n")
		time.Sleep(regular.RereadPause + time.Second)
		require.True(t, accepted(c, "web-2"))
		require.True(t, accepted(c, "web-1"), "it is known")
		c.Close()
		stop()

		write("web-2\n")
		connect, stop = begin()
		c = connect()
		require.True(t, accepted(c, "web-1"))
		require.False(t, accepted(c, "web-3"), "it was expected and never came")
		c.Close()
		stop()
	})
}
