//go:build linux

package faults

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A crowd is processes that beat for themselves, each as a host of its own.
type crowd struct {
	processes []*process
	peers     []string
}

// gather starts n processes, each from an address of its own.
func (n *network) gather(count int, interval time.Duration) *crowd {
	n.t.Helper()
	all := &crowd{}
	for i := range count {
		addr := fmt.Sprintf("10.99.1.%d", 11+i)
		runIP(n.t, n.host, "address add "+addr+"/32 dev side")
		name := fmt.Sprint("web-", i+1)
		all.processes = append(all.processes, n.start(name, n.role(n.host, roleApp, addr, n.server, name, interval.String())))
		all.peers = append(all.peers, name+"/app")
	}
	return all
}

// signal sends a signal to all at once.
func (all *crowd) signal(s syscall.Signal) {
	first, last := all.processes[0], all.processes[len(all.processes)-1]
	first.diary.note("kill -%s <%s> ... <%s>", strings.TrimPrefix(unix.SignalName(s), "SIG"), first.Name, last.Name)
	for _, p := range all.processes {
		if err := p.Cmd.Process.Signal(s); err != nil {
			p.T.Errorf("%s: %v", p.Name, err)
		}
	}
}

// expectNotIsolated requires that the collector has never thought that it is cut
// off.
func (c *collector) expectNotIsolated() {
	c.T.Helper()
	require.False(c.T, slices.ContainsFunc(c.told(itself), func(e event) bool { return e.reason == "isolated" }))
}

// Twelve machines on which the same program crashes: their connections are
// closed, which proves that the collector's own network works.
func TestTwelveKilledAtOnceAreToldAtOnce(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	all := n.gather(12, 10*time.Second)
	c.know(all.peers...)
	tr := c.suffer("many: twelve hosts, each with one process, all killed at once", func() {
		all.signal(syscall.SIGKILL)
	}, all.peers...)
	took := tr.expect("suspect conn_closed", "dead conn_closed")
	require.Less(t, took[1], time.Minute, "the hold of somebody who is cut off")
	c.expectNotIsolated()
}

func TestTenThatHangAreToldInTheirTime(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	all := n.gather(12, 2*time.Second)
	c.know(all.peers...)
	hung := &crowd{all.processes[:10], all.peers[:10]}
	tr := c.suffer("many: ten of twelve stopped (SIGSTOP) at once", func() {
		hung.signal(syscall.SIGSTOP)
	}, hung.peers...)
	took := tr.expect("suspect hung|silence", "dead hung")
	require.Less(t, took[1], time.Minute, "the hold of somebody who is cut off")
	c.expectNotIsolated()
}

// What stands between the hosts and the collector ends all their connections at
// once. That is no evidence about any of them.
func TestProxyThatRestartsKillsNobody(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector()
	collectorServer := n.server
	relay := func() *process {
		p := n.start("proxy", n.role(n.router, roleProxy, "10.99.1.254:"+port, collectorServer, "nothing"))
		testkit.Until(t, "the proxy to listen", func() bool { return p.Stdout.Says("listening") })
		return p
	}
	proxy := relay()
	n.server = "10.99.1.254:" + port
	var peers []string
	for i := range 12 {
		name := fmt.Sprint("web-", i+1)
		n.startSenderAs("sender of "+name, "-interval", "5s", "-host", name, "-service", "app")
		peers = append(peers, name+"/app")
	}
	c.know(peers...)
	tr := c.suffer("many: twelve hosts behind a proxy that restarts", func() {
		proxy.kill()
		pause(8 * time.Second) // longer than disconnect_grace
		relay()
	}, peers...)
	for _, peer := range peers {
		tr.expectAlive(peer)
	}
	pause(5 * time.Second)
	tr.expectNoDeath()
}

// The article's client from cron: it connects, says one object and ends.
func TestTenRunsOfTheArticlesClientAreOnePeer(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	c := n.startCollector(`dead_after = "20s"`)
	first := ""
	run := func() {
		p := n.start("client of the article", n.role(n.host, roleVisit, n.server, hostAddr))
		testkit.Until(t, "its end", func() bool { return !p.Running() })
		if first == "" {
			first = fmt.Sprintf("%s/%d", hostAddr, p.Cmd.Process.Pid)
		}
	}
	run()
	testkit.Until(t, "its beat", func() bool { return len(c.heard(first)) > 0 })
	tr := c.suffer("client of the article: ten runs of cron, then none", func() {
		n.diary.note("host# ten times, once a second: its JSON over a connection of its own")
		for range 9 {
			pause(time.Second)
			run()
		}
	}, first)
	tr.expectNothing()
	require.EqualValues(t, 1, peersFrom(c, hostAddr))
	tr.then("no more runs", func() {})
	tr.expect("suspect silence", "dead silence")
	require.EqualValues(t, 1, peersFrom(c, hostAddr))
	require.EqualValues(t, 1, c.counted(first, "deaths_total"))
}

// peersFrom returns how many peers of a source are known.
func peersFrom(c *collector, source string) int {
	c.T.Helper()
	c.read()
	count := 0
	for peer := range c.peers {
		if strings.HasPrefix(peer, source+"/") {
			count++
		}
	}
	return count
}

// beatFrom connects from an address and beats as a host's service, and ends with
// the first error.
func beatFrom(addr, server, host, every string) error {
	period, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	conn, err := dialer.Dial("tcp", server)
	if err != nil {
		return err
	}
	beat := fmt.Appendf(nil, `{"host":%q,"service":"app","pid":%d,"interval_ms":%d}`, host, syscall.Getpid(), period.Milliseconds())
	for wait := 200 * time.Millisecond; ; wait = period { // soon a long connection
		if _, err := conn.Write(beat); err != nil {
			return err
		}
		<-time.After(wait)
	}
}

// visit says one object of the article and ends.
func visit(server, ip string) error {
	conn, err := net.Dial("tcp", server)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(conn, `{"ip": %q, "status": "alive", "pid": %d}`, ip, syscall.Getpid()); err != nil {
		return err
	}
	return conn.Close()
}
