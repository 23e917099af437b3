//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/parsers/influx"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// anyPort lets the kernel choose; the log tells what it chose.
const anyPort = "tcp://127.0.0.1:0"

// A collector is a Telegraf that listens for heartbeats.
type collector struct {
	*testkit.Process
	address string // host:port
	written string // file with what it has written
	options string // file with the options of the plugin
}

// ways are the ways to run a collector. conf is changed by more, if given,
// before Telegraf gets it.
var ways = []struct {
	name  string
	start func(t testing.TB, more func(*conf)) *collector
}{
	{"execd", startStock},
	{"compiled in", startCompiledIn},
}

// startStock starts a stock Telegraf with the root sample.conf. Only paths,
// ports and outputs are not as there.
func startStock(t testing.TB, more func(*conf)) *collector {
	t.Helper()
	return startStockWith(t, writeOptions(t, anyPort), more)
}

// startStockWith is startStock with a file of options.
func startStockWith(t testing.TB, options string, more func(*conf)) *collector {
	t.Helper()
	c := readConf(t)
	c.replace(`command = ["telegraf-heartbeat"]`, fmt.Sprintf("command = [%q, %q, %q]", testkit.Program(t, "telegraf-heartbeat"), "-config", options))
	return startTelegraf(t, "telegraf-stock", options, c, more)
}

// startCompiledIn starts a Telegraf with the plugin in it, as the root
// sample.conf says in a comment.
func startCompiledIn(t testing.TB, more func(*conf)) *collector {
	t.Helper()
	c := readConf(t)
	c.remove("[[inputs.execd]]")
	c.uncomment("[[inputs.heartbeat]]")
	c.replace(`service_addresses = ["tcp://:7878"]`, fmt.Sprintf("service_addresses = [%q]", anyPort))
	return startTelegraf(t, "telegraf", "", c, more)
}

func startTelegraf(t testing.TB, name, options string, c *conf, more func(*conf)) *collector {
	t.Helper()
	dir := t.TempDir()
	file, written := filepath.Join(dir, "telegraf.conf"), filepath.Join(dir, "written")
	if options == "" {
		options = file
	}
	c.replace(`files = ["stdout"]`, fmt.Sprintf("files = [%q]", written))
	if more != nil {
		more(c)
	}
	require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
	run := &collector{Process: testkit.StartProgram(t, name, "--config", file), written: written, options: options}
	run.Until("the collector to listen", func() bool { return len(run.listened()) == 1 })
	run.address = run.listened()[0]
	return run
}

var listening = regexp.MustCompile(`Listening on tcp://(\S+)`)

// listened returns where the plugin has listened since Telegraf was started.
func (c *collector) listened() []string { return listenedIn(&c.Stderr) }

func listenedIn(log *testkit.Transcript) []string {
	var addresses []string
	for _, line := range log.All() {
		if match := listening.FindStringSubmatch(line); match != nil {
			addresses = append(addresses, match[1])
		}
	}
	return addresses
}

// metrics returns what Telegraf has written of a measurement, in its order,
// or of all measurements if that is empty. where are keys and values of tags.
func (c *collector) metrics(measurement string, where ...string) []telegraf.Metric {
	c.T.Helper()
	text, err := os.ReadFile(c.written)
	if !os.IsNotExist(err) {
		require.NoError(c.T, err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // the last line may be half
	parser := influx.Parser{}
	require.NoError(c.T, parser.Init())
	all, err := parser.Parse(text)
	require.NoError(c.T, err)
	return slices.DeleteFunc(all, func(m telegraf.Metric) bool {
		return measurement != "" && m.Name() != measurement || !tagged(m, where...)
	})
}

func tagged(m telegraf.Metric, where ...string) bool {
	for pair := range slices.Chunk(where, 2) {
		if value, _ := m.GetTag(pair[0]); value != pair[1] {
			return false
		}
	}
	return true
}

// events returns the states that a source was said to be in, one after the
// other.
func (c *collector) events(source string) []string {
	c.T.Helper()
	metrics := c.metrics("heartbeat_event", "source", source)
	states := make([]string, 0, len(metrics))
	for _, m := range metrics {
		state, _ := m.GetTag("state")
		states = append(states, state)
	}
	return slices.Compact(states)
}

// number returns a field of a metric that is an integer.
func number(t testing.TB, m telegraf.Metric, field string) int64 {
	t.Helper()
	value, _ := m.GetField(field)
	n, ok := value.(int64)
	require.True(t, ok, "%s is %T in %v", field, value, m)
	return n
}

// series returns the different sets of tags.
func series(metrics []telegraf.Metric) []string {
	names := make(map[string]bool)
	for _, m := range metrics {
		names[fmt.Sprint(m.Tags())] = true // maps are printed sorted
	}
	return slices.Sorted(maps.Keys(names))
}

func last[T any](all []T) T { return all[len(all)-1] }

// A conf is a text that becomes the configuration of Telegraf.
type conf struct {
	t    testing.TB
	text string
}

func readConf(t testing.TB) *conf {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "sample.conf"))
	require.NoError(t, err)
	return &conf{t, string(text)}
}

// replace puts something in the place of what occurs once.
func (c *conf) replace(old, by string) {
	c.t.Helper()
	require.Equal(c.t, 1, strings.Count(c.text, old), "how often sample.conf has %s", old)
	c.text = strings.Replace(c.text, old, by, 1)
}

// table returns the lines of a table, whose header is given as it stands
// there, and from which to which line it is.
func (c *conf) table(header string) (lines []string, from, to int) {
	c.t.Helper()
	lines = strings.SplitAfter(c.text, "\n")
	from = slices.Index(lines, header+"\n")
	require.GreaterOrEqual(c.t, from, 0, "sample.conf lacks %s", header)
	to = from + 1
	for to < len(lines) && strings.TrimSpace(lines[to]) != "" {
		to++
	}
	return lines, from, to
}

func (c *conf) remove(header string) {
	c.t.Helper()
	lines, from, to := c.table(header)
	c.text = strings.Join(slices.Delete(lines, from, to), "")
}

func (c *conf) uncomment(header string) {
	c.t.Helper()
	lines, from, to := c.table("# " + header)
	for i := from; i < to; i++ {
		lines[i] = strings.TrimPrefix(lines[i], "# ")
	}
	c.text = strings.Join(lines, "")
}
