//go:build linux

package e2e

import (
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

// An engine carries beats from the Telegrafs of hosts to that of the centre. Both are configured
// with what docs/bus.md shows of it.
type engine struct {
	name       string
	documented string // where it listens there, host:port
	start      func(b *bus) *testkit.Process

	// How hosts make it keep their beats, if it does not by itself, and how the first centre that
	// reads them all is set up: pairs of what is there and what takes its place.
	kept, replayed []string

	restarts int           // of the engine, in a long test
	rest     time.Duration // before each in a long test
}

var engines = []engine{
	{
		name: "nats", documented: "bus.example.com:4222", start: (*bus).startNATS,
		kept:     []string{"sent_ms\":{{ .Time.UnixMilli }}}'", "sent_ms\":{{ .Time.UnixMilli }}}'\n[outputs.nats.jetstream]\nname = \"kept\""},
		replayed: []string{`subjects = ["heartbeat"]`, `jetstream_subjects = ["heartbeat"]`, `"centre-1"`, `"replay-1"`},
		restarts: 50,
	},
	{
		name: "mqtt", documented: "bus.example.com:1883", start: (*bus).startMosquitto,
		kept: []string{"retain = false", "retain = true"}, // the last beat of each
		// Telegraf's output waits twice as long as before if the engine is lost once more within a minute.
		restarts: 10, rest: 70 * time.Second,
	},
	{
		name: "kafka", documented: "bus.example.com:9092", start: (*bus).startKafka,
		replayed: []string{`"newest"`, `"oldest"`, `"centre-1"`, `"replay-1"`},
		restarts: 50,
	},
	{
		name: "amqp", documented: "bus.example.com:5672", start: (*bus).startRabbitMQ,
		replayed: []string{
			`"centre-1"`, `"log"`, `{"x-expires" = 60000, "x-message-ttl" = 60000}`,
			`{"x-queue-type" = "stream"}` + "\n" + `queue_consume_arguments = {"x-stream-offset" = "first"}`,
		},
		restarts: 50,
	},
}

// A bus is an engine, the Telegrafs at its ends, and the collector behind it.
type bus struct {
	*post
	engine
	at      string // where the engine listens, host:port
	dir     string // of the engine
	running *testkit.Process
	central *testkit.Process
	replays []*testkit.Process // centres that read all there is
}

const beatInterval = time.Second // whatever they declare

// newBus starts an engine, a collector and the Telegraf between them.
func newBus(t testing.TB, e engine) *bus {
	t.Helper()
	b := &bus{post: newPost(t), engine: e, dir: t.TempDir()}
	b.at = testkit.FreeAddress(t)
	b.relieve()
	b.startEngine()
	b.startCentre()
	return b
}

// startEngine starts the engine and waits until it is there.
func (b *bus) startEngine() {
	b.t.Helper()
	b.running = b.start(b)
	b.running.Until("it to be reachable", func() bool { return reachable(b.at) })
}

func reachable(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func (b *bus) startNATS() *testkit.Process {
	host, port, _ := strings.Cut(b.at, ":")
	return testkit.Start(b.t, "nats-server", exec.Command(foreign(b.t, "nats-server"), "-a", host, "-p", port, "-js", "-sd", b.dir))
}

func (b *bus) startMosquitto() *testkit.Process {
	host, port, _ := strings.Cut(b.at, ":")
	file := filepath.Join(b.dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %s %s\nallow_anonymous true\nuser root\npersistence true\npersistence_location %s/\n", port, host, b.dir)
	require.NoError(b.t, os.WriteFile(file, []byte(text), 0o600))
	command := exec.Command(foreign(b.t, "mosquitto"), "-c", file)
	command.Env = []string{"LD_LIBRARY_PATH=" + unpacked(b.t, "usr/lib/x86_64-linux-gnu")}
	return testkit.Start(b.t, "mosquitto", command)
}

func (b *bus) startKafka() *testkit.Process {
	return testkit.Start(b.t, "kafka", exec.Command(foreign(b.t, "kafka"), b.at, b.dir))
}

// startRabbitMQ starts it with a port mapper of its own: it would start one that stays.
func (b *bus) startRabbitMQ() *testkit.Process {
	mapper := testkit.FreeAddress(b.t)
	host, port, _ := strings.Cut(mapper, ":")
	names := []string{"ERL_EPMD_ADDRESS=" + host, "ERL_EPMD_PORT=" + port}
	epmd := exec.Command(unpacked(b.t, "usr/lib/erlang/bin/epmd"))
	epmd.Env = names
	process := testkit.Start(b.t, "epmd", epmd)
	process.Until("it to be reachable", func() bool { return reachable(mapper) })

	file := filepath.Join(b.dir, "rabbitmq.conf")
	require.NoError(b.t, os.WriteFile(file, []byte("listeners.tcp.1 = "+b.at+"\nlog.console = true\nlog.file = false\nloopback_users = none\n"), 0o600))
	plugins := filepath.Join(b.dir, "plugins")
	require.NoError(b.t, os.WriteFile(plugins, []byte("[].\n"), 0o600))
	scripts, err := filepath.Glob(unpacked(b.t, "usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"))
	require.NoError(b.t, err)
	require.Len(b.t, scripts, 1)
	_, distribution, _ := strings.Cut(testkit.FreeAddress(b.t), ":")
	command := exec.Command(scripts[0])
	command.Env = append(names, "HOME="+b.dir, "PATH="+unpacked(b.t, "usr/lib/erlang/bin")+":"+os.Getenv("PATH"),
		"RUNNING_UNDER_SYSTEMD=true", "RABBITMQ_NODENAME=bus@localhost", "RABBITMQ_DIST_PORT="+distribution, "RABBITMQ_CONFIG_FILE="+file,
		"RABBITMQ_MNESIA_BASE="+filepath.Join(b.dir, "mnesia"), "RABBITMQ_LOG_BASE="+b.dir, "RABBITMQ_ENABLED_PLUGINS_FILE="+plugins,
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}")
	return testkit.Start(b.t, "rabbitmq-server", command)
}

// unpacked returns where "make servers" has unpacked a file, or what a pattern matches.
func unpacked(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "build", "servers", name))
	require.NoError(t, err)
	if found, err := filepath.Glob(path); err != nil || len(found) == 0 {
		t.Skipf("needs %s, which \"make servers\" unpacks from Debian's packages", name)
	}
	return path
}

// startCentre starts the Telegraf that reads from the engine.
func (b *bus) startCentre() { b.central = b.startTelegraf("centre", "[agent]\nomit_hostname = true\n") }

// startTelegraf starts a Telegraf with what the documents show of one end, with pairs of what is
// there and what takes its place.
func (b *bus) startTelegraf(end, agent string, replace ...string) *testkit.Process {
	b.t.Helper()
	return testkit.StartProgram(b.t, "telegraf-stock", "--config", b.configOf(end, agent, replace))
}

func (b *bus) configOf(end, agent string, replace []string) string {
	b.t.Helper()
	shown, err := os.ReadFile(filepath.Join("..", "..", "deploy", "examples", b.name+"-"+end+".conf"))
	require.NoError(b.t, err)
	text := string(shown)
	replace = append([]string{b.documented, b.at}, replace...)
	if end == "centre" {
		replace = append(replace, "127.0.0.1:7878", b.address)
	}
	for pair := range slices.Chunk(replace, 2) {
		require.Contains(b.t, text, pair[0])
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	file := filepath.Join(b.t.TempDir(), "telegraf.conf")
	require.NoError(b.t, os.WriteFile(file, []byte(agent+text), 0o600))
	return file
}

// everyHost is how the Telegraf of a host is set up, but for its name: it beats each second.
const everyHost = "[agent]\ninterval = \"1s\"\nflush_interval = \"1s\"\nhostname = %q\n"

// startHost starts the Telegraf of a host, which declares this interval. It beats each second.
func (b *bus) startHost(name string, interval time.Duration, replace ...string) *testkit.Process {
	b.t.Helper()
	return b.startTelegraf("edge", fmt.Sprintf(everyHost, name), append(declared(interval), replace...)...)
}

func declared(interval time.Duration) []string {
	return []string{`"interval_ms":10000`, fmt.Sprintf(`"interval_ms":%d`, interval.Milliseconds())}
}

// leave says goodbye for a host over the engine.
func (b *bus) leave(name string, replace ...string) {
	b.t.Helper()
	replace = append(slices.Clone(replace), `"pid":0`, `"pid":0,"status":"leaving"`)
	goodbye := b.configOf("edge", fmt.Sprintf(everyHost, name), replace)
	require.Zero(b.t, testkit.StartProgram(b.t, "telegraf-stock", "--once", "--config", goodbye).Exit())
}

// verdicts returns in which states a host was told to be, but suspicion, which is nobody's death.
func (b *bus) verdicts(host string) []string {
	return slices.Compact(slices.DeleteFunc(b.states(host, "telegraf"), func(state string) bool { return strings.HasPrefix(state, "suspect") }))
}

// untilVerdicts waits until a host was told to be in these states, and nothing else.
func (b *bus) untilVerdicts(host string, want ...string) {
	b.t.Helper()
	b.now().Until(fmt.Sprintf("%s to be %s", host, last(want)), func() bool { return len(b.verdicts(host)) >= len(want) })
	require.Equal(b.t, want, b.verdicts(host), host)
}

// untilHeard waits until beats of these hosts were heard that came after an instant; all are how
// many peers there are.
func (b *bus) untilHeard(after time.Time, all int, hosts ...string) {
	b.t.Helper()
	b.now().Until(fmt.Sprint("beats of ", hosts), func() bool {
		peers := b.look(all)
		return !slices.ContainsFunc(hosts, func(host string) bool { return !heardAt(b.t, peers[host+"/telegraf"]).After(after) })
	})
}

// diesUnheard kills a host that is to be dead soon while the centre is stopped. What it has said
// last waits until it is dead.
func (b *bus) diesUnheard(host *testkit.Process) {
	b.t.Helper()
	b.central.Signal(syscall.SIGSTOP)
	pause(3 * beatInterval) // what was sent before is read
	host.Kill()
	b.untilVerdicts("gone", "alive beat", "dead silence")
	pause(2 * beatInterval)
	b.central.Signal(syscall.SIGCONT)
}

// restartEngine ends the engine and starts it with what it has kept.
func (b *bus) restartEngine() {
	b.t.Helper()
	pause(size(0, b.rest))
	b.running.Signal(syscall.SIGTERM)
	b.running.Exit()
	b.startEngine()
}

// stopEngine stops the engine for a while.
func (b *bus) stopEngine() {
	b.running.Signal(syscall.SIGSTOP)
	pause(5 * beatInterval)
	b.running.Signal(syscall.SIGCONT)
}

// restartCentre kills the centre and starts another one.
func (b *bus) restartCentre() {
	b.central.Kill()
	b.startCentre()
}

// passedOver returns how many beats were taken for no life, as they were heard before or are older
// than one that was. What an engine replays first is one or the other: MQTT keeps the last beat of
// each host, which may be the last that was heard.
func (b *bus) passedOver() int64 {
	b.t.Helper()
	b.now().Say("\n")
	pause(beatInterval / 2) // until it has answered
	var all int64
	for _, kind := range []string{"late", "duplicate"} {
		if skipped := parse(b.t, b.now().Stdout.With("heartbeat_collector,kind="+kind)); len(skipped) > 0 {
			all += number(b.t, last(skipped), "beats_total")
		}
	}
	return all
}

// replay lets one more centre read all that the engine has kept, beside the first one. It takes
// the place of the one before it.
func (b *bus) replay() {
	b.t.Helper()
	if len(b.replays) > 0 {
		last(b.replays).Kill()
	}
	replace := slices.Clone(b.replayed)
	for i := range replace {
		replace[i] = strings.ReplaceAll(replace[i], "replay-1", fmt.Sprint("replay-", len(b.replays)+1))
	}
	b.replays = append(b.replays, b.startTelegraf("centre", "[agent]\nomit_hostname = true\n", replace...))
}
