//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

// journald takes priorities from the beginnings of lines, and knows who speaks.
// Nobody else does.
func TestJournalGetsPriorities(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	require.NoError(t, err)
	defer file.Close()
	c := testCall(t, "")
	c.stderr = file
	c.environ = []string{"JOURNAL_STREAM=" + fileID(file)}
	c.infof("connected")
	c.warnf("lost %d", 1)
	c.environ = []string{"JOURNAL_STREAM=1:2"} // somebody above us writes to the journal
	c.infof("to a file")
	c.environ = nil
	c.infof("to nobody known")
	c.args = []string{"nonsense"}
	c.environ = []string{"JOURNAL_STREAM=" + fileID(file)}
	require.Equal(t, cli.ExitUsage, c.exit(t.Context()))
	said, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	require.Equal(t, "<6>connected\n<4>lost 1\nheartbeat-sender: to a file\nheartbeat-sender: to nobody known\n"+
		"<3>unknown command \"nonsense\": the commands are "+commandNames()+"\n", string(said))
}

// A log that nobody reads holds up nobody.
func TestLogThatIsStuckHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe()
		l := newLogger(write)
		begin := time.Now()
		for range 2 * maxLines {
			l.write("line\n")
		}
		require.Zero(t, time.Since(begin))
		l.end()
		require.Equal(t, flushTime, time.Since(begin))
		l.write("too late\n")
		read.Close()
		<-l.ended
	})
}
