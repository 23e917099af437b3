package proc

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
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

func TestGroupOfZombies(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 3600 & exec sleep 3600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	group := cmd.Process.Pid
	require.False(t, OnlyZombies(group))
	require.NoError(t, unix.Kill(-group, unix.SIGKILL))
	for !OnlyZombies(group) { // it takes the kernel a moment
		runtime.Gosched()
	}
	require.True(t, IsZombie(uint32(group)))
	require.Error(t, cmd.Wait(), "it was killed")
	require.False(t, OnlyZombies(1<<30), "there is no such group")
}
