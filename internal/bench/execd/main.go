//go:build linux

// Command execd measures what a metric costs on its way out of an external plugin:
// bin/telegraf-heartbeat beside the same plugin in Telegraf's own shim
// (plugins/common/shim). Both know as many peers and are asked for all of them in
// turn, as Telegraf asks: by a line on stdin.
//
//	make build bin/telegraf-shim && go run ./internal/bench/execd
//
// What is measured comes from /proc: the processor time of the plugin's process.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
)

func main() {
	turns := flag.Int("turns", 5, "how often both are measured")
	peers := flag.Int("peers", 100_000, "how many metrics at once")
	flag.Parse()
	if err := compare(*peers, *turns); err != nil {
		fmt.Fprintln(os.Stderr, "execd:", err)
		os.Exit(1)
	}
}

func compare(peers, turns int) error {
	ours, err := start("bin/telegraf-heartbeat", peers)
	if err != nil {
		return err
	}
	defer ours.end()
	stock, err := start("bin/telegraf-shim", peers)
	if err != nil {
		return err
	}
	defer stock.end()
	for range turns {
		for _, p := range []*plugin{ours, stock} {
			if err := p.gather(peers); err != nil {
				return err
			}
		}
	}
	slow, err := ours.readSlowly(peers)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d metrics at once, medians of %d turns.\n\n| program | CPU a metric | of the shim | metrics a second |\n|---|--:|--:|--:|\n", peers, turns)
	for _, p := range []*plugin{ours, stock} {
		cost := measure.Median(p.cost)
		fmt.Printf("| %s | %.2f us | %.2f | %.0f |\n", p.Path, float64(cost.Nanoseconds())/1e3,
			float64(cost)/float64(measure.Median(stock.cost)), float64(peers)/measure.Median(p.took).Seconds())
	}
	fmt.Printf("\nWhen 4 KiB are read every 2 ms, a Gather takes %.1f s; lines lost: %d.\n", slow.took.Seconds(), slow.lost)
	return nil
}

// A plugin is a process that is asked for metrics.
type plugin struct {
	*exec.Cmd
	asks   io.WriteCloser
	pace   *pace // of reading
	output *bufio.Reader
	dir    string
	cost   []time.Duration // of a metric
	took   []time.Duration
}

func start(program string, peers int) (*plugin, error) {
	dir, err := os.MkdirTemp("", "execd")
	if err != nil {
		return nil, err
	}
	socket, config := filepath.Join(dir, "socket"), filepath.Join(dir, "plugin.conf")
	p := &plugin{Cmd: exec.Command(program, "-config", config), dir: dir}
	text := fmt.Sprintf("[[inputs.heartbeat]]\nservice_addresses = [\"unix://%s\"]\nstate_file = \"none\"\nmax_peers = %d\nemit_beats = \"none\"\n", socket, peers)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if p.asks, err = p.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.pace = &pace{Reader: output}
	p.output = bufio.NewReaderSize(p.pace, 64<<10)
	if err := p.Start(); err != nil {
		return nil, err
	}
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if _, err = os.Stat(socket); err == nil {
			break
		}
	}
	reading := make(chan error, 1)
	go func() { _, err := p.readPeers(peers); reading <- err }() // ends with the changes
	if err := measure.Introduce(socket, peers); err != nil {
		return nil, err
	}
	return p, <-reading
}

func (p *plugin) end() {
	p.asks.Close()
	p.Process.Kill() //nolint:errcheck // it may have ended
	p.Wait()         //nolint:errcheck // it was killed
	os.RemoveAll(p.dir)
}

// readPeers reads until so many peers have come, or a Gather that has told of any
// goes on to the collector itself, and returns how many came.
func (p *plugin) readPeers(most int) (int, error) {
	seen := 0
	for seen < most {
		line, err := p.output.ReadSlice('\n')
		switch {
		case err != nil:
			return seen, err
		case bytes.HasPrefix(line, []byte("heartbeat_peer,")):
			seen++
		case seen > 0 && bytes.HasPrefix(line, []byte("heartbeat_collector")):
			return seen, nil
		}
	}
	return seen, nil
}

// gather asks for all metrics and notes what they cost.
func (p *plugin) gather(peers int) error {
	before, err := measure.Idle(p.Process.Pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	if _, err := io.WriteString(p.asks, "\n"); err != nil {
		return err
	}
	if seen, err := p.readPeers(peers); err != nil || seen < peers {
		return errors.Join(err, fmt.Errorf("%s told of %d of %d peers", p.Path, seen, peers))
	}
	p.took = append(p.took, time.Since(begin))
	after, err := measure.Idle(p.Process.Pid)
	p.cost = append(p.cost, (after-before)/time.Duration(peers))
	return err
}

type slowly struct {
	took time.Duration
	lost int
}

// readSlowly asks for all metrics and reads them like a Telegraf that is busy.
func (p *plugin) readSlowly(peers int) (slowly, error) {
	if _, err := io.WriteString(p.asks, "\n"); err != nil {
		return slowly{}, err
	}
	begin := time.Now()
	p.pace.slow = true
	seen, err := p.readPeers(peers)
	return slowly{time.Since(begin), peers - seen}, err
}

// A pace reads as it comes, or 4 KiB at most every 2 ms.
type pace struct {
	io.Reader
	slow bool
}

func (r *pace) Read(p []byte) (int, error) {
	if r.slow {
		time.Sleep(2 * time.Millisecond)
		p = p[:min(len(p), 4<<10)]
	}
	return r.Reader.Read(p)
}
