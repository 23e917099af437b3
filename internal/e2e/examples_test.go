//go:build unix

package e2e

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// example starts one of the clients that docs/clients.md names.
func example(t *testing.T, interpreter, name, address string) *testkit.Process {
	t.Helper()
	runs, err := exec.LookPath(interpreter)
	if err != nil {
		t.Skipf("needs %[1]s: install Debian's package %[1]s", interpreter)
	}
	host, port, _ := strings.Cut(address, ":")
	command := exec.Command(runs, filepath.Join("..", "..", "deploy", "examples", name), host, port)
	command.Env = []string{"HOME=" + os.Getenv("HOME")}
	return testkit.Start(t, name, command)
}

// saidOf waits until the collector tells a state, and returns of whom.
func saidOf(collector *testkit.Process, state string) string {
	var lines []string
	collector.Until(state, func() bool {
		lines = collector.Stdout.With(" " + state + " ")
		return len(lines) > 0
	})
	return strings.Fields(lines[0])[2]
}

// Those that speak in frames are answered, and say goodbye.
func TestFramedExamplesLiveAndLeave(t *testing.T) {
	t.Parallel()
	for _, e := range [][2]string{{"python3", "heartbeat.py"}, {"bash", "heartbeat.sh"}} {
		t.Run(e[1], func(t *testing.T) {
			t.Parallel()
			collector := testkit.StartProgram(t, "telegraf-heartbeat", "-listen", anyPort)
			client := example(t, e[0], e[1], listens(collector))
			name, err := os.Hostname()
			require.NoError(t, err)
			peer := strings.ToLower(name) + "/shop"
			require.Equal(t, peer, saidOf(collector, "alive"))
			client.Until("it to read the answer", func() bool { return client.Stdout.Says(peer) })

			client.Signal(syscall.SIGTERM)
			require.Zero(t, client.Exit())
			require.Equal(t, peer, saidOf(collector, "left"))
			require.Empty(t, collector.Stderr.With("Refused"))
		})
	}
}

// It is known by its address and pid, and nothing that it sends is refused.
func TestArticlesExampleIsHeard(t *testing.T) {
	t.Parallel()
	collector := testkit.StartProgram(t, "telegraf-heartbeat", "-listen", anyPort)
	client := example(t, "python3", "article.py", listens(collector))
	require.Equal(t, strconv.Itoa(client.PID()), path.Base(saidOf(collector, "alive")))
	require.Empty(t, collector.Stderr.With("Refused"))
}

// It dials anew, until a collector is there again.
func TestPythonExampleFindsTheCollectorAgain(t *testing.T) {
	t.Parallel()
	collector := testkit.StartProgram(t, "telegraf-heartbeat", "-listen", anyPort)
	address := listens(collector)
	client := example(t, "python3", "heartbeat.py", address)
	saidOf(collector, "alive")
	collector.Kill()
	client.Until("it to notice", func() bool { return len(client.Stderr.All()) > 0 })
	again := testkit.StartProgram(t, "telegraf-heartbeat", "-listen", "tcp://"+address)
	require.Equal(t, "shop", path.Base(saidOf(again, "alive")))
}
