//go:build unix

package execd

import (
	"bufio"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What Telegraf does with each value of 'signal': each one prompts, or the log
// says what to write.
func TestProcessHeedsEachSignalOfTelegraf(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			cmd, stdin, stdout, stderr := startChild(t, "-config", writeConf(t, oneTable))
			lines := bufio.NewReader(stdout)
			prompt := func() {
				line, err := lines.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, "m v=1 1\n", line)
			}
			_, err := io.WriteString(stdin, "\n")
			require.NoError(t, err)
			prompt() // it is there, and heeds signals
			if s != syscall.SIGHUP {
				for range 3 {
					require.NoError(t, cmd.Process.Signal(s))
					prompt()
				}
				require.NoError(t, stdin.Close())
				require.NoError(t, cmd.Wait())
				require.Equal(t, "stopped\n", stderr.String())
				return
			}
			require.NoError(t, cmd.Process.Signal(s))
			require.NoError(t, cmd.Wait())
			require.ElementsMatch(t, []string{"W! [inputs.heartbeat] stopping: hangup signal received; if this happens at each interval, " +
				"set signal = \"STDIN\" in [[inputs.execd]]", "stopped"}, stderr.lines())
		})
	}
}
