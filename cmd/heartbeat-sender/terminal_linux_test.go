package main

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// counting is a job that prints the signals that it gets.
const counting = `for s in INT QUIT TERM HUP USR2 WINCH; do trap "echo got $s" $s; done
(trap "" QUIT TERM HUP USR2; exec sleep 3600) &
echo ready
while :; do wait $!; done`

// A terminal is a pseudo terminal with what runs in it.
type terminal struct {
	t     *testing.T
	keys  *os.File
	cmd   *exec.Cmd
	lines chan string
}

// inPTY runs a command of the shell, as the leader of a session with a terminal.
func inPTY(t *testing.T, script string) *terminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { keys.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer tty.Close()

	term := &terminal{t: t, keys: keys, lines: make(chan string, 1000)}
	term.cmd = exec.Command("sh", "-c", script)
	term.cmd.Env = append(os.Environ(), "TEST_HOSTNAME=web-1", "TEST_CONFIG=/nonexistent", "COUNTING="+counting,
		"HEARTBEAT_SERVER=tcp://127.0.0.1:1", "HEARTBEAT_QUIET=true")
	term.cmd.Stdin, term.cmd.Stdout, term.cmd.Stderr = tty, tty, tty
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, term.cmd.Start())
	done := make(chan struct{})
	go func() { // ends when nobody holds the terminal any more
		defer close(done)
		for scan := bufio.NewScanner(keys); scan.Scan(); {
			term.lines <- strings.TrimSpace(scan.Text())
		}
	}()
	t.Cleanup(func() {
		syscall.Kill(-term.cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
		term.cmd.Wait()                                      //nolint:errcheck // likewise
		<-done
	})
	return term
}

// until returns the lines up to one that ends like that.
func (term *terminal) until(end string) []string {
	term.t.Helper()
	var lines []string
	enough := time.After(deadline)
	for {
		select {
		case line := <-term.lines:
			lines = append(lines, line)
			if strings.HasSuffix(line, end) {
				return lines
			}
		case <-enough:
			require.FailNow(term.t, "the terminal does not say "+end, "%q", lines)
		}
	}
}

// sender returns the process of heartbeat-sender: the parent of the job.
func (term *terminal) sender() int {
	term.t.Helper()
	out, err := exec.Command("ps", "-o", "pid=,args=", "--sid", strconv.Itoa(term.cmd.Process.Pid)).Output()
	require.NoError(term.t, err)
	for line := range strings.Lines(string(out)) {
		pid, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(strings.TrimSpace(args), "heartbeat-sender exec") {
			number, err := strconv.Atoi(pid)
			require.NoError(term.t, err)
			return number
		}
	}
	require.FailNow(term.t, "there is no sender", "%s", out)
	return 0
}

// Whoever sends a signal, and to whom, the job gets it once: from the keyboard,
// from kill for the sender alone, and from kill for the group.
func TestJobInATerminalGetsEachSignalOnce(t *testing.T) {
	caught := make(chan os.Signal, 1) // who runs the tests may ignore it, and what is ignored is inherited
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	const job = `heartbeat-sender exec -- sh -c "$COUNTING"`
	for name, script := range map[string]string{
		"docker run -t":      "exec " + job,
		"a script":           "trap : INT QUIT TERM HUP USR2\n" + job + "; true",
		"a pipe to somebody": "trap : INT QUIT TERM HUP USR2\n" + job + " | (trap '' INT QUIT TERM HUP USR2; exec cat); true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			term := inPTY(t, script)
			term.until("ready")
			sender, group := term.sender(), -term.cmd.Process.Pid
			press := func(key string) func() {
				return func() {
					_, err := term.keys.WriteString(key)
					require.NoError(t, err)
				}
			}
			kill := func(pid int, sig syscall.Signal) func() {
				return func() { require.NoError(t, syscall.Kill(pid, sig)) }
			}
			for what, tt := range map[string]struct {
				signal string
				send   func()
			}{
				"Ctrl-C":                 {"INT", press("\x03")},
				"Ctrl-\\":                {"QUIT", press("\x1c")},
				"SIGINT for the sender":  {"INT", kill(sender, syscall.SIGINT)},
				"SIGQUIT for the sender": {"QUIT", kill(sender, syscall.SIGQUIT)},
				"SIGTERM for the sender": {"TERM", kill(sender, syscall.SIGTERM)},
				"SIGHUP for the sender":  {"HUP", kill(sender, syscall.SIGHUP)},
				"SIGINT for the group":   {"INT", kill(group, syscall.SIGINT)},
				"SIGQUIT for the group":  {"QUIT", kill(group, syscall.SIGQUIT)},
				"SIGTERM for the group":  {"TERM", kill(group, syscall.SIGTERM)},
				"SIGUSR2 for the group":  {"USR2", kill(group, syscall.SIGUSR2)},
			} {
				for range 3 {
					tt.send()
					term.until("got " + tt.signal)
					kill(sender, syscall.SIGWINCH)() // has a greater number, so it is handed on later
					require.Equal(t, []string{"got WINCH"}, term.until("got WINCH"), "after %s", what)
				}
			}
		})
	}
}

// Keys and the terminal are those of the job, and it ends as it wants to.
func TestJobReadsFromItsTerminal(t *testing.T) {
	term := inPTY(t, `heartbeat-sender exec -- sh -c 'read -r line; echo "read $line"; exit 7'; echo "code $?"`)
	_, err := term.keys.WriteString("hello\n")
	require.NoError(t, err)
	term.until("read hello")
	term.until("code 7")
}
