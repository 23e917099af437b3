//go:build unix

package heartbeat

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

// A FIFO in the place of a key or a certificate, which stands for a mount that
// hangs, holds up no beat, no connection and no stop.
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
	h.ring.look(t.Context())
	c := mustDialSecure(t, h, a.trust())
	require.Empty(t, c.decoded(signedBy("web-1", secretOne, signedBeat("web-1", "a", 1, to(h.recipient.id)))).Error, "what was right before holds")
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

// A read that hangs is left behind: the next connections do not wait for it, and
// take what the files give once it has come back.
func TestCertificatesThatHangAreLeftBehind(t *testing.T) {
	a := newAuthority(t)
	own := a.issue("collector", "collector")
	h := transport(t, "tls://127.0.0.1:0", func(h *Heartbeat) { h.TLSCert, h.TLSKey = own.cert, own.key })
	hangs := make(chan loaded)
	short, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	require.ErrorIs(t, h.certificates.read(short, func(watched) loaded { return <-hangs }), regular.ErrSlow)
	current := func() *tls.Config {
		config, err := h.certificates.current(nil)
		require.NoError(t, err)
		return config
	}
	before := current()
	a.issue("collector", "collector")
	require.Same(t, before, current())
	require.Contains(t, h.certificates.said, "takes too long: does its mount hang?")
	hangs <- loaded{}
	require.Eventually(t, func() bool { return current() != before }, patience, time.Millisecond)
	require.Empty(t, h.certificates.said)
}
