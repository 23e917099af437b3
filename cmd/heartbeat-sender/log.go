package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// A priority is a log level as in sd-daemon(3).
type priority string

const (
	logError   priority = "<3>"
	logWarning priority = "<4>"
	logInfo    priority = "<6>"
)

// infof logs an informational message.
func (c *call) infof(format string, args ...any) { c.logUnlessQuiet(logInfo, format, args...) }

// warnf logs a warning.
func (c *call) warnf(format string, args ...any) { c.logUnlessQuiet(logWarning, format, args...) }

func (c *call) logUnlessQuiet(p priority, format string, args ...any) {
	if !c.settings.quiet {
		c.log(p, format, args...)
	}
}

// log writes one line. For journald, the line begins with its priority instead of the
// name of the program.
func (c *call) log(p priority, format string, args ...any) {
	begin := "heartbeat-sender: "
	if c.prefixes || c.isJournal(c.stderr) {
		begin = string(p)
	}
	c.logging.Do(func() { c.logger = newLogger(c.stderr) })
	c.logger.write(begin + oneLine(fmt.Sprintf(format, args...)) + "\n")
}

// endLog waits until all lines are written, but no longer than flushTime.
func (c *call) endLog() {
	if c.logger != nil {
		c.logger.end()
	}
}

const (
	maxLines  = 100                    // waiting to be written
	flushTime = 500 * time.Millisecond // limit for writing them at the end
)

// A logger writes in the background. Beats and jobs never wait for the reader of the
// log: a pipe may be full, a terminal may be stopped.
type logger struct {
	to     io.Writer
	lines  chan string
	ending chan struct{} // closed when no more lines will come
	ended  chan struct{}
}

func newLogger(to io.Writer) *logger {
	l := &logger{to: to, lines: make(chan string, maxLines), ending: make(chan struct{}), ended: make(chan struct{})}
	go l.keep() // ends with end, or with the program
	return l
}

func (l *logger) keep() {
	defer close(l.ended)
	for {
		select {
		case line := <-l.lines:
			l.print(line)
			continue
		case <-l.ending:
		}
		for len(l.lines) > 0 {
			l.print(<-l.lines)
		}
		return
	}
}

func (l *logger) print(line string) {
	io.WriteString(l.to, line) //nolint:errcheck // there is nowhere to report it
}

// write drops the line if too many are waiting.
func (l *logger) write(line string) {
	select {
	case l.lines <- line:
	default:
	}
}

func (l *logger) end() {
	close(l.ending)
	select {
	case <-l.ended:
	case <-time.After(flushTime):
	}
}

// isJournal reports whether w is the file that JOURNAL_STREAM identifies: the journal
// (systemd.exec(5)).
func (c *call) isJournal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	stream, ok := lookup(c.environ, "JOURNAL_STREAM")
	return ok && stream == fileID(file)
}

// exitRefused is the exit code of a beat that a collector refused.
const exitRefused = 4

func exitCode(err error) int {
	var refused *sender.RefusedError
	code := cli.ExitCode(err)
	if code == cli.ExitFailed && errors.As(err, &refused) {
		return exitRefused
	}
	return code
}

// isDeliveryFailure reports whether -quiet silences a failure. The flag does not silence
// errors in the settings, because they would go unnoticed.
func isDeliveryFailure(code int) bool { return code == cli.ExitFailed || code == exitRefused }

// settingsError returns err with the exit code for errors in the settings.
func settingsError(err error) error { return cli.Exit(cli.ExitConfig, err) }

// oneLine returns text, which may have several lines, as one line that is safe for a
// log and a terminal: errors quote files, collectors and certificates.
func oneLine(text string) string {
	return wire.Line(strings.ReplaceAll(text, "\n", "; "), cli.MaxMessage)
}
