package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" // serves memory statistics
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A scenario is a load that each server has to handle in turn.
type scenario struct {
	name, title string
	memory      bool // also measure the memory of a connection
	load        load
}

var scenarios = []scenario{
	{"batched", "Batched frames, 100 in one write over 50 connections", false, load{
		Network: "tcp", Hosts: 50, Rounds: 200, Services: 1, Beats: 100, Burst: 50, Every: 25 * time.Millisecond,
	}},
	{"long", "15,000 long connections, one frame at a time", true, load{Network: "tcp", Hosts: 15_000, Rounds: 20, Services: 1, Beats: 1}},
	{"short", "Short connections: connect, beat, close", false, load{
		Network: "tcp", Hosts: 1000, Once: true, Rounds: 20, Services: 1, Beats: 1,
	}},
	{"udp", "Datagrams, one beat in each", false, load{ // slow enough that no reader loses datagrams
		Network: "udp", Hosts: 1000, Rounds: 100, Services: 1, Beats: 1, Burst: 20, Every: 1300 * time.Microsecond,
	}},
}

// A server is one of the servers that are compared, with the results of each turn.
type server struct {
	name  string
	key   string // part of the names of figures
	input string // its table in Telegraf's configuration; empty for a bare reader

	beat     []time.Duration // processor time of the whole process per beat
	took     []time.Duration // time until everything was sent
	resident []int64         // memory of a connection after the load, in bytes
	inUse    []int64         // heap and stacks of a connection after a garbage collection

	idleHeld [][]int64 // bytes, for each number of idle connections
}

// servers returns all servers for a network.
func servers(network string) []*server {
	ours := pluginTable(network, `state_file = "none"`, "max_beats_per_second = 0")
	anchor := "[[inputs.socket_listener]]\nservice_address = \"" + network + "://{address}\"\n" +
		"data_format = \"json\"\ntag_keys = [\"host\", \"service\"]\n"
	if network == "tcp" {
		anchor += "splitting_strategy = \"variable length\"\n" +
			"splitting_length_field = {offset = 0, bytes = 4, endianness = \"be\", header_length = 4}\n"
	}
	all := []*server{
		{name: "inputs.heartbeat, no metric per beat", key: "quiet", input: ours + "emit_beats = \"none\"\n"},
		{name: "inputs.heartbeat, one metric per beat", key: "metric", input: ours},
		{name: "inputs.socket_listener, json", key: "anchor", input: anchor},
		{name: "bare reader", key: bareKey},
	}
	if network == "tcp" {
		all = append(all, &server{name: "bare epoll loop, one thread", key: epollKey})
	}
	return all
}

const (
	bareKey  = "bare"
	epollKey = "epoll"
)

// costOf returns the median processor time per beat of a server, or 0 if it was not measured.
func costOf(all []*server, key string) time.Duration {
	for _, s := range all {
		if s.key == key {
			return median(s.beat)
		}
	}
	return 0
}

func costCommand(set *flag.FlagSet) func() {
	turns := set.Int("turns", 3, "how often each server is measured")
	name := set.String("load", "", "only loads whose name contains this: batched, long, short, udp")
	only := set.String("server", "", "only servers whose name contains this; without ratios")
	profiles := set.String("profiles", "", "a directory for profiles of the servers that are Telegraf")
	return func() {
		for _, b := range scenarios {
			if !strings.Contains(b.name, *name) {
				continue
			}
			all := servers(b.load.Network)
			for range *turns {
				for _, s := range all {
					if strings.Contains(s.name, *only) {
						s.measure(&b, *profiles)
					}
				}
			}
			fmt.Printf("\n%s: %d beats, medians of %d turns.\n", b.title, b.load.total(), *turns)
			b.print(all)
		}
	}
}

// measure puts the server under a load and records the cost.
func (s *server) measure(b *scenario, profiles string) {
	p := s.start(b.load.Network)
	defer p.stop()
	p.idle()
	empty, emptyInUse := p.memory()
	senders := b.load.start(p.address)
	defer senders.stop()
	before := p.idle()
	if profiles != "" && s.input != "" {
		defer p.profile(filepath.Join(profiles, strings.NewReplacer(" ", "-", ",", "").Replace(b.name+" "+s.name)))()
	}
	senders.writeLine("go")
	s.took = append(s.took, must(time.ParseDuration(senders.readLine())))
	s.beat = append(s.beat, (p.idle()-before)/time.Duration(b.load.total()))
	full, fullInUse := p.memory()
	s.resident = append(s.resident, (full-empty)/int64(b.load.Hosts))
	s.inUse = append(s.inUse, (fullInUse-emptyInUse)/int64(b.load.Hosts))
}

func (b *scenario) print(all []*server) {
	columns := []string{"CPU per beat", "relative to the anchor", "relative to the bare reader", "beats per second"}
	if b.memory {
		columns = append(columns, "resident memory per connection", "in use after garbage collection")
	}
	header("server", columns...)
	anchor, bare := costOf(all, "anchor"), costOf(all, bareKey)
	for _, s := range all {
		if len(s.beat) == 0 {
			continue
		}
		beat := median(s.beat)
		fmt.Printf("| %s | %s | %s | %s | %.0f |", s.name, us(beat), ratio(beat, anchor), ratio(beat, bare),
			float64(b.load.total())/median(s.took).Seconds())
		if b.memory {
			fmt.Printf(" %.1f KiB | %.1f KiB |", float64(median(s.resident))/1024, float64(median(s.inUse))/1024)
		}
		fmt.Println()
		noteRatio("cost/"+b.name+"/"+s.key+"/anchor", beat, anchor)
		noteRatio("cost/"+b.name+"/"+s.key+"/bare", beat, bare)
	}
}

// idlePoints are the numbers of idle connections that are measured. They cannot be larger: a
// collector accepts unproven connections from one address only up to an eighth of its maximum,
// and other files also need descriptors.
var idlePoints = []int{5_000, 10_000, 18_000}

const otherDescriptors = 500

func idleCommand(set *flag.FlagSet) func() {
	turns := set.Int("turns", 3, "how often each server is measured")
	only := set.String("server", "", "only servers whose name contains this")
	return func() {
		var limit syscall.Rlimit // Go has raised it to the hard limit
		check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
		points := slices.DeleteFunc(slices.Clone(idlePoints), func(n int) bool { return uint64(n+otherDescriptors) > limit.Cur })
		fmt.Printf("\nResident memory of idle connections, each of which has beaten twice,\nminus the memory without connections; medians of %d turns. "+
			"A process may have %d descriptors.\n", *turns, limit.Cur)
		if len(points) < 2 {
			fail("a slope needs at least two of %v connections: raise the limit of open files", idlePoints)
		}
		all := slices.DeleteFunc(servers("tcp"), func(s *server) bool { return !strings.Contains(s.name, *only) })
		for range *turns {
			for _, s := range all {
				s.measureIdle(points)
			}
		}
		printIdle(all, points)
	}
}

// measureIdle records the memory for each number of idle connections.
func (s *server) measureIdle(points []int) {
	if s.idleHeld == nil {
		s.idleHeld = make([][]int64, len(points))
	}
	for i, n := range points {
		s.idleHeld[i] = append(s.idleHeld[i], s.idle(n))
	}
}

func printIdle(all []*server, points []int) {
	var columns []string
	for _, n := range points {
		columns = append(columns, strconv.Itoa(n))
	}
	header("server", append(columns, "slope per connection")...)
	for _, s := range all {
		fmt.Printf("| %s |", s.name)
		var medians []float64
		for _, held := range s.idleHeld {
			medians = append(medians, float64(median(held)))
			fmt.Printf(" %s |", mib(median(held)))
		}
		kib := slope(points, medians) / 1024
		fmt.Printf(" %.2f KiB |\n", kib)
		note("idle/"+s.key, kib)
	}
}

// idle returns the memory of n idle connections, in bytes.
func (s *server) idle(n int) int64 {
	p := s.start("tcp")
	defer p.stop()
	p.idle()
	before := p.resident()
	l := load{Network: "tcp", Hosts: n, Services: 1, Beats: 1}
	senders := l.start(p.address)
	defer senders.stop()
	p.idle()
	return p.resident() - before
}

// slope returns the slope of the least-squares line through the points.
func slope(x []int, y []float64) float64 {
	var sumX, sumY, sumXY, sumXX float64
	for i := range x {
		at := float64(x[i])
		sumX, sumY, sumXY, sumXX = sumX+at, sumY+y[i], sumXY+at*y[i], sumXX+at*at
	}
	n := float64(len(x))
	return (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
}

func (s *server) start(network string) *process {
	if s.input == "" {
		return start("", self, bareRole, "-network", network, "-address", "{address}", "-debug", "{debug}", "-epoll="+strconv.FormatBool(s.key == epollKey))
	}
	return startTelegraf("1h", "1s", 1_000_000, s.input)
}

// memory returns the memory of a server in bytes: resident, which includes garbage, and in use,
// which is heap and stacks after a garbage collection.
func (p *process) memory() (resident, inUse int64) {
	resident = p.resident()
	text := string(p.pprof("heap?gc=1&debug=1"))
	for _, what := range []string{"HeapAlloc", "Stack"} {
		_, after, _ := strings.Cut(text, "# "+what+" = ")
		var bytes int64
		must(fmt.Sscan(after, &bytes))
		inUse += bytes
	}
	return resident, inUse
}

// profile starts writing a CPU profile of the next 3 s to file.cpu. The function that it returns
// waits for that and writes file.heap.
func (p *process) profile(file string) (finish func()) {
	cpu := make(chan []byte, 1)
	go func() { cpu <- p.pprof("profile?seconds=3") }() // ends by itself
	return func() {
		check(os.WriteFile(file+".cpu", <-cpu, 0o600))
		check(os.WriteFile(file+".heap", p.pprof("heap?gc=1"), 0o600))
	}
}

func (p *process) pprof(what string) []byte {
	answer := must(http.Get("http://" + p.debug + "/debug/pprof/" + what))
	defer answer.Body.Close()
	return must(io.ReadAll(answer.Body))
}

const bareRole = "bare"

// bareCommand runs the bare reader. It only cuts frames, with a goroutine for each connection, or
// reads datagrams.
func bareCommand(set *flag.FlagSet) func() {
	network, address := set.String("network", "", "tcp or udp"), set.String("address", "", "the address to listen on")
	debug := set.String("debug", "", "the address that serves net/http/pprof")
	epoll := set.Bool("epoll", false, "use one thread instead of goroutines")
	return func() {
		go http.ListenAndServe(*debug, nil) //nolint:errcheck // the process that requests a profile reports the error
		if *network == "udp" {
			socket := must(net.ListenPacket("udp", *address))
			for buffer := make([]byte, 64<<10); ; {
				_, _, err := socket.ReadFrom(buffer)
				check(err)
			}
		}
		listener := must(net.Listen("tcp", *address))
		if *epoll {
			readWithEpoll(listener.(*net.TCPListener))
		}
		for {
			go readFrames(must(listener.Accept())) // ends with its connection
		}
	}
}

func readFrames(conn net.Conn) {
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
}

// A frame is the state of reading a frame that may arrive in pieces.
type frame struct {
	length uint32 // the part of the length that has arrived
	known  uint8  // how many bytes of the length have arrived
	left   uint32 // bytes of the payload that have not arrived
}

// feed processes bytes that have arrived, and returns how many frames are now complete.
func (f *frame) feed(bytes []byte) (complete int) {
	for len(bytes) > 0 {
		if f.left > 0 {
			n := min(uint32(len(bytes)), f.left)
			bytes, f.left = bytes[n:], f.left-n
			if f.left == 0 {
				complete++
			}
			continue
		}
		f.length, bytes = f.length<<8|uint32(bytes[0]), bytes[1:]
		if f.known++; f.known == wire.HeaderSize {
			*f = frame{left: f.length}
		}
	}
	return complete
}
