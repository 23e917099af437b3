package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestEndOfAProcessIsDeathWithItsExit(t *testing.T) {
	requireExits(t)
	newSystemd(t)
	tests := []struct {
		name string
		end  func(c *child)
		want Exit
	}{
		{"code", (*child).release, Exit{HasCode: true, Code: 7}},
		{"signal", (*child).kill, Exit{Signal: "SIGKILL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, "read x; exit 7")
			w := run(t, Target{PID: c.pid()})
			process := c.process()
			require.NotZero(t, process.StartMS)
			require.Equal(t, State{Phase: Running, Process: process}, w.next())
			tt.end(c)
			require.Equal(t, State{Phase: Dead, Process: process, Exit: tt.want}, w.next())
		})
	}
}

// Only the kernels before 6.15 are an excuse.
func requireExits(t *testing.T) {
	t.Helper()
	c := start(t, "read x")
	fd, err := unix.PidfdOpen(int(c.pid()), 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	c.release()
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	if errno == unix.ENOTTY || errno == unix.EINVAL || errno == unix.ESRCH {
		t.Skipf("needs Linux 6.15, which tells how a process ended: %v", errno)
	}
	require.Zero(t, errno)
}

func TestExitIsAwaitedUntilTheProcessIsReaped(t *testing.T) {
	requireExits(t)
	c := start(t, "read x; exit 7")
	p := openProcess(c.pid())
	require.NotNil(t, p)
	defer p.close()
	exits := make(chan Exit)
	go func() { // ends with the process
		exit, _ := p.wait(t.Context())
		exits <- exit
	}()
	c.stdin.Close()
	require.Empty(t, <-exits, "nobody has reaped it, and nobody waits for that for long")

	c.reap()
	require.Equal(t, Exit{HasCode: true, Code: 7}, p.exit())
}

func TestProcessOfSomebodyElseIsWatched(t *testing.T) {
	newSystemd(t)
	c := start(t, "sleep 3600 </dev/null >/dev/null & echo $!; wait")
	pid, err := strconv.Atoi(c.line())
	require.NoError(t, err)

	w := run(t, Target{PID: uint32(pid)})
	require.Equal(t, Running, w.next().Phase)
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	require.Equal(t, Dead, w.next().Phase)
}

func TestProcessThatIsNotThereIsDead(t *testing.T) {
	newSystemd(t)
	c := sleeper(t)
	c.kill()
	require.Equal(t, State{Phase: Dead}, run(t, Target{PID: c.pid()}).next())
}

func TestZombieAndThreadAreNoLivingProcesses(t *testing.T) {
	c := start(t, "exit")
	_, err := c.out.ReadByte() // which ends when it has ended
	require.Error(t, err)
	info := unix.Siginfo{}
	require.NoError(t, unix.Waitid(unix.P_PID, int(c.pid()), &info, unix.WEXITED|unix.WNOWAIT, nil))
	require.Nil(t, openProcess(c.pid()))
	require.Nil(t, openPolled(c.pid()))

	thread := make(chan int)
	done := make(chan struct{})
	for range 2 { // one of them is not the first thread
		go func() { // ends with done
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			thread <- unix.Gettid()
			<-done
		}()
	}
	for range 2 {
		if tid := <-thread; tid != os.Getpid() {
			require.Nil(t, openProcess(uint32(tid)))
		}
	}
	close(done)
}

func TestNobodyHasAnImpossibleNumber(t *testing.T) {
	for _, pid := range []uint32{0, maxPID, maxPID + 1, 1<<32 - 1} {
		require.Nil(t, openProcess(pid))
	}
}

func TestPolledProcessIsWatched(t *testing.T) {
	c := sleeper(t)
	p := openPolled(c.pid())
	require.NotNil(t, p)
	require.Equal(t, c.process(), p.Process)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, over := p.wait(ctx)
	require.False(t, over)

	c.kill()
	_, over = p.wait(t.Context())
	require.True(t, over)
	require.Nil(t, openPolled(c.pid()))
}

func TestPolledProcessIsToldFromAStranger(t *testing.T) {
	c := sleeper(t)
	p := openPolled(c.pid())
	require.False(t, p.isOver())
	p.StartMS -= 10
	require.True(t, p.isOver())
	p.StartMS = 0 // hidden
	require.False(t, p.isOver())
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	p := openProcess(uint32(os.Getpid()))
	require.NotNil(t, p)
	defer p.close()
	for range 3 { // an interrupted wait does not spoil the next
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, over := p.wait(ctx)
		require.False(t, over)
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
		cancel()
	}
}

// leaderless makes this program one whose first thread has ended. Variables
// are set in the first thread.
var leaderless = os.Getenv("WATCH_TEST_LEADERLESS") != "" && endFirstThread()

func endFirstThread() bool {
	go func() { // ends with the process
		for !firstThreadEnded(uint32(os.Getpid())) {
			runtime.Gosched()
		}
		fmt.Println("leaderless")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	_, _, errno := unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	return errno == 0
}

// firstThreadEnded reads proc_pid_status(5), which is about the first thread.
func firstThreadEnded(pid uint32) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && strings.Contains(string(text), "\nState:\tZ ")
}

func TestEndOfTheFirstThreadIsNoEnd(t *testing.T) {
	require.False(t, leaderless)
	newSystemd(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WATCH_TEST_LEADERLESS=1")
	c := startCommand(t, cmd)
	require.Equal(t, "leaderless", c.line())
	require.True(t, firstThreadEnded(c.pid()))
	require.NotNil(t, openPolled(c.pid()))

	w := run(t, Target{PID: c.pid()})
	require.Equal(t, Running, w.next().Phase)
	require.Empty(t, w.states)
	c.release()
	require.Equal(t, Dead, w.next().Phase)
}

func TestServiceIsNamedAfterTheProgram(t *testing.T) {
	target := Target{PID: sleeper(t).pid()}
	name, err := target.Service()
	require.NoError(t, err)
	require.Equal(t, "sleep", name)
}

// The kernel knows 15 bytes of it.
func TestServiceIsNamedAfterTheWholeProgram(t *testing.T) {
	const long = "a-program-with-a-long-name"
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	text, err := os.ReadFile(sleep)
	require.NoError(t, err)
	path := t.TempDir() + "/" + long
	writeProgram(t, path, text)

	c := startCommand(t, exec.Command(path, "3600"))
	target := Target{PID: c.pid()}
	name, err := target.Service()
	require.NoError(t, err)
	require.Equal(t, long, name)

	require.NoError(t, os.Remove(path)) // as an upgrade does
	name, err = target.Service()
	require.NoError(t, err)
	require.Equal(t, long, name)
}

// Of a script the kernel runs another file.
func TestServiceOfAScriptIsNamedAfterItsBeginning(t *testing.T) {
	path := t.TempDir() + "/a-script-with-a-long-name"
	writeProgram(t, path, []byte("#!/bin/sh\necho up\nread x\n"))
	c := startCommand(t, exec.Command(path))
	require.Equal(t, "up", c.line())
	target := Target{PID: c.pid()}
	name, err := target.Service()
	require.NoError(t, err)
	require.Equal(t, "a-script-with-a", name)
}

// writeProgram writes it in a process of its own: a child that is forked
// meanwhile would hold it open for writing, and it could not be run.
func writeProgram(t *testing.T, path string, text []byte) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `cat >"$1" && chmod +x "$1"`, "sh", path)
	cmd.Stdin = strings.NewReader(string(text))
	require.NoError(t, cmd.Run())
}

func TestRunLeavesNothingBehind(t *testing.T) {
	s := newSystemd(t)
	child := sleeper(t)
	s.unit("x.service", "active running success", mainPID(child))
	path := t.TempDir() + "/x.pid"
	replace(t, path, strconv.Itoa(int(child.pid())))
	once := func() {
		w := run(t, Target{PID: child.pid()}, Target{PIDFile: path}, Target{Unit: "x"}, Target{Unit: "x"})
		for range 4 {
			require.Equal(t, Running, w.next().Phase)
		}
		w.stop()
	}
	once() // the poller is there from now on
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	for range 10 {
		once()
	}
	require.Equal(t, files, descriptors(t))
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+1 }, patience, time.Millisecond)
}

func TestNothingIsReportedWhenItsContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reports := 0
	watcher := &Watcher{Targets: make([]Target, 50), Report: func(int, State) {
		reports++
		cancel()
	}}
	for i := range watcher.Targets {
		watcher.Targets[i].PID = uint32(os.Getpid())
	}
	watcher.Run(ctx)
	require.Equal(t, 1, reports)
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(names)
}

func TestHostThatShutsDownHasNoDead(t *testing.T) {
	s := newSystemd(t)
	s.set("host", "stopping\n")
	s.unit("x.service", "failed failed signal")
	w := run(t, Target{PID: maxPID}, Target{PIDFile: "/nonexistent"}, Target{Unit: "x"})
	stopped := 0
	for stopped < 3 {
		switch state := w.next(); state.Phase {
		case Stopped:
			stopped++
		default:
			require.Equal(t, Starting, state.Phase)
		}
	}
}

// Neither a host without systemd nor a slow one keeps a death secret.
func TestDeathIsToldWithoutSystemd(t *testing.T) {
	c := sleeper(t)
	t.Setenv("PATH", t.TempDir())
	w := run(t, Target{PID: c.pid()})
	require.Equal(t, Running, w.next().Phase)
	c.kill()
	require.Equal(t, Dead, w.next().Phase)

	s := newSystemd(t)
	s.set("hanging", "")
	require.Equal(t, Dead, run(t, Target{PID: c.pid()}).next().Phase)
	s.remove("hanging")
}

func TestSystemctlIsGivenUp(t *testing.T) {
	s := newSystemd(t)
	s.set("hanging", "")
	_, err := systemctl(t.Context(), 10*time.Millisecond, "show")
	require.ErrorContains(t, err, "systemctl show: no answer within 10ms")
	require.True(t, errors.Is(err, context.DeadlineExceeded))
}
