package heartbeat

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// socketPath returns a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hb") //nolint:usetesting // its paths are too long
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// dialURL connects to the first listener of h, whatever its transport.
func dialURL(t *testing.T, h *Heartbeat) net.Conn {
	t.Helper()
	return dialListener(t, address(h))
}

func dialListener(t *testing.T, url string) net.Conn {
	t.Helper()
	network, address, _ := strings.Cut(strings.Replace(url, "tls://", "tcp://", 1), "://")
	conn, err := net.Dial(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// transport starts a plugin that listens at url.
func transport(t *testing.T, url string, change func(*Heartbeat)) *Heartbeat {
	t.Helper()
	if runtime.GOOS == "windows" && strings.HasPrefix(url, "unix") {
		t.Skip("unix sockets of Windows are not tested")
	}
	h := newPlugin(t)
	h.ServiceAddresses = []string{url}
	if change != nil {
		change(h)
	}
	start(t, h)
	return h
}

func TestUnixSocketIsAStream(t *testing.T) {
	path := socketPath(t)
	h := transport(t, "unix://"+path, func(h *Heartbeat) { h.SocketMode = "0600" })
	require.Equal(t, "unix://"+path, address(h))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	c := newClient(t, dialURL(t, h))
	require.Contains(t, c.beat(`{"host":"web-1","pid":0,"ack":true}`), `"id":"web-1/host"`)
	require.Contains(t, c.beat(`{"pid":1,"watched":true,"ack":true}`), "no address", "nobody has an address here")
	require.EqualValues(t, 1, rejected(h, judge.ReasonNobody))
	h.Stop()
	_, err = os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A process can only speak for itself, unless it says that it watches another.
func TestUnixSocketKnowsWhoSpeaks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the other process is known on Linux only")
	}
	h := transport(t, "unix://"+socketPath(t), nil)
	c := newClient(t, dialURL(t, h))
	beat := func(pid int, more string) string {
		return c.beat(fmt.Sprintf(`{"host":"web-1","service":"s","pid":%d,"ack":true%s}`, pid, more))
	}
	require.Contains(t, beat(os.Getpid(), ""), `"ack"`)
	require.Contains(t, beat(os.Getpid()+1, ""), "is not the pid of the sending process")
	require.Contains(t, beat(os.Getpid()+1, `,"watched":true`), `"ack"`)
	require.EqualValues(t, 1, rejected(h, verify.ReasonPID))

	d := transport(t, "unixgram://"+socketPath(t), nil)
	gram := dialURL(t, d)
	for _, pid := range []int{os.Getpid() + 1, os.Getpid()} {
		_, err := fmt.Fprintf(gram, `{"host":"web-1","service":"s","pid":%d}`, pid)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return status(d).Beats == 1 }, patience, time.Millisecond)
	require.EqualValues(t, 1, rejected(d, verify.ReasonPID))
}

// Only the socket of an ended process is removed.
func TestWhatIsInThePlaceOfASocket(t *testing.T) {
	for _, network := range []string{"unix", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			path := socketPath(t)
			first := transport(t, network+"://"+path, nil)
			second := newPlugin(t)
			second.ServiceAddresses = first.ServiceAddresses
			require.NoError(t, second.Init())
			require.ErrorContains(t, second.Start(nil), "another process listens on")
			require.FileExists(t, path)
			first.Stop()

			require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
			require.ErrorContains(t, second.Start(nil), "not a socket")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "precious", string(text))
			require.NoError(t, os.Remove(path))

			leaveSocket(t, network, path)
			third := newPlugin(t)
			third.ServiceAddresses = first.ServiceAddresses
			start(t, third)
			require.Equal(t, network+"://"+path, address(third))
		})
	}
}

// leaveSocket leaves one behind, as a process does that is killed.
func leaveSocket(t *testing.T, network, path string) {
	t.Helper()
	addr := &net.UnixAddr{Name: path, Net: network}
	if network == "unixgram" {
		socket, err := net.ListenUnixgram(network, addr)
		require.NoError(t, err)
		require.NoError(t, socket.Close())
		return
	}
	socket, err := net.ListenUnix(network, addr)
	require.NoError(t, err)
	socket.SetUnlinkOnClose(false)
	require.NoError(t, socket.Close())
}

// Each datagram is a payload; none is answered, and a bad one has no effect on others.
func TestDatagrams(t *testing.T) {
	for _, url := range []string{"udp://127.0.0.1:0", "unixgram://@heartbeat-test-" + t.Name()} {
		t.Run(url[:4], func(t *testing.T) {
			if url[:4] == "unix" && runtime.GOOS != "linux" {
				t.Skip("only Linux has abstract sockets")
			}
			h := transport(t, url, func(h *Heartbeat) { h.ReadBufferSize = 1 << 20 })
			c := dialURL(t, h)
			for _, payload := range []string{
				`{"host":"web-1","pid":0,"ack":true}`,
				`{"host":"web-1","pid":`,
				strings.Repeat("x", longestDatagram+1),
				"",
				frame(`{"host":"framed","pid":0}`),
				`{"host":"web-2","pid":0}`,
			} {
				_, err := c.Write([]byte(payload))
				require.NoError(t, err)
			}
			require.Eventually(t, func() bool { return status(h).Beats == 2 }, patience, time.Millisecond)
			require.EqualValues(t, 4, h.refused.total.Load(), "cut off, too long, empty and framed")
			require.EqualValues(t, 1, rejected(h, wire.ReasonOversize))
			require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
			_, err := c.Read(make([]byte, 10))
			require.Error(t, err, "nobody is answered")
		})
	}
}

func TestOnlyAllowedSourcesMayBeat(t *testing.T) {
	here := func(h *Heartbeat) { h.AllowedSources = []string{"::ffff:127.0.0.0/104", "10.9.9.9"} }
	elsewhere := func(h *Heartbeat) { h.AllowedSources = []string{"10.0.0.0/8", "::1"} }
	require.Contains(t, dial(t, transport(t, "tcp://127.0.0.1:0", here)).beat(`{"pid":1,"ack":true}`), `"ack"`)

	h := transport(t, "tcp://127.0.0.1:0", elsewhere)
	dial(t, h).closed()
	require.EqualValues(t, 1, rejected(h, serve.ReasonSource))
	require.Zero(t, status(h).Connections)

	u := transport(t, "udp://127.0.0.1:0", elsewhere)
	_, err := dialURL(t, u).Write([]byte(`{"pid":1}`))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return rejected(u, serve.ReasonSource) == 1 }, patience, time.Millisecond)
	require.Zero(t, status(u).Beats)

	s := transport(t, "unix://"+socketPath(t), elsewhere)
	c := newClient(t, dialURL(t, s))
	require.Contains(t, c.beat(`{"host":"web-1","pid":0,"ack":true}`), `"ack"`, "who reaches a unix socket has the right to")
}

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) { h.MaxPerIP = 2 })
	first, second := dial(t, h), dial(t, h)
	first.beat(`{"pid":1,"ack":true}`)
	second.beat(`{"pid":2,"ack":true}`)
	dial(t, h).closed()
	require.EqualValues(t, 1, rejected(h, serve.ReasonMaxPerIP))
	first.Close()
	require.Eventually(t, func() bool { return status(h).Connections == 1 }, patience, time.Millisecond)
	third := dial(t, h)
	third.beat(`{"pid":3,"ack":true}`)
	second.Close()
	third.Close()
	require.Eventually(t, func() bool { return status(h).Connections == 0 }, patience, time.Millisecond)
}

// A stolen address is refused if both have to agree.
func TestVerifiedAddressIsThatOfTheConnection(t *testing.T) {
	h := transport(t, "tcp://127.0.0.1:0", func(h *Heartbeat) { h.IPFrom = "verified" })
	c := dial(t, h)
	require.Contains(t, c.beat(`{"ip":"10.0.0.5","pid":1,"ack":true}`), "10.0.0.5 came from 127.0.0.1")
	require.Contains(t, c.beat(`{"ip":"127.0.0.1","pid":1,"ack":true}`), `"id":"127.0.0.1/1"`)
	require.Contains(t, c.beat(`{"pid":1,"ack":true}`), `"id":"127.0.0.1/1"`)
	require.EqualValues(t, 1, rejected(h, verify.ReasonIP))
}

func TestBadTransportsAreRefused(t *testing.T) {
	for url, want := range map[string]string{
		"ftp://x:1":   "use one of tcp, tcp4, tcp6, tls, udp, udp4, udp6, unix, unixgram, http, https",
		"unix://":     "has no path",
		"udp://:port": `has port "port"`,
	} {
		h := newPlugin(t)
		h.ServiceAddresses = []string{url}
		require.ErrorContains(t, h.Init(), want)
	}
	h := newPlugin(t)
	h.SocketMode = "rw"
	require.ErrorContains(t, h.Init(), "'socket_mode'")
	h = newPlugin(t)
	h.AllowedSources = []string{"10.0.0.0/33"}
	require.ErrorContains(t, h.Init(), `'allowed_sources': "10.0.0.0/33"`)
}
