package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

const (
	maxPIDFile = 64 << 10 // bytes; PostgreSQL's has a hundred

	// fileTime limits reading the file. Meanwhile the end of its process is not
	// noticed.
	fileTime = time.Second

	fileRunningPause = time.Second // a daemon may hand over to a new process
	fileAwayPause    = 100 * time.Millisecond
	fileOverPause    = time.Second
)

// A pidFile is a pid file as last read.
type pidFile struct {
	regular.Reader
	info fs.FileInfo // nil if it could not be read
	mark int64       // how often the file was found to have changed
}

func newPIDFile(path string) *pidFile {
	return &pidFile{Reader: regular.Reader{Name: path, Limit: maxPIDFile}}
}

// pid returns the process ID in the file.
func (f *pidFile) pid(ctx context.Context) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, fileTime)
	defer cancel()
	content, err := f.Read(ctx)
	if err != nil {
		return 0, fmt.Errorf("pid file: %w", err)
	}
	if !isSame(f.info, content.Info) {
		f.info = content.Info
		f.mark++
	}
	pid, err := parsePID(content.Text)
	if err != nil {
		return 0, fmt.Errorf("pid file %.256q: %w", f.Name, err)
	}
	return pid, nil
}

// isSame reports whether a file is unchanged. It does not compare which time is later:
// clocks may be set back, and backups restored.
func isSame(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// Errors for pid files without a process ID. An empty file is being written.
var (
	errEmpty    = errors.New("it is empty")
	errNoNumber = errors.New("not a process ID")
)

// parsePID reads the first line, as systemd does: PostgreSQL writes more.
func parsePID(text []byte) (uint32, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return 0, errEmpty
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	pid, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 31)
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("%.64q is %w", line, errNoNumber)
	}
	return uint32(pid), nil
}

// updateFromFile reads the file and looks for its process; exit is how the previous process
// ended, if it just did.
func (w *watch) updateFromFile(ctx context.Context, file *pidFile, exit Exit) {
	seen := sighting{kind: absent, exit: exit}
	if w.process != nil { // the process is alive, whatever happens to the file
		seen = sighting{kind: running, process: w.process.Process, mark: w.belief.mark}
	}
	pid, err := file.pid(ctx)
	switch {
	case err == nil:
		seen = w.find(pid, file.mark, seen)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errEmpty): // the process may be starting
	default:
		w.warnf("%v", err)
		if !errors.Is(err, errNoNumber) && w.belief.Process.PID == 0 {
			seen.kind = unseen // it is unknown whether there is a process
		}
	}
	w.see(ctx, seen)
}

// followFile watches the process in the file until ctx ends.
func (w *watch) followFile(ctx context.Context) {
	defer w.forget()
	file := newPIDFile(w.PIDFile)
	var exit Exit
	for ctx.Err() == nil {
		w.updateFromFile(ctx, file, exit)
		exit = w.waitForFile(ctx)
	}
}

// waitForFile waits until the file must be read again, or until its process ends, and
// returns how the process ended.
func (w *watch) waitForFile(ctx context.Context) Exit {
	pause := fileOverPause
	switch w.belief.Phase {
	case Running:
		pause = fileRunningPause
	case Starting, Away:
		pause = fileAwayPause
	}
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if w.process == nil {
		<-ctx.Done()
		return Exit{}
	}
	exit, over := w.process.wait(ctx)
	if over {
		w.forget()
	}
	return exit
}
