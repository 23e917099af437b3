//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// foreign are texts that somebody else may have written.
var foreign = map[string]string{
	"escape":  "\x1b[31m\x1b]0;title\x07",
	"newline": "\nFORGED: all is well\r\nFORGED",
	"bytes":   "\xff\xfe\x80",
	"turned":  "\u202egnp\u200b",
	"long":    strings.Repeat("long ", 2048),
}

// A talker is a collector that answers all beats with one payload.
type talker struct {
	listener net.Listener
	wg       sync.WaitGroup
}

func talk(t *testing.T, config *tls.Config, answer func(*wire.Beat) []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	scheme := "tcp://"
	if config != nil {
		scheme, listener = "tls://", tls.NewListener(listener, config)
	}
	talker := talker{listener: listener}
	talker.wg.Go(func() { // ends when the test closes the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			talker.wg.Go(func() { // ends when the sender hangs up
				defer conn.Close()
				for reader := wire.NewReader(conn, wire.DefaultMaxFrame); ; {
					payload, err := reader.Next()
					if err != nil {
						return
					}
					if signed, err := wire.OpenSigned(payload); err == nil && signed != nil {
						payload = signed.Object
					}
					beat, err := wire.Decode(payload)
					if err == nil && beat.Ack {
						conn.Write(answer(beat)) //nolint:errcheck // it may be gone
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		talker.wg.Wait()
	})
	return scheme + listener.Addr().String()
}

// framed returns an answer with a text of ours, in JSON as far as that can be.
func framed(t *testing.T, members map[string]any) []byte {
	payload, err := json.Marshal(members)
	require.NoError(t, err)
	return wire.AppendFrame(nil, payload)
}

// lockedBuffer is written to in the background.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// foreignCall returns what a call prints. One of "run" is stopped when it has
// printed something.
func foreignCall(t *testing.T, prepare func(c *call), args ...string) string {
	t.Helper()
	out := new(lockedBuffer)
	c := testCall(t, "", args...)
	c.stdout, c.stderr = out, out
	if prepare != nil {
		prepare(c)
	}
	ctx, stop := context.WithTimeout(t.Context(), deadline)
	defer stop()
	if args[0] == "run" {
		go func() { // ends with ctx
			for look := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil && out.String() == ""; <-look.C {
			}
			stop()
		}()
	}
	c.exit(ctx)
	return out.String()
}

// Whatever somebody else wrote, and by whichever way it comes in: what is
// printed and logged is plain text in lines of ours, of a length that fits.
func TestForeignTextsArePrintable(t *testing.T) {
	dir := t.TempDir()
	for kind, text := range foreign {
		for door, enter := range doors(t, dir, text) {
			t.Run(kind+" in "+door, func(t *testing.T) {
				said := enter(t)
				require.NotEmpty(t, said)
				require.True(t, utf8.ValidString(said), "%q", said)
				for line := range strings.Lines(said) {
					line = strings.TrimSuffix(line, "\n")
					require.False(t, strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", line)
					require.False(t, strings.HasPrefix(line, "FORGED"), "%q", line)
					require.LessOrEqual(t, len(line), cli.MaxMessage+100, "%q", line)
				}
			})
		}
	}
}

// A line that somebody else wrote into a status would be an order to systemd.
func TestStatusIsOneLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notified")
	m, err := startManager(file)
	require.NoError(t, err)
	defer m.stop()
	path := m.path + "\nMAINPID=1"
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer server.Close()
	foreignCall(t, func(c *call) { c.environ = []string{"NOTIFY_SOCKET=" + m.path} }, "run", "-server", "unixgram://"+path)
	var said []byte
	require.Eventually(t, func() bool {
		said, err = os.ReadFile(file)
		return err == nil && bytes.Contains(said, []byte("STOPPING=1"))
	}, deadline, 10*time.Millisecond)
	require.Contains(t, string(said), `STATUS=sending to unixgram://`)
	require.NotContains(t, string(said), "\nMAINPID")
}

// doors are the ways by which a text comes in; each returns what is printed.
func doors(t *testing.T, dir, text string) map[string]func(t *testing.T) string {
	doors := make(map[string]func(t *testing.T) string)
	add := func(door string, prepare func(c *call), args ...string) {
		doors[door] = func(t *testing.T) string { return foreignCall(t, prepare, args...) }
	}
	write := func(name, content string) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
		return name
	}
	const nobody = "tcp://127.0.0.1:1"

	for _, command := range []string{"once", "check", "run"} {
		doors["a refusal of "+command] = func(t *testing.T) string {
			url := talk(t, nil, func(*wire.Beat) []byte { return framed(t, map[string]any{"error": cut(text)}) })
			return foreignCall(t, nil, command, "-server", url)
		}
		doors["an identity of "+command] = func(t *testing.T) string {
			url := talk(t, nil, func(b *wire.Beat) []byte {
				return framed(t, map[string]any{"ack": b.Seq, "now_ms": 1, "dead_after_ms": 1000, "id": cut(text), "rule": cut(text)[:min(len(text), 100)]})
			})
			if command == "once" { // says nothing if all is well
				command = "check"
			}
			return foreignCall(t, nil, command, "-server", url)
		}
		doors["another protocol of "+command] = func(t *testing.T) string {
			url := talk(t, nil, func(*wire.Beat) []byte { return []byte(" {\"" + text + "\":1}") })
			return foreignCall(t, nil, command, "-server", url, "-timeout", "200ms")
		}
	}
	for _, command := range []string{"once", "check"} {
		doors["a certificate of "+command] = func(t *testing.T) string {
			cert := certificate(t, ascii(text))
			url := talk(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(b *wire.Beat) []byte {
				return framed(t, map[string]any{"ack": b.Seq})
			})
			ca := write("ca.pem", string(authorityOf(cert)))
			said := foreignCall(t, nil, command, "-server", url, "-tls-ca", ca, "-tls-server-name", "bad", "-timeout", "200ms")
			return said + foreignCall(t, nil, "check", "-server", url, "-tls-ca", ca, "-tls-server-name", "good")
		}
	}
	add("a pid file", nil, "check", "-server", nobody, "-pid-file", write("x.pid", text), "-service", "x")
	add("a pid file of run", nil, "run", "-server", "udp://127.0.0.1:1", "-pid-file", write("y.pid", text), "-service", "x")
	add("systemctl", func(*call) { systemctl(t, "printf '%s' \"$TEXT\" >&2; exit 1", text) }, "check", "-server", nobody, "-systemd-unit", "x")
	add("instances", func(*call) {
		systemctl(t, `case $1 in show) printf 'LoadState=loaded\nActiveState=active\nSubState=exited\nResult=success\nMainPID=0\n' ;; *) printf '%s' "$TEXT" ;; esac`, text)
	}, "check", "-server", nobody, "-systemd-unit", "x")
	add("a state", func(*call) { systemctl(t, "printf 'LoadState=%s' \"$TEXT\"", text) }, "once", "-server", nobody, "-systemd-unit", "x")
	add("a service", func(*call) {
		systemctl(t, `for sub in running failed; do printf 'LoadState=loaded\nActiveState=%s\nSubState=%s\nMainPID=1\nId=%s\n\n' $sub $sub "$TEXT"; done`, text)
	}, "discover")
	add("a key", nil, "once", "-config", write("key.toml", fmt.Sprintf("%q = 1\n", text)))
	add("a value", nil, "once", "-config", write("value.toml", fmt.Sprintf("ip = %q\n", text)))
	add("no TOML", nil, "once", "-config", write("no.toml", text))
	add("a secret", nil, "once", "-server", nobody, "-timeout", "200ms", "-key-file", write("secret", text))
	add("a host name", func(c *call) { c.hostName = func() (string, error) { return text, nil } }, "once", "-server", nobody)
	add("no host name", func(c *call) { c.hostName = func() (string, error) { return "", errors.New(text) } }, "once", "-server", nobody)
	add("the environment", func(c *call) { c.environ = []string{"HEARTBEAT_SERVER=" + text} }, "once")
	add("an argument", nil, "once", text)
	add("a command", nil, text)
	for _, flag := range []string{"-config", "-key-file", "-server", "-host", "-service", "-ip", "-status", "-tag", "-pid", "-systemd-unit", "-timeout", "-key-id", "-" + text} {
		add("the flag "+flag, nil, "once", "-server", nobody, flag, text)
	}
	add("a name for a resolver", nil, "check", "-server", "tcp://"+cut(text)+":1", "-timeout", "200ms")
	add("the file of -pid-file", nil, "check", "-server", nobody, "-pid-file", text)
	add("the program of exec", func(c *call) { c.environ = []string{"PATH=" + text} }, "exec", "--", text)
	add("the files of TLS", nil, "once", "-server", "tls://127.0.0.1:1", "-tls-ca", text)
	return doors
}

// cut returns what an answer has room for.
func cut(text string) string { return text[:min(len(text), 400)] }

// ascii returns what a certificate can hold of a text.
func ascii(text string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return '\x1b'
		}
		return r
	}, text)
}

// systemctl puts a program of that name on PATH, which finds text in $TEXT.
func systemctl(t *testing.T, script, text string) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n"+script+"\n"), 0o700)) //nolint:gosec // it is a program
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("TEXT", text)
}
