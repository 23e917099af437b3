package heartbeat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// peerOf asks the plugin about a peer, as a reader does.
func peerOf(t *testing.T, h *Heartbeat, name string) (p api.Peer) {
	t.Helper()
	answer := httptest.NewRecorder()
	h.page.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/api/peers/"+name, http.NoBody))
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &p), name)
	return p
}

// Yearly jobs: each input accepts 400 days, each output has them, and a restart of the
// collector keeps them.
func TestWaitsOf400Days(t *testing.T) {
	const days = 400 * 86_400.0 // seconds
	state := filepath.Join(t.TempDir(), "state")
	begin := func() (*Heartbeat, string) {
		h := newPlugin(t)
		h.StateFile = state
		h.Checks = []Check{{Token: secretOf(backupToken), Peer: "db-1/inventory", Every: hours(9600), Grace: hours(9600), MaxRuntime: hours(9600)}}
		return h, startHTTP(t, h, new(testutil.Accumulator))
	}
	h, url := begin()
	status, _, header := get(t, url+"/ping/"+backupToken)
	require.Equal(t, 200, status)
	require.Equal(t, "19200h", header.Get("Heartbeat-Dead-After"))
	for _, path := range []string{
		backupToken + "/start", "db-2/inventory?every=400d&grace=400d", "db-3/inventory?every=400d", "db-3/inventory/leave?back_in=400d",
	} {
		status, body, _ := get(t, url+"/ping/"+path)
		require.Equal(t, 200, status, body)
	}
	answer := dial(t, h).beat(`{"host":"db-4","service":"inventory","pid":0,"interval_ms":34560000000,"grace_ms":34560000000,"ack":true}`)
	require.Contains(t, answer, `"dead_after_ms":69120000000,"rule":"grace_ms"`)
	check := func() {
		for name, want := range map[string]float64{"db-1": 2 * days, "db-2": 2 * days, "db-3": days + 3600, "db-4": 2 * days} {
			require.InDelta(t, want, peerOf(t, h, name+"/inventory").DeadAfter, 1, name)
		}
		require.Equal(t, 1, peerOf(t, h, "db-1/inventory").Runs)
		require.InDelta(t, days, peerOf(t, h, "db-3/inventory").Promised, 60)
	}
	check()
	h.Stop()
	h, _ = begin()
	check()
	require.Equal(t, "alive", peerOf(t, h, "db-2/inventory").State)
	require.Equal(t, "left", peerOf(t, h, "db-3/inventory").State)
}

// "7d" is a duration in every option that is one.
func TestDurationsMayBeDays(t *testing.T) {
	var text strings.Builder
	usual, durations := defaults(), 0
	each(reflect.ValueOf(&usual).Elem(), func(name string, option reflect.Value) {
		if option.Type() == reflect.TypeFor[config.Duration]() && !strings.HasPrefix(name, "keep_alive") { // which the kernel limits
			fmt.Fprintf(&text, "%s = \"7d\"\n", name)
			durations++
		}
	})
	require.Greater(t, durations, 5)
	fmt.Fprint(&text, "[[rule]]\nhost = \"db-*\"\ndead_after = \"400d\"\n"+
		"[[check]]\npeer = \"a/b\"\nevery = \"400d\"\ngrace = \"1d12h\"\nmax_runtime = \"2d\"\n")
	h := newPlugin(t)
	_, err := toml.Decode(text.String(), h)
	require.NoError(t, err)
	h.ServiceAddresses, h.Checks[0].Token = append(h.ServiceAddresses, "http://127.0.0.1:0"), secretOf(backupToken)
	require.NoError(t, h.Init())
	require.Equal(t, config.Duration(7*24*time.Hour), h.DeadAfter)
	require.Equal(t, config.Duration(400*24*time.Hour), *h.Rules[0].DeadAfter)
	require.Equal(t, hours(36), h.Checks[0].Grace)
	h.Checks[0].Every = hours(9601)
	require.ErrorContains(t, h.Init(), "at most 400d")
}
