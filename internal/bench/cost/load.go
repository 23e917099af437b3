//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// roleEnv makes another process of this program: the bare reader, or the load.
const roleEnv = "COST_ROLE"

func self(role string, args ...string) *exec.Cmd {
	command := exec.Command("/proc/self/exe", args...)
	command.Env = append(os.Environ(), roleEnv+"="+role)
	return command
}

func play(role string, args []string) error {
	if role == "bare" {
		return readBare(args[0])
	}
	connections, _ := strconv.Atoi(args[1]) //nolint:errcheck // we have written it
	frames, _ := strconv.Atoi(args[2])      //nolint:errcheck // likewise
	batch, _ := strconv.Atoi(args[3])       //nolint:errcheck // likewise
	return burden(args[0], load{connections: connections, frames: frames, batch: batch})
}

// readBare reads frames with a goroutine for each connection, and does nothing
// with them.
func readBare(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() { // ends with its connection
			defer conn.Close()
			reader := bufio.NewReader(conn)
			payload := make([]byte, 0, 512)
			for {
				var header [wire.HeaderSize]byte
				if _, err := io.ReadFull(reader, header[:]); err != nil {
					return
				}
				payload = payload[:binary.BigEndian.Uint32(header[:])]
				if _, err := io.ReadFull(reader, payload); err != nil {
					return
				}
			}
		}()
	}
}

// A client is the process that puts the load on a server.
type client struct {
	*exec.Cmd
	orders io.WriteCloser
	said   *bufio.Reader
}

// connect starts it and returns when all of its connections stand.
func connect(address string, l load) (*client, error) {
	c := &client{Cmd: self("load", address, strconv.Itoa(l.connections), strconv.Itoa(l.frames), strconv.Itoa(l.batch))}
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
	return c, c.await()
}

func (c *client) await() error {
	_, err := c.said.ReadString('\n')
	return err
}

// send has it send everything and returns when that is written.
func (c *client) send() error {
	if _, err := io.WriteString(c.orders, "go\n"); err != nil {
		return err
	}
	return c.await()
}

func (c *client) end() {
	c.orders.Close()
	c.Wait() //nolint:errcheck // its work is done
}

// burden is the load itself. Addresses of its own, one for each five thousand
// connections, keep ports from running out, also those that turns before have used.
func burden(address string, l load) error {
	conns := make([]net.Conn, l.connections)
	for i := range conns {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+os.Getpid()%250), byte(1+i/5000))}}
		var err error
		if conns[i], err = dialer.Dial("tcp", address); err != nil {
			return err
		}
		// Whoever connects and says nothing is cut off after a while.
		if _, err := conns[i].Write(frames(i, 0, 1)); err != nil {
			return err
		}
	}
	orders := bufio.NewReader(os.Stdin)
	fmt.Println("connected")
	if _, err := orders.ReadString('\n'); err != nil {
		return err
	}
	for sent := 1; sent <= l.frames; sent += l.batch {
		for i, conn := range conns {
			if _, err := conn.Write(frames(i, sent, l.batch)); err != nil {
				return err
			}
		}
	}
	fmt.Println("sent")
	_, err := orders.ReadString('\n') // until it is told to end
	if err == io.EOF {
		return nil
	}
	return err
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
