package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

const (
	maxPID     = math.MaxInt32 // of every kernel
	maxService = 128           // bytes; of a service in a beat
	maxComm    = 15            // bytes; of proc_pid_comm(5)
)

// A Target is a process, a pid file or a systemd unit to watch. One of PID, PIDFile and
// Unit is set.
type Target struct {
	PID     uint32
	PIDFile string
	Unit    string        // of systemd; without a suffix it is a .service
	Grace   time.Duration // a process that is back within it was restarted; unused for PID
}

// String returns a description of t for messages.
func (t *Target) String() string {
	switch {
	case t.Unit != "":
		return "unit " + t.unit()
	case t.PIDFile != "":
		return "pid file " + t.PIDFile
	}
	return fmt.Sprintf("pid %d", t.PID)
}

// Service returns the default service name of t: the unit without its suffix, the
// base name of the pid file without .pid, or the base name of the program.
func (t *Target) Service() (string, error) {
	var name string
	switch {
	case t.Unit != "":
		name = strings.TrimSuffix(t.unit(), path.Ext(t.unit()))
	case t.PIDFile != "":
		name = strings.TrimSuffix(filepath.Base(t.PIDFile), ".pid")
	default:
		name = program(t.PID)
	}
	if name == "" {
		return "", fmt.Errorf("%s is not running, or its program has no name: give a name with -service", t)
	}
	return ServiceName(name), nil
}

// ServiceName makes name a valid service name: at most 128 bytes, with "_" for every
// character except ASCII letters and digits and _.@:/-
func ServiceName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.@:/-", r) {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), maxService)]
}

// program returns the base name of the program of a process, or "". The kernel has only
// its beginning; the rest may be in the name of its file.
func program(pid uint32) string {
	proc := fmt.Sprintf("/proc/%d/", pid)
	text, err := os.ReadFile(proc + "comm")
	if err != nil {
		return ""
	}
	comm := strings.TrimSuffix(string(text), "\n")
	file, err := os.Readlink(proc + "exe")
	if err != nil || len(comm) < maxComm {
		return comm
	}
	// An upgrade replaces the file of a running program.
	if whole := strings.TrimSuffix(path.Base(file), " (deleted)"); strings.HasPrefix(whole, comm) {
		return whole
	}
	return comm
}

// unit returns the name of the unit with its suffix.
func (t *Target) unit() string {
	suffixes := []string{ // systemd.unit(5)
		".service", ".socket", ".device", ".mount", ".automount", ".swap",
		".target", ".path", ".timer", ".slice", ".scope",
	}
	if slices.Contains(suffixes, path.Ext(t.Unit)) {
		return t.Unit
	}
	return t.Unit + ".service"
}

// check returns errors in t that can be found without systemd.
func (t *Target) check(ctx context.Context) error {
	given := 0
	for _, is := range []bool{t.PID != 0, t.PIDFile != "", t.Unit != ""} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return errors.New("no target: give a pid, a pid file or a unit")
	case given > 1:
		return errors.New("give only one of a pid, a pid file and a unit")
	case t.PID > maxPID:
		return fmt.Errorf("no process can have the ID %d", t.PID)
	case strings.ContainsAny(t.Unit, "*?["):
		return fmt.Errorf("unit %.64q is a pattern: give the name of one unit", t.Unit)
	case t.PIDFile != "":
		return t.checkFile(ctx)
	}
	return nil
}

// checkFile accepts a file that does not exist or is not complete yet: the daemon may
// not be running.
func (t *Target) checkFile(ctx context.Context) error {
	_, err := newPIDFile(t.PIDFile).pid(ctx)
	for _, passing := range []error{fs.ErrNotExist, errEmpty, errNoNumber, regular.ErrSlow} {
		if errors.Is(err, passing) {
			return nil
		}
	}
	return err
}
