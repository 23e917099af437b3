//go:build !windows

package heartbeat

import (
	"bufio"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

func init() {
	irregulars["pipe"] = irregular{"is no regular file", func(t *testing.T, path string) {
		require.NoError(t, syscall.Mkfifo(path, stateMode))
	}}
}

// inOwnProcess is the environment variable that names the test to be run in
// this process.
const inOwnProcess = "HEARTBEAT_TEST_IN_OWN_PROCESS"

// ownProcess returns a command that runs the calling test in a process of its
// own. args are what ownArgs returns there.
func ownProcess(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run=^" + t.Name() + "$", "-test.v", "--"}, args...)...)
	cmd.Env = append(os.Environ(), inOwnProcess+"="+t.Name(),
		"GORACE=atexit_sleep_ms=0") // or the race detector waits a second
	return cmd
}

// isOwnProcess tells whether this is the process of ownProcess. What is
// killed cleans up nothing, so ask before you create anything.
func isOwnProcess(t *testing.T) bool {
	return os.Getenv(inOwnProcess) == t.Name()
}

func ownArgs() []string {
	return os.Args[slices.Index(os.Args, "--")+1:]
}

func runOwn(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name(), "it did not run")
}

const nobody = 65534

// nobodysDir returns a directory that is nobody's, if this is root.
func nobodysDir(t *testing.T) string {
	dir := t.TempDir()
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(filepath.Dir(dir), nobody, nobody))
		require.NoError(t, os.Chown(dir, nobody, nobody))
	}
	return dir
}

// beNobody gives up the rights of root, for whom there are no forbidden files.
func beNobody(t *testing.T) {
	if os.Getuid() == 0 {
		require.NoError(t, syscall.Setgroups(nil))
		require.NoError(t, syscall.Setgid(nobody))
		require.NoError(t, syscall.Setuid(nobody))
	}
}

func TestStateWithoutPermission(t *testing.T) {
	if !isOwnProcess(t) {
		runOwn(t, ownProcess(t, nobodysDir(t)))
		return
	}
	beNobody(t)
	const readOnly, writable = 0o500, 0o700
	dir := ownArgs()[0]
	path := filepath.Join(dir, "heartbeat.state")
	f := openedState(t, path)
	saveState(t, f, fullRecord())

	// A directory that nothing can be written to.
	require.NoError(t, os.Chmod(dir, readOnly))
	err := f.save(savedAt, slices.Values(numbered(2, "new")))
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, fmt.Sprintf("saving state to %q failed: ", path))
	requireSaved(t, f, fullRecord())
	require.NoError(t, f.close())
	_, err = openState(path)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, fmt.Sprintf("using state file %q failed: ", path))
	_, err = openState(filepath.Join(dir, "other"))
	require.ErrorIs(t, err, fs.ErrPermission)
	requireReadable(t, path)

	// A lock that is root's.
	require.NoError(t, os.Chmod(dir, writable))
	require.NoError(t, os.Chmod(path+".lock", 0))
	_, err = openState(path)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "heartbeat.state.lock")
	require.NoError(t, os.Chmod(path+".lock", stateMode))

	// A file that is: it is kept, because saving would replace it.
	f = openedState(t, path)
	require.NoError(t, os.Chmod(path, 0))
	_, _, err = ReadState(path)
	require.ErrorIs(t, err, fs.ErrPermission)
	got, err := f.load()
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, fmt.Sprintf("; it is now %q", path+".bad"))
	require.Zero(t, got)
	require.NoError(t, os.Chmod(path+".bad", stateMode))
	requireReadable(t, path+".bad")
}

func requireReadable(t *testing.T, path string) {
	_, peers, err := ReadState(path)
	require.NoError(t, err)
	requireRecords(t, []liveness.Record{fullRecord()}, peers)
}

func TestStateIsNotForTheWorld(t *testing.T) {
	f := newState(t)
	saveState(t, f)
	for _, path := range []string{f.path, f.path + ".lock"} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&^0o640, path)
	}
}

// A file that can only be written in part. Unlike a full disk it needs no
// rights to be had.
func TestSavingInPartLeavesTheOldFile(t *testing.T) {
	if !isOwnProcess(t) {
		runOwn(t, ownProcess(t))
		return
	}
	f := newState(t)
	saveState(t, f, numbered(2, "old")...)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	unlimited := limit.Cur
	for limit.Cur = 1; limit.Cur < 400000; limit.Cur = 3*limit.Cur + 1000 {
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
		err := f.save(savedAt, slices.Values(numbered(500, "new")))
		require.ErrorIs(t, err, syscall.EFBIG)
		require.ErrorContains(t, err, fmt.Sprintf("saving state to %q failed: write ", f.path))
		require.NoFileExists(t, f.path+".tmp")
		requireSaved(t, f, numbered(2, "old")...)
	}
	limit.Cur = unlimited
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	saveState(t, f, numbered(500, "new")...)
	requireSaved(t, f, numbered(500, "new")...)
}

func TestSecondProcessIsRefused(t *testing.T) {
	if isOwnProcess(t) {
		openedState(t, ownArgs()[0])
		fmt.Println("locked")
		_, err := os.Stdin.Read(make([]byte, 1)) // waits for the other one's end
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "heartbeat.state")
	cmd := ownProcess(t, path)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	stdout := startOwn(t, cmd)
	waitFor(t, stdout, "locked")
	_, err = openState(path)
	require.EqualError(t, err, fmt.Sprintf("using state file %q failed: it is used by another process (process %d)", path, cmd.Process.Pid))
	kill(t, cmd)
	f := openedState(t, path) // a lock ends with its process
	requireEmptyState(t, f)
}

// A process that was just started for something else has the descriptor until
// it executes its program.
func TestLockEndsThoughAnotherHasItsDescriptor(t *testing.T) {
	f := newState(t)
	copied, err := syscall.Dup(int(f.lock.Fd()))
	require.NoError(t, err)
	defer syscall.Close(copied)
	require.NoError(t, f.close())
	openedState(t, f.path)
}

func startOwn(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	return bufio.NewScanner(stdout)
}

func waitFor(t *testing.T, lines *bufio.Scanner, want string) {
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	t.Fatalf("the other process ended without saying %q", want)
}

func kill(t *testing.T, cmd *exec.Cmd) {
	require.NoError(t, cmd.Process.Kill())
	require.ErrorContains(t, cmd.Wait(), "signal: killed")
}

// A process that does nothing but save is killed, again and again. What it
// leaves is what it saved last, or the time before.
func TestKilledSavingLeavesAWholeFile(t *testing.T) {
	const kills, sizes, perSize = 50, 4, 100
	if isOwnProcess(t) {
		saveForever(t, ownArgs()[0], sizes, perSize)
	}
	path := filepath.Join(t.TempDir(), "heartbeat.state")
	inTheMiddle := 0
	for range kills {
		cmd := ownProcess(t, path)
		waitFor(t, startOwn(t, cmd), "saved")
		<-time.After(rand.N(10 * time.Millisecond)) // about as long as a few savings
		kill(t, cmd)
		if _, err := os.Lstat(path + ".tmp"); err == nil {
			inTheMiddle++
		}
		f, err := openState(path)
		require.NoError(t, err)
		got, err := f.load()
		require.NoError(t, err)
		size := len(got.peers)
		require.Contains(t, []int{perSize, 2 * perSize, 3 * perSize, 4 * perSize}, size)
		requireRecords(t, numbered(size, strconv.Itoa(size)), got.peers)
		require.NoError(t, f.close())
	}
	require.Positive(t, inTheMiddle, "it was never killed while saving")
}

func saveForever(t *testing.T, path string, sizes, perSize int) {
	f := openedState(t, path)
	for i := 0; ; i++ {
		size := (1 + i%sizes) * perSize
		saveState(t, f, numbered(size, strconv.Itoa(size))...)
		fmt.Println("saved")
	}
}
