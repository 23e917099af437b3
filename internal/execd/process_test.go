package execd

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// startChild runs this binary as the command. Its stdin and stdout are real
// pipes.
func startChild(t *testing.T, args ...string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout io.ReadCloser, stderr *screen) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "EXECD_TEST_CHILD=1")
	stderr = &screen{}
	cmd.Stderr = stderr
	stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err = cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, stdin, stdout, stderr
}

func TestProcessEndsCleanlyWhenStdinEnds(t *testing.T) {
	cmd, stdin, stdout, stderr := startChild(t, "-config", writeConf(t, oneTable))
	_, err := io.WriteString(stdin, "\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "m v=1 1\n", line)
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
	require.Equal(t, "stopped\n", stderr.String())
}

// A Go program that writes to a closed stdout dies at once, unless told
// otherwise; then nothing would be stopped or saved.
func TestProcessStopsThePluginWhenStdoutIsClosed(t *testing.T) {
	cmd, stdin, stdout, stderr := startChild(t, "-config", writeConf(t, oneTable))
	require.NoError(t, stdout.Close())
	_, err := io.WriteString(stdin, "\n")
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Equal(t, "stopped\n", stderr.String())
}

func TestProcessEndsCleanlyBySignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs signals between processes")
	}
	cmd, stdin, stdout, stderr := startChild(t, "-config", writeConf(t, oneTable))
	_, err := io.WriteString(stdin, "\n")
	require.NoError(t, err)
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
	require.ElementsMatch(t, []string{"I! [inputs.heartbeat] stopping: terminated signal received", "stopped"}, stderr.lines())
}
