package systemd

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/parsers/influx"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A collector hears what the units of a machine say. It is beside the machine, in
// its network, and outlives it.
type collector struct {
	t      *testing.T
	stdout string // files with what it says
	stderr string

	told map[string][]string // by service: the states that tells has waited for
}

// startCollector starts one at port 7878, with its defaults but for options.
func (m *machine) startCollector(options ...string) *collector {
	t := m.t
	t.Helper()
	dir := t.TempDir()
	c := &collector{t, filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr"), make(map[string][]string)}
	config := filepath.Join(dir, "heartbeat.conf")
	require.NoError(t, os.WriteFile(config, []byte(`
[[inputs.heartbeat]]
  service_addresses = ["tcp://127.0.0.1:7878"]
  state_file = "none"
`+strings.Join(options, "")), 0o600))
	program, err := filepath.Abs(project("bin/telegraf-heartbeat"))
	require.NoError(t, err)
	if _, err := os.Stat(program); err != nil {
		t.Skip(`needs bin/telegraf-heartbeat, which "make build" builds`)
	}
	cmd := m.inside([]string{"--net"}, program, "-config", config, "-interval", "10s")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := os.Create(c.stdout)
	require.NoError(t, err)
	defer stdout.Close()
	stderr, err := os.Create(c.stderr)
	require.NoError(t, err)
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	stdin, err := cmd.StdinPipe() // its end would be that of the collector
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var waiting sync.WaitGroup
	waiting.Go(func() { cmd.Wait() }) //nolint:errcheck // it ends below
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		waiting.Wait()
		if t.Failed() {
			t.Logf("the collector said:\n%s\nand told:\n%q", read(t, c.stderr), c.events())
		}
	})
	testkit.Until(t, "the collector to listen", func() bool { return bytes.Contains([]byte(read(t, c.stderr)), []byte("Listening on")) })
	return c
}

// metrics returns what was emitted of a measurement about a service, in order.
func (c *collector) metrics(measurement, service string) []telegraf.Metric {
	c.t.Helper()
	text := []byte(read(c.t, c.stdout))
	text = text[:bytes.LastIndexByte(text, '\n')+1] // the last line may be half
	parser := influx.Parser{}
	require.NoError(c.t, parser.Init())
	all, err := parser.Parse(text)
	require.NoError(c.t, err)
	return slices.DeleteFunc(all, func(m telegraf.Metric) bool {
		of, _ := m.GetTag("service")
		return m.Name() != measurement || service != "" && of != service
	})
}

// events returns every event with service, state and reason.
func (c *collector) events() []string {
	c.t.Helper()
	var events []string
	for _, m := range c.metrics("heartbeat_event", "") {
		service, _ := m.GetTag("service")
		state, _ := m.GetTag("state")
		reason, _ := m.GetTag("reason")
		events = append(events, service+" "+state+" "+reason)
	}
	return events
}

// states returns the states in which a service was, one after the other: alive,
// or another one with its reason.
func (c *collector) states(service string) []string {
	c.t.Helper()
	var states []string
	for _, event := range c.events() {
		of, state, _ := strings.Cut(event, " ")
		if strings.HasPrefix(state, "alive") {
			state = "alive"
		}
		if of == service {
			states = append(states, state)
		}
	}
	return slices.Compact(states)
}

// restarts returns how often a service was told to be restarted.
func (c *collector) restarts(service string) int {
	c.t.Helper()
	return len(slices.DeleteFunc(c.events(), func(event string) bool { return event != service+" alive restarted" }))
}

// tells waits for a state of a service, which has to be the next one after those
// that it was told to be in.
func (c *collector) tells(service, state string) {
	c.t.Helper()
	want := append(c.told[service], state)
	c.told[service] = want
	testkit.Until(c.t, service+" to be told "+state, func() bool { return len(c.states(service)) >= len(want) })
	require.Equal(c.t, want, c.states(service)[:len(want)], service)
}

// leaves waits for the goodbye of services.
func (c *collector) leaves(services ...string) {
	c.t.Helper()
	for _, service := range services {
		c.tells(service, "left leaving")
	}
}

// toldNothingElse makes sure that nothing came of which tells does not know.
func (c *collector) toldNothingElse() {
	c.t.Helper()
	for service, want := range c.told {
		require.Equal(c.t, want, c.states(service), service)
	}
}

// beats returns the statuses of all beats of a service.
func (c *collector) beats(service string) []string {
	c.t.Helper()
	var statuses []string
	for _, m := range c.metrics("heartbeat", service) {
		status, _ := m.GetField("status")
		statuses = append(statuses, status.(string))
	}
	return statuses
}

// lastBeat returns the status of the last beat of a service.
func (c *collector) lastBeat(service string) string {
	c.t.Helper()
	statuses := c.beats(service)
	require.NotEmpty(c.t, statuses, service)
	return statuses[len(statuses)-1]
}

// hearsMore waits for n more beats of a service.
func (c *collector) hearsMore(n int, service string) {
	c.t.Helper()
	before := len(c.beats(service))
	testkit.Until(c.t, "beats of "+service, func() bool { return len(c.beats(service)) >= before+n })
}
