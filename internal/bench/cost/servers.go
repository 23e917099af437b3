//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
)

// A kind of server.
type kind struct {
	name  string
	input string // its table for Telegraf, with the address; empty if it is not Telegraf
	role  string // of this program
}

const (
	anchorName = "inputs.socket_listener, json"
	bareName   = "bare reader"
)

// streams returns all kinds that serve a network.
func streams(network string) []kind {
	heartbeat := "[[inputs.heartbeat]]\nservice_addresses = [\"" + network + "://%s\"]\nstate_file = \"none\"\nmax_beats_per_second = 0\n"
	anchor := "[[inputs.socket_listener]]\nservice_address = \"" + network + "://%s\"\ndata_format = \"json\"\ntag_keys = [\"host\", \"service\"]\n"
	bare := []kind{{name: bareName, role: roleDatagrams}}
	if network == "tcp" {
		anchor += "splitting_strategy = \"variable length\"\nsplitting_length_field = {offset = 0, bytes = 4, endianness = \"be\", header_length = 4}\n"
		bare = []kind{{name: bareName, role: roleReader}, {name: "bare epoll loop", role: roleLoop}}
	}
	return append([]kind{
		{name: "inputs.heartbeat, no metric a beat", input: heartbeat + "emit_beats = \"none\"\n"},
		{name: "inputs.heartbeat, a metric a beat", input: heartbeat},
		{name: anchorName, input: anchor},
	}, bare...)
}

// A server is a process that is measured.
type server struct {
	*exec.Cmd
	address string
	debug   string // where it tells of itself (net/http/pprof)
	profile string // file that this goes to; empty for none
	said    bytes.Buffer
}

// start starts a server that listens, and nothing else.
func (b *bench) start(k kind) (*server, error) {
	address, err := measure.FreeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{address: address}
	if s.debug, err = measure.FreeAddress(); err != nil {
		return nil, err
	}
	s.Cmd = self(k.role, s.address, s.debug)
	if k.input != "" {
		dir, err := os.MkdirTemp("", "cost")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "telegraf.conf")
		text := "[agent]\ninterval = \"1h\"\nflush_interval = \"1s\"\nmetric_buffer_limit = 1000000\nquiet = true\n[[outputs.discard]]\n" + fmt.Sprintf(k.input, s.address)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		s.Cmd = exec.Command(b.telegraf, "--config", file, "--pprof-addr", s.debug)
	}
	s.Stdout, s.Stderr = &s.said, &s.said
	if err := s.Start(); err != nil {
		return nil, err
	}
	for limit := time.Now().Add(30 * time.Second); !s.listens(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			return nil, errors.Join(s.stop(), errors.New(s.said.String()))
		}
	}
	return s, nil
}

// listens tells whether some socket of any process is bound to the address:
// nothing is sent, which would be a beat that is not counted.
func (s *server) listens() bool {
	socket, err := net.ListenPacket("udp", s.address)
	if err != nil {
		return true
	}
	socket.Close()
	door, err := net.Listen("tcp", s.address)
	if err != nil {
		return true
	}
	door.Close()
	return false
}

func (s *server) stop() error {
	if err := s.Process.Kill(); err != nil {
		return err
	}
	s.Wait() //nolint:errcheck // it was killed
	return nil
}

// serve puts one server under one load.
func (b *bench) serve(k kind, l load) (result, error) {
	s, err := b.start(k)
	if err != nil {
		return result{}, err
	}
	if b.profiles != "" && k.input != "" {
		s.profile = filepath.Join(b.profiles, strings.NewReplacer(" ", "-", ",", "").Replace(l.name+" "+k.name))
	}
	r, err := s.bear(l)
	return r, errors.Join(err, s.stop())
}

func (s *server) bear(l load) (r result, err error) {
	if _, err = measure.Idle(s.Process.Pid); err != nil {
		return r, err
	}
	empty, err := s.memory()
	if err != nil {
		return r, err
	}
	c, err := connect(s.address, l)
	if err != nil {
		return r, err
	}
	defer c.end()
	before, err := measure.Idle(s.Process.Pid)
	if err != nil {
		return r, err
	}
	ended := s.watch()
	if r.took, err = c.send(); err != nil {
		return r, err
	}
	after, err := measure.Idle(s.Process.Pid)
	if err != nil {
		return r, err
	}
	full, err := s.memory()
	r.perBeat = (after - before) / time.Duration(l.beats())
	r.resident = (full.resident - empty.resident) / int64(l.connections)
	r.inUse = (full.inUse - empty.inUse) / int64(l.connections)
	return r, errors.Join(err, ended())
}

// A memory is what a server holds, in bytes.
type memory struct {
	resident int64 // also what is garbage already
	inUse    int64 // heap and stacks after a collection
}

func (s *server) memory() (m memory, err error) {
	if m.resident, err = measure.Memory(s.Process.Pid); err != nil {
		return m, err
	}
	text, err := s.ask("heap?gc=1&debug=1")
	if err != nil {
		return m, err
	}
	for _, what := range []string{"HeapAlloc", "Stack"} {
		_, after, _ := strings.Cut(text, "# "+what+" = ")
		var bytes int64
		if _, err := fmt.Sscan(after, &bytes); err != nil {
			return m, fmt.Errorf("what the server tells of %s: %w", what, err)
		}
		m.inUse += bytes
	}
	return m, nil
}

// watch writes profiles of the server if that is wanted, until what it returns
// is called.
func (s *server) watch() (end func() error) {
	if s.profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- s.fetch("profile?seconds=3", s.profile+".cpu") }() // ends by itself
	return func() error { return errors.Join(<-done, s.fetch("heap?gc=1", s.profile+".heap")) }
}

// fetch stores what a server tells of itself.
func (s *server) fetch(what, file string) error {
	text, err := s.ask(what)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

func (s *server) ask(what string) (string, error) {
	answer, err := http.Get("http://" + s.debug + "/debug/pprof/" + what)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}
