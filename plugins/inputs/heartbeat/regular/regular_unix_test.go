//go:build unix

package regular

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A FIFO has no writer, so an open that waits for one would never return.
func TestFIFODoesNotBlock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(name, 0o600))
	_, err := (&Reader{Name: name, Limit: 10}).Read(t.Context())
	require.ErrorContains(t, err, "is not a regular file")
}

// What was a regular file a moment ago may be a FIFO when it is opened.
func TestFIFOThatReplacesAFileDoesNotBlock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(name, 0o600))
	_, err := openChecked(name)
	require.ErrorContains(t, err, "is not a regular file")
}
