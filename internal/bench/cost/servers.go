//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A kind of server. Telegraf runs all but the bare reader.
type kind struct {
	name  string
	input string // its table for Telegraf, with the address
}

const (
	anchorName = "inputs.socket_listener, json"
	bareName   = "bare reader"
)

var kinds = []kind{
	{"inputs.heartbeat, no metric a beat", "[[inputs.heartbeat]]\nservice_addresses = [\"tcp://%s\"]\nstate_file = \"none\"\nemit_beats = \"none\"\nmax_beats_per_second = 0\n"},
	{"inputs.heartbeat, a metric a beat", "[[inputs.heartbeat]]\nservice_addresses = [\"tcp://%s\"]\nstate_file = \"none\"\nmax_beats_per_second = 0\n"},
	{anchorName, "[[inputs.socket_listener]]\nservice_address = \"tcp://%s\"\nsplitting_strategy = \"variable length\"\n" +
		"splitting_length_field = {offset = 0, bytes = 4, endianness = \"be\", header_length = 4}\ndata_format = \"json\"\ntag_keys = [\"host\", \"service\"]\n"},
	{bareName, ""},
}

// A server is a process that is measured.
type server struct {
	*exec.Cmd
	address string
	said    bytes.Buffer
}

// start starts a server that listens, and nothing else.
func start(telegraf string, k kind) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{address: listener.Addr().String()}
	listener.Close()
	s.Cmd = self("bare", s.address)
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
		s.Cmd = exec.Command(telegraf, "--config", file)
	}
	s.Stdout, s.Stderr = &s.said, &s.said
	if err := s.Start(); err != nil {
		return nil, err
	}
	for limit := time.Now().Add(30 * time.Second); ; {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			return s, conn.Close()
		}
		if time.Now().After(limit) {
			return nil, errors.Join(err, s.stop(), errors.New(s.said.String()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *server) stop() error {
	if err := s.Process.Kill(); err != nil {
		return err
	}
	s.Wait() //nolint:errcheck // it was killed
	return nil
}

// used returns the time that the server has spent (proc_pid_stat(5), fields 14 and
// 15, in ticks of a hundredth of a second).
func (s *server) used() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// idle waits until the server has nothing more to do, and returns what it used.
func (s *server) idle() (time.Duration, error) {
	last, err := s.used()
	for quiet := 0; quiet < 5 && err == nil; quiet++ {
		time.Sleep(200 * time.Millisecond)
		var now time.Duration
		if now, err = s.used(); now > last+10*time.Millisecond {
			quiet = 0
		}
		last = now
	}
	return last, err
}

// memory returns what the server holds in memory, in bytes.
func (s *server) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.Process.Pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// measure puts one server under one load.
func measure(telegraf string, k kind, l load) (result, error) {
	s, err := start(telegraf, k)
	if err != nil {
		return result{}, err
	}
	r, err := s.bear(l)
	return r, errors.Join(err, s.stop())
}

func (s *server) bear(l load) (r result, err error) {
	if _, err = s.idle(); err != nil {
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
	before, err := s.idle()
	if err != nil {
		return r, err
	}
	if err := c.send(); err != nil {
		return r, err
	}
	after, err := s.idle()
	if err != nil {
		return r, err
	}
	full, err := s.memory()
	r.perBeat = (after - before) / time.Duration(l.connections*l.frames)
	r.perConnection = (full - empty) / int64(l.connections)
	return r, err
}
