package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// matesCommand measures the cost of a cluster of two collectors while all peers are well,
// compared with a single collector that has the same peers.
func matesCommand(set *flag.FlagSet) func() {
	peers := set.Int("peers", 10_000, "number of peers that beat to each collector every 10 s; at least 1000")
	watched := set.Duration("watch", 2*time.Minute, "how long to measure; a round of the collectors takes one minute")
	return func() {
		var r route
		first, second := freeAddress(), freeAddress()
		all := []*mate{
			{name: "alone"},
			{name: "first of two", cluster: clusterTable("first", first, r.forward(second))},
			{name: "second of two", cluster: clusterTable("second", second, r.forward(first))},
		}
		for _, m := range all {
			m.start(*peers)
			defer m.plugin.stop()
			defer m.senders.stop()
		}
		time.Sleep(time.Minute) // all peers have beaten, and the collectors have connected
		before := r.traffic()
		for _, m := range all {
			m.before = m.plugin.used()
		}
		time.Sleep(*watched)
		fmt.Printf("\n%d peers, all well, were watched for %s.\n", *peers, *watched)
		header("collector", "share of a core", "more than alone", "bytes per second between both", "resident memory")
		carried := float64(r.traffic().bytes-before.bytes) / watched.Seconds()
		for i, m := range all {
			core := (m.plugin.used() - m.before).Seconds() / watched.Seconds()
			if m.core = core; i == 0 {
				fmt.Printf("| %s | %.2f %% | | | %s |\n", m.name, 100*core, mib(m.plugin.resident()))
				continue
			}
			fmt.Printf("| %s | %.2f %% | %.2f %% | %.0f | %s |\n", m.name, 100*core, 100*(core-all[0].core), carried, mib(m.plugin.resident()))
		}
	}
}

// A mate is a collector that is measured.
type mate struct {
	name    string
	cluster string // its cluster table; empty for a single collector

	plugin, senders *process
	before          time.Duration // processor time used before the measurement
	core            float64
}

// start runs the collector, and peers that beat to it: ten services on each host, over one
// connection.
func (m *mate) start(peers int) {
	m.plugin = startPlugin("bin/telegraf-heartbeat", fmt.Sprintf("max_peers = %d", peers), `emit_beats = "none"`, m.cluster)
	go io.Copy(io.Discard, m.plugin.out) //nolint:errcheck // ends with the plugin
	const services = 10
	hosts := peers / services
	l := load{Network: "tcp", Hosts: hosts, Services: services, Beats: 1, Burst: 1, Every: simulatedBeat / time.Duration(hosts), Interval: simulatedBeat}
	m.senders = l.start(m.plugin.address)
	m.senders.writeLine("go")
}

func clusterTable(name, listen, mate string) string {
	return fmt.Sprintf("[inputs.heartbeat.cluster]\nname = %q\nlisten = %q\nmates = [%q]\nsecret = \"%032d\"\n", name, listen, mate, 0)
}

// A route counts the traffic between two collectors in both directions: the bytes of TCP payload,
// and the messages, which it detects by the first bytes of NATS messages.
type route struct{ bytes, messages atomic.Int64 }

type traffic struct{ bytes, messages int64 }

func (r *route) traffic() traffic { return traffic{r.bytes.Load(), r.messages.Load()} }

// forward returns an address whose connections are forwarded to another address.
func (r *route) forward(to string) string {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() { // ends with the program
		for {
			in := must(listener.Accept())
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close() // the collector does not listen yet
				continue
			}
			go r.copy(in, out) // each ends with the connection
			go r.copy(out, in)
		}
	}()
	return listener.Addr().String()
}

func (r *route) copy(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	io.Copy(to, io.TeeReader(from, &counter{route: r})) //nolint:errcheck // any error ends the connection
}

// A counter counts one direction of a connection.
type counter struct {
	route *route
	tail  []byte // the last bytes, in which a message may begin
}

var messageBegins = []byte("\r\nRMSG ")

func (c *counter) Write(p []byte) (int, error) {
	text := append(c.tail, p...)
	c.route.messages.Add(int64(bytes.Count(text, messageBegins)))
	c.route.bytes.Add(int64(len(p)))
	c.tail = append([]byte(nil), text[max(len(text)-len(messageBegins)+1, 0):]...)
	return len(p), nil
}
