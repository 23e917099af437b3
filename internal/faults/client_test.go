//go:build linux

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// startSender starts a heartbeat-sender on the host, which is web-1: for a
// service that is itself, or without a name for the host.
func (n *network) startSender(service string, interval time.Duration) *process {
	n.t.Helper()
	name, args := "sender", []string{"-interval", interval.String(), "-host", "web-1"}
	if service != "" {
		name, args = "sender of "+service, append(args, "-service", service)
	}
	return n.startSenderAs(name, args...)
}

func (n *network) startSenderAs(name string, args ...string) *process {
	n.t.Helper()
	return n.start(name, n.senderCommand(args...))
}

// senderCommand runs a sender on the host, which has a boot id and an
// /etc/hosts of its own: no kernel would give them to a namespace.
func (n *network) senderCommand(args ...string) *exec.Cmd {
	n.t.Helper()
	n.diary.note("host# heartbeat-sender run %s", strings.Join(args, " "))
	return n.onHost("run", args...)
}

// onHost is a command of heartbeat-sender on the host.
func (n *network) onHost(command string, args ...string) *exec.Cmd {
	n.t.Helper()
	const script = `mount --bind "$1" /proc/sys/kernel/random/boot_id && mount --bind "$2" /etc/hosts &&
		{ [ -z "$3" ] || mount --bind "$3" /etc/resolv.conf; } && shift 3 && exec "$@"`
	return n.host.command(append([]string{
		"sh", "-c", script, "sh", n.bootID, n.hosts, n.resolv,
		testkit.Program(n.t, "heartbeat-sender"), command, "-config", os.DevNull, "-server", n.scheme + "://" + n.server,
	}, args...)...)
}

// startArticle starts the client of the article on the host and returns the
// peer that it is. It can use "tcp" and "udp".
func (n *network) startArticle(network string, period time.Duration) (client *process, peer string) {
	n.t.Helper()
	p := n.start("client of the article", n.role(n.host, roleArticle, network, n.server, hostAddr, period.String()))
	return p, fmt.Sprintf("%s/%d", hostAddr, p.Cmd.Process.Pid)
}

// role is a command that makes this binary something else than tests.
func (n *network) role(where namespace, role string, args ...string) *exec.Cmd {
	n.t.Helper()
	self, err := os.Executable()
	require.NoError(n.t, err)
	cmd := where.command(append([]string{self}, args...)...)
	cmd.Env = []string{roleEnv + "=" + role}
	return cmd
}
