//go:build unix

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// writeOptions writes a file for telegraf-heartbeat -config.
func writeOptions(t testing.TB, address string, more ...string) string {
	t.Helper()
	lines := append([]string{"[[inputs.heartbeat]]", fmt.Sprintf("service_addresses = [%q]", address)}, more...)
	file := filepath.Join(t.TempDir(), "heartbeat.conf")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	return file
}

// listens waits until p listens and returns where.
func listens(p *testkit.Process) string {
	p.T.Helper()
	p.Until("it to listen", func() bool { return len(listenedIn(&p.Stderr)) > 0 })
	return listenedIn(&p.Stderr)[0]
}

func TestWrongConfigurationIsOneClearLine(t *testing.T) {
	t.Parallel()
	missing, dir := filepath.Join(t.TempDir(), "missing.conf"), t.TempDir()
	tests := []struct {
		name string
		file string
		want []string
	}{
		{"misspelt option", writeOptions(t, anyPort, `dead_afetr = "90s"`), []string{"heartbeat.conf:3", "'dead_afetr'", "did you mean 'dead_after'?"}},
		{"bad address", writeOptions(t, "127.0.0.1:7878"), []string{"heartbeat.conf:2", "'service_addresses'", `"127.0.0.1:7878"`, "tcp://127.0.0.1:7878"}},
		{"bad port", writeOptions(t, "tcp://127.0.0.1:78780"), []string{"heartbeat.conf:2", "'service_addresses'", `"tcp://127.0.0.1:78780"`}},
		{"bad duration", writeOptions(t, anyPort, `dead_after = "90 parsecs"`), []string{"heartbeat.conf:3", "'dead_after'", `"90 parsecs"`}},
		{"duration too short", writeOptions(t, anyPort, `dead_after = "1s"`), []string{"heartbeat.conf:3", "'dead_after'", "1s"}},
		{"no such file", missing, []string{missing, "no such file"}},
		{"a directory", dir, []string{dir, "is not a regular file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := testkit.StartProgram(t, "telegraf-heartbeat", "-config", tt.file)
			require.Equal(t, 3, p.Exit(), "exit code for a wrong configuration")
			require.Empty(t, p.Stdout.All())
			said := p.Stderr.All()
			require.Len(t, said, 1)
			for _, want := range append(tt.want, "E! ") {
				require.Contains(t, said[0], want)
			}
		})
	}
}

func TestPortInUseIsWaitedFor(t *testing.T) {
	t.Parallel()
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer holder.Close()
	address := holder.Addr().String()
	config := writeOptions(t, "tcp://"+address)

	p := testkit.StartProgram(t, "telegraf-heartbeat", "-config", config)
	const complaint = "Cannot start yet, retrying until the address is free"
	p.Until("it to complain", func() bool { return p.Stderr.Says(complaint) })
	require.Contains(t, p.Stderr.With(complaint)[0], address)
	require.NoError(t, holder.Close())
	require.Equal(t, address, listens(p))
	answer := dial(t, address).beat(map[string]any{"host": "web-1", "service": "shop", "pid": 1})
	require.Equal(t, "web-1/shop", answer.ID)
	require.Len(t, p.Stderr.With(complaint), 1)

	// Now it is the one that holds the port, and another one waits.
	second := testkit.StartProgram(t, "telegraf-heartbeat", "-config", config)
	second.Until("it to complain", func() bool { return second.Stderr.Says(complaint) })
	second.Signal(syscall.SIGTERM)
	require.Zero(t, second.Exit(), "exit code when stopped while waiting for the port")
	require.Empty(t, listenedIn(&second.Stderr))
	p.Signal(syscall.SIGTERM)
	require.Zero(t, p.Exit())
}

func TestTryPrintsTransitionsReadably(t *testing.T) {
	t.Parallel()
	p := testkit.StartProgram(t, "telegraf-heartbeat", "-listen", anyPort)
	require.NoError(t, p.Stdin.Close(), "it ignores stdin")
	address := listens(p)

	polite := startSender(t, address, "web-1", "polite")
	killed := startSender(t, address, "web-2", "killed")
	states := func(peer string) []string {
		lines := p.Stdout.With(" " + peer + " ")
		found := make([]string, 0, len(lines))
		for _, line := range lines {
			found = append(found, strings.Fields(line)[1])
		}
		return found
	}
	p.Until("both to be alive", func() bool { return len(states("web-1/polite")) > 0 && len(states("web-2/killed")) > 0 })
	polite.Signal(syscall.SIGTERM)
	require.Zero(t, polite.Exit())
	killed.Kill()
	p.Until("the death", func() bool { return slices.Contains(states("web-2/killed"), "dead") })
	require.Equal(t, []string{"alive", "left"}, states("web-1/polite"))
	seen := states("web-2/killed")
	require.Equal(t, "alive", seen[0])
	require.Equal(t, []string{"suspect", "dead"}, seen[len(seen)-2:])

	readable := regexp.MustCompile(`^\d\d:\d\d:\d\d (collector started|(alive|suspect|dead|left) \S+ [a-z_]+( after [0-9.hms]+)?)$`)
	for _, line := range p.Stdout.All() {
		require.Regexp(t, readable, line)
	}
	p.Signal(syscall.SIGTERM)
	require.Zero(t, p.Exit())
}
