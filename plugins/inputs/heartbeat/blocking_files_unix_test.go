//go:build unix

package heartbeat

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"
)

// A FIFO in place of a key or a certificate, like a mount that hangs, delays no beat, no
// connection and no stop.
func TestFilesThatBlockHoldUpNothing(t *testing.T) {
	a := newAuthority(t)
	own := a.issue("collector", "collector")
	key := filepath.Join(t.TempDir(), "web-1.key")
	require.NoError(t, os.WriteFile(key, []byte(secretOne), 0o600))
	log := new(testutil.CaptureLogger)
	h := transport(t, "tls://127.0.0.1:0", func(h *Heartbeat) {
		h.TLSCert, h.TLSKey, h.Log = own.cert, own.key, log
		setKey(h, "web-1", "file:"+key)
	})
	for _, name := range []string{key, own.cert, own.key} {
		require.NoError(t, os.Remove(name))
		require.NoError(t, syscall.Mkfifo(name, 0o600))
	}
	h.keys.Reread(t.Context())
	c := mustDialSecure(t, h, a.trust())
	require.Empty(t, c.decoded(signedBy("web-1", secretOne, signedBeat("web-1", "a", 1, to(h.recipient.ID())))).Error, "what was right before holds")
	require.Len(t, log.Warnings(), 2)
	for _, text := range log.Warnings() {
		require.Contains(t, text, "is not a regular file")
	}

	fresh := newPlugin(t)
	fresh.ServiceAddresses, fresh.TLSCert, fresh.TLSKey = []string{"tls://127.0.0.1:0"}, own.cert, own.key
	require.NoError(t, fresh.Init())
	require.ErrorContains(t, fresh.Start(nil), "is not a regular file")
	fresh = newPlugin(t)
	setKey(fresh, "web-1", "file:"+key)
	require.NoError(t, fresh.Init())
	require.ErrorContains(t, fresh.Start(nil), "is not a regular file")
}
