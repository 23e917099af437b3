package main

import (
	"fmt"
	"io"
	"os"
)

// A priority is what journald knows it by (sd-daemon(3)).
type priority string

const (
	logError   priority = "<3>"
	logWarning priority = "<4>"
	logInfo    priority = "<6>"
)

// infof tells the operator what went well.
func (c *call) infof(format string, args ...any) { c.tell(logInfo, format, args...) }

// warnf tells the operator what did not.
func (c *call) warnf(format string, args ...any) { c.tell(logWarning, format, args...) }

func (c *call) tell(p priority, format string, args ...any) {
	if !c.settings.quiet {
		c.log(p, format, args...)
	}
}

// log writes one line, for journald with its priority.
func (c *call) log(p priority, format string, args ...any) {
	line := fmt.Sprintf(format+"\n", args...)
	if c.isJournal(c.stderr) {
		line = string(p) + line
	}
	io.WriteString(c.stderr, line) //nolint:errcheck // nobody is left to hear of it
}

// isJournal tells whether journald reads what is written to w: systemd says in
// JOURNAL_STREAM which file that is (systemd.exec(5)).
func (c *call) isJournal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	stream, ok := lookup(c.environ, "JOURNAL_STREAM")
	return ok && stream == fileID(file)
}
