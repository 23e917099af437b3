package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// withOwnMounts runs cmd in its own mount namespace.
func withOwnMounts(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	}
	return cmd
}

func TestFullAndReadOnlyDisks(t *testing.T) {
	if !isOwnProcess(t) {
		cmd := ownProcess(t, t.TempDir())
		out, err := withOwnMounts(cmd).CombinedOutput()
		if cmd.ProcessState == nil && errors.Is(err, fs.ErrPermission) {
			t.Skipf("mounting a small disk needs root or user namespaces: %v", err)
		}
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: "+t.Name(), "it did not run")
		return
	}
	disk := ownArgs()[0]
	// Five names: the directory, lock, state, its successor and one more.
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=96k,nr_inodes=5"))
	f := openedState(t, filepath.Join(disk, "heartbeat.state"))
	old := numbered(20, "old")
	saveState(t, f, old...)

	err := f.save(numbered(500, "new"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, fmt.Sprintf("saving state to %q failed: ", f.path))
	require.NoFileExists(t, f.path+".tmp")
	requireSaved(t, f, old...)

	// Where not even an empty file can be created, the old one is still read.
	for _, name := range []string{"x", "y"} {
		require.NoError(t, os.WriteFile(filepath.Join(disk, name), nil, mode))
	}
	require.ErrorIs(t, os.WriteFile(filepath.Join(disk, "z"), nil, mode), syscall.ENOSPC)
	require.NoError(t, f.Close())
	f = openedState(t, f.path)
	requireSaved(t, f, old...)
	require.ErrorIs(t, f.save(old), syscall.ENOSPC)
	require.NoError(t, os.Remove(filepath.Join(disk, "x")))
	saveState(t, f, numbered(21, "newer")...)
	requireSaved(t, f, numbered(21, "newer")...)

	require.NoError(t, f.Close())
	require.NoError(t, syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, _, err = Open(f.path, savedAt)
	require.ErrorIs(t, err, syscall.EROFS)
	require.ErrorContains(t, err, fmt.Sprintf("cannot use state file %q: ", f.path))
	require.ErrorIs(t, f.save(old), syscall.EROFS)
	requireSaved(t, f, numbered(21, "newer")...)
}
