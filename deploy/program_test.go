//go:build unix

package deploy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Exit codes of the program.
const (
	exitNotDelivered = 1
	exitConfig       = 3
)

// program returns a call of it that sees nothing but environ: no file of this
// machine, and a host that has a name.
func program(t *testing.T, args []string, environ ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	if !slices.Contains(args, "-config") {
		empty := filepath.Join(t.TempDir(), "empty.toml")
		require.NoError(t, os.WriteFile(empty, nil, 0o600))
		args = append(slices.Clone(args), "-config", empty)
	}
	cmd := exec.CommandContext(ctx, built, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HEARTBEAT_HOST=web-1"}, environ...)
	return cmd
}

// exits runs the program to its end, which has to be with this code.
func exits(t *testing.T, code int, cmd *exec.Cmd) (said string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	require.ErrorAs(t, err, &ended, "%s", out)
	require.Equal(t, code, ended.ExitCode(), "%s", out)
	return string(out)
}

// nobody is a server at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return "HEARTBEAT_SERVER=tcp://" + listener.Addr().String()
}

// The lines that end by themselves have nothing wrong with them but that
// nobody listens.
func TestProgramTakesLinesOfUnits(t *testing.T) {
	for _, name := range glob(t, "systemd/*.service") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			u := readUnit(t, name)
			lines := slices.Concat(u["ExecStart"], u["ExecStop"])
			require.NotEmpty(t, lines)
			for _, line := range lines {
				if args := ours(t, line); args[0] != "run" { // which is tested below
					cmd := program(t, append(args, "-timeout", "100ms"), append(u["Environment"], nobody(t))...)
					said := exits(t, exitNotDelivered, cmd)
					require.Contains(t, said, "refused")
				}
			}
		})
	}
}

func TestProgramTakesLineOfCron(t *testing.T) {
	for _, name := range glob(t, "cron/*") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			require.Regexp(t, `^[A-Za-z0-9_-]+$`, filepath.Base(name), "cron passes over other names")
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			require.True(t, bytes.HasSuffix(text, []byte("\n")), "cron refuses a last line without end")

			entry := regexp.MustCompile(`(?m)^(\S+) \* \* \* \* nobody (.*)$`).FindSubmatch(text)
			require.NotNil(t, entry)
			require.Equal(t, "*", string(entry[1]))
			args := ours(t, string(entry[2]))
			require.Subset(t, args, []string{"-every", "1m", "-quiet"})

			said := exits(t, exitNotDelivered, program(t, append(args, "-splay", "0s", "-timeout", "100ms"), nobody(t)))
			require.Empty(t, said, "cron would mail it")
		})
	}
}

// A service that runs beats, and promises to be back when it is stopped.
func TestRunningServicesPromiseToBeBack(t *testing.T) {
	for _, name := range running(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			u := readUnit(t, name)
			server, beats := collector(t)
			promisesToBeBack(t, program(t, ours(t, u.one(t, "ExecStart")), append(u["Environment"], server)...), beats)
		})
	}
}

// promisesToBeBack runs a command that beats for the host, and ends it.
func promisesToBeBack(t *testing.T, cmd *exec.Cmd, beats <-chan *wire.Beat) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	log := bufio.NewReader(stderr)
	said, err := log.ReadString('\n')
	require.NoError(t, err, "%s", said)
	require.Contains(t, said, "web-1/host")
	first := <-beats
	require.Equal(t, wire.StatusAlive, first.Status)
	require.Empty(t, first.Service, "it is for the host")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	rest := new(bytes.Buffer)
	_, err = rest.ReadFrom(log)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait(), "%s", rest)
	bye := <-beats
	require.Equal(t, wire.StatusLeaving, bye.Status)
	require.Equal(t, (15 * time.Minute).Milliseconds(), bye.BackInMS)
}

// A boot without a network must not wait for one, a long interval must not
// look like a hung program, and a shutdown must not wait.
func TestRunningServicesTalkToSystemd(t *testing.T) {
	for _, name := range running(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			u := readUnit(t, name)
			require.NotEmpty(t, u.one(t, "WatchdogSec"))
			patience, err := time.ParseDuration(u.one(t, "TimeoutStopSec"))
			require.NoError(t, err)
			manager := systemd(t)
			cmd := program(t, ours(t, u.one(t, "ExecStart")), append(u["Environment"], nobody(t),
				"NOTIFY_SOCKET="+manager.LocalAddr().String(), "WATCHDOG_USEC=200000", "HEARTBEAT_INTERVAL=1h")...)
			require.NoError(t, cmd.Start())
			hears(t, manager, "READY=1")
			hears(t, manager, "WATCHDOG=1")
			hears(t, manager, "WATCHDOG=1")

			begin := time.Now()
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			hears(t, manager, "STOPPING=1")
			require.NoError(t, cmd.Wait())
			require.Less(t, time.Since(begin), patience, "it would be killed")
		})
	}
}

// running returns the services that stay.
func running(t *testing.T) []string {
	t.Helper()
	names := slices.DeleteFunc(glob(t, "systemd/*.service"), func(name string) bool {
		return readUnit(t, name).one(t, "Type") != "notify"
	})
	require.Len(t, names, 2)
	return names
}

// collector returns a server that answers every beat, and what it hears.
func collector(t *testing.T) (server string, beats <-chan *wire.Beat) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	heard := make(chan *wire.Beat, 10)
	go func() { // ends with the connection, which ends with the program
		defer close(heard)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reader := wire.NewReader(conn, wire.DefaultMaxFrame)
		for {
			payload, err := reader.Next()
			if err != nil {
				return
			}
			beat, err := wire.Decode(payload)
			if err != nil {
				t.Errorf("%q: %v", payload, err)
				return
			}
			answer := wire.Answer{Seq: beat.Seq, DeadAfterMS: 35000, ID: beat.Host + "/host"}
			conn.Write(wire.AppendFrame(nil, wire.AppendAnswer(nil, &answer))) //nolint:errcheck // it may be gone
			heard <- beat
		}
	}()
	return "HEARTBEAT_SERVER=tcp://" + listener.Addr().String(), heard
}

// systemd returns the socket to which services talk.
func systemd(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // a test's own directory may have too long a name
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// hears waits for a line that a service says.
func hears(t *testing.T, manager *net.UnixConn, want string) {
	t.Helper()
	require.NoError(t, manager.SetReadDeadline(time.Now().Add(deadline/2)))
	var before []string
	message := make([]byte, 4096)
	for {
		n, err := manager.Read(message)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("it never said %s, only %q", want, before)
		}
		require.NoError(t, err)
		lines := strings.Split(string(message[:n]), "\n")
		if slices.Contains(lines, want) {
			return
		}
		before = append(before, lines...)
	}
}
