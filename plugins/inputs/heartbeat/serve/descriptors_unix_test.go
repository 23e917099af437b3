//go:build !windows

package serve

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConnectionLimitLeavesDescriptorsForOthers(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	require.EqualValues(t, 7, connectionLimit(7))
	require.LessOrEqual(t, connectionLimit(0), max(int64(limit.Cur)-200, 1))
	require.LessOrEqual(t, connectionLimit(1<<30), max(int64(limit.Cur)-200, 1))
}
