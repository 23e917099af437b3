//go:build linux

package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The two networks, with the router between them.
const (
	collectorAddr = "10.99.0.1"
	hostAddr      = "10.99.1.2"
	port          = "7878"
)

// A network is a collector's machine, a host and a router between them.
type network struct {
	t                       testing.TB
	prefix                  string // of the names of its namespaces
	collector, router, host namespace
	boots                   int    // of the host
	bootID                  string // file with that of the host
	hosts                   string // file that is its /etc/hosts
	resolv                  string // file that is its /etc/resolv.conf; empty for that of this machine
	zone                    string // file with the addresses of the collector's name
	scheme                  string // how senders send
	server                  string // where to: host:port
	diary                   *diary
}

var networks atomic.Int64

// newNetwork has a collector's machine and a host.
func newNetwork(t testing.TB) *network {
	t.Helper()
	n := newRouter(t)
	n.bootCollector()
	n.boot()
	n.filter("counter") // the first one takes longer
	return n
}

// newRouter is a network without machines.
func newRouter(t testing.TB) *network {
	t.Helper()
	if reason := missing(); reason != "" {
		t.Skip(reason)
	}
	n := &network{t: t, prefix: fmt.Sprintf("%s%d-%d-", namePrefix, os.Getpid(), networks.Add(1))}
	n.diary = &diary{prefix: n.prefix}
	n.scheme, n.server = "tcp", net.JoinHostPort(collectorAddr, port)
	n.hosts = filepath.Join(t.TempDir(), "hosts")
	n.nameCollector("127.0.0.1 localhost")
	n.router = n.add("router")
	n.router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	return n
}

// add makes a namespace that lasts as long as the test.
func (n *network) add(name string) namespace {
	n.t.Helper()
	ns := namespace{n.t, n.prefix + name, n.diary}
	n.diary.note("ip netns add %s", ns.name)
	_, err := output(exec.Command("ip", "netns", "add", ns.name))
	require.NoError(n.t, err)
	n.t.Cleanup(func() { // it may be gone, with a host that was switched off
		if _, err := os.Stat(filepath.Join(netnsDir, ns.name)); err == nil {
			_, err := output(exec.Command("ip", "netns", "delete", ns.name))
			require.NoError(n.t, err)
		}
	})
	return ns
}

// boot makes the host.
func (n *network) boot() {
	n.t.Helper()
	n.boots++
	n.bootID = filepath.Join(n.t.TempDir(), "boot_id")
	require.NoError(n.t, os.WriteFile(n.bootID, fmt.Appendf(nil, "boot-%d\n", n.boots), 0o600))
	n.host = n.plug("host", hostAddr, "10.99.1.254", "02:00:00:00:01:02")
}

func (n *network) bootCollector() {
	n.t.Helper()
	n.collector = n.plug("collector", collectorAddr, "10.99.0.254", "02:00:00:00:00:01")
}

// plug makes a machine with a link to the router. Its hardware address is the
// same each time.
func (n *network) plug(name, addr, gateway, hardware string) namespace {
	n.t.Helper()
	begin := len(n.diary.lines)
	ns := n.add(name)
	runIP(n.t, n.router, "link add side address "+hardware+" netns "+ns.name+" type veth peer name to-"+name,
		"address add "+gateway+"/24 dev to-"+name, "link set to-"+name+" up")
	runIP(n.t, ns, "link set lo up",
		"address add "+addr+"/24 dev side", "link set side up", "route add default via "+gateway)
	n.diary.lines = n.diary.lines[:begin]
	n.diary.note("ip netns add %s, its link and address as before", name)
	return ns
}

// switchOff removes a machine with all that its kernel knows. Its link goes
// first, so that nobody is told that its process ends.
func (n *network) switchOff(ns namespace, p *process) {
	n.t.Helper()
	runIP(n.t, n.router, "link delete to-"+strings.TrimPrefix(ns.name, n.prefix))
	p.kill()
	n.diary.note("ip netns delete %s", ns.name)
	_, err := output(exec.Command("ip", "netns", "delete", ns.name))
	require.NoError(n.t, err)
}

// nameCollector is what the host's /etc/hosts says from now on.
func (n *network) nameCollector(line string) {
	n.t.Helper()
	n.diary.note("host# echo %s >/etc/hosts", line)
	require.NoError(n.t, os.WriteFile(n.hosts, []byte(line+"\n"), 0o600))
}

// What rules for packets on their way through the router consist of.
const (
	toCollector = "ip daddr " + collectorAddr
	toHost      = "ip saddr " + collectorAddr
	drop        = " counter drop"
)

// filter is what the router does from now on to packets that it passes on:
// rules of nft, in place of those before. Without any it passes on all.
func (n *network) filter(rules ...string) {
	n.t.Helper()
	for _, rule := range rules {
		n.diary.note("router# nft add rule ip faults path %s", rule)
	}
	// A table is only deleted without an error when it is there.
	script := "table ip faults\ndelete table ip faults\n"
	if len(rules) > 0 {
		script += "table ip faults {\n chain path {\n  type filter hook forward priority 0\n  " +
			strings.Join(rules, "\n  ") + "\n }\n}\n"
	}
	cmd := n.router.command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	_, err := output(cmd)
	require.NoError(n.t, err, script)
}

var counted = regexp.MustCompile(`counter packets (\d+)`)

// caught returns how many packets the rules with a counter have caught.
func (n *network) caught() int {
	n.t.Helper()
	packets := 0
	for _, match := range counted.FindAllStringSubmatch(n.router.run("nft", "list", "table", "ip", "faults"), -1) {
		count, err := strconv.Atoi(match[1])
		require.NoError(n.t, err)
		packets += count
	}
	return packets
}

// clientPorts returns the ports of the host's connections to the collector.
func (n *network) clientPorts() []string {
	n.t.Helper()
	text := n.host.established()
	var ports []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line) // two queues, two addresses
		require.Len(n.t, fields, 4, text)
		_, own, ok := strings.Cut(fields[2], ":")
		require.True(n.t, ok, text)
		ports = append(ports, own)
	}
	return ports
}

// established lists a host's connections to the collector.
func (ns namespace) established() string {
	ns.t.Helper()
	return ns.run("ss", "-Htn", "state", "established", "dport", "=", ":"+port)
}

// clientPort returns the port of the only one.
func (n *network) clientPort() string {
	n.t.Helper()
	ports := n.clientPorts()
	require.Len(n.t, ports, 1, "connections")
	return ports[0]
}

// A namespace is a network namespace that "ip netns" knows by name.
type namespace struct {
	t     testing.TB
	name  string
	diary *diary
}

// command returns a command inside. ip executes it in its own place: its
// process is the one that is started.
func (ns namespace) command(args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns.name}, args...)...)
}

// do runs a command inside that does some harm.
func (ns namespace) do(args ...string) {
	ns.t.Helper()
	ns.diary.note("%s# %s", ns.name, strings.Join(args, " "))
	ns.run(args...)
}

// run runs a command inside and returns what it printed.
func (ns namespace) run(args ...string) string {
	ns.t.Helper()
	text, err := output(ns.command(args...))
	require.NoError(ns.t, err)
	return text
}

// runIP gives commands to ip inside a namespace.
func runIP(t testing.TB, ns namespace, lines ...string) {
	t.Helper()
	for _, line := range lines {
		ns.diary.note("ip -n %s %s", ns.name, line)
	}
	cmd := exec.Command("ip", "-n", ns.name, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	_, err := output(cmd)
	require.NoError(t, err, lines)
}

// output runs a command to its end. An error says what the command said.
func output(cmd *exec.Cmd) (string, error) {
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, strings.TrimSpace(string(text)))
	}
	return string(text), nil
}

const (
	namePrefix = "hbfaults-"
	netnsDir   = "/run/netns"
)

// missing says what the tests lack here, if anything.
var missing = sync.OnceValue(func() string {
	if os.Geteuid() != 0 {
		return "needs root, ip, ss, tc and nft: this is not root"
	}
	for _, name := range []string{"ip", "ss", "tc", "nft", "mount", "unshare", "prlimit"} {
		if _, err := exec.LookPath(name); err != nil {
			return "needs root, ip, ss, tc and nft (Debian: iproute2, nftables): there is no " + name
		}
	}
	sweep()
	probe := fmt.Sprintf("%s%d-probe", namePrefix, os.Getpid())
	if _, err := output(exec.Command("ip", "netns", "add", probe)); err != nil {
		return fmt.Sprintf("needs the right to make network namespaces: %v", err)
	}
	if _, err := output(exec.Command("ip", "netns", "delete", probe)); err != nil {
		return fmt.Sprintf("needs the right to remove network namespaces: %v", err)
	}
	return ""
})

var ownName = regexp.MustCompile(`^` + namePrefix + `(\d+)-\d*-?[a-z]+\d*$`)

// sweep removes the namespaces of runs that were interrupted. Their processes
// have ended with the one that started them.
func sweep() {
	names, _ := filepath.Glob(filepath.Join(netnsDir, namePrefix+"*")) //nolint:errcheck // the pattern is fine
	for _, name := range names {
		match := ownName.FindStringSubmatch(filepath.Base(name))
		if match == nil {
			continue
		}
		pid, err := strconv.Atoi(match[1])
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			//nolint:errcheck // another run may be faster
			output(exec.Command("ip", "netns", "delete", match[0]))
		}
	}
}

// A diary is what was done to a network, as somebody would type it. What
// stands before "#" is where.
type diary struct {
	prefix string // of the names of namespaces
	lines  []string
}

func (d *diary) note(format string, args ...any) {
	d.lines = append(d.lines, strings.ReplaceAll(fmt.Sprintf(format, args...), d.prefix, ""))
}
