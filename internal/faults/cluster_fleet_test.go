//go:build linux

package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

const (
	clusterPort = "6222"
	fleetSecret = "what all collectors have in common"
	realSenders = 10

	// What a peer of a fleet may be silent, at most: so long that no sender is dead
	// because this machine did not let it run.
	ceiling = 10 * time.Second
)

// The machines of a fleet.
var (
	collectorAddrs = [...]string{"10.98.1.1", "10.98.2.1", "10.98.3.1"}
	hallAddrs      = [...]string{"10.98.4.1", "10.98.5.1"} // in each there is half of the hosts
)

// mortal are the heartbeat-senders of each hall that may die.
var mortal = [...][]string{{"web-1/app", "web-3/app", "web-5/app"}, {"web-2/app", "web-4/app", "web-6/app"}}

// remoteAddr is where a row has what only it needs.
const remoteAddr = "10.98.6.1"

// A fleet is three collectors, and the hosts that beat to all of them.
type fleet struct {
	*network
	fault      string
	collectors []*collector // the first is the first by name: it tells events while all are well
	halls      []namespace
	remote     namespace
	herds      []*process // one in each hall
	herded     []string   // peers of the herds
	senders    map[string]*process
	ends       map[string]time.Time // of peers that have really died
	restarts   map[string]int       // of peers, at once after they were killed
	leaves     map[string]int       // of peers, with a goodbye, after which they came back
	mates      []int                // of each collector when all are well
	relay      string               // through which real senders reach the first collector; empty for the address of that

	relays []*process

	injected, expected, seen []string        // for the table
	told                     []time.Duration // after the ends
}

// lanes are how many fleets run at once: three collectors and ten senders each.
var lanes = make(chan struct{}, 6)

// newFleet makes the machines of a fleet. Nothing runs yet.
func newFleet(t *testing.T, fault string) *fleet {
	t.Helper()
	lanes <- struct{}{}
	t.Cleanup(func() { <-lanes })
	f := &fleet{
		network: newRouter(t), fault: fault, mates: []int{2, 2, 2},
		senders: make(map[string]*process), ends: make(map[string]time.Time),
		restarts: make(map[string]int), leaves: make(map[string]int),
	}
	for i, addr := range collectorAddrs {
		name := fmt.Sprint("collector", i+1)
		c := f.newCollector(name, f.machine(name, addr))
		c.run = []string{testkit.Program(t, "telegraf"), "--config", c.config}
		f.collectors = append(f.collectors, c)
	}
	for i, addr := range hallAddrs {
		f.halls = append(f.halls, f.machine(fmt.Sprint("hall", i+1), addr))
	}
	f.remote = f.machine("remote", remoteAddr)
	f.filter("counter") // the first one takes longer
	return f
}

// machine makes one in a network of its own.
func (f *fleet) machine(name, addr string) namespace {
	f.t.Helper()
	network := addr[:strings.LastIndexByte(addr, '.')]
	side := strings.Split(addr, ".")[2]
	return f.plug(name, addr, network+".254", fmt.Sprintf("02:00:00:98:%02s:01", side))
}

// A setup is how a collector is configured.
type setup struct {
	alone  bool          // without mates
	secret string        // in place of that of all
	execd  string        // program that Telegraf runs; empty: the plugin is compiled in
	every  time.Duration // how often that emits
	option string        // one more
}

// configure writes the configuration of a collector.
func (f *fleet) configure(i int, s setup) {
	f.t.Helper()
	c := f.collectors[i]
	plugin := append([]string{
		"[[inputs.heartbeat]]",
		`service_addresses = ["tcp://:` + port + `", "udp://:` + port + `"]`,
		`emit_beats = "none"`, s.option,
		fmt.Sprintf("state_file = %q", c.state),
		"[[inputs.heartbeat.rule]]",
		`host = "*"`,
		fmt.Sprintf("max_dead_after = %q", ceiling),
	}, f.clusterBlock(i, s)...)
	lines := []string{
		"[agent]", `interval = "2s"`, `flush_interval = "500ms"`, "omit_hostname = true",
		"[[outputs.file]]", `files = ["stdout"]`, `data_format = "influx"`,
		`namepass = ["heartbeat_event", "heartbeat_peer", "heartbeat_collector"]`,
	}
	if s.execd != "" {
		own := c.config + ".execd"
		f.write(own, plugin...)
		plugin = []string{
			"[[inputs.execd]]", `data_format = "influx"`, `signal = "none"`, `restart_delay = "1s"`,
			fmt.Sprintf("command = [%q, %q, %q, %q, %q]", testkit.Program(f.t, s.execd), "-config", own, "-interval", s.every.String()),
		}
	}
	f.write(c.config, append(lines, plugin...)...)
}

// clusterBlock says where the mates of a collector are.
func (f *fleet) clusterBlock(i int, s setup) []string {
	f.t.Helper()
	if s.alone {
		return nil
	}
	secret := s.secret
	if secret == "" {
		secret = fleetSecret
	}
	key := filepath.Join(f.t.TempDir(), "cluster.key")
	require.NoError(f.t, os.WriteFile(key, []byte(secret+"\n"), 0o600))
	var mates []string
	for j, addr := range collectorAddrs {
		if j != i {
			mates = append(mates, fmt.Sprintf("%q", net.JoinHostPort(addr, clusterPort)))
		}
	}
	return []string{
		"[inputs.heartbeat.cluster]",
		fmt.Sprintf("name = %q", fmt.Sprint("collector-", i+1)),
		fmt.Sprintf("listen = %q", net.JoinHostPort(collectorAddrs[i], clusterPort)),
		"mates = [" + strings.Join(mates, ", ") + "]",
		fmt.Sprintf("secret = %q", "file:"+key),
	}
}

func (f *fleet) write(file string, lines ...string) {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// open starts the collectors and waits until they have met, then the hosts, and
// waits until all collectors know them.
func (f *fleet) open(hosts int) {
	f.t.Helper()
	for _, c := range f.collectors {
		c.begin()
	}
	for _, c := range f.collectors {
		c.listens()
	}
	f.meet()
	for i, hall := range f.halls {
		f.herds = append(f.herds, f.startHerd(hall, i*hosts/2, hosts/2))
	}
	for i := range hosts / 2 * 2 {
		f.herded = append(f.herded, herded(i))
	}
	for i := range realSenders {
		f.startReal(f.halls[i%len(f.halls)], fmt.Sprint("web-", i+1))
	}
	f.agree()
}

// startReal starts a heartbeat-sender that beats to all collectors.
func (f *fleet) startReal(where namespace, name string) {
	f.t.Helper()
	servers := slices.Clone(collectorAddrs[:])
	if f.relay != "" {
		servers[0] = f.relay
	}
	f.senders[name+"/app"] = f.startFor(where, name, servers)
}

// startFor starts a heartbeat-sender that beats to some collectors.
func (f *fleet) startFor(where namespace, name string, servers []string) *process {
	f.t.Helper()
	return f.start("sender of "+name, f.sender(where, "run", servers, "-interval", "1s", "-host", name, "-service", "app"))
}

// sender is a command of heartbeat-sender.
func (f *fleet) sender(where namespace, command string, servers []string, args ...string) *exec.Cmd {
	f.t.Helper()
	all := []string{testkit.Program(f.t, "heartbeat-sender"), command, "-config", os.DevNull}
	for _, addr := range servers {
		all = append(all, "-server", "tcp://"+net.JoinHostPort(addr, port))
	}
	return where.command(append(all, args...)...)
}

// meet waits until each collector has all its mates.
func (f *fleet) meet() {
	f.t.Helper()
	for i, c := range f.collectors {
		testkit.Until(f.t, fmt.Sprintf("%d mates of %s", f.mates[i], c.name), func() bool {
			return f.mates[i] < 0 || c.says("mates") == int64(f.mates[i])
		})
	}
}

// says returns what a collector says of itself, or -1 if it does not.
func (c *collector) says(field string) int64 {
	c.T.Helper()
	c.read()
	if c.itself == nil {
		return -1
	}
	value, ok := c.itself.GetField(field)
	if !ok {
		return -1
	}
	number, ok := value.(int64)
	require.True(c.T, ok, "%s is %T", field, value)
	return number
}

// agree waits until all collectors show each peer as it is.
func (f *fleet) agree(collectors ...*collector) {
	f.t.Helper()
	if len(collectors) == 0 {
		collectors = f.collectors
	}
	for _, c := range collectors {
		f.untilNone(func() string { return f.odd(c) })
	}
}

// odd names the first peers that a collector does not show as they are.
func (f *fleet) odd(c *collector) string {
	f.t.Helper()
	c.read()
	var odd []string
	for _, peer := range f.peers() {
		want := "alive"
		if _, ended := f.ends[peer]; ended {
			want = "dead"
		}
		if !c.shows(peer, want) {
			odd = append(odd, peer+" not "+want)
		}
	}
	if len(odd) > 5 {
		odd = append(odd[:5], fmt.Sprintf("and %d more", len(odd)-5))
	}
	if len(odd) == 0 {
		return ""
	}
	return c.name + " shows " + strings.Join(odd, ", ")
}

// shows reports whether a gauge of a peer was 1 the last time.
func (c *collector) shows(peer, gauge string) bool {
	m, ok := c.peers[peer]
	return ok && c.number(m, ok, gauge) == 1
}

// peers are those that beat to all collectors, the dead too.
func (f *fleet) peers() []string {
	all := slices.Clone(f.herded)
	for peer := range f.senders {
		all = append(all, peer)
	}
	slices.Sort(all)
	return all
}

// die lets a host of a hall fall silent, and kills a heartbeat-sender there. Another
// one is restarted, and one goes with a goodbye and comes back.
func (f *fleet) die(hall int) []string {
	f.t.Helper()
	begin := len(f.diary.lines)
	defer func() { f.diary.lines = f.diary.lines[:begin] }() // that is not the fault
	f.leave(hall, fmt.Sprint("web-", 7+hall))
	f.restart(hall, fmt.Sprint("web-", 9+hall))
	half := len(f.herded) / len(f.halls)
	died := []string{
		f.firstLiving(mortal[hall]),
		f.firstLiving(f.herded[hall*half : (hall+1)*half]),
	}
	f.ends[died[0]] = time.Now()
	f.senders[died[0]].kill()
	f.ends[died[1]] = time.Now()
	f.silence(hall, died[1])
	return died
}

// restart kills a heartbeat-sender and starts it again at once.
func (f *fleet) restart(hall int, name string) {
	f.t.Helper()
	f.senders[name+"/app"].kill()
	f.startReal(f.halls[hall], name)
	f.restarts[name+"/app"]++
}

// leave lets a heartbeat-sender say goodbye, and starts it again.
func (f *fleet) leave(hall int, name string) {
	f.t.Helper()
	f.senders[name+"/app"].signal(syscall.SIGTERM)
	f.senders[name+"/app"].Exit()
	f.startReal(f.halls[hall], name)
	f.leaves[name+"/app"]++
	f.restarts[name+"/app"]++ // it is another process
}

// firstLiving returns the first of some peers that has not died.
func (f *fleet) firstLiving(peers []string) string {
	f.t.Helper()
	for _, peer := range peers {
		if _, ended := f.ends[peer]; !ended {
			return peer
		}
	}
	require.Fail(f.t, "all have died", peers)
	return ""
}

// tell waits until a death of each of these was told by one of the collectors.
func (f *fleet) tell(died []string, collectors ...*collector) {
	f.t.Helper()
	if len(collectors) == 0 {
		collectors = f.collectors
	}
	for _, peer := range died {
		testkit.Until(f.t, "the death of "+peer+" to be told", func() bool {
			return slices.ContainsFunc(collectors, func(c *collector) bool { return count(c.told(peer), "dead") > 0 })
		})
	}
}

// dieAndTell is what happens before a fault, in it and after it.
func (f *fleet) dieAndTell(hall int, collectors ...*collector) {
	f.t.Helper()
	f.tell(f.die(hall), collectors...)
}

// stop ends a collector as a service manager does.
func (f *fleet) stop(c *collector) {
	f.t.Helper()
	c.signal(syscall.SIGTERM)
	c.Exit()
	c.read()
}

// resume starts a collector again and waits until it has its mates.
func (f *fleet) resume(c *collector) {
	f.t.Helper()
	c.itself = nil // what it said in the life before
	c.begin()
	c.listens()
	f.meet()
}

// apart are rules that drop what collectors send from one to another.
func apart(ways ...[2]int) []string {
	var rules []string
	for _, way := range ways {
		rules = append(rules, "ip saddr "+collectorAddrs[way[0]-1]+" ip daddr "+collectorAddrs[way[1]-1]+drop)
	}
	return rules
}

// between are rules that drop all packets between two machines.
func between(a, b string) []string {
	return []string{"ip saddr " + a + " ip daddr " + b + drop, "ip saddr " + b + " ip daddr " + a + drop}
}
