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
)

// example starts one of the clients that docs/clients.md shows.
func example(t *testing.T, interpreter, name, address string) *process {
	t.Helper()
	runs, err := exec.LookPath(interpreter)
	if err != nil {
		t.Skipf("needs %[1]s: install Debian's package %[1]s", interpreter)
	}
	host, port, _ := strings.Cut(address, ":")
	p := newProcess(t, name, exec.Command(runs, filepath.Join("..", "..", "deploy", "examples", name), host, port))
	p.cmd.Env = append(p.cmd.Env, "HOME="+os.Getenv("HOME"))
	p.start()
	return p
}

// saidOf waits until the collector tells a state, and returns of whom.
func saidOf(collector *process, state string) string {
	var lines []string
	collector.until(state, func() bool {
		lines = collector.stdout.with(" " + state + " ")
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
			collector := start(t, "telegraf-heartbeat", "-listen", anyPort)
			client := example(t, e[0], e[1], listens(collector))
			name, err := os.Hostname()
			require.NoError(t, err)
			peer := strings.ToLower(name) + "/shop"
			require.Equal(t, peer, saidOf(collector, "alive"))
			client.until("it to read the answer", func() bool { return len(client.stdout.with(peer)) > 0 })

			client.signal(syscall.SIGTERM)
			require.Zero(t, client.exit())
			require.Equal(t, peer, saidOf(collector, "left"))
			require.Empty(t, collector.stderr.with("Refused"))
		})
	}
}

// It is known by its address and pid, and nothing that it sends is refused.
func TestArticlesExampleIsHeard(t *testing.T) {
	t.Parallel()
	collector := start(t, "telegraf-heartbeat", "-listen", anyPort)
	client := example(t, "python3", "article.py", listens(collector))
	require.Equal(t, strconv.Itoa(client.pid()), path.Base(saidOf(collector, "alive")))
	require.Empty(t, collector.stderr.with("Refused"))
}

// It dials anew, until a collector is there again.
func TestPythonExampleFindsTheCollectorAgain(t *testing.T) {
	t.Parallel()
	collector := start(t, "telegraf-heartbeat", "-listen", anyPort)
	address := listens(collector)
	client := example(t, "python3", "heartbeat.py", address)
	saidOf(collector, "alive")
	collector.kill()
	client.until("it to notice", func() bool { return len(client.stderr.all()) > 0 })
	again := start(t, "telegraf-heartbeat", "-listen", "tcp://"+address)
	require.Equal(t, "shop", path.Base(saidOf(again, "alive")))
}
