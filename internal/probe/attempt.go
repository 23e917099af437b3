package probe

import (
	"os/exec"
	"sync"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
)

// An attempt is one run of a command.
type attempt struct {
	code chan int      // gets the exit code
	gone chan struct{} // is closed when no process of the run is left
	kill func()        // what is left of it; it may be called at any time
}

// begin begins a run, without waiting even for its start: the file of the command
// may be on a mount that hangs.
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

// A group is a command and, where the system knows process groups, its children.
type group struct {
	cmd *exec.Cmd

	mu       sync.Mutex // guards what follows
	lives    bool       // the number of the command is its own
	unwanted bool       // nobody waits for it any more
}

// start starts the command. A file on a mount that hangs had better be met here: a
// fork that does not return holds up all others of this program.
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

// kill kills what lives of the group, or will as soon as it is started.
func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unwanted = true
	if g.lives {
		g.signal()
	}
}
