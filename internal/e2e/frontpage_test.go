//go:build unix

package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

var recordTo = flag.String("record", "", "write the session of the front page into this file, as an animated SVG")

// The session of the front page: a sender is killed, started again and stopped. Each README
// shows what the collector printed.
func TestFrontPage(t *testing.T) {
	t.Parallel()
	s := &session{t: t}
	s.types("telegraf-heartbeat -listen tcp://127.0.0.1:7878")
	s.collector = testkit.StartProgram(t, "telegraf-heartbeat", "-listen", anyPort)
	address := listens(s.collector)
	s.prints("collector started")

	beat := func() *testkit.Process {
		s.types("heartbeat-sender run -server tcp://127.0.0.1:7878 -host web-1 -service nginx -interval 1s")
		return startSender(t, address, "web-1", "nginx")
	}
	first := beat()
	s.prints("alive web-1/nginx beat")
	s.watch(10 * time.Second) // the end of a connection that brought one beat is not the end of its sender
	s.types("kill -KILL %1")
	first.Kill()
	s.prints("suspect web-1/nginx", "dead web-1/nginx")
	s.watch(0)
	second := beat()
	s.prints("alive web-1/nginx beat", "restarted")
	s.watch(0)
	s.types("kill -TERM %1")
	second.Signal(syscall.SIGTERM)
	s.prints("left web-1/nginx")
	require.Zero(t, second.Exit())

	if *recordTo != "" {
		require.NoError(t, os.WriteFile(*recordTo, animate(s.lines), 0o644)) //nolint:gosec // a picture
	}
	for _, readme := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", readme))
		require.NoError(t, err)
		require.Contains(t, unstamped(string(text)), unstamped(strings.Join(s.printed, "\n")+"\n"), "%s shows another session", readme)
	}
}

// A session is what is typed and what the collector prints, in this order.
type session struct {
	t         *testing.T
	collector *testkit.Process
	seen      int // lines of the collector
	lines     []testkit.Line
	printed   []string // by the collector alone
}

func (s *session) types(command string) {
	s.lines = append(s.lines, testkit.Line{Text: "$ " + command, At: time.Now()})
}

// prints waits for lines that contain these texts, one after the other. It leaves out that
// the sender was late for a moment, as it is where the machine is busy.
func (s *session) prints(texts ...string) {
	for _, text := range texts {
		var found testkit.Line
		s.collector.Until(text, func() bool {
			for _, line := range s.collector.Stdout.From(s.seen) {
				s.seen++
				if found = line; strings.Contains(line.Text, text) && !strings.Contains(line.Text, "suspect web-1/nginx silence") {
					return true
				}
			}
			return false
		})
		s.lines = append(s.lines, found)
		s.printed = append(s.printed, found.Text)
	}
}

// watch waits for so long, or until a reader of the recording has seen what happened.
func (s *session) watch(wait time.Duration) {
	if *recordTo != "" {
		wait = 3 * time.Second
	}
	pause(wait)
}

// unstamped returns text without the time of day and without durations.
func unstamped(text string) string {
	text = regexp.MustCompile(`\d\d:\d\d:\d\d`).ReplaceAllString(text, "TIME")
	return regexp.MustCompile(` after [0-9.hms]+`).ReplaceAllString(text, "")
}

func TestRecordingIsWellFormed(t *testing.T) {
	at := time.Now()
	svg := string(animate([]testkit.Line{{Text: "$ a <b> & c", At: at}, {Text: "12:00:00 dead x", At: at.Add(1500 * time.Millisecond)}}))
	require.Contains(t, svg, "$ a &lt;b&gt; &amp; c")
	delays := regexp.MustCompile(`animation-delay:([0-9.]+)s`).FindAllStringSubmatch(svg, -1)
	require.Equal(t, [][]string{{"animation-delay:0.00s", "0.00"}, {"animation-delay:1.50s", "1.50"}}, delays)
	require.True(t, slices.Contains(strings.Fields(svg), `class="dead"`))
}
