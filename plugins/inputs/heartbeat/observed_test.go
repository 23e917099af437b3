package heartbeat

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The address from which a beat came is emitted beside the one that it claims.
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
		peer := peerOf(t, h, "web-1/nginx")
		require.Equal(t, "10.0.0.5", peer.IP, url)
		require.Equal(t, want, peer.Observed, url)
	}
}
