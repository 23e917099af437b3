package proc

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A start is the same each time, and is that of the process that is asked about.
func TestStartOfAProcess(t *testing.T) {
	own := StartMS(uint32(os.Getpid()))
	require.WithinRange(t, time.UnixMilli(own), time.Now().Add(-time.Hour), time.Now().Add(time.Second))
	require.Equal(t, own, StartMS(uint32(os.Getpid())))
	require.NotEqual(t, own, StartMS(uint32(os.Getppid())))
	require.Zero(t, StartMS(1<<30))
}
