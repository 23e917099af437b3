//go:build unix

package e2e

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// It adds a test rather than skipping it: sample.conf listens on a port that may be
// in use.
var showDemo = flag.Bool("demo", false, "show the main job on port 7878")

// A claim is a line that Telegraf has to write.
type claim struct {
	text        string
	measurement string
	tags        []string // keys and values
	fields      map[string]any
}

// TestDemo shows the main job to a person: it starts a stock Telegraf with
// sample.conf as it is, lets a few senders live and die, and prints what Telegraf
// wrote about them.
func TestDemo(t *testing.T) {
	if !*showDemo {
		return
	}
	const server = "tcp://127.0.0.1:7878" // where sample.conf listens
	begin := time.Now()
	port, err := net.Listen("tcp", ":7878")
	require.NoError(t, err, "sample.conf listens on port 7878, which is in use here")
	require.NoError(t, port.Close())

	say("Telegraf starts with sample.conf; it starts telegraf-heartbeat")
	d := startDemo(t)
	d.expect(claim{"the collector listens", "heartbeat_event", []string{"reason", "started"}, nil})

	say("heartbeat-sender run beats every second for nginx on web-1 and on web-2")
	sender := func(args ...string) *testkit.Process {
		return testkit.StartProgram(t, "heartbeat-sender", append(args, "-config", os.DevNull, "-server", server)...)
	}
	polite := sender("run", "-host", "web-1", "-service", "nginx", "-interval", "1s")
	killed := sender("run", "-host", "web-2", "-service", "nginx", "-interval", "1s")

	say("the article's client sends its bare JSON, unframed, and never reads")
	client, err := net.Dial("tcp", "127.0.0.1:7878")
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Write([]byte(`{"ip": "10.0.0.5", "status": "alive", "pid": 4711}`))
	require.NoError(t, err)

	say("cron calls heartbeat-sender once -every 1m, three times, each time another process")
	for range 3 {
		require.Zero(t, sender("once", "-host", "web-3", "-every", "1m").Exit())
	}
	d.expect(births...)

	say("the sender on web-1 is stopped politely (SIGTERM), the one on web-2 is killed (SIGKILL)")
	polite.Signal(syscall.SIGTERM)
	require.Zero(t, polite.Exit())
	killed.Kill()
	d.expect(ends...)

	say("every 10 s, all peers and the collector itself (waiting for the next time)")
	d.from = len(d.Stdout.From(0))
	d.expect(gathered...)
	d.requireNothingElse()

	d.Signal(syscall.SIGTERM)
	require.Zero(t, d.Exit())
	require.Less(t, time.Since(begin), time.Minute)
	fmt.Printf("\nAll of this was seen, in %d lines that Telegraf wrote.\n", len(d.Stdout.All()))
}

func say(text string) { fmt.Printf("\n--- %s\n", text) }

// A demo is a Telegraf whose lines from one on count.
type demo struct {
	*testkit.Process
	from int
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	telegraf := testkit.Program(t, "telegraf-stock")
	cmd := exec.Command(telegraf, "--config", filepath.Join("..", "..", "sample.conf"))
	cmd.Env = []string{"PATH=" + filepath.Dir(telegraf) + ":" + os.Getenv("PATH")}
	return &demo{Process: testkit.Start(t, "Telegraf", cmd)}
}

// expect waits until Telegraf has written each of these, and prints the lines.
func (d *demo) expect(claims ...claim) {
	d.T.Helper()
	for i := range claims {
		var line string
		d.Until(claims[i].text, func() bool {
			line = d.find(&claims[i])
			return line != ""
		})
		fmt.Printf("    %s\n      %s\n", claims[i].text, line)
	}
}

func (d *demo) find(c *claim) string {
	for _, line := range d.Stdout.From(d.from) {
		if strings.HasPrefix(line.Text, c.measurement+",") && c.meets(d.T, line.Text) {
			return line.Text
		}
	}
	return ""
}

func (c *claim) meets(t testing.TB, line string) bool {
	m := parse(t, []string{line})[0]
	for key, want := range c.fields {
		if got, _ := m.GetField(key); got != want {
			return false
		}
	}
	return tagged(m, c.tags...)
}

// requireNothingElse looks for what must not have been written at any time.
func (d *demo) requireNothingElse() {
	d.T.Helper()
	for _, line := range d.Stdout.With("source=web-1") {
		require.NotContains(d.T, line, "dead=1i", "it said goodbye")
		require.NotContains(d.T, line, "state=dead", "it said goodbye")
	}
	cron := series(parse(d.T, d.Stdout.With("heartbeat_peer,")))
	cron = slices.DeleteFunc(cron, func(tags string) bool { return !strings.Contains(tags, "source:web-3") })
	require.Len(d.T, cron, 1, "series of the cron job")
}

// births are written when all have begun to beat.
var births = []claim{
	{"nginx on web-1 is alive", "heartbeat_event", []string{"source", "web-1", "service", "nginx", "state", "alive", "reason", "beat"}, nil},
	{"nginx on web-2 is alive", "heartbeat_event", []string{"source", "web-2", "service", "nginx", "state", "alive", "reason", "beat"}, nil},
	{
		"each beat is a metric", "heartbeat",
		[]string{"source", "web-1", "service", "nginx"},
		map[string]any{"status": "alive", "interval_seconds": 1.0},
	},
	{"web-2 stays connected", "heartbeat", []string{"source", "web-2"}, map[string]any{"seq": int64(3)}},
	{
		"the article's client is alive, known by ip and pid", "heartbeat_event",
		[]string{"ip", "10.0.0.5", "pid", "4711", "state", "alive"},
		nil,
	},
	{"the cron job is alive", "heartbeat_event", []string{"source", "web-3", "service", "host", "state", "alive"}, nil},
}

// ends are written when one sender has stopped and another was killed.
var ends = []claim{
	{"it said goodbye: left, and no alert fires", "heartbeat_event", []string{"source", "web-1", "state", "left", "reason", "leaving"}, nil},
	{
		"its connection was closed without goodbye: suspect at once", "heartbeat_event",
		[]string{"source", "web-2", "state", "suspect", "reason", "conn_closed"},
		nil,
	},
	{
		"and no beat comes: dead", "heartbeat_event",
		[]string{"source", "web-2", "state", "dead", "previous", "suspect", "reason", "conn_closed"},
		nil,
	},
	{
		"what is down, since when and why, is one row", "heartbeat_down",
		[]string{"source", "web-2", "service", "nginx", "state", "dead", "reason", "conn_closed"},
		nil,
	},
}

// gathered is written every interval.
var gathered = []claim{
	{
		"web-2 is dead, once", "heartbeat_peer",
		[]string{"source", "web-2", "service", "nginx"},
		map[string]any{"alive": int64(0), "dead": int64(1), "deaths_total": int64(1)},
	},
	{
		"web-1 is neither alive nor dead, and never was dead", "heartbeat_peer",
		[]string{"source", "web-1", "service", "nginx"},
		map[string]any{"alive": int64(0), "dead": int64(0), "deaths_total": int64(0)},
	},
	{
		"the cron job is one peer: three beats, no restart", "heartbeat_peer",
		[]string{"source", "web-3", "service", "host"},
		map[string]any{"alive": int64(1), "beats_total": int64(3), "restarts_total": int64(0)},
	},
	{
		"the article's client is alive", "heartbeat_peer",
		[]string{"ip", "10.0.0.5", "pid", "4711"},
		map[string]any{"alive": int64(1), "dead": int64(0)},
	},
	{"one is dead, as the collector counts", "heartbeat_collector", []string{"state", "dead"}, map[string]any{"peers": int64(1)}},
	{"the collector has refused nothing", "heartbeat_collector", nil, map[string]any{"refused_total": int64(0)}},
	{"what came in at the socket", "heartbeat_listener", []string{"address", "tcp://[::]:7878"}, map[string]any{"connections": int64(1)}},
}
