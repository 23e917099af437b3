//go:build !windows

package heartbeat

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

func TestReadersAreAnsweredBesideTheStateFile(t *testing.T) {
	h := newPlugin(t)
	h.StateFile = filepath.Join(t.TempDir(), "state")
	h.TagKeys = []string{"site"}
	start(t, h)
	c := dial(t, h)
	c.beat(`{"host":"web-1","service":"nginx","pid":4711,"interval_ms":10000,"tags":{"site":"north"},"status":"warn","ack":true}`)
	c.beat(`{"host":"job-1","service":"backup","pid":9,"status":"dead","exit_code":3,"ack":true}`)

	var all api.Peers
	askOnSocket(t, h, api.PathPeers, &all)
	require.Equal(t, 2, all.Total)
	require.Equal(t, "job-1/backup", all.Peers[0].Name(), "the dead first")
	require.Equal(t, "exited", all.Peers[0].Reason)
	require.EqualValues(t, 3, *all.Peers[0].ExitCode)
	var one api.Peer
	askOnSocket(t, h, api.PathPeer+"web-1/nginx", &one)
	require.Equal(t, "alive", one.State)
	require.Equal(t, "warning", one.Status)
	require.Equal(t, map[string]string{"site": "north"}, one.Tags)
	require.EqualValues(t, 4711, one.PID)
	require.InDelta(t, float64(time.Now().Unix()), one.Heard, patience.Seconds())

	var collector api.Collector
	askOnSocket(t, h, api.PathCollector, &collector)
	require.Equal(t, h.recipient.ID(), collector.ID)
	require.Equal(t, map[string]int{"alive": 1, "dead": 1, "left": 0, "suspect": 0, "unknown": 0}, collector.Peers)
	require.NotNil(t, collector.State)
	require.Nil(t, collector.Mates)
	status, body := askSocket(t, h, api.PathHealth)
	require.Equal(t, "200 OK: OK\n", status+": "+body)
	_, body = askSocket(t, h, "/")
	require.Contains(t, body, `<tr data-state="dead"><th scope="row"><a href="?peer=job-1%2Fbackup">job-1/backup</a>`)

	h.Stop()
	require.NoFileExists(t, h.SocketPath())
	require.False(t, h.pageOptions(time.Now()).Listening())
}

func TestSocketOfReadersIsForTheGroup(t *testing.T) {
	h := newPlugin(t)
	h.StateFile = filepath.Join(t.TempDir(), "state")
	start(t, h)
	info, err := os.Stat(h.SocketPath())
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o660, info.Mode())
}

func TestWithoutAStateFileNobodyIsAnswered(t *testing.T) {
	h := newPlugin(t)
	start(t, h)
	require.Empty(t, h.SocketPath())
	require.Nil(t, h.socket)
}

// A socket left by a killed process is removed. A socket in use, or another file, is not, and
// heartbeats are received nevertheless.
func TestPlaceOfTheSocketThatIsTakenIsNoReasonNotToStart(t *testing.T) {
	for name, c := range map[string]struct {
		take func(t *testing.T, path string)
		want string // is warned of
	}{
		"by what was left": {func(t *testing.T, path string) {
			left, err := net.Listen("unix", path)
			require.NoError(t, err)
			left.(*net.UnixListener).SetUnlinkOnClose(false)
			require.NoError(t, left.Close())
		}, ""},
		"by another one": {func(t *testing.T, path string) {
			other, err := net.Listen("unix", path)
			require.NoError(t, err)
			t.Cleanup(func() { other.Close() })
		}, "another process listens on "},
		"by a file": {func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}, "exists and is not a socket"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &testutil.CaptureLogger{}
			h := newPlugin(t)
			h.Log, h.StateFile = log, filepath.Join(t.TempDir(), "state")
			c.take(t, h.SocketPath())
			start(t, h)
			require.Contains(t, dial(t, h).beat(`{"host":"a","pid":0,"ack":true}`), `"id":"a/host"`)
			if c.want == "" {
				require.Empty(t, log.Warnings())
				askOnSocket(t, h, api.PathPeers, new(api.Peers))
				return
			}
			require.Contains(t, log.Warnings()[0], "'telegraf-heartbeat peers' will read that file instead: ")
			require.Contains(t, log.Warnings()[0], c.want)
			h.Stop()
			require.FileExists(t, h.SocketPath(), "it is not ours")
		})
	}
}

// ask reads an answer in JSON.
func askOnSocket(t *testing.T, h *Heartbeat, path string, into any) {
	t.Helper()
	status, body := askSocket(t, h, path)
	require.True(t, strings.HasPrefix(status, "200 "), "%s: %s", status, body)
	require.NoError(t, json.Unmarshal([]byte(body), into))
}

func askSocket(t *testing.T, h *Heartbeat, path string) (status, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.SocketPath())
		},
	}}
	answer, err := client.Get("http://collector" + path)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.Status, string(text)
}
