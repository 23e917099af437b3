package probe

import (
	"os/exec"
	"sync"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
)

// An attempt is one run of a command.
type attempt struct {
	code chan int      // receives the exit code
	gone chan struct{} // closed when no process of the run is left
	kill func()        // kills what is left of the run; may be called at any time
}

// begin starts a run without waiting for the command to start: its file may be on a mount
// that hangs.
func begin(args, environ []string) *attempt {
	a := &attempt{code: make(chan int, 1), gone: make(chan struct{})}
	var g group
	a.kill = g.kill
	go func() { // ends with the run
		defer close(a.gone)
		if err := g.start(args, environ); err != nil {
			a.code <- job.StartCode(err)
			return
		}
		a.code <- g.wait()
		g.waitForChildren()
	}()
	return a
}

// A group is a command and, on systems with process groups, its children.
type group struct {
	cmd *exec.Cmd

	mu       sync.Mutex // guards what follows
	lives    bool       // the process ID of the command is still its own
	unwanted bool       // kill was called
}

// start starts the command. It opens the file first: if its mount hangs, that must not
// happen in a fork, which would block all other forks of this program.
func (g *group) start(args, environ []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	g.cmd = exec.Command(path, args[1:]...) //nolint:noctx // it is killed with its group
	g.cmd.Args[0] = args[0]
	g.cmd.Env = environ
	g.cmd.SysProcAttr = attributes()
	if err := g.cmd.Start(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lives = true
	if g.unwanted {
		g.signal()
	}
	return nil
}

// kill kills the living processes of the group, now or as soon as it is started.
func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unwanted = true
	if g.lives {
		g.signal()
	}
}
