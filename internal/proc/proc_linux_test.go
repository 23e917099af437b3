package proc

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestStartIsInMillisecondsSinceBoot(t *testing.T) {
	uptime := func() int64 {
		var now unix.Timespec
		require.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &now))
		return now.Nano() / int64(time.Millisecond)
	}
	before := uptime()
	cmd := exec.Command("sleep", "3600")
	require.NoError(t, cmd.Start())
	after := uptime()
	pid := uint32(cmd.Process.Pid)
	require.GreaterOrEqual(t, StartMS(pid), before-10, "it is told in hundredths of a second")
	require.LessOrEqual(t, StartMS(pid), after)
	require.False(t, IsZombie(pid))

	require.NoError(t, cmd.Process.Kill())
	for !IsZombie(pid) { // it takes the kernel a moment
		runtime.Gosched()
	}
	require.Error(t, cmd.Wait(), "it was killed")
	require.False(t, IsZombie(pid))
	require.Zero(t, StartMS(pid))
}

func TestBootIDIsThatOfTheKernel(t *testing.T) {
	require.Regexp(t, "^[0-9a-f-]{36}$", BootID())
	require.NotZero(t, StartMS(uint32(os.Getpid())))
}
