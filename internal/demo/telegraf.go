package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	telegrafmetric "github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/parsers/influx"
)

type (
	tags   map[string]string
	fields map[string]any
)

// A claim is something that Telegraf has to write.
type claim struct {
	text        string
	measurement string
	tags        tags
	fields      fields
}

func (c *claim) holdsFor(m telegrafmetric.Metric) bool {
	if m.Name() != c.measurement {
		return false
	}
	for key, want := range c.tags {
		if got, _ := m.GetTag(key); got != want {
			return false
		}
	}
	for key, want := range c.fields {
		if got, _ := m.GetField(key); got != want {
			return false
		}
	}
	return true
}

// A written line of Telegraf's output.
type written struct {
	line   string
	metric telegrafmetric.Metric
}

// telegraf is a running Telegraf and what it has written.
type telegraf struct {
	process *process
	output  chan written
	wg      sync.WaitGroup
	log     bytes.Buffer
	lines   int
	seen    []written // not forgotten
	all     []written
}

// startTelegraf starts a stock Telegraf with sample.conf, as it is. state is
// where it remembers peers.
func startTelegraf(ctx context.Context, bin, state string) (*telegraf, error) {
	t := &telegraf{output: make(chan written, 10000)}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "telegraf-stock"), "--config", "sample.conf")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "STATE_DIRECTORY="+state)
	cmd.Stderr = &t.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting Telegraf: %w", err)
	}
	t.process = &process{cmd}
	t.wg.Go(func() { t.read(stdout) }) // ends with Telegraf's output
	return t, nil
}

func (t *telegraf) read(stdout io.Reader) {
	defer close(t.output)
	parser := new(influx.Parser)
	if parser.Init() != nil {
		return
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		metrics, err := parser.Parse(lines.Bytes())
		if err == nil && len(metrics) == 1 {
			t.output <- written{lines.Text(), metrics[0]}
		}
	}
}

// forget lets expect look only at what is written from now on.
func (t *telegraf) forget() { t.seen = nil }

// expect waits until every claim is met, and prints the line that meets it.
func (t *telegraf) expect(ctx context.Context, claims ...claim) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range claims {
		w, err := t.find(ctx, &claims[i])
		if err != nil {
			return fmt.Errorf("not seen: %s (%s %v %v): %w", claims[i].text, claims[i].measurement, claims[i].tags, claims[i].fields, err)
		}
		fmt.Printf("    %s\n      %s\n", claims[i].text, w.line)
	}
	return nil
}

func (t *telegraf) find(ctx context.Context, c *claim) (*written, error) {
	for i := 0; ; i++ {
		if i == len(t.seen) {
			if err := t.next(ctx); err != nil {
				return nil, err
			}
		}
		if c.holdsFor(t.seen[i].metric) {
			return &t.seen[i], nil
		}
	}
}

func (t *telegraf) next(ctx context.Context) error {
	select {
	case w, ok := <-t.output:
		if !ok {
			return errors.New("output of Telegraf has ended")
		}
		t.lines++
		t.seen, t.all = append(t.seen, w), append(t.all, w)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// series checks what must not have been written in all the time.
func (t *telegraf) series() error {
	cron := make(map[string]bool)
	for _, w := range t.all {
		source, _ := w.metric.GetTag("source")
		dead, _ := w.metric.GetField("dead")
		state, _ := w.metric.GetTag("state")
		if source == "web-1" && (dead == int64(1) || state == "dead") {
			return fmt.Errorf("the polite one was told dead: %s", w.line)
		}
		if source == "web-3" && w.metric.Name() == peer {
			cron[fmt.Sprint(w.metric.Tags())] = true
		}
	}
	if len(cron) != 1 {
		return fmt.Errorf("the cron job has %d series instead of one", len(cron))
	}
	return nil
}

// stop ends Telegraf and waits until it is gone.
func (t *telegraf) stop() error {
	err := t.process.end(syscall.SIGTERM)
	for range t.output {
		t.lines++
	}
	t.wg.Wait()
	return err
}

// A process is one that the demo has started, and has to end.
type process struct{ cmd *exec.Cmd }

func start(ctx context.Context, name string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return &process{cmd}, nil
}

// end sends a signal and waits until the process is gone. Only a death by
// another cause is an error.
func (p *process) end(how syscall.Signal) error {
	if err := p.cmd.Process.Signal(how); err != nil {
		return err
	}
	late := time.AfterFunc(patience, func() { p.cmd.Process.Kill() }) //nolint:errcheck // it may just have ended
	defer late.Stop()
	var status *exec.ExitError
	if err := p.cmd.Wait(); errors.As(err, &status) && how == syscall.SIGKILL {
		return nil
	} else if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(p.cmd.Path), err)
	}
	return nil
}

// kill ends what the story did not come to end.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill() //nolint:errcheck // it may just have ended
		p.cmd.Wait()         //nolint:errcheck // its end is all that counts
	}
}
