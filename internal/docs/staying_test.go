//go:build unix

package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/stretchr/testify/require"
)

// A staying is a program that runs until the end of a section of a document.
type staying struct {
	line string
	cmd  *exec.Cmd
}

var (
	stays = regexp.MustCompile(`^(?:bin/)?(?:heartbeat-sender run|telegraf-heartbeat -listen) `)
	kills = regexp.MustCompile(`^kill -KILL \$\(pgrep -f '(.+)'\)$`)
	ready = regexp.MustCompile(`(?:Listening on|connected to) tcp://127\.0\.0\.1:(\d+)`)
	where = regexp.MustCompile(`-listen tcp://127\.0\.0\.1:\d+`)
)

// start starts a program and waits until it is connected or listens. If it is a collector, later
// commands use it.
func (w *world) start(line string) {
	w.Helper()
	line = where.ReplaceAllString(w.here(line), "-listen tcp://127.0.0.1:0")
	log := filepath.Join(w.dir, "log")
	out, err := os.Create(log)
	require.NoError(w, err)
	defer out.Close()
	cmd := exec.Command("bash", "-c", "exec "+line)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = w.dir, w.environ(), out, out
	require.NoError(w, cmd.Start())
	w.staying = append(w.staying, staying{line, cmd})
	require.Eventually(w, func() bool {
		said, err := os.ReadFile(log)
		found := ready.FindSubmatch(said)
		if err != nil || found == nil {
			return false
		}
		w.port = string(found[1])
		return true
	}, patience, 50*time.Millisecond, line)
}

// kill kills the staying program whose command line matches a pattern, and never a process of
// someone else.
func (w *world) kill(pattern string) {
	w.Helper()
	for i, s := range w.staying {
		if regexp.MustCompile(pattern).MatchString(s.line) {
			s.end()
			w.staying = append(w.staying[:i], w.staying[i+1:]...)
			return
		}
	}
	require.Fail(w, "no program that was started matches "+pattern)
}

// enter starts a section of a document. The section has its own place.
func (w *world) enter(section int, place place) {
	if section != w.section {
		w.leave()
		w.section, w.place = section, place
	}
}

// leave ends the staying programs.
func (w *world) leave() {
	for _, s := range w.staying {
		s.end()
	}
	w.staying = nil
}

func (s staying) end() {
	s.cmd.Process.Kill() //nolint:errcheck // it may have ended
	s.cmd.Wait()         //nolint:errcheck // it was killed
}
