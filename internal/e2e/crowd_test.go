//go:build unix

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	crowdSize = 10_000
	crowdEnv  = "E2E_CROWD" // makes this binary the clients of the collector at that address
)

// The clients are a process of their own, because both ends of 10,000
// connections are more descriptors than many systems give to one.
func TestTenThousandConnectionsAreHeld(t *testing.T) {
	t.Parallel()
	needDescriptors(t, 11_200) // the collector keeps a tenth for others

	command := exec.Command(testkit.Program(t, "telegraf-heartbeat"), "-config", writeOptions(t, anyPort))
	collector := testkit.Start(t, "telegraf-heartbeat", command, "heartbeat_listener,", "heartbeat_collector,")
	address := listens(collector)

	self, err := os.Executable()
	require.NoError(t, err)
	command = exec.Command(self)
	command.Env = []string{crowdEnv + "=" + address}
	clients := testkit.Start(t, "crowd", command)
	for round := 1; round <= 2; round++ {
		clients.Until("all beats to be acknowledged", func() bool { return len(clients.Stdout.All()) == round })
		collector.Say("\n")
		gathered := fmt.Sprintf("beats_total=%di", round*crowdSize)
		collector.Until("all beats to be counted", func() bool { return collector.Stdout.Says(gathered) })
		listener := last(collector.Stdout.With(gathered))
		require.Contains(t, listener, fmt.Sprintf("connections=%di", crowdSize))
		require.Contains(t, last(collector.Stdout.With("state=alive")), fmt.Sprintf("peers=%di", crowdSize))
		t.Logf("round %d: %s for %d connections", round, memory(collector.PID()), crowdSize)
		if round == 1 {
			clients.Say("\n")
		}
	}

	begin := time.Now()
	collector.Signal(syscall.SIGTERM)
	require.Zero(t, collector.Exit())
	took := time.Since(begin)
	t.Logf("stopped with %d connections open, in %s", crowdSize, took.Round(time.Millisecond))
	require.LessOrEqual(t, took, 10*time.Second, "a second, with ten times the slack")
	clients.Say("\n")
	require.Zero(t, clients.Exit())
}

// needDescriptors skips the test unless a process may have so many.
func needDescriptors(t testing.TB, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if uint64(limit.Max) < n {
		t.Skipf("needs a limit of %d open files, the hard limit (ulimit -Hn) is %d", n, limit.Max)
	}
}

var resident = regexp.MustCompile(`VmRSS:\s*(\d+) kB`)

// memory says how much of it a process holds, where the system tells.
func memory(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	match := resident.FindSubmatch(status)
	if err != nil || match == nil {
		return "unknown memory"
	}
	return string(match[1]) + " KiB"
}

// crowd is the clients: all connect and beat, beat again for each line on
// stdin but the last, and end with it.
func crowd(address string, stdin io.Reader, stdout, stderr io.Writer) int {
	conns := make([]net.Conn, crowdSize)
	prompt := bufio.NewReader(stdin)
	for round := 1; round <= 2; round++ {
		if err := crowdBeats(conns, address, round); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		fmt.Fprintln(stdout, "all acknowledged")
		if _, err := prompt.ReadString('\n'); err != nil {
			return 1
		}
	}
	return 0
}

// crowdBeats lets everybody beat once. Few do so at a time: it is about how
// many are held, not about how many come at once.
func crowdBeats(conns []net.Conn, address string, round int) error {
	const atOnce = 64
	var wg sync.WaitGroup
	errs := make([]error, atOnce)
	for worker := range atOnce {
		wg.Go(func() { // ends with its share
			for i := worker; i < len(conns) && errs[worker] == nil; i += atOnce {
				errs[worker] = crowdBeat(&conns[i], i, address, round)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func crowdBeat(conn *net.Conn, i int, address string, round int) error {
	if *conn == nil {
		dialer := net.Dialer{LocalAddr: crowdAddr(i)}
		var err error
		if *conn, err = dialer.Dial("tcp", address); err != nil {
			return err
		}
	}
	if err := (*conn).SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		return err
	}
	beat, err := wire.AppendBeat(nil, &wire.Beat{
		Host: fmt.Sprintf("crowd-%05d", i), Service: "shop", PID: 1, Run: "r", Seq: int64(round), IntervalMS: 3600000, Ack: true,
	})
	if err != nil {
		return err
	}
	if _, err := (*conn).Write(wire.AppendFrame(nil, beat)); err != nil {
		return err
	}
	payload, err := wire.NewReader(*conn, wire.MaxAnswer).Next()
	if err != nil {
		return err
	}
	answer, err := wire.DecodeAnswer(payload)
	switch {
	case err != nil:
		return err
	case answer.Error != "" || answer.Seq != int64(round):
		return fmt.Errorf("answer to beat %d of client %d: %s", round, i, payload)
	}
	return nil
}

// crowdAddr spreads the clients over addresses, where loopback has several:
// one has no more than 28,000 ports, and others need those of 127.0.0.1.
func crowdAddr(i int) net.Addr {
	if runtime.GOOS != "linux" {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%4))}
}
