//go:build !windows

package heartbeat

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

// heldStateEnv has the state file that this process locks.
const heldStateEnv = "HEARTBEAT_TEST_HOLDS_STATE"

// holdState runs a process that locks a state file, and returns a function that ends it.
func holdState(t *testing.T, path string) (pid int, end func()) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestHeldStateKeepsFromThePort$")
	cmd.Env = append(os.Environ(), heldStateEnv+"="+path)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	end = func() {
		stdin.Close()
		cmd.Wait() //nolint:errcheck // it has been killed, or ends itself
	}
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

// Only a state file that another living process has locked keeps a collector from its port:
// then the other one is the collector here. It has a few seconds to end.
func TestHeldStateKeepsFromThePort(t *testing.T) {
	if path := os.Getenv(heldStateEnv); path != "" {
		_, _, err := statefile.Open(path, time.Now())
		require.NoError(t, err)
		fmt.Println("held")
		os.Stdin.Read(make([]byte, 1)) //nolint:errcheck // waits for the other one
		return
	}
	h := newPlugin(t)
	h.StateFile = filepath.Join(t.TempDir(), "state")
	h.ServiceAddresses = []string{"tcp://" + freeAddress(t)}
	require.NoError(t, h.Init())
	pid, end := holdState(t, h.StateFile)
	began := time.Now()
	err := h.Start(new(testutil.Accumulator))
	require.ErrorIs(t, err, syscall.EWOULDBLOCK, "who runs it has to know that this passes")
	require.ErrorContains(t, err, fmt.Sprintf("cannot use state file %q: another process (pid %d) uses it", h.StateFile, pid))
	require.GreaterOrEqual(t, time.Since(began), lockPatience)
	requireFree(t, h.ServiceAddresses[0])

	time.AfterFunc(lockPatience/10, end) // a predecessor that takes its time
	require.NoError(t, h.Start(new(testutil.Accumulator)))
	require.True(t, h.keeper.Health(time.Now()).Works)
	h.Stop()
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func requireFree(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", strings.TrimPrefix(address, "tcp://"))
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// A collector that waits for a port locks nothing of the collector that has it, and does not
// even read its state.
func TestWaitingForThePortTouchesNoState(t *testing.T) {
	taken := newPlugin(t)
	start(t, taken)
	h := newPlugin(t)
	h.ServiceAddresses = []string{address(taken)}
	h.StateFile = filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(h.StateFile, []byte("bad"), 0o600))
	require.ErrorIs(t, h.Start(new(testutil.Accumulator)), syscall.EADDRINUSE)
	text, err := os.ReadFile(h.StateFile)
	require.NoError(t, err)
	require.Equal(t, "bad", string(text))
	require.NoFileExists(t, h.StateFile+".lock")
}

// A stop gives the file back before the port, so a successor that has the port
// has the file at once.
func TestFileIsFreeBeforeThePort(t *testing.T) {
	address := "tcp://" + freeAddress(t)
	path := filepath.Join(t.TempDir(), "state")
	first := newPlugin(t)
	first.ServiceAddresses, first.StateFile = []string{address}, path
	start(t, first)
	for range 20 {
		next := newPlugin(t)
		next.ServiceAddresses, next.StateFile = []string{address}, path
		require.NoError(t, next.Init())
		stopped := make(chan struct{})
		go func() {
			first.Stop()
			close(stopped)
		}()
		started := false
		for !started { // until the port is free
			started = next.Start(new(testutil.Accumulator)) == nil
		}
		require.True(t, next.keeper.Health(time.Now()).Works, "the file was not free")
		<-stopped
		first = next
	}
	first.Stop()
}

// A collector that could not lock the file tries again, and then merges its content with the
// beats that it has received since.
func TestFileIsHadLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state")
		before := newPlugin(t)
		before.StateFile = path
		_, connect, stop := startInBubble(t, before)
		c := connect()
		c.send(frame(`{"host":"web-1","pid":0,"interval_ms":600000}`))
		c.send(frame(`{"host":"web-2","service":"job","pid":7,"status":"dead"}`))
		synctest.Wait()

		log := new(testutil.CaptureLogger)
		h := newPlugin(t)
		h.StateFile, h.Log = path, log
		acc, connectLater, stopLater := startInBubble(t, h)
		later := connectLater()
		later.send(frame(`{"host":"web-1","pid":0,"interval_ms":600000}`))
		time.Sleep(2 * openPause)
		gather(t, h)
		require.EqualValues(t, 0, stateSaved(t, acc))
		require.Len(t, log.Warnings(), 1, "said once")
		require.Contains(t, log.Warnings()[0], "another heartbeat input of this process")

		c.Close()
		stop()
		time.Sleep(2 * openPause)
		gather(t, h)
		require.EqualValues(t, 1, stateSaved(t, acc))
		require.EqualValues(t, 2, last(metricsOf(acc, "heartbeat_peer", "source", "web-1")).Fields()["beats_total"])
		require.EqualValues(t, 1, last(metricsOf(acc, "heartbeat_peer", "source", "web-2")).Fields()["dead"])
		require.Empty(t, eventsOf(acc, "web-2"))
		later.Close()
		stopLater()
		state, err := statefile.Read(path, time.Now())
		require.NoError(t, err)
		require.Len(t, state.Peers, 2)
	})
}

func last[T any](all []T) T { return all[len(all)-1] }
