//go:build linux

package faults

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// startSender starts a heartbeat-sender on the host, which is web-1: for a
// service that is itself, or without a name for the host. The host has a boot
// id of its own, which no kernel would give to a namespace.
func (n *network) startSender(service string, interval time.Duration) *process {
	n.t.Helper()
	args := []string{
		"sh", "-c", `mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`, n.bootID,
		program(n.t, "heartbeat-sender"), "run", "-config", os.DevNull, "-server", "tcp://" + net.JoinHostPort(collectorAddr, port),
		"-interval", interval.String(), "-host", "web-1",
	}
	if service != "" {
		args = append(args, "-service", service)
	}
	return start(n.t, "sender of "+service, n.host.command(args...))
}

const clientEnv = "FAULTS_CLIENT" // makes this binary the client of the article: "ADDRESS IP PERIOD"

// startArticle starts the client of the article on the host and returns the
// peer that it is.
func (n *network) startArticle(period time.Duration) (client *process, peer string) {
	n.t.Helper()
	self, err := os.Executable()
	require.NoError(n.t, err)
	cmd := n.host.command(self)
	cmd.Env = []string{fmt.Sprintf("%s=%s %s %s", clientEnv, net.JoinHostPort(collectorAddr, port), hostAddr, period)}
	p := start(n.t, "client of the article", cmd)
	return p, fmt.Sprintf("%s/%d", hostAddr, p.cmd.Process.Pid)
}

// articleClient connects once, sends a bare object each period, never reads,
// and ends with the first error.
func articleClient(spec string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	words := strings.Fields(spec)
	period, err := time.ParseDuration(words[2])
	if err != nil {
		return fail(err)
	}
	conn, err := net.Dial("tcp", words[0])
	if err != nil {
		return fail(err)
	}
	beat := fmt.Appendf(nil, `{"ip": %q, "status": "alive", "pid": %d}`, words[1], os.Getpid())
	for ticks := time.Tick(period); ; <-ticks {
		if _, err := conn.Write(beat); err != nil {
			return fail(err)
		}
	}
}
