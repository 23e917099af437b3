package heartbeat

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/plugins/inputs"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// TestMain fails if any goroutine is left running. A goroutine that is ending needs a moment
// of processor time, which a busy machine may not have for seconds.
func TestMain(m *testing.M) {
	secret := config.NewSecret([]byte("x")) // the first one starts what keeps their key for ever
	secret.Destroy()
	before := runtime.NumGoroutine()
	code := m.Run()
	for limit := time.Now().Add(patience); code == 0 && runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(limit) {
			stacks := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
			code = 1
		}
	}
	os.Exit(code)
}

func newPlugin(t testing.TB) *Heartbeat {
	h, ok := inputs.Inputs["heartbeat"]().(*Heartbeat)
	require.True(t, ok)
	h.Log = testutil.Logger{Quiet: true}
	h.ServiceAddresses = []string{"tcp://127.0.0.1:0"}
	h.StateFile = "none" // unless the test is about it
	return h
}

// Every option of sample.conf, uncommented, is the default, and has its place in Options.
func TestSampleConfigIsTheDefault(t *testing.T) {
	option := regexp.MustCompile(`(?m)^  # `)
	text := option.ReplaceAllString(sampleConfig, "  ")
	var file struct {
		Inputs struct{ Heartbeat []Heartbeat }
	}
	meta, err := toml.Decode(text, &file)
	require.NoError(t, err)
	require.Empty(t, meta.Undecoded())
	require.Len(t, file.Inputs.Heartbeat, 1)
	want, ok := inputs.Inputs["heartbeat"]().(*Heartbeat)
	require.True(t, ok)
	got := &file.Inputs.Heartbeat[0]
	require.Len(t, got.Rules, 4, "examples")
	_, err = compileRules(got.Rules, got.terms())
	require.NoError(t, err)
	got.Rules = nil
	require.Len(t, got.Checks, 1, "an example")
	check := got.Checks[0].web()
	require.NoError(t, check.Validate())
	require.NotNil(t, got.Checks[0].Token)
	got.Checks = nil
	require.True(t, got.BasicPassword.Empty())
	got.BasicPassword = nil
	require.Len(t, got.Keys, 1, "an example")
	got.Keys = nil
	require.NotNil(t, got.Cluster, "an example")
	require.NoError(t, got.Cluster.check())
	require.Equal(t, listenForMates, got.Cluster.Listen, "the default")
	got.Cluster = nil
	none := make([]string, 0)
	want.TagKeys, want.Expect, want.ExpectFiles, want.AllowedSources, want.Names = none, none, none, none, none
	want.AllowedReaders, want.TrustedProxies, want.CheckFiles = none, none, none
	want.TLSAllowedCACerts, want.TLSAllowedDNSNames, want.TLSCipherSuites = none, none, none
	require.Equal(t, want, got)

	options, _, found := strings.Cut(source(t, "options.go"), "// former are")
	require.True(t, found)
	keys := regexp.MustCompile(`toml:"([a-z_]+)"`).FindAllStringSubmatch(options, -1)
	require.Greater(t, len(keys), 30)
	for before, rest := "", sampleConfig; len(keys) > 0; keys = keys[1:] {
		option := keys[0][1]
		if option == "rule" || option == "keys" || option == "cluster" || option == "check" {
			continue // tables
		}
		line := "  # " + option + " = "
		require.Contains(t, sampleConfig, line, "option is not in sample.conf")
		var found bool
		_, rest, found = strings.Cut(rest, line)
		require.True(t, found, "'%s' comes before '%s' in sample.conf, and after it in Options", option, before)
		before = option
	}
}

// The table has every option too.
func TestSampleConfigHasEveryOptionOfTheCluster(t *testing.T) {
	_, table, found := strings.Cut(sampleConfig, "  # [inputs.heartbeat.cluster]\n")
	require.True(t, found)
	each(reflect.ValueOf(new(ClusterOptions)).Elem(), func(name string, _ reflect.Value) {
		var found bool
		_, table, found = strings.Cut(table, "  #   "+name+" = ")
		require.True(t, found, "'%s' is not in sample.conf, or not where it is in ClusterOptions", name)
	})
}

func source(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func TestBadOptionsAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		want string
		set  func(h *Heartbeat)
	}{
		{"'service_addresses' must name", func(h *Heartbeat) { h.ServiceAddresses = nil }},
		{`'service_addresses': ":7878" lacks a scheme: write "tcp://:7878"`, func(h *Heartbeat) { h.ServiceAddresses = []string{":7878"} }},
		{`'service_addresses': "ftp://:21" has scheme "ftp"`, func(h *Heartbeat) { h.ServiceAddresses = []string{"ftp://:21"} }},
		{`'service_addresses': "tcp://localhost" is not an address with a port`, func(h *Heartbeat) {
			h.ServiceAddresses = []string{"tcp://localhost"}
		}},
		{`'service_addresses': "tcp://:7878" is listed twice`, func(h *Heartbeat) {
			h.ServiceAddresses = []string{"tcp://:7878", "udp://:7878", "tcp://:7878"}
		}},
		{`has port "99999"`, func(h *Heartbeat) { h.ServiceAddresses = []string{"tcp://:99999"} }},
		{"'dead_after' must be at least 2s and at most 3650d, not 1s", func(h *Heartbeat) { h.DeadAfter = config.Duration(time.Second) }},
		{"'max_dead_after' was moved to rules", func(h *Heartbeat) { h.MaxDeadAfter = new(config.Duration) }},
		{"'frame_timeout' was renamed to 'read_timeout'", func(h *Heartbeat) { h.FrameTimeout = new(config.Duration) }},
		{"'pid_as' was renamed to 'tag_with'", func(h *Heartbeat) { h.PIDAs = new(string) }},
		{`'accept' must be one of ["all" "known"], not "listed"`, func(h *Heartbeat) { h.Accept = "listed" }},
		{"'forget_dead_after'", func(h *Heartbeat) { h.ForgetDeadAfter = -1 }},
		{"'forget_dead_after'", func(h *Heartbeat) { h.ForgetDeadAfter = 1<<63 - 1 }},
		{"'forget_left_after'", func(h *Heartbeat) { h.ForgetLeftAfter = -1 }},
		{"'read_timeout'", func(h *Heartbeat) { h.ReadTimeout = 0 }},
		{"'missed_beats' must be between 1 and 1000, not 0", func(h *Heartbeat) { h.MissedBeats = 0 }},
		{"'max_frame_size'", func(h *Heartbeat) { h.MaxFrameSize = 0 }},
		{"'max_frame_size' must be between 64 and 1048576, not 1048577", func(h *Heartbeat) { h.MaxFrameSize = 1<<20 + 1 }},
		{"'max_connections'", func(h *Heartbeat) { h.MaxConnections = -1 }},
		{"'max_peers'", func(h *Heartbeat) { h.MaxPeers = 0 }},
		{"'max_beats_per_second'", func(h *Heartbeat) { h.MaxBeatsPerSecond = -1 }},
		{`'emit_beats' must be one of ["all" "none"], not "some"`, func(h *Heartbeat) { h.EmitBeats = "some" }},
		{`'tag_with' can only contain "pid", not "status"`, func(h *Heartbeat) { h.TagWith = []string{"status"} }},
		{"'ip_from'", func(h *Heartbeat) { h.IPFrom = "x" }},
		{`'tag_keys' names "source"`, func(h *Heartbeat) { h.TagKeys = []string{"site", "source"} }},
		{`'tag_keys' names "dead", which is a field`, func(h *Heartbeat) { h.TagKeys = []string{"dead"} }},
		{"'detector' was removed", func(h *Heartbeat) { h.Detector = new(string) }},
		{"'disconnect_grace' must be at least 0s", func(h *Heartbeat) { h.DisconnectGrace = -1 }},
		{"'isolation_ratio' must be 0, or at least 0.01 and less than 1, not 1", func(h *Heartbeat) { h.IsolationRatio = 1 }},
		{"'isolation_ratio'", func(h *Heartbeat) { h.IsolationRatio = math.NaN() }},
		{`'service_addresses': "http://:7879/ping" has port "7879/ping"`, func(h *Heartbeat) { h.ServiceAddresses = []string{"http://:7879/ping"} }},
		{"'service_addresses': https:// needs 'tls_cert'", func(h *Heartbeat) { h.ServiceAddresses = []string{"https://:7879"} }},
		{`'allowed_readers': "x"`, func(h *Heartbeat) { overHTTP(h); h.AllowedReaders = []string{"x"} }},
		{`'trusted_proxies': "x"`, func(h *Heartbeat) { overHTTP(h); h.TrustedProxies = []string{"x"} }},
		{"'allowed_readers', 'basic_username', 'basic_password' and 'trusted_proxies' need", func(h *Heartbeat) { h.AllowedReaders = []string{"::1"} }},
		{"'trusted_proxies' need", func(h *Heartbeat) { h.TrustedProxies = []string{"::1"} }},
		{"set both 'basic_username' and 'basic_password', or neither", func(h *Heartbeat) { overHTTP(h); h.BasicUsername = "ops" }},
		{"set both 'basic_username' and 'basic_password', or neither", func(h *Heartbeat) { overHTTP(h); h.BasicPassword = secretOf("secret") }},
		{"'allowed_readers' and 'basic_password' cannot both be set", func(h *Heartbeat) {
			overHTTP(h)
			h.BasicUsername, h.BasicPassword, h.AllowedReaders = "ops", secretOf("secret"), []string{"::1"}
		}},
		{"[[inputs.heartbeat.check]] and 'check_files' need an address http://", func(h *Heartbeat) { h.CheckFiles = []string{"x"} }},
		{"check 1 of [[inputs.heartbeat.check]]: set 'peer', like", func(h *Heartbeat) { overHTTP(h); h.Checks = make([]Check, 1) }},
		{"check 1 of [[inputs.heartbeat.check]]: 'token' is missing", func(h *Heartbeat) { overHTTP(h); h.Checks = []Check{{Peer: "a/b"}} }},
		{"'require_signature' needs 'keys' or 'keys_dir', or a [[inputs.heartbeat.check]]", func(h *Heartbeat) { h.RequireSignature = true }},
		{"'isolation_hold' must be at least 1s", func(h *Heartbeat) { h.IsolationHold = 0 }},
		{"'keep_alive_idle' must be at least 1s and at most 9h6m7s", func(h *Heartbeat) { h.KeepAliveIdle = config.Duration(10 * time.Hour) }},
		{"'keep_alive_interval'", func(h *Heartbeat) { h.KeepAliveInterval = 0 }},
		{`'tag_keys' names "a b"`, func(h *Heartbeat) { h.TagKeys = []string{"a b"} }},
	} {
		h := newPlugin(t)
		require.NoError(t, h.Init())
		c.set(h)
		err := h.Init()
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestStopIsSafeAtAnyTime(t *testing.T) {
	h := newPlugin(t)
	require.NoError(t, h.Init())
	h.Stop()
	h.Stop()
	require.NoError(t, h.Gather(nil), "before Start")
	var acc testutil.Accumulator
	for range 20 {
		require.NoError(t, h.Start(&acc))
		h.Stop()
		h.Stop()
		require.NoError(t, h.Gather(nil), "after Stop")
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	taken := newPlugin(t)
	var acc testutil.Accumulator
	require.NoError(t, taken.Start(&acc))
	defer taken.Stop()

	h := newPlugin(t)
	h.ServiceAddresses = append(h.ServiceAddresses, address(taken))
	before := runtime.NumGoroutine()
	for range 50 {
		err := h.Start(&acc)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.ErrorContains(t, err, address(taken))
		require.ErrorContains(t, err, "'service_addresses'")
	}
	h.Stop()
	waitUntil(t, func() bool { return runtime.NumGoroutine() <= before }, "what a failed start began to end")
}

func TestPortIsFreeAfterStop(t *testing.T) {
	h := newPlugin(t)
	var acc testutil.Accumulator
	require.NoError(t, h.Start(&acc))
	h.ServiceAddresses = []string{address(h)}
	c := dial(t, h)
	c.beat(`{"pid":1,"ack":true}`)
	h.Stop()
	require.NoError(t, h.Start(&acc), "with a connection that was open")
	h.Stop()
}

// A sender that never pauses does not prevent a stop.
func TestStopWhileSomebodySendsWithoutEnd(t *testing.T) {
	h := newPlugin(t)
	var acc testutil.Accumulator
	require.NoError(t, h.Start(&acc))
	c := dial(t, h)
	flood := bytes.Repeat(wire.AppendFrame(nil, []byte(`{"host":"web-1","pid":0}`)), 2000)
	ended := make(chan error, 1)
	go func() { // ends when the connection does
		for {
			if _, err := c.Write(flood); err != nil {
				ended <- err
				return
			}
		}
	}()
	waitUntil(t, func() bool { return status(h).Beats > 10_000 }, "beats without end")
	stopped := make(chan struct{})
	go func() {
		h.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Error("Stop waits for a sender that does not stop")
		c.Close()
		<-stopped
	}
	require.Error(t, <-ended)
}

func TestNothingIsEmittedAfterStop(t *testing.T) {
	h := newPlugin(t)
	acc := &closingAccumulator{}
	require.NoError(t, h.Start(acc))
	c := dial(t, h)
	for range 20 {
		c.beat(`{"host":"web-1","pid":1,"ack":true}`)
	}
	h.Stop()
	acc.closed.Store(true)
	h.Stop()
	require.NoError(t, h.Gather(acc))
	require.Positive(t, acc.taken.Load())
}

// The plugin listens at several addresses, IPv6 among them.
func TestSeveralAddresses(t *testing.T) {
	h := newPlugin(t)
	h.ServiceAddresses = []string{"tcp://127.0.0.1:0", "tcp://[::1]:0", "tcp4://127.0.0.1:0"}
	acc := start(t, h)
	for i, s := range h.server.Status() {
		c := newClient(t, dialListener(t, s.Address))
		require.Contains(t, c.beat(fmt.Sprintf(`{"host":"h%d","pid":0,"ack":true}`, i)), fmt.Sprintf(`"id":"h%d/host"`, i))
	}
	gather(t, h)
	require.Len(t, metricsOf(acc, "heartbeat_peer", "source", "h1"), 2, "its transition and the Gather")
	require.Equal(t, "::1", metricsOf(acc, "heartbeat", "source", "h1")[0].Tags()["ip"])
}

func TestWarnsWhenAnybodyMayBeat(t *testing.T) {
	for address, warned := range map[string]bool{"tcp://127.0.0.1:0": false, "tcp://[::1]:0": false, "tcp://:0": true} {
		log := &testutil.CaptureLogger{}
		h := newPlugin(t)
		h.Log = log
		h.ServiceAddresses = []string{address}
		var acc testutil.Accumulator
		require.NoError(t, h.Start(&acc))
		h.Stop()
		require.Equal(t, warned, len(log.Warnings()) == 1, address)
		require.Empty(t, log.Errors())
	}
}

// What was opened is closed: connections that beat, that were refused, that
// were left open, and the socket itself.
func TestStartAndStopLeaveNoDescriptor(t *testing.T) {
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if errors.Is(err, os.ErrNotExist) {
			t.Skip("needs /proc")
		}
		require.NoError(t, err)
		return len(entries)
	}
	h := newPlugin(t)
	var acc testutil.Accumulator
	before := 0
	for round := range 20 {
		require.NoError(t, h.Start(&acc))
		beats, refused, silent := dial(t, h), dial(t, h), dial(t, h)
		beats.beat(`{"host":"a","pid":0,"ack":true}`)
		refused.send("GET / HTTP/1.1\r\n")
		refused.closed()
		h.Stop()
		for _, c := range []*client{beats, refused, silent} {
			c.Close()
		}
		if round == 0 {
			before = descriptors() // with what the runtime opens once
		}
	}
	require.LessOrEqual(t, descriptors(), before)
}

// The start is emitted before anything else, even if a Gather comes at once.
func TestStartIsToldFirst(t *testing.T) {
	for range 50 {
		h := newPlugin(t)
		acc := new(testutil.Accumulator)
		require.NoError(t, h.Start(acc))
		gather(t, h)
		h.Stop()
		require.Equal(t, "started", acc.GetTelegrafMetrics()[0].Tags()["reason"])
	}
}

// Telegraf may stop a plugin whose Gather hangs on a slow output.
func TestGatherBesideStop(t *testing.T) {
	h := newPlugin(t)
	for range 50 {
		var acc testutil.Accumulator
		require.NoError(t, h.Start(&acc))
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 20 {
				if err := h.Gather(nil); err != nil {
					t.Error(err)
				}
			}
		})
		h.Stop()
		wg.Wait()
	}
}
