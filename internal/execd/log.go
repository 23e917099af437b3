package execd

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	telegraflogger "github.com/influxdata/telegraf/logger"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// longestLine keeps a message below the 64 KiB that [[inputs.execd]] reads as one
// line; after a longer line it would never read stderr again.
const longestLine = 60 * 1024

// A logSink writes messages to one stream, each as one line that begins with its
// level, as [[inputs.execd]] expects. It may be used concurrently.
type logSink struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (s *logSink) print(level telegraf.LogLevel, prefix, text string) {
	line := level.Indicator() + " " + wire.Line(prefix+strings.TrimRight(text, "\r\n"), longestLine)
	s.mu.Lock()
	defer s.mu.Unlock()
	// There is nowhere to report a write error.
	_, _ = io.WriteString(s.w, line+"\n")
}

// A logger is the logger of one plugin instance. Unlike Telegraf's own logger, it
// keeps nothing in memory. It may be used concurrently.
type logger struct {
	sink   *logSink
	prefix string
	level  telegraf.LogLevel
}

func newLogger(sink *logSink, alias string, level telegraf.LogLevel) *logger {
	name := "inputs.heartbeat"
	if alias != "" {
		name += "::" + alias
	}
	return &logger{sink: sink, prefix: "[" + name + "] ", level: level}
}

// Level returns the least important level that is written.
func (l *logger) Level() telegraf.LogLevel { return l.level }

// AddAttribute does nothing: attributes are for structured logs, and [[inputs.execd]]
// passes on only text.
func (*logger) AddAttribute(string, any) {}

func (l *logger) Errorf(format string, args ...any) { l.printf(telegraf.Error, format, args) }
func (l *logger) Error(args ...any)                 { l.print(telegraf.Error, args) }
func (l *logger) Warnf(format string, args ...any)  { l.printf(telegraf.Warn, format, args) }
func (l *logger) Warn(args ...any)                  { l.print(telegraf.Warn, args) }
func (l *logger) Infof(format string, args ...any)  { l.printf(telegraf.Info, format, args) }
func (l *logger) Info(args ...any)                  { l.print(telegraf.Info, args) }
func (l *logger) Debugf(format string, args ...any) { l.printf(telegraf.Debug, format, args) }
func (l *logger) Debug(args ...any)                 { l.print(telegraf.Debug, args) }
func (l *logger) Tracef(format string, args ...any) { l.printf(telegraf.Trace, format, args) }
func (l *logger) Trace(args ...any)                 { l.print(telegraf.Trace, args) }

func (l *logger) printf(level telegraf.LogLevel, format string, args []any) {
	if l.level.Includes(level) {
		l.sink.print(level, l.prefix, fmt.Sprintf(format, args...))
	}
}

func (l *logger) print(level telegraf.LogLevel, args []any) {
	if l.level.Includes(level) {
		l.sink.print(level, l.prefix, fmt.Sprint(args...))
	}
}

// captureLogs redirects the messages that Telegraf's packages send to Telegraf's own
// logger or to the standard logger. Otherwise Telegraf's logger would keep every message
// in memory forever: it waits for a setup that only a complete Telegraf does.
func captureLogs(sink *logSink, level telegraf.LogLevel) {
	telegraflogger.RedirectLogging(&logRelay{sink: sink, level: level})
}

// A logRelay reads the lines of Telegraf's redirected logger, which look like
// "2026-11-23T12:00:00Z I! text", and writes them as ours.
type logRelay struct {
	sink  *logSink
	level telegraf.LogLevel
}

// Write takes one message.
func (r *logRelay) Write(line []byte) (int, error) {
	_, message, _ := strings.Cut(string(bytes.TrimSpace(line)), " ")
	indicator, text, _ := strings.Cut(message, " ")
	for level := telegraf.Error; level <= r.level; level++ {
		if level.Indicator() == indicator {
			r.sink.print(level, "", text)
		}
	}
	return len(line), nil
}

// rarely limits a message to once a minute. Its zero value is ready to use.
type rarely struct {
	last time.Time
}

// allow reports whether the message may be logged now.
func (r *rarely) allow(now time.Time) bool {
	if !r.last.IsZero() && now.Sub(r.last) < time.Minute {
		return false
	}
	r.last = now
	return true
}
