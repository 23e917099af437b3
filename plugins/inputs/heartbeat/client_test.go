package heartbeat

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// patience is for what happens at once on a machine that is not overloaded.
const patience = 20 * time.Second

// A client speaks to the plugin as a sender would.
type client struct {
	net.Conn
	t       testing.TB
	answers *wire.Reader
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() })
	return &client{Conn: conn, t: t, answers: wire.NewReader(conn, wire.MaxAnswer)}
}

func dial(t testing.TB, h *Heartbeat) *client { return dialTo(t, hostPort(h)) }

func dialTo(t testing.TB, address string) *client {
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return newClient(t, conn)
}

func (c *client) send(bytes string) {
	_, err := c.Write([]byte(bytes))
	require.NoError(c.t, err)
}

func frame(payload string) string { return string(wire.AppendFrame(nil, []byte(payload))) }

func (c *client) answer() string {
	payload, err := c.answers.Next()
	require.NoError(c.t, err)
	return string(payload)
}

// beat sends a framed payload that asks for an answer, or will be refused,
// and returns the answer.
func (c *client) beat(payload string) string {
	c.send(frame(payload))
	return c.answer()
}

// closed waits until the plugin has closed the connection.
func (c *client) closed() {
	_, err := c.Read(make([]byte, 1))
	require.Error(c.t, err)
	var timeout net.Error
	require.False(c.t, errors.As(err, &timeout) && timeout.Timeout(), "the connection is still open")
}

// start runs the plugin until the test ends.
func start(t testing.TB, h *Heartbeat) *testutil.Accumulator {
	acc := new(testutil.Accumulator)
	require.NoError(t, h.Init())
	require.NoError(t, h.Start(acc))
	t.Cleanup(h.Stop)
	return acc
}

// gather waits until everything that happened has been emitted.
func gather(t testing.TB, h *Heartbeat) { require.NoError(t, h.Gather(nil)) }

// metricsOf returns the metrics of a measurement that carry a tag.
func metricsOf(acc *testutil.Accumulator, measurement, tag, value string) []telegraf.Metric {
	var found []telegraf.Metric
	for _, m := range acc.GetTelegrafMetrics() {
		if got, _ := m.GetTag(tag); m.Name() == measurement && got == value {
			found = append(found, m)
		}
	}
	return found
}

// eventsOf returns "state reason" of each event of a source.
func eventsOf(acc *testutil.Accumulator, source string) []string {
	metrics := metricsOf(acc, "heartbeat_event", "source", source)
	events := make([]string, 0, len(metrics))
	for _, m := range metrics {
		events = append(events, m.Tags()["state"]+" "+m.Tags()["reason"])
	}
	return events
}

const (
	inARow          = 8       // refusals that cost a connection
	longestDatagram = 8 << 10 // bytes
)

// stateSaved returns the latest value of the collector's field state_saved.
func stateSaved(t *testing.T, acc *testutil.Accumulator) any {
	t.Helper()
	for _, m := range slices.Backward(acc.GetTelegrafMetrics()) {
		if value, ok := m.GetField("state_saved"); ok && m.Name() == "heartbeat_collector" {
			return value
		}
	}
	t.Fatal("no state_saved")
	return nil
}

// rejected returns how often the first listener refused for a reason.
func rejected(h *Heartbeat, reason wire.Reason) int64 { return status(h).Refused[reason] }

// status returns that of the first listener.
func status(h *Heartbeat) serve.Status { return h.server.Status()[0] }

// address returns its URL, and hostPort that without the scheme.
func address(h *Heartbeat) string { return status(h).Address }

func hostPort(h *Heartbeat) string {
	_, hostPort, _ := strings.Cut(address(h), "://")
	return hostPort
}

// A closingAccumulator notices what comes after Stop.
type closingAccumulator struct {
	testutil.Accumulator
	taken  atomic.Int64
	closed atomic.Bool
}

func (a *closingAccumulator) AddMetric(telegraf.Metric) {
	if a.closed.Load() {
		panic("metric after Stop")
	}
	a.taken.Add(1)
}

// A pipeListener gives out in-memory connections, so that the plugin can be
// tested in virtual time.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (*pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7878} }

func newPipes() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// startFrom runs the plugin with a socket instead of its addresses, and with other
// options of serving, if change is not nil.
func startFrom(t testing.TB, h *Heartbeat, socket net.Listener, acc telegraf.Accumulator, change func(*serve.Options)) {
	require.NoError(t, h.Init())
	options, err := h.prepare(time.Now())
	require.NoError(t, err)
	options.Addresses = nil
	if change != nil {
		change(options)
	}
	h.server, err = serve.Open(options)
	require.NoError(t, err)
	h.server.AcceptFrom(socket, h.TLSCert != "")
	require.NoError(t, h.keeper.Open(time.Now()))
	h.load(acc)
}

// startInBubble runs the plugin without sockets. stop has to be called before
// the bubble ends.
func startInBubble(t testing.TB, h *Heartbeat) (acc *testutil.Accumulator, connect func() *client, stop func()) {
	acc = new(testutil.Accumulator)
	pipes := newPipes()
	startFrom(t, h, pipes, acc, nil)
	connect = func() *client {
		near, far := net.Pipe()
		pipes.conns <- far
		return newClient(t, near)
	}
	return acc, connect, h.Stop
}

// addr parses an address; an empty text is an invalid one.
func addr(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

// duration reads "1 h 7.5 min", or "none" for 0.
func duration(t testing.TB, text string) time.Duration {
	if text == "none" {
		return 0
	}
	d, err := time.ParseDuration(strings.NewReplacer(" ", "", "min", "m").Replace(text))
	require.NoError(t, err)
	return d
}
