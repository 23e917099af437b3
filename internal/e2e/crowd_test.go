//go:build unix

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
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
	visiting  = "http://"   // in front of that address: they are clients of HTTP
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

// Visitors that keep their connections open after a ping, as clients of HTTP do, hinder nobody
// who beats over a socket.
func TestTenThousandIdleVisitorsHinderNobody(t *testing.T) {
	t.Parallel()
	needDescriptors(t, 11_200)

	config := filepath.Join(t.TempDir(), "heartbeat.conf")
	text := "[[inputs.heartbeat]]\nservice_addresses = ['" + anyPort + "', 'http://127.0.0.1:0']\n"
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	command := exec.Command(testkit.Program(t, "telegraf-heartbeat"), "-config", config)
	collector := testkit.Start(t, "telegraf-heartbeat", command, "heartbeat_listener,", "heartbeat_collector,")
	address := listens(collector)
	const listensForThem = "Listening on " + visiting
	collector.Until("it to listen to visitors", func() bool { return collector.Stderr.Says(listensForThem) })
	_, visited, _ := strings.Cut(last(collector.Stderr.With(listensForThem)), listensForThem)

	self, err := os.Executable()
	require.NoError(t, err)
	command = exec.Command(self)
	command.Env = []string{crowdEnv + "=" + visiting + visited}
	clients := testkit.Start(t, "crowd", command)
	clients.Until("all pings to be answered", func() bool { return len(clients.Stdout.All()) == 1 })
	collector.Say("\n")
	open := fmt.Sprintf("connections=%di", crowdSize)
	collector.Until("all connections to be counted", func() bool { return collector.Stdout.Says(open) })
	require.Contains(t, last(collector.Stdout.With(open)), fmt.Sprintf("beats_total=%di", crowdSize))
	t.Logf("%s for %d connections over HTTP", memory(collector.PID()), crowdSize)

	conns := make([]net.Conn, 1)
	for round := 1; round <= 100; round++ {
		require.NoError(t, crowdBeat(&conns[0], 0, address, round))
	}
	require.NoError(t, conns[0].Close())
	clients.Say("\n")
	clients.Until("all to be answered again", func() bool { return len(clients.Stdout.All()) == 2 })
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
	address, visits := strings.CutPrefix(address, visiting)
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
	if visits {
		return crowdPing(*conn, i)
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

// crowdPing visits once, and leaves the connection open.
func crowdPing(conn net.Conn, i int) error {
	if _, err := fmt.Fprintf(conn, "GET /ping/crowd-%05d/shop?every=1h HTTP/1.1\r\nHost: localhost\r\n\r\n", i); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answer to client %d: %s %.80q, %w", i, answer.Status, text, err)
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
