package verify

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A process has different pids inside and outside of a container.
func TestProcessIsKnownByAllItsPIDs(t *testing.T) {
	const inContainer = "Name:\tnginx\nPid:\t4711\nPPid:\t99\nNSpid:\t4711\t12\t1\nNSsid:\t5\n"
	for pid, want := range map[uint32]bool{4711: true, 12: true, 1: true, 99: false, 5: false, 2: false} {
		require.Equal(t, want, hasNSpid(inContainer, pid), pid)
	}
	require.False(t, hasNSpid("Name:\tnginx\nPid:\t4711\n", 4711), "an old kernel does not say")

	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	require.True(t, hasNSpid(string(status), uint32(os.Getpid())))
	require.True(t, hasPID(uint32(os.Getpid()), uint32(os.Getpid())))
	require.False(t, hasPID(uint32(os.Getpid()), uint32(os.Getppid())))
	require.False(t, hasPID(1<<31-1, 1), "it has ended meanwhile")
}
