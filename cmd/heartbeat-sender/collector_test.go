package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// deadline is for what happens at once, on a machine that does much else.
const deadline = 20 * time.Second

// A collector acknowledges beats and writes them to a file.
type collector struct {
	file    string
	silent  bool   // answers nothing
	closes  bool   // hangs up at once
	gone    bool   // does not listen any more
	refusal string // what it answers instead of an acknowledgement

	// knows are the only peers that may say goodbye; nil for a collector of
	// before, to which that is all the same.
	knows []string

	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	heard int
	news  chan struct{} // is closed when heard grows
}

func (c *collector) start() (err error) {
	c.conns, c.news = make(map[net.Conn]bool), make(chan struct{})
	if err := os.WriteFile(c.file, nil, 0o600); err != nil {
		return err
	}
	if c.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if c.gone {
		return c.listener.Close()
	}
	c.wg.Go(c.accept) // ends when stop closes the listener
	return nil
}

func (c *collector) address() string { return c.listener.Addr().String() }

// stop returns when nothing runs any more.
func (c *collector) stop() {
	c.listener.Close()
	c.mu.Lock()
	for conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
	c.mu.Unlock()
	c.wg.Wait()
}

func (c *collector) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
}

func (c *collector) accept() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		if c.conns == nil || c.closes {
			conn.Close()
		} else {
			c.conns[conn] = true
			c.wg.Go(func() { c.serve(conn) }) // ends when the connection does
		}
		c.mu.Unlock()
	}
}

func (c *collector) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.conns, conn)
	}()
	reader := wire.NewReader(conn, wire.DefaultMaxFrame)
	for {
		payload, err := reader.Next()
		if err != nil {
			return
		}
		beat, err := wire.Decode(payload)
		if err != nil || !reader.Framed() {
			panic(fmt.Sprintf("the sender sends %q: %v", payload, err))
		}
		c.write(beat)
		if !c.silent && (beat.Ack || c.refusal != "") {
			answer := c.answer(beat)
			conn.Write(wire.AppendFrame(nil, wire.AppendAnswer(nil, &answer))) //nolint:errcheck // it may be gone
		}
		c.count()
	}
}

func (c *collector) answer(beat *wire.Beat) wire.Answer {
	if c.refusal != "" {
		return wire.Answer{Error: c.refusal}
	}
	service := beat.Service
	if service == "" {
		service = "host"
	}
	id := beat.Host + "/" + service
	answer := wire.Answer{Seq: beat.Seq, NowMS: time.Now().UnixMilli(), DeadAfterMS: 35000, Rule: "interval", ID: id}
	if c.knows != nil {
		answer.Collector = "hb"
		if beat.Leaving() && !slices.Contains(c.knows, id) {
			answer.Unknown, answer.Near = true, c.knows
		}
	}
	return answer
}

// write adds a beat to the file.
func (c *collector) write(beat *wire.Beat) {
	line, err := wire.AppendBeat(nil, beat)
	if err != nil {
		panic(err)
	}
	file, err := os.OpenFile(c.file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if _, err := file.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

// count tells who waits that another beat was heard, and answered if it ever
// will be.
func (c *collector) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard++
	close(c.news)
	c.news = make(chan struct{})
}

// hears waits until c has heard so many beats.
func (c *collector) hears(want int) error {
	enough := time.After(deadline)
	for {
		c.mu.Lock()
		heard, news := c.heard, c.news
		c.mu.Unlock()
		if heard >= want {
			return nil
		}
		select {
		case <-news:
		case <-enough:
			return fmt.Errorf("heard %d beats, not %d", heard, want)
		}
	}
}
