package heartbeat

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
)

// nobody is the id of the user and the group that own nothing.
const nobody = 65534

// A try as root leaves no socket that the service could not use or remove, and
// no id that it could not replace.
func TestWhatRootMakesBelongsToTheService(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, whose sockets these are")
	}
	dir := filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.Mkdir(dir, 0o750))
	require.NoError(t, os.Chown(dir, nobody, nobody))
	for _, scheme := range []string{"unix://", "unixgram://"} {
		path := filepath.Join(dir, "socket")
		h := newPlugin(t)
		h.ServiceAddresses = []string{scheme + path}
		start(t, h)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.EqualValues(t, nobody, info.Sys().(*syscall.Stat_t).Uid)
		h.Stop()
		require.NoFileExists(t, path)
	}
	state := filepath.Join(dir, "state")
	_, err := verify.KeepID(state)
	require.NoError(t, err)
	info, err := os.Lstat(state + ".id")
	require.NoError(t, err)
	require.EqualValues(t, nobody, info.Sys().(*syscall.Stat_t).Uid)
}

// A socket that cannot be asked is not known to be left over, so it stays.
func TestSocketOfSomebodyElseIsLeftAlone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody who may not connect")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chown(filepath.Dir(dir), nobody, nobody))
	require.NoError(t, os.Chown(dir, nobody, nobody)) // who could remove the socket
	path := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, os.Chmod(path, 0o600))
	h := newPlugin(t)
	h.ServiceAddresses = []string{"unix://" + path}
	err = asNobody(t, func() error { return h.Start(new(testutil.Accumulator)) })
	require.ErrorIs(t, err, os.ErrPermission)
	require.FileExists(t, path)
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	conn.Close()
}

// asNobody returns the result of do on a thread without privileges.
func asNobody(t *testing.T, do func() error) error {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // it is not unlocked, so it ends with this goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0); errno != 0 {
			result <- errno
			return
		}
		result <- do()
	}()
	return <-result
}
