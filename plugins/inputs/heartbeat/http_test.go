package heartbeat

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"
)

const backupToken = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"

// startHTTP starts a plugin with an address of HTTP, and returns its URL.
func startHTTP(t *testing.T, h *Heartbeat, acc *testutil.Accumulator) string {
	t.Helper()
	h.ServiceAddresses = append(h.ServiceAddresses, "http://127.0.0.1:0")
	require.NoError(t, h.Init())
	require.NoError(t, h.Start(acc))
	t.Cleanup(h.Stop)
	status := h.server.Status()
	return status[len(status)-1].Address
}

func secretOf(text string) *config.Secret {
	secret := config.NewSecret([]byte(text))
	return &secret
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body), response.Header
}

func TestPingIsABeat(t *testing.T) {
	var acc testutil.Accumulator
	h := newPlugin(t)
	h.Checks = []Check{{Token: secretOf(backupToken), Peer: "web-1/backup", Every: hours(24), Grace: hours(1)}}
	url := startHTTP(t, h, &acc)
	status, body, header := get(t, url+"/ping/"+backupToken)
	require.Equal(t, 200, status)
	require.Equal(t, "OK", body)
	require.Equal(t, "25h", header.Get("Heartbeat-Dead-After"))
	status, _, _ = get(t, url+"/ping/web-1/nginx?every=5m")
	require.Equal(t, 200, status, "from this host")
	status, _, _ = get(t, url+"/ping/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea279")
	require.Equal(t, 404, status)
	require.NoError(t, h.Gather(&acc))
	h.Stop()
	beats, silences := make(map[string]any), make(map[string]any)
	for _, m := range acc.GetTelegrafMetrics() {
		switch address, _ := m.GetTag("address"); {
		case m.Name() == "heartbeat_peer":
			beats[m.Tags()["service"]] = m.Fields()["beats_total"]
			silences[m.Tags()["service"]] = m.Fields()["dead_after_seconds"]
		case address == url && m.HasField("beats_total"):
			beats[address] = m.Fields()["beats_total"]
		case address == url && m.Tags()["reason"] == "token":
			beats["refused"] = m.Fields()["refused_total"]
		}
	}
	require.Equal(t, map[string]any{"backup": int64(1), "nginx": int64(1), url: int64(2), "refused": int64(1)}, beats)
	t.Log(silences)
}

func hours(n int) config.Duration { return config.Duration(time.Duration(n) * time.Hour) }
