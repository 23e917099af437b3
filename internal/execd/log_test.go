package execd

import (
	"log"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/influxdata/telegraf"
	telegraflogger "github.com/influxdata/telegraf/logger"
	"github.com/stretchr/testify/require"
)

// The stock shim puts a time in front, so that Telegraf shows each line as an
// error.
func TestLogLineBeginsWithItsLevel(t *testing.T) {
	var messages screen
	sink := &logSink{w: &messages}
	l := newLogger(sink, "", telegraf.Trace)
	l.AddAttribute("ignored", 1)
	l.Error("a", 1, 2)
	l.Warnf("b %q", "c")
	l.Info("d")
	l.Debug("e")
	newLogger(sink, "east", telegraf.Trace).Trace("f")
	require.Equal(t, []string{
		"E! [inputs.heartbeat] a1 2",
		`W! [inputs.heartbeat] b "c"`,
		"I! [inputs.heartbeat] d",
		"D! [inputs.heartbeat] e",
		"T! [inputs.heartbeat::east] f",
	}, messages.lines())
	require.Equal(t, 5, messages.writes, "a line in several writes may be torn")
}

func TestLessImportantMessagesAreNotWritten(t *testing.T) {
	var messages screen
	l := newLogger(&logSink{w: &messages}, "", telegraf.Warn)
	l.Error("a")
	l.Errorf("b")
	l.Warn("c")
	l.Info("d")
	l.Infof("e")
	l.Tracef("f")
	require.Equal(t, telegraf.Warn, l.Level())
	require.Len(t, messages.lines(), 3)
}

func TestMessageIsOneLineThatTelegrafCanRead(t *testing.T) {
	var messages screen
	l := newLogger(&logSink{w: &messages}, "", telegraf.Info)
	l.Info("a\nb\r\nc\rd\n")
	require.Equal(t, "I! [inputs.heartbeat] a\\nb\\r\\nc\\rd\n", messages.String())
	messages = screen{}
	newLogger(&logSink{w: &messages}, "ea\nst", telegraf.Info).Info("ü\x1b[31m\xff\u202e")
	require.Equal(t, "I! [inputs.heartbeat::ea\\nst] ü\\x1b[31m\\xff\\u202e\n", messages.String())
	for _, long := range []string{strings.Repeat("ü", 50_000), strings.Repeat("\n", 50_000) + "x", strings.Repeat("x\n", 1<<20)} {
		messages = screen{}
		l.Info(long)
		require.Len(t, messages.lines(), 1)
		require.Less(t, len(messages.String()), 61*1024)
		require.Contains(t, messages.String(), "...\n")
		require.NotContains(t, messages.String(), "\ufffd")
	}
}

func TestLoggersMayBeUsedConcurrently(t *testing.T) {
	var messages plainWriter // without a lock of its own
	sink := &logSink{w: &messages}
	var logging sync.WaitGroup
	for range 8 {
		logging.Go(func() {
			for range 100 {
				newLogger(sink, "", telegraf.Info).Info("x")
			}
		})
	}
	logging.Wait()
	require.Equal(t, strings.Repeat("I! [inputs.heartbeat] x\n", 800), messages.String())
}

type plainWriter struct{ strings.Builder }

// Telegraf's logger, not set up, keeps each message for ever, also what goes to
// the standard logger, and prints it with a time in front.
func TestLoggingKeepsNothingInMemory(t *testing.T) {
	var messages screen
	captureLogs(&logSink{w: &messages}, telegraf.Info)
	theirs := telegraflogger.New("inputs", "other", "")
	ours := newLogger(&logSink{w: &messages}, "", telegraf.Info)
	before := heap()
	for range 50_000 {
		log.Print("D! [serializers.influx] could not serialize field")
		theirs.Debug("debug")
		ours.Debug("debug")
	}
	require.Less(t, heap()-before, int64(2<<20), "bytes kept")
	require.Empty(t, messages.String())

	log.Print("W! [a] b\nc")
	log.Print("no level")
	theirs.Error("wrong")
	require.Equal(t, []string{`W! [a] b\nc`, "I! no level", "E! [inputs.other] (category=inputs,plugin=other) wrong"},
		sortedAttributes(messages.lines()))
}

// sortedAttributes undoes the random order in which Telegraf writes them.
func sortedAttributes(lines []string) []string {
	for i, line := range lines {
		lines[i] = strings.Replace(line, "(plugin=other,category=inputs)", "(category=inputs,plugin=other)", 1)
	}
	return lines
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestRarelyIsOnceAMinute(t *testing.T) {
	var r rarely
	now := time.Unix(1, 0)
	require.True(t, r.allow(now))
	require.False(t, r.allow(now.Add(time.Minute-1)))
	require.True(t, r.allow(now.Add(time.Minute)))
	require.False(t, r.allow(now.Add(2*time.Minute-1)))
}
