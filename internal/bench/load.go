package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	loadRole = "load"
	warmUp   = 2 // beats of each peer before the load, over long-lived connections
)

// A load describes the beats that the hosts of one process send to a collector. The writes are
// sent one after the other; one write of each host is a round.
type load struct {
	Network  string
	Address  string
	Hosts    int  // each host has a connection; with udp, all share a socket
	Once     bool // open a connection for each write, four at a time
	Rounds   int  // 0: run until the process is killed
	Services int  // peers of each host; all of them beat in each write
	Beats    int  // beats of each peer in one write

	Burst int           // number of writes in a burst
	Every time.Duration // interval of the bursts; 0: as fast as the collector reads

	Interval time.Duration // the interval in the beats; 0: 10 s
}

// total returns the number of beats without the warm-up.
func (l *load) total() int { return l.Hosts * l.Rounds * l.Services * l.Beats }

// start runs a process for the load and waits until its connections are ready. The load begins
// when the process reads the line "go".
func (l load) start(address string) *process {
	p := l.launch(address)
	p.readLine()
	return p
}

// launch is like start, but does not wait for the connections.
func (l load) launch(address string) *process {
	l.Address = address
	return start("", self, loadRole, "-load", string(must(json.Marshal(l))))
}

// loadCommand runs the process of a load. When everything is sent, it prints how long that took;
// its connections stay open until it is killed.
func loadCommand(set *flag.FlagSet) func() {
	text := set.String("load", "", "a load, as JSON")
	return func() {
		var l load
		check(json.Unmarshal([]byte(*text), &l))
		conns := l.connect()
		orders := bufio.NewReader(os.Stdin)
		fmt.Println("ready")
		must(orders.ReadString('\n'))
		begin := time.Now()
		l.send(conns)
		fmt.Println(time.Since(begin))
		must(orders.ReadString('\n'))
	}
}

// connect opens the long-lived connections. It sends two beats over each, because a connection
// without beats is closed after a while, and because the first beats cost more than later ones.
func (l *load) connect() []net.Conn {
	switch {
	case l.Once:
		return nil
	case l.Network == "udp":
		return slices.Repeat([]net.Conn{must(net.Dial(l.Network, l.Address))}, l.Hosts)
	}
	conns := make([]net.Conn, l.Hosts)
	for i := range conns {
		conns[i] = l.dial(i)
	}
	for seq := range warmUp {
		for i, conn := range conns {
			must(conn.Write(l.beats(i, seq+1, 1)))
		}
	}
	return conns
}

// dial opens connection i. Each thousand connections use a different source address: a collector
// accepts at most an eighth of all its connections from one address before they have beaten, and
// the ports of one address would run out.
func (l *load) dial(i int) net.Conn {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+os.Getpid()%250), byte(1+i/1000))}}
	return must(dialer.Dial(l.Network, l.Address))
}

func (l *load) send(conns []net.Conn) {
	senders := 1
	if l.Once {
		senders = 4
	}
	begin := time.Now()
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() { // ends after its share of the writes
			for n := s; l.Rounds == 0 || n < l.Hosts*l.Rounds; n += senders {
				if l.Every > 0 && n%l.Burst == 0 {
					time.Sleep(time.Until(begin.Add(time.Duration(n/l.Burst) * l.Every)))
				}
				l.write(conns, n)
			}
		})
	}
	all.Wait()
}

// write sends write n of the load.
func (l *load) write(conns []net.Conn, n int) {
	host := n % l.Hosts
	bytes := l.beats(host, n/l.Hosts*l.Beats+warmUp+1, l.Beats)
	switch {
	case l.Once:
		conn := l.dial(n)
		defer conn.Close()
		must(conn.Write(bytes))
	case l.Network == "udp":
		must(conns[host].Write(bytes[wire.HeaderSize:]))
	default:
		must(conns[host].Write(bytes))
	}
}

// beats returns n frames of each peer of a host, starting with this sequence number.
func (l *load) beats(host, seq, n int) []byte {
	var all []byte
	now := time.Now().UnixMilli()
	for end := seq + n; seq < end; seq++ {
		for service := range l.Services {
			payload := fmt.Appendf(nil, `{"host":"web-%d","service":"shop-%d","pid":4711,"run":"r","seq":%d,"interval_ms":%d,"sent_ms":%d}`,
				host, service, seq, cmp.Or(l.Interval, 10*time.Second).Milliseconds(), now)
			all = wire.AppendFrame(all, payload)
		}
	}
	return all
}
