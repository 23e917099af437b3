//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" // tells what memory is in use
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// roleEnv makes another process of this program: a bare server, or the load.
const roleEnv = "COST_ROLE"

// A load is what a server has to bear.
type load struct {
	name, title string
	kinds       []kind
	put         func(address string, l *load, orders *orders) error
	stays       bool // each connection, so that its memory can be told
	connections int
	frames      int           // over each connection
	batch       int           // frames that are written at once
	pause       time.Duration // from one round over all connections to the next
}

var loads = []load{
	{"batched", "Batched frames, 100 in one write over 50 connections", streams("tcp"), burden, false, 50, 20_000, 100, 25 * time.Millisecond},
	{"long", "15,000 long connections, one frame at a time", streams("tcp"), burden, true, 15_000, 20, 1, 0},
	{"short", "Short connections: connect, beat, close", streams("tcp"), visit, false, 20_000, 1, 1, 0},
	{"udp", "Datagrams, one beat in each", streams("udp"), throw, false, 1, 100_000, 1, 0},
}

func (l *load) beats() int { return l.connections * l.frames }

func play(role string, args []string) error {
	if len(args) > 1 {
		go http.ListenAndServe(args[1], nil) //nolint:errcheck // ends with the process; who asks in vain will see
	}
	switch role {
	case roleReader:
		return readBare(args[0])
	case roleLoop:
		return readInLoop(args[0])
	case roleDatagrams:
		return readDatagrams(args[0])
	}
	for _, l := range loads {
		if l.name == role {
			return l.put(args[0], &l, &orders{bufio.NewReader(os.Stdin)})
		}
	}
	return fmt.Errorf("no role %q", role)
}

func self(role string, args ...string) *exec.Cmd {
	command := exec.Command("/proc/self/exe", args...)
	command.Env = append(os.Environ(), roleEnv+"="+role)
	return command
}

// A client is the process that puts the load on a server.
type client struct {
	*exec.Cmd
	orders io.WriteCloser
	said   *bufio.Reader
}

// connect starts it and returns when all that comes before the load is done.
func connect(address string, l load) (*client, error) {
	c := &client{Cmd: self(l.name, address)}
	c.Stderr = os.Stderr
	var err error
	if c.orders, err = c.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.said = bufio.NewReader(out)
	if err := c.Start(); err != nil {
		return nil, err
	}
	_, err = c.await()
	return c, err
}

// await returns how long the client says that it has worked.
func (c *client) await() (time.Duration, error) {
	line, err := c.said.ReadString('\n')
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(line[:len(line)-1], 10, 64)
	return time.Duration(ns), err
}

// send has it send everything, and returns how long that took.
func (c *client) send() (time.Duration, error) {
	if _, err := io.WriteString(c.orders, "go\n"); err != nil {
		return 0, err
	}
	return c.await()
}

func (c *client) end() {
	c.orders.Close()
	c.Wait() //nolint:errcheck // its work is done
}

// orders are what a client is told.
type orders struct{ in *bufio.Reader }

// obey does the work when it is told to, says how long it took, and returns
// when it is told to end.
func (o *orders) obey(work func() error) error {
	fmt.Println(0)
	if _, err := o.in.ReadString('\n'); err != nil {
		return err
	}
	begin := time.Now()
	if err := work(); err != nil {
		return err
	}
	fmt.Println(time.Since(begin).Nanoseconds())
	if _, err := o.in.ReadString('\n'); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// burden sends over connections that stay. Before that, two beats over each of
// them: whoever says nothing is cut off after a while, and what only the first
// beats cost is not what a beat costs.
func burden(address string, l *load, o *orders) error {
	conns := make([]net.Conn, l.connections)
	for i := range conns {
		var err error
		if conns[i], err = measure.Dial(address, i); err != nil {
			return err
		}
	}
	sent := 0
	send := func(batch int) error {
		for i, conn := range conns {
			if _, err := conn.Write(frames(i, sent, batch)); err != nil {
				return err
			}
		}
		sent += batch
		return nil
	}
	for range 2 {
		if err := send(1); err != nil {
			return err
		}
	}
	return o.obey(func() error {
		round := time.NewTicker(max(l.pause, 1))
		defer round.Stop()
		for range l.frames / l.batch {
			if err := send(l.batch); err != nil {
				return err
			}
			<-round.C
		}
		return nil
	})
}

// visit makes a connection for each beat, four at a time, for a thousand peers.
func visit(address string, l *load, o *orders) error {
	const peers, visitors = 1000, 4
	return o.obey(func() error {
		errs := make([]error, visitors)
		var all sync.WaitGroup
		for v := range visitors {
			all.Go(func() { // ends with its share of the connections
				for i := v; i < l.connections && errs[v] == nil; i += visitors {
					conn, err := measure.Dial(address, i)
					if err == nil {
						_, err = conn.Write(frames(i%peers, i/peers, 1))
						conn.Close()
					}
					errs[v] = err
				}
			})
		}
		all.Wait()
		return errors.Join(errs...)
	})
}

// throw sends datagrams, for a thousand peers, not faster than a reader can take
// them.
func throw(address string, l *load, o *orders) error {
	const peers, burst = 1000, 20
	conn, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	return o.obey(func() error {
		for i := range l.frames {
			if _, err := conn.Write(frames(i%peers, i/peers, 1)[wire.HeaderSize:]); err != nil {
				return err
			}
			if i%burst == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		return nil
	})
}

// frames returns some beats of a peer, one behind the other.
func frames(i, sent, n int) []byte {
	var all []byte
	for seq := sent + 1; seq <= sent+n; seq++ {
		payload := fmt.Appendf(nil, `{"host":"web-%d","service":"shop","pid":4711,"run":"r","seq":%d,"interval_ms":10000,"sent_ms":%d}`, i, seq, 1_700_000_000_000+seq)
		all = wire.AppendFrame(all, payload)
	}
	return all
}
