package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// self is the path of this program, which also runs as the other processes of a measurement.
const self = "/proc/self/exe"

// A process is a program that is measured, or a program that generates load for it.
type process struct {
	cmd     *exec.Cmd
	address string // replaces {address} in configuration and arguments
	debug   string // replaces {debug}: the address of net/http/pprof
	dir     string // replaces {dir}: a temporary directory, which stop removes
	in      io.WriteCloser
	out     *bufio.Reader
	log     bytes.Buffer // its stderr, complete after stop
}

// start runs a program, with a configuration file unless config is empty. If {address} is used,
// start returns when the program listens there.
func start(config, program string, args ...string) *process {
	p := &process{dir: must(os.MkdirTemp("", "bench")), address: freeAddress(), debug: freeAddress()}
	fill := strings.NewReplacer("{address}", p.address, "{debug}", p.debug, "{dir}", p.dir).Replace
	if config != "" {
		file := filepath.Join(p.dir, "config")
		check(os.WriteFile(file, []byte(fill(config)), 0o600))
		args = append([]string{"--config", file}, args...)
	}
	serves := strings.Contains(config+strings.Join(args, " "), "{address}")
	for i := range args {
		args[i] = fill(args[i])
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env, p.cmd.Stderr = []string{"PATH=" + os.Getenv("PATH")}, &p.log
	p.in = must(p.cmd.StdinPipe())
	p.out = bufio.NewReaderSize(must(p.cmd.StdoutPipe()), 64<<10)
	check(p.cmd.Start())
	started.Store(p, nil)
	for limit := time.Now().Add(30 * time.Second); serves && isFree(p.address); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			p.fail("it does not listen")
		}
	}
	return p
}

// stop kills the process and removes its directory.
func (p *process) stop() {
	started.Delete(p)
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // it was killed
	os.RemoveAll(p.dir)
}

// fail exits with an error and the log of the process.
func (p *process) fail(problem string) {
	p.stop()
	fail("%s: %s: %s", p.cmd.Path, problem, p.log.String())
}

// writeLine writes a line to the stdin of the process.
func (p *process) writeLine(line string) { must(io.WriteString(p.in, line+"\n")) }

// readLine reads a line from the stdout of the process, without the newline.
func (p *process) readLine() string {
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.fail(err.Error())
	}
	return line[:len(line)-1]
}

// used returns the processor time that the process has used, user and system (proc_pid_stat(5),
// fields 14 and 15, in hundredths of a second).
func (p *process) used() time.Duration {
	text := p.readProc("stat")
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	return time.Duration(must(strconv.Atoi(fields[11]))+must(strconv.Atoi(fields[12]))) * 10 * time.Millisecond
}

// idle waits until the process is idle, and returns the processor time that it has used.
func (p *process) idle() time.Duration {
	last := p.used()
	for quiet := 0; quiet < 5; quiet++ {
		time.Sleep(200 * time.Millisecond)
		now := p.used()
		if now > last+10*time.Millisecond {
			quiet = 0
		}
		last = now
	}
	return last
}

// resident returns the resident memory of the process in bytes (proc_pid_statm(5)).
func (p *process) resident() int64 {
	pages := must(strconv.Atoi(strings.Fields(p.readProc("statm"))[1]))
	return int64(pages) * int64(os.Getpagesize())
}

func (p *process) readProc(file string) string {
	return string(must(os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))))
}

// freeAddress returns a loopback address on which no program listens.
func freeAddress() string {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	return listener.Addr().String()
}

// isFree reports whether no socket is bound to an address. It sends nothing, because the plugin
// would count that as a beat.
func isFree(address string) bool {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	defer socket.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// pluginTable returns a configuration table of the plugin that listens on {address}.
func pluginTable(network string, options ...string) string {
	return "[[inputs.heartbeat]]\nservice_addresses = [\"" + network + "://{address}\"]\n" + strings.Join(options, "\n") + "\n"
}

// startTelegraf runs a Telegraf with one input and drops its metrics.
func startTelegraf(interval, flush string, buffer int, input string) *process {
	agent := fmt.Sprintf("[agent]\ninterval = %q\nflush_interval = %q\nmetric_buffer_limit = %d\nquiet = true\n[[outputs.discard]]\n",
		interval, flush, buffer)
	return start(agent+input, "bin/telegraf-bench", "--pprof-addr", "{debug}")
}
