package execd

import (
	"io"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program does not end before Telegraf has read what it wrote: Telegraf
// would close its end of the pipe, read or not.
func TestHandOverWaitsUntilEverythingIsRead(t *testing.T) {
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	defer reader.Close()
	_, err = writer.WriteString("last words\n")
	require.NoError(t, err)
	require.Equal(t, 11, unread(writer))

	var order sync.Mutex // guards events
	var events []string
	note := func(what string) {
		order.Lock()
		defer order.Unlock()
		events = append(events, what)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		drainAndClose(writer, nil)
		note("handed over")
	})
	note("reading")
	_, err = io.ReadFull(reader, make([]byte, 11))
	require.NoError(t, err)
	_, err = reader.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "it closes the pipe")
	wg.Wait()
	require.Equal(t, []string{"reading", "handed over"}, events)
}

func TestHandOverLeavesOtherFilesAlone(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	drainAndClose(file, nil)
	_, err = file.WriteString("still open")
	require.NoError(t, err)
}
