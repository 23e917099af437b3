package execd

import (
	"io"
	"os"
	"time"
)

const (
	handOverLimit = 500 * time.Millisecond // for Telegraf to read what is in the pipe
	handOverPoll  = 2 * time.Millisecond
	// handOverRest is for Telegraf to see the end of the pipes before it sees
	// the end of the process, which it would log as an error otherwise.
	handOverRest = 20 * time.Millisecond
)

// handOver waits until Telegraf has read what was written, and closes the
// pipes. Telegraf closes its ends as soon as this process is gone, read or
// not, and the last transitions would be lost.
func handOver(stdout, stderr io.Writer) {
	pipe, ok := stdout.(*os.File)
	if !ok || !isPipe(pipe) {
		return
	}
	for end := time.Now().Add(handOverLimit); unread(pipe) > 0 && time.Now().Before(end); {
		time.Sleep(handOverPoll)
	}
	pipe.Close()
	if messages, ok := stderr.(*os.File); ok && isPipe(messages) {
		messages.Close()
	}
	time.Sleep(handOverRest)
}

func isPipe(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}
