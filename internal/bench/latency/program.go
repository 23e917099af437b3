package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A program is one of ours that runs until stop or the end of its context.
type program struct {
	cmd *exec.Cmd
}

func (p *program) stop() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // of course it was killed
}

func startSender(ctx context.Context, bin, address, service string, flags ...string) (*program, error) {
	args := append([]string{
		"run", "-config", os.DevNull, "-server", "tcp://" + address, "-interval", "10s", "-host", "bench", "-service", service,
	}, flags...)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "heartbeat-sender"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	p := &program{cmd: cmd}
	return p, cmd.Start()
}

// A sighting is something that is told of a service: a state, or "beat" with
// its number.
type sighting struct{ service, what string }

// A collector is a telegraf-heartbeat whose output is read as it comes.
type collector struct {
	program
	address string
	dir     string
	ended   chan struct{} // closed at the end of its output

	mu   sync.Mutex // guards the rest
	seen map[sighting]chan time.Time
}

const options = `[[inputs.heartbeat]]
service_addresses = ["tcp://127.0.0.1:0"]
state_file = "none"
`

func startCollector(ctx context.Context, bin string) (*collector, error) {
	dir, err := os.MkdirTemp("", "latency")
	if err != nil {
		return nil, err
	}
	c := &collector{dir: dir, ended: make(chan struct{}), seen: make(map[sighting]chan time.Time)}
	if err := c.start(ctx, bin); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("starting telegraf-heartbeat failed (\"make build\" builds it): %w", err)
	}
	return c, nil
}

func (c *collector) start(ctx context.Context, bin string) error {
	file := filepath.Join(c.dir, "heartbeat.conf")
	if err := os.WriteFile(file, []byte(options), 0o600); err != nil {
		return err
	}
	// It never gathers: what happens is told without being asked for.
	c.cmd = exec.CommandContext(ctx, filepath.Join(bin, "telegraf-heartbeat"), "-config", file, "-interval", "1h")
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	if err := c.listens(stderr); err != nil {
		c.program.stop()
		return err
	}
	go io.Copy(io.Discard, stderr) //nolint:errcheck // ends with the collector
	go c.read(stdout)              // too
	return nil
}

var listening = regexp.MustCompile(`Listening on tcp://(\S+)`)

// listens waits until the collector says where it listens.
func (c *collector) listens(log io.Reader) error {
	said := make([]string, 0, 1)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if match := listening.FindStringSubmatch(lines.Text()); match != nil {
			c.address = match[1]
			return nil
		}
		said = append(said, lines.Text())
	}
	return fmt.Errorf("it ended: %s", strings.Join(said, "; "))
}

func (c *collector) stop() {
	c.program.stop()
	os.RemoveAll(c.dir)
}

// read notes when each thing is told first.
func (c *collector) read(stdout io.Reader) {
	defer close(c.ended)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		now := time.Now()
		if s, ok := parse(lines.Text()); ok {
			select {
			case c.told(s) <- now:
			default: // not the first time
			}
		}
	}
}

// parse returns what a line of line protocol tells of a service. Nothing of
// what is sent here needs to be escaped.
func parse(line string) (sighting, bool) {
	series, rest, _ := strings.Cut(line, " ")
	fields, _, _ := strings.Cut(rest, " ")
	measurement, tags, _ := strings.Cut(series, ",")
	service := value(tags, "service")
	switch measurement {
	case "heartbeat":
		return sighting{service, "beat " + strings.TrimSuffix(value(fields, "seq"), "i")}, true
	case "heartbeat_event":
		return sighting{service, value(tags, "state")}, true
	}
	return sighting{}, false
}

// value returns what a list of key=value, with commas, has for key.
func value(list, key string) string {
	for pair := range strings.SplitSeq(list, ",") {
		if v, ok := strings.CutPrefix(pair, key+"="); ok {
			return v
		}
	}
	return ""
}

func (c *collector) told(s sighting) chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[s] == nil {
		c.seen[s] = make(chan time.Time, 1)
	}
	return c.seen[s]
}

// await returns when something was told, once for each thing.
func (c *collector) await(ctx context.Context, s sighting) (time.Time, error) {
	select {
	case at := <-c.told(s):
		return at, nil
	case <-c.ended:
		return time.Time{}, fmt.Errorf("the collector ended before it told %q", s.what)
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("the collector never told %q: %w", s.what, ctx.Err())
	}
}
