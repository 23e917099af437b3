package heartbeat

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	secretOne = "correct horse battery staple"
	secretTwo = "another one of enough bytes."
)

// setKey adds to the option.
func setKey(h *Heartbeat, id, value string) {
	if h.Keys == nil {
		h.Keys = make(map[string]*config.Secret)
	}
	secret := config.NewSecret([]byte(value))
	h.Keys[id] = &secret
}

// requiring has the plugin ask for signatures of web-1 or web-2.
func requiring(h *Heartbeat) {
	setKey(h, "web-1", secretOne)
	setKey(h, "web-2", secretTwo)
	h.RequireSignature = true
}

// signedBy returns a frame with a payload that is signed.
func signedBy(id, secret, payload string) string {
	key := wire.Key{ID: id, Secret: []byte(secret)}
	return string(key.AppendSigned(nil, []byte(payload)))
}

// signed returns a beat of a host that is sent now.
func signedBeat(host, run string, seq int, more string) string {
	return signedAt(time.Now(), host, run, seq, more)
}

func signedAt(at time.Time, host, run string, seq int, more string) string {
	return fmt.Sprintf(`{"host":%q,"pid":0,"run":%q,"seq":%d,"sent_ms":%d,"ack":true%s}`, host, run, seq, at.UnixMilli(), more)
}

func TestOnlySignedBeatsCount(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", requiring)
	c := dial(t, h)
	good := signedBeat("web-1", "a", 1, "")
	require.Contains(t, c.beat(signedBy("web-1", secretOne, good)), `"ack":1`)
	for _, bad := range []struct {
		payload, says string
		reason        wire.Reason
	}{
		{signedBeat("web-1", "b", 1, ""), "beat is not signed ('require_signature')", verify.ReasonUnsigned},
		{signedBy("web-1", secretTwo, good), `signature does not match key \"web-1\"`, wire.ReasonSignature},
		{signedBy("web-3", secretOne, good), `key \"web-3\" is not in 'keys'`, wire.ReasonSignature},
		{"\x01", "ends before its key id", wire.ReasonSignature},
		{signedBy("web-1", secretOne, good), "seq: 1 is not above", judge.ReasonReplay},
		{signedBy("web-1", secretOne, signedAt(time.Now().Add(-time.Hour), "web-1", "old", 1, "")), "sent_ms: ", judge.ReasonReplay},
		{signedBy("web-1", secretOne, `{"host":"web-1","pid":0,"seq":9,"sent_ms":1}`), "needs all three", wire.ReasonMissing},
		{signedBy("web-1", secretOne, `{"host":"web-1","pid":0,"run":"a","seq":9}`), "needs all three", wire.ReasonMissing},
		{signedBy("web-1", secretOne, `{"host":"web-1","pid":0,"run":"a","sent_ms":9}`), "needs all three", wire.ReasonMissing},
		{signedBy("web-1", secretOne, `{"pid":7,"run":"a","seq":9,"sent_ms":1}`), "service: missing, a signed beat needs a service", wire.ReasonMissing},
	} {
		before := rejected(h, bad.reason)
		require.Contains(t, c.beat(bad.payload), bad.says)
		require.Equal(t, before+1, rejected(h, bad.reason), bad.says)
		c.beat(signedBy("web-1", secretOne, signedBeat("web-1", "a", int(h.refused.total.Load())+10, "")))
	}
	require.Contains(t, c.beat(signedBy("WEB-2", secretTwo, signedAt(time.Now().Add(time.Second), "web-1", "x", 1, ""))), `"ack":1`,
		"whose key it is matters only with 'host_from'")
}

// With verified hosts, a key signs only for its own host: no other key can make it alive, left
// or dead.
func TestKeyIsThatOfTheHost(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) {
		requiring(h)
		h.RequireSignature, h.HostFrom = false, "verified"
	})
	c := dial(t, h)
	require.Contains(t, c.beat(signedBy("Web-1", secretOne, signedBeat("WEB-1", "a", 1, ""))), `"ack":1`)
	for i, status := range []string{"alive", "leaving", "dead"} {
		more := fmt.Sprintf(`,"status":%q`, status)
		require.Contains(t, c.beat(signedBy("web-2", secretTwo, signedBeat("web-1", "b", i+1, more))), "is not the host of the certificate or signature")
		require.Contains(t, c.beat(signedBeat("web-1", "b", i+1, more)), "is not the host of the certificate or signature", "unsigned")
	}
	require.EqualValues(t, 6, rejected(h, verify.ReasonHost))
	require.Zero(t, rejected(h, verify.ReasonUnsigned))
}

// A recording is useless: over another connection, and after a restart of the collector.
func TestRecordedBeatIsWorthNothing(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	run := func() *Heartbeat {
		h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) {
			requiring(h)
			h.StateFile = state
		})
		return h
	}
	first := run()
	recorded := signedBy("web-1", secretOne, signedBeat("web-1", "a", 7, ""))
	goodbye := signedBy("web-1", secretOne, signedBeat("web-1", "a", 8, `,"status":"leaving"`))
	c := dial(t, first)
	require.Contains(t, c.beat(recorded), `"ack":7`)
	require.Contains(t, c.beat(goodbye), `"ack":8`)
	later := signedAt(time.Now().Add(time.Second), "web-1", "b", 1, "")
	require.Contains(t, c.beat(signedBy("web-1", secretOne, later)), `"ack":1`)
	other := dial(t, first)
	require.Contains(t, other.beat(recorded), "is not above")
	require.Contains(t, other.beat(goodbye), "is not above")
	first.Stop()

	second := run()
	c = dial(t, second)
	require.Contains(t, c.beat(recorded), "is not above")
	require.Contains(t, c.beat(goodbye), "is not above")
	require.Contains(t, c.beat(signedBy("web-1", secretOne, signedBeat("web-1", "b", 2, ""))), `"ack":2`)
	require.EqualValues(t, 2, rejected(second, judge.ReasonReplay))
}

// A sender whose clock is wrong gets the time, and is accepted when it uses that. A check is
// not remembered.
func TestWrongClockIsTold(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", requiring)
	c := dial(t, h)
	for _, off := range []time.Duration{-10 * 365 * 24 * time.Hour, 24 * time.Hour, -6 * time.Minute, 6 * time.Minute} {
		run := off.String()
		for _, more := range []string{`,"check":true`, ""} {
			answer, err := wire.DecodeAnswer([]byte(c.beat(signedBy("web-1", secretOne, signedAt(time.Now().Add(off), "web-1", run, 1, more)))))
			require.NoError(t, err)
			require.Contains(t, answer.Error, "sent_ms")
			require.InDelta(t, time.Now().UnixMilli(), answer.NowMS, float64(patience.Milliseconds()))
			corrected := signedAt(time.UnixMilli(answer.NowMS), "web-1", run, 1, more)
			require.Contains(t, c.beat(signedBy("web-1", secretOne, corrected)), `"ack":1`)
		}
	}
	require.EqualValues(t, 4, status(h).Beats)
}

// A datagram is worth what its signature is, wherever it seems to come from.
func TestSignedDatagrams(t *testing.T) {
	h := transport(t, "udp://127.0.0.1:0", func(h *Heartbeat) {
		requiring(h)
		h.HostFrom, h.IPFrom = "verified", "verified"
	})
	c := dialURL(t, h)
	send := func(payload string) {
		t.Helper()
		_, err := c.Write([]byte(payload))
		require.NoError(t, err)
	}
	good := signedBy("web-1", secretOne, signedBeat("web-1", "a", 1, ""))
	send(good)
	send(good)
	send(signedBeat("web-1", "a", 2, ""))
	send(signedBy("web-1", secretTwo, signedBeat("web-1", "a", 3, `,"status":"leaving"`)))
	send(signedBy("web-1", secretOne, signedBeat("web-1", "a", 4, `,"ip":"10.0.0.5"`)))
	send(signedBy("web-1", secretOne, signedBeat("web-1", "a", 5, "")))
	require.Eventually(t, func() bool { return status(h).Beats == 2 }, patience, time.Millisecond)
	for _, reason := range []wire.Reason{judge.ReasonReplay, verify.ReasonUnsigned, wire.ReasonSignature, verify.ReasonIP} {
		require.EqualValues(t, 1, rejected(h, reason), reason)
	}
}

// A key is replaced without a gap: first the verifier takes both, then the
// signer changes, then the old one goes.
func TestKeysRotate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web-1.key")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write(secretOne + "\n")
	h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) {
		setKey(h, "web-1", "file:"+file)
		h.RequireSignature = true
	})
	c, seq := dial(t, h), 0
	heard := func(secret string) bool {
		seq++
		answer, err := wire.DecodeAnswer([]byte(c.beat(signedBy("web-1", secret, signedBeat("web-1", "a", seq, "")))))
		require.NoError(t, err)
		return answer.Error == ""
	}
	later := func() { h.keys.Reread(t.Context()) }
	require.True(t, heard(secretOne))
	require.False(t, heard(secretTwo))
	write("# the next one, since May\n" + secretTwo + "\n\n" + secretOne + "\n")
	later()
	require.True(t, heard(secretOne))
	require.True(t, heard(secretTwo))
	write("too short\n")
	later()
	require.True(t, heard(secretOne), "while the file is wrong, the keys stay")
	write(secretTwo)
	later()
	require.False(t, heard(secretOne))
	require.True(t, heard(secretTwo))
	require.NoError(t, os.Remove(file))
	later()
	require.True(t, heard(secretTwo), "it may be being written")
	later()
	require.False(t, heard(secretTwo), "it is gone")
	write(secretOne)
	later()
	require.True(t, heard(secretOne))
	write("# revoked\n")
	later()
	later()
	require.False(t, heard(secretOne))
}

// One bad file does not keep a revoked secret of another key alive.
func TestEachKeyFileForItself(t *testing.T) {
	dir := t.TempDir()
	file := func(id string) string { return filepath.Join(dir, id) }
	write := func(id, text string) { require.NoError(t, os.WriteFile(file(id), []byte(text), 0o600)) }
	bad := map[string]func(){
		"too short": func() { write("web-1", "too short") },
		"gone":      func() { require.NoError(t, os.Remove(file("web-1"))) },
		"a directory": func() {
			require.NoError(t, os.Remove(file("web-1")))
			require.NoError(t, os.Mkdir(file("web-1"), 0o700))
		},
		"public":   func() { require.NoError(t, os.Chmod(file("web-1"), 0o644)) }, //nolint:gosec // that is what is wrong with it
		"too long": func() { write("web-1", strings.Repeat("x", 64<<10+1)) },
	}
	if runtime.GOOS == "windows" {
		delete(bad, "public")
	}
	for name, spoil := range bad {
		require.NoError(t, os.RemoveAll(file("web-1")))
		write("web-1", secretOne)
		write("web-2", secretOne)
		log := new(testutil.CaptureLogger)
		ring, err := verify.OpenKeys(map[string]string{"web-1": "file:" + file("web-1"), "web-2": "file:" + file("web-2")}, "", log)
		require.NoError(t, err)
		spoil()
		write("web-2", secretTwo)
		for range 3 {
			ring.Reread(t.Context())
		}
		accepts := func(id, secret string) bool {
			payload := signedBy(id, secret, signedBeat(id, "a", 1, ""))
			rules := verify.Rules{Keys: ring, Recipient: verify.NewRecipient("hb", nil, false, log)}
			_, refusal := rules.Read([]byte(payload), new(wire.Decoder), new(wire.Latest), new(verify.Speaker))
			return refusal == nil
		}
		require.True(t, accepts("web-2", secretTwo), name)
		require.False(t, accepts("web-2", secretOne), name)
		require.Equal(t, name != "gone", accepts("web-1", secretOne), name)
		require.Len(t, log.Warnings(), 1, name)
		require.Contains(t, strings.Join(log.Warnings(), ""), `key "web-1" of 'keys'`, name)
	}
}

func TestWrongOptionsOfKeys(t *testing.T) {
	for want, change := range map[string]func(*Heartbeat){
		"'require_signature' needs 'keys' or 'keys_dir'":   func(h *Heartbeat) { h.RequireSignature = true },
		`'keys': "WEB-1" and "web-1" are the same key id`:  func(h *Heartbeat) { setKey(h, "web-1", secretOne); setKey(h, "WEB-1", secretTwo) },
		`'keys': "web-1" and "web-1." are the same key id`: func(h *Heartbeat) { setKey(h, "web-1.", secretOne); setKey(h, "web-1", secretOne) },
		`'keys': "0::1" and "::1" are the same key id`:     func(h *Heartbeat) { setKey(h, "::1", secretOne); setKey(h, "0::1", secretOne) },
		`'names': "a b" is not a valid host name: host`:    func(h *Heartbeat) { h.Names = []string{"hb", "a b"} },
		"'require_recipient' needs 'keys' or 'keys_dir'":   func(h *Heartbeat) { h.RequireRecipient = true },
		`'keys': key id: ' ' in "web 1" is not allowed`:    func(h *Heartbeat) { setKey(h, "web 1", secretOne) },
		"'forget_left_after' must be at least twice 'replay_window', 10m0s": func(h *Heartbeat) {
			setKey(h, "web-1", secretOne)
			h.ForgetLeftAfter = config.Duration(9 * time.Minute)
		},
		"'forget_dead_after' must be at least twice 'replay_window', 10m0s": func(h *Heartbeat) {
			setKey(h, "web-1", secretOne)
			h.ForgetDeadAfter = config.Duration(9 * time.Minute)
		},
		"rule 1 of [[inputs.heartbeat.rule]]: 'forget_dead_after' must be at least twice": func(h *Heartbeat) {
			setKey(h, "web-1", secretOne)
			h.Rules = []Rule{{Host: "web-*", ForgetDeadAfter: durationOption(time.Minute)}}
		},
	} {
		h := newPlugin(t)
		change(h)
		require.ErrorContains(t, h.Init(), want)
	}
	dir := t.TempDir()
	public := filepath.Join(dir, "public")
	require.NoError(t, os.WriteFile(public, []byte(secretOne), 0o600))
	require.NoError(t, os.Chmod(public, 0o604)) //nolint:gosec // that is what is wrong with it
	for value, want := range map[string]string{
		"short":                 `key "web-1" of 'keys': secret 1 has 5 bytes, but needs at least 16`,
		"# " + secretOne:        "there is no secret",
		"file:" + dir + "/gone": "no such file",
		"file:" + dir:           "is not a regular file",
		"file:" + public:        "(mode 0604): make it 0600 or 0640",
	} {
		if runtime.GOOS == "windows" && value[:4] == "file" {
			continue
		}
		h := newPlugin(t)
		setKey(h, "web-1", value)
		require.NoError(t, h.Init())
		err := h.Start(&testutil.Accumulator{})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "horse", "no secret is printed")
	}
}
