//go:build unix

package e2e

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A goodbye for a name that nobody has is a mistake: it makes no peer and no
// alarm, and the right name is told. A promise that was taken back protects nobody.
func TestGoodbyeForNobodyAndPromiseTakenBack(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.relieve()
	say := func(code int, command string, args ...string) string {
		args = append([]string{command, "-config", os.DevNull, "-server", "tcp://" + p.address}, args...)
		cmd := exec.Command(testkit.Program(t, "heartbeat-sender"), args...)
		out, _ := cmd.CombinedOutput() //nolint:errcheck // the exit code says it
		require.Equal(t, code, cmd.ProcessState.ExitCode(), "%s", out)
		return string(out)
	}
	say(0, "once", "-every", "1s", "-host", "web-5")
	say(0, "once", "-every", "1s", "-host", "db-7")
	require.Contains(t, say(1, "leave", "-host", "wbe-5", "-back-in", "1s"), "does not know wbe-5/host (did you mean web-5?)")
	require.Contains(t, say(1, "leave", "-host", "wbe-5", "-cancel"), "does not know wbe-5/host")

	say(0, "leave", "-host", "db-7", "-back-in", "7d")
	require.Contains(t, say(0, "leave", "-host", "web-5", "-back-in", "7d"), "web-5/host has said goodbye; it is dead if it is not back by 20")
	require.Contains(t, say(0, "leave", "-host", "web-5", "-cancel"), "web-5/host is expected as before: its maintenance window is closed")
	p.now().Until("the death of whom nothing protects", func() bool { return last(p.states("web-5", "host")) == "dead overdue" })
	require.Equal(t, "left leaving", last(p.states("db-7", "host")))
	require.Empty(t, p.states("wbe-5", "host"))
}
