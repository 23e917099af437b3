//go:build !windows

package statefile

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

// Opening a pipe blocks.
func TestPipeIsLeftAlone(t *testing.T) {
	requireLeftAlone(t, irregular{"is not a regular file", func(t *testing.T, path string) {
		require.NoError(t, syscall.Mkfifo(path, mode))
	}})
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

// isOwnProcess reports whether this is the process of ownProcess. A killed process cleans up
// nothing, so call it before creating anything.
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

// nobodysDir returns a directory that belongs to the user nobody, if this is root.
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
	err := f.save(numbered(2, "new"))
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, fmt.Sprintf("saving state to %q failed: ", path))
	requireSaved(t, f, fullRecord())
	require.NoError(t, f.Close())
	_, _, err = Open(path, savedAt)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, fmt.Sprintf("cannot use state file %q: ", path))
	_, _, err = Open(filepath.Join(dir, "other"), savedAt)
	require.ErrorIs(t, err, fs.ErrPermission)
	requireReadable(t, path)

	// A lock that is root's.
	require.NoError(t, os.Chmod(dir, writable))
	require.NoError(t, os.Chmod(path+".lock", 0))
	_, _, err = Open(path, savedAt)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "heartbeat.state.lock")
	require.NoError(t, os.Chmod(path+".lock", mode))

	// Read permission is enough to lock a file.
	require.NoError(t, os.Chmod(path+".lock", 0o400))
	f = openedState(t, path)
	require.NoError(t, f.Close())

	// A file of root is not damaged: it is left alone, and once it is readable everything is
	// restored.
	require.NoError(t, os.Chmod(path, 0))
	_, err = Read(path, savedAt)
	require.ErrorIs(t, err, fs.ErrPermission)
	before := names(t, dir)
	_, _, err = Open(path, savedAt)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.Equal(t, before, names(t, dir))
	require.NoError(t, os.Chmod(path, mode))
	f = openedState(t, path)
	requireSaved(t, f, fullRecord())
	require.NoError(t, f.Close())

	// A file that is only readable is rewritten, because its directory is ours.
	require.NoError(t, os.Chmod(path, 0o400))
	f = openedState(t, path)
	require.True(t, f.Outgrown())
	saveState(t, f, numbered(2, "new")...)
	requireSaved(t, f, numbered(2, "new")...)
}

func requireReadable(t *testing.T, path string) {
	records, err := recordsIn(path)
	require.NoError(t, err)
	requireRecords(t, []liveness.Record{fullRecord()}, records)
}

// Files that root has created can be used by the service that owns the directory, whichever came
// first.
func TestFilesOfRootBelongToTheService(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, whose files these are")
	}
	if isOwnProcess(t) {
		beNobody(t)
		useState(t, ownArgs()[0])
		return
	}
	for _, rootFirst := range []bool{true, false} {
		path := filepath.Join(nobodysDir(t), "heartbeat.state")
		for i := range 4 {
			if rootFirst == (i%2 == 0) {
				useState(t, path)
			} else {
				runOwn(t, ownProcess(t, path))
			}
			for _, file := range []string{path, path + ".lock"} {
				uid, gid, known := ownerAt(file)
				require.True(t, known)
				require.Equal(t, []int{nobody, nobody}, []int{uid, gid}, "%s after try %d", file, i)
			}
		}
	}
	// In a directory of root, the new file gets the owner of the old one.
	path := filepath.Join(t.TempDir(), "heartbeat.state")
	useState(t, path)
	require.NoError(t, os.Chown(path, nobody, nobody))
	f := openedState(t, path)
	saveState(t, f, fullRecord())
	uid, _, _ := ownerAt(path)
	require.Equal(t, nobody, uid)
}

// useState restores what was saved there, and saves it again.
func useState(t *testing.T, path string) {
	f, state := opened(t, path)
	require.NoError(t, state.Trouble)
	if _, err := os.Lstat(path); err == nil {
		requireSaved(t, f, fullRecord())
		require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Listened: time.Second}))
	}
	saveState(t, f, fullRecord())
	require.NoError(t, f.Close())
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

// The file can only be written in part. Unlike a full disk, this can be tested without root.
func TestPartialSaveLeavesTheOldFile(t *testing.T) {
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
		err := f.save(numbered(500, "new"))
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
	_, _, err = Open(path, savedAt)
	require.EqualError(t, err, fmt.Sprintf("cannot use state file %q: another process (pid %d) uses it", path, cmd.Process.Pid))
	kill(t, cmd)
	f := openedState(t, path) // a lock ends with its process
	require.True(t, f.Outgrown(), "nothing was saved")
}

// A child process has a copy of the descriptor until it executes its program.
func TestLockEndsDespiteACopyOfTheDescriptor(t *testing.T) {
	f := newState(t)
	copied, err := syscall.Dup(int(f.lock.Fd()))
	require.NoError(t, err)
	defer syscall.Close(copied)
	require.NoError(t, f.Close())
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

// A process that only saves is killed again and again. Whether it was appending or rewriting the
// journal, it leaves everything it had saved, and the next process continues from there.
func TestKilledSavingLeavesAWholeFile(t *testing.T) {
	const kills = 50
	if isOwnProcess(t) {
		saveForever(t, ownArgs()[0])
	}
	path := filepath.Join(t.TempDir(), "heartbeat.state")
	inTheMiddle, last := 0, 0
	for i := 0; i < kills || inTheMiddle == 0 && i < 10*kills; i++ {
		cmd := ownProcess(t, path)
		lines := startOwn(t, cmd)
		waitFor(t, lines, "saved")
		<-time.After(rand.N(10 * time.Millisecond)) // about as long as a few savings
		kill(t, cmd)
		if _, err := os.Lstat(path + ".tmp"); err == nil {
			inTheMiddle++
		}
		f, state := opened(t, path)
		require.NoError(t, state.Trouble)
		require.Len(t, state.Peers, killedPeers)
		number := lowest(t, state.Peers)
		require.Greater(t, number, last, "what was said to be saved is lost")
		last = number
		require.NoError(t, f.Close())
	}
	require.Positive(t, inTheMiddle, "it was never killed while making the journal anew")
}

const killedPeers = 100

// lowest returns the number of the oldest record. The others are at most one ahead.
func lowest(t *testing.T, records []liveness.Record) int {
	least, most := 1<<30, 0
	for i := range records {
		number, err := strconv.Atoi(records[i].Rule)
		require.NoError(t, err)
		least, most = min(least, number), max(most, number)
	}
	require.LessOrEqual(t, most, least+1)
	return least
}

func saveForever(t *testing.T, path string) {
	f, state := opened(t, path)
	number := 1
	if len(state.Peers) > 0 {
		number = lowest(t, state.Peers) + 1
	}
	for first := number; ; number++ {
		records := numbered(killedPeers, strconv.Itoa(number))
		if !f.Sound() || (number-first)%2 == first/2%2 { // what comes second is what is killed
			saveState(t, f, records...)
		} else {
			require.NoError(t, f.Append(&liveness.Changes{At: savedAt, Records: records}))
		}
		fmt.Println("saved")
	}
}

// Removing the file in use with everything beside it does not lead to two collectors that save to
// one path: only the first to take the lock again continues.
func TestRemovedLockIsTakenAgain(t *testing.T) {
	f := newState(t)
	saveState(t, f, numbered(1, "first")...)
	require.False(t, f.Displaced())
	removeAll := func() {
		require.NoError(t, os.Remove(f.path))
		require.NoError(t, os.Remove(f.path+".lock"))
	}
	removeAll()
	require.True(t, f.Displaced())
	f.Reset()
	saveState(t, f, numbered(1, "again")...)
	require.False(t, f.Displaced())
	var locked *LockedError
	_, _, err := Open(f.path, savedAt)
	require.ErrorAs(t, err, &locked)

	removeAll()
	other := openedState(t, f.path)
	saveState(t, other, numbered(1, "other")...)
	require.True(t, f.Displaced())
	f.Reset()
	require.ErrorAs(t, f.Begin(), &locked)
	requireSaved(t, other, numbered(1, "other")...)
	require.NoError(t, other.Close())
	saveState(t, f, numbered(1, "last")...)
	requireSaved(t, f, numbered(1, "last")...)
}
