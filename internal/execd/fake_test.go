package execd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/plugins/inputs"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A fake is the plugin of these tests: it has options of each kind, and does
// what the test wrote into behave.
type fake struct {
	ServiceAddresses []string        `toml:"service_addresses"`
	DeadAfter        config.Duration `toml:"dead_after"`
	MissedBeats      int             `toml:"missed_beats"`
	StateFile        string          `toml:"state_file"`
	Welcome          string          `toml:"welcome"`
	Keys             map[string]key  `toml:"keys"`
	Rules            []fakeRule      `toml:"rule"`
	Log              telegraf.Logger `toml:"-"`
	fakeTLS
}

type fakeTLS struct {
	TLSCert string `toml:"tls_cert"`
	TLSFile string `toml:"tls_file" former:""`
}

type fakeRule struct {
	Host      string          `toml:"host"`
	DeadAfter config.Duration `toml:"dead_after"`
}

// A key is an option whose value nobody may read.
type key string

// behave is what all fakes do, and made are those there are. Both are set anew
// by each test.
var (
	behave behaviour
	made   []*fake
)

type behaviour struct {
	init   func(f *fake) error
	start  func(f *fake, acc telegraf.Accumulator) error
	gather func(f *fake, acc telegraf.Accumulator) error
	stop   func(f *fake)
}

func setBehaviour(t *testing.T, b behaviour) {
	behave, made = b, nil
	t.Cleanup(func() { behave, made = behaviour{}, nil })
}

func (*fake) SampleConfig() string { return "# the options\n[[inputs.heartbeat]]\n" }

func (f *fake) Init() error {
	if behave.init == nil {
		return nil
	}
	return behave.init(f)
}

func (f *fake) Start(acc telegraf.Accumulator) error {
	if behave.start == nil {
		return nil
	}
	return behave.start(f, acc)
}

func (f *fake) Gather(acc telegraf.Accumulator) error {
	if behave.gather == nil {
		return nil
	}
	return behave.gather(f, acc)
}

func (f *fake) Stop() {
	if behave.stop != nil {
		behave.stop(f)
	}
}

func newFake() telegraf.Input {
	f := &fake{ServiceAddresses: []string{"tcp://:7878"}, DeadAfter: config.Duration(210 * time.Second)}
	made = append(made, f)
	return f
}

func TestMain(m *testing.M) {
	inputs.Add("heartbeat", newFake)
	if os.Getenv("EXECD_TEST_CHILD") != "" {
		os.Exit(child())
	}
	signals := make(chan os.Signal, 1) // the first use starts goroutines for ever, which must not belong to a bubble
	signal.Notify(signals, syscall.SIGTERM)
	signal.Stop(signals)
	os.Exit(testkit.RunWithoutLeaks(m))
}

// child is this test binary run as the command, for what needs a process.
func child() int {
	behave.gather = gatherOne
	behave.stop = func(*fake) { fmt.Fprintln(os.Stderr, "stopped") }
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return cli.ExitCode(Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func gatherOne(_ *fake, acc telegraf.Accumulator) error {
	acc.AddGauge("m", map[string]any{"v": 1.0}, nil, time.Unix(0, 1))
	return nil
}

// A screen is a stream to write to that remembers each write.
type screen struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *screen) lines() []string {
	text := strings.TrimSuffix(s.String(), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// pass lets d pass on the clock of a synctest bubble, and what is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// A trial is one Run under way in a synctest bubble.
type trial struct {
	t      *testing.T
	stdin  *io.PipeWriter
	stdout *screen
	stderr *screen
	cancel context.CancelFunc
	took   time.Duration // how long Run ran, once it has ended
	result chan error
}

// begin calls Run with args and a file that holds conf.
func begin(t *testing.T, conf string, args ...string) *trial {
	return beginTo(t, &screen{}, conf, args...)
}

func beginTo(t *testing.T, stdout io.Writer, conf string, args ...string) *trial {
	t.Helper()
	if conf != "" {
		args = append([]string{"-config", writeConf(t, conf)}, args...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stdin, lines := io.Pipe()
	tr := &trial{t: t, stdin: lines, stderr: &screen{}, cancel: cancel, result: make(chan error, 1)}
	tr.stdout, _ = stdout.(*screen)
	var running sync.WaitGroup
	running.Go(func() {
		began := time.Now()
		err := Run(ctx, args, stdin, stdout, tr.stderr)
		tr.took = time.Since(began)
		tr.result <- err
	})
	t.Cleanup(func() { // also ends the goroutine that reads
		cancel()
		lines.Close()
		running.Wait()
	})
	synctest.Wait()
	return tr
}

func (tr *trial) line() {
	tr.t.Helper()
	_, err := io.WriteString(tr.stdin, "\n")
	require.NoError(tr.t, err)
	synctest.Wait()
}

// ended waits for Run and returns its error.
func (tr *trial) ended() error { return <-tr.result }

// endOfStdin closes stdin and returns Run's error.
func (tr *trial) endOfStdin() error {
	tr.stdin.Close()
	return tr.ended()
}

func writeConf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "heartbeat.conf")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// call is Run for what ends by itself.
func call(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, messages screen
	err = Run(t.Context(), args, strings.NewReader(""), &out, &messages)
	return out.String(), messages.String(), err
}

const oneTable = "[[inputs.heartbeat]]\n"
