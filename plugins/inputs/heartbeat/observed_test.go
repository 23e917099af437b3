package heartbeat

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// Beside the address that a beat claims stands the one that it came from.
func TestObservedAddressStandsBesideTheClaimedOne(t *testing.T) {
	for url, want := range map[string]string{
		"tcp://127.0.0.1:0": "127.0.0.1", "udp://127.0.0.1:0": "127.0.0.1", "unix://" + socketPath(t): "", "unixgram://" + socketPath(t): "",
	} {
		h := transport(t, url, func(*Heartbeat) {})
		payload := `{"ip":"10.0.0.5","host":"web-1","service":"nginx","pid":7,"watched":true,"ack":true}`
		if status(h).Datagrams {
			sendDatagram(t, h, payload)
		} else {
			c := newClient(t, dialURL(t, h))
			require.NotContains(t, c.beat(payload), "error")
		}
		answer := httptest.NewRecorder()
		h.page.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/api/peers/web-1/nginx", http.NoBody))
		var peer api.Peer
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &peer))
		require.Equal(t, "10.0.0.5", peer.IP, url)
		require.Equal(t, want, peer.Observed, url)
	}
}
