//go:build linux

package faults

import (
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A process is one in the network. The diary notes what a test does to it.
type process struct {
	*testkit.Process
	diary *diary
}

func (n *network) start(name string, cmd *exec.Cmd) *process {
	n.t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlasts the test, however that ends
	return &process{testkit.Start(n.t, name, cmd), n.diary}
}

func (p *process) signal(s syscall.Signal) {
	p.diary.note("kill -%s <%s>", strings.TrimPrefix(unix.SignalName(s), "SIG"), p.Name)
	p.Signal(s)
}

func (p *process) kill() {
	p.T.Helper()
	p.signal(syscall.SIGKILL)
	p.Exit()
}
