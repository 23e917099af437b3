package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

var testKey = []byte("a secret of sixteen bytes, or more")

// A message is decoded as it was encoded, and no part of it can be changed unnoticed.
func TestMessagesAreSealed(t *testing.T) {
	h := header{version: version, kind: kindWords, start: 1<<63 + 5, to: 7, counter: 9, sent: 1234 * time.Millisecond, name: "collector-1"}
	m := signMessage(testKey, &h, []byte("body"))
	got, body, err := verifyMessage(testKey, m)
	require.NoError(t, err)
	require.Equal(t, h, got)
	require.Equal(t, "body", string(body))
	for i := range m {
		m[i] ^= 1
		_, _, err := verifyMessage(testKey, m)
		require.Error(t, err, "byte %d", i)
		m[i] ^= 1
	}
	for n := range m {
		_, _, err := verifyMessage(testKey, m[:n])
		require.Error(t, err, "%d bytes", n)
	}
	_, _, err = verifyMessage([]byte("another secret of sixteen bytes"), m)
	require.ErrorContains(t, err, "signature")
}

// A word is rounded so that a peer never seems more alive than it is.
func TestWordsAreRoundedToLessLife(t *testing.T) {
	for _, w := range []liveness.Word{
		{},
		{
			ID: 1<<64 - 1, Process: 1<<32 - 1, Events: 1<<16 - 1, State: liveness.Dead, Reason: liveness.ReasonMateLost,
			Heard: true, Verified: true, Connected: true, Vacant: true, Lone: true,
			Age: 12345 * time.Millisecond, Since: 7777 * time.Millisecond, Suspect: -3333 * time.Millisecond,
			Dead: -1, Window: 90*time.Second + 1, Doubt: time.Second + 1, Deaths: 1 << 40, Jobs: 7,
		},
		{State: liveness.Alive, Reason: liveness.ReasonBeat, Heard: true, Age: 1, Suspect: 15 * time.Second, Dead: 35*time.Second - 1},
	} {
		r := &reader{rest: appendWord(nil, &w)}
		got := r.word()
		require.NoError(t, r.err())
		require.Empty(t, r.rest)
		require.GreaterOrEqual(t, got.Age, w.Age)
		require.Less(t, got.Age-w.Age, unit)
		for _, left := range [][2]time.Duration{{got.Suspect, w.Suspect}, {got.Dead, w.Dead}} {
			require.LessOrEqual(t, left[0], left[1])
			require.Less(t, left[1]-left[0], unit)
		}
		require.GreaterOrEqual(t, got.Window, w.Window)
		require.GreaterOrEqual(t, got.Doubt, w.Doubt)
		got.Age, got.Suspect, got.Dead, got.Window, got.Since, got.Doubt = w.Age, w.Suspect, w.Dead, w.Window, w.Since, w.Doubt
		require.Equal(t, w, got)
	}
}

// The size of a word for a peer that is alive, as nearly all are. Rounds consist of such words.
func TestWordOfAnAlivePeerIsShort(t *testing.T) {
	w := liveness.Word{
		ID: 1 << 63, Process: 1 << 31, State: liveness.Alive, Reason: liveness.ReasonBeat, Heard: true, Connected: true,
		Age: 10 * time.Second, Suspect: 7 * time.Second, Dead: 25 * time.Second,
	}
	require.LessOrEqual(t, len(appendWord(nil, &w)), 24)
}

// Every input is either read to its end or rejected, and the values read can be added without an
// overflow.
func FuzzReader(f *testing.F) {
	word := liveness.Word{State: liveness.Left, Reason: liveness.ReasonLeaving, Window: time.Hour}
	f.Add(appendWord(nil, &word))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &reader{rest: body}
		for _, w := range r.words() {
			if r.err() != nil {
				break
			}
			for _, d := range []time.Duration{w.Age, w.Since, w.Suspect, w.Dead, w.Window} {
				require.LessOrEqual(t, d.Abs(), longest)
			}
			require.Less(t, int(w.State), len(liveness.States))
			require.True(t, w.Reason.Valid())
		}
		r = &reader{rest: body}
		r.hashes()
	})
}
