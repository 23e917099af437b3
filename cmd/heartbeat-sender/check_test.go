//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// "check" blames the clock only if another time is what was needed.
func TestClockIsBlamedForWhatItDid(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte("correct horse battery staple"), 0o600))
	const unknown = `key "web-1" is not in 'keys'`
	for name, tt := range map[string]struct {
		ahead time.Duration // of the collector's clock
		late  string        // how a beat of the wrong time is refused
		other string        // how any other beat is, too
		want  bool
	}{
		"right clock, unknown key": {0, unknown, unknown, false},
		"wrong clock, unknown key": {time.Hour, unknown, unknown, false},
		"wrong clock, good key":    {time.Hour, "sent_ms: too old", "", true},
		"right clock, good key":    {0, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			url := talk(t, nil, func(b *wire.Beat) []byte {
				now := time.Now().Add(tt.ahead)
				text := tt.other
				if now.Sub(time.UnixMilli(b.SentMS)).Abs() > time.Minute {
					text = tt.late
				}
				answer := wire.Answer{Error: text, NowMS: now.UnixMilli()}
				if text == "" {
					answer = wire.Answer{Seq: b.Seq, NowMS: now.UnixMilli(), ID: "web-1/host", Rule: "interval"}
				}
				return wire.AppendFrame(nil, wire.AppendAnswer(nil, &answer))
			})
			said := foreignCall(t, nil, "check", "-server", url, "-key-file", key)
			if tt.want {
				require.Contains(t, said, "refused    at first, because this host's clock is wrong")
			} else {
				require.NotContains(t, said, "clock is wrong")
			}
			if tt.other != "" {
				require.Contains(t, said, "refused the beat")
			}
		})
	}
}

// What the sender would log is in the steps.
func TestCheckOfDatagramsPrintsItsStepsAlone(t *testing.T) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer socket.Close()
	said := foreignCall(t, nil, "check", "-server", "udp://"+socket.LocalAddr().String())
	require.Contains(t, said, "\nsent       a datagram; datagrams are not answered, ")
	require.NotContains(t, said, "heartbeat-sender:")
}

// Milliseconds of an interval are more than anybody wants to read.
func TestCheckRoundsTheDeadline(t *testing.T) {
	url := talk(t, nil, func(b *wire.Beat) []byte {
		answer := wire.Answer{Seq: b.Seq, ID: "web-1/host", DeadAfterMS: 3501, Rule: "adaptive"}
		return wire.AppendFrame(nil, wire.AppendAnswer(nil, &answer))
	})
	require.Contains(t, foreignCall(t, nil, "check", "-server", url), "\ndeadline   dead after 3.5s of silence\n")
}
