//go:build linux

// Command curve measures what a whole Telegraf with inputs.heartbeat and
// outputs.discard takes of the processor and of memory, for more and more peers, and
// beside it one that only emits as many metrics with as many fields: what is between
// them is the price of liveness.
//
//	make bin/telegraf-bench && go run ./internal/bench/curve
//
// Each peer beats once per interval. Up to 10,000 have a connection of their own;
// more share them, as the services of a host do.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// roleEnv makes another process of this program: the senders.
const roleEnv = "CURVE_SENDERS"

const mostConnections = 10_000

// A point is a place on the curve.
type point struct {
	peers    int
	interval time.Duration
}

func (p point) perSecond() int { return int(float64(p.peers) / p.interval.Seconds()) }

var points = []point{
	{1_000, 10 * time.Second},
	{10_000, 10 * time.Second},
	{100_000, 10 * time.Second},
	{1_000_000, 10 * time.Second},
	{10_000, time.Second},
}

func main() {
	watched := flag.Duration("watched", 20*time.Second, "for how long each is watched; a multiple of 10s")
	telegraf := flag.String("telegraf", "bin/telegraf-bench", "a Telegraf with the plugin and the one that only emits")
	most := flag.Int("peers", 1_000_000, "no more peers than these")
	picture := flag.String("picture", "", "a file for a chart, as SVG")
	flag.Parse()
	var err error
	if os.Getenv(roleEnv) != "" {
		err = send(flag.Args())
	} else {
		err = run(*telegraf, *watched, *most, *picture)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "curve:", err)
		os.Exit(1)
	}
}

func run(telegraf string, watched time.Duration, most int, picture string) error {
	var seen []measured
	fmt.Printf("\nEach watched for %s; Gather every 10 s.\n\n", watched)
	fmt.Println("| peers | beats a second | no metric a beat | a metric a beat | the same metrics, only emitted | liveness: no metric a beat | a metric a beat | memory | of that without peers |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, p := range points {
		if p.peers > most {
			continue
		}
		var all [4]usage
		for i, input := range []string{
			heartbeat(p, "none"), heartbeat(p, "all"), pipeline(p, 0), pipeline(p, p.perSecond()),
		} {
			var err error
			if all[i], err = observe(telegraf, input, p, watched); err != nil {
				return fmt.Errorf("%d peers: %w", p.peers, err)
			}
		}
		fmt.Printf("| %d | %d | %s | %s | %s, %s | %s | %s | %d MiB | %d MiB |\n", p.peers, p.perSecond(),
			percent(all[0].core), percent(all[1].core), percent(all[2].core), percent(all[3].core),
			percent(all[0].core-all[2].core), percent(all[1].core-all[3].core), all[1].memory>>20, all[1].empty>>20)
		seen = append(seen, measured{p, all[1].core, all[3].core, all[0].core, float64(all[1].memory) / (1 << 20)})
	}
	if picture == "" {
		return nil
	}
	return paint(picture, seen)
}

func percent(core float64) string { return fmt.Sprintf("%.1f %%", 100*core) }

func heartbeat(p point, beats string) string {
	return fmt.Sprintf("[[inputs.heartbeat]]\nservice_addresses = [\"tcp://%%s\"]\nstate_file = \"%%s\"\nmax_peers = %d\nemit_beats = %q\n", p.peers, beats)
}

func pipeline(p point, beats int) string {
	return fmt.Sprintf("[[inputs.heartbeat_pipeline]]\npeers = %d\nbeats_per_second = %d\n", p.peers, beats)
}

// A usage is what a Telegraf took.
type usage struct {
	core          float64 // of one processor
	memory, empty int64   // bytes, at the end and before anybody has beaten
}

// observe runs one Telegraf under the load of p.
func observe(telegraf, input string, p point, watched time.Duration) (u usage, err error) {
	dir, err := os.MkdirTemp("", "curve")
	if err != nil {
		return u, err
	}
	defer os.RemoveAll(dir)
	address, err := measure.FreeAddress()
	if err != nil {
		return u, err
	}
	if strings.Contains(input, "%s") {
		input = fmt.Sprintf(input, address, filepath.Join(dir, "state"))
	}
	config := filepath.Join(dir, "telegraf.conf")
	text := fmt.Sprintf("[agent]\ninterval = \"10s\"\nflush_interval = \"10s\"\nmetric_buffer_limit = %d\nquiet = true\n[[outputs.discard]]\n", 4*p.peers+10_000)
	if err := os.WriteFile(config, []byte(text+input), 0o600); err != nil {
		return u, err
	}
	server := exec.Command(telegraf, "--config", config)
	if err := server.Start(); err != nil {
		return u, err
	}
	defer server.Wait()         //nolint:errcheck // it is killed
	defer server.Process.Kill() //nolint:errcheck // it may have ended
	time.Sleep(time.Second)     // it runs, and has not gathered yet
	if u.empty, err = measure.Memory(server.Process.Pid); err != nil {
		return u, err
	}
	settle := 2 * time.Second
	if strings.Contains(input, "service_addresses") {
		settle = p.interval + 10*time.Second // all have beaten, and been gathered
		senders, err := startSenders(address, p)
		if err != nil {
			return u, err
		}
		defer senders.end()
	}
	time.Sleep(settle)
	before, err := measure.Used(server.Process.Pid)
	if err != nil {
		return u, err
	}
	begin := time.Now()
	time.Sleep(watched)
	after, err := measure.Used(server.Process.Pid)
	if err != nil {
		return u, err
	}
	u.core = (after - before).Seconds() / time.Since(begin).Seconds()
	u.memory, err = measure.Memory(server.Process.Pid)
	return u, err
}

// senders are a process that beats for all peers until it is ended.
type senders struct{ *exec.Cmd }

func startSenders(address string, p point) (*senders, error) {
	s := &senders{exec.Command("/proc/self/exe", address, strconv.Itoa(p.peers), p.interval.String())}
	s.Env = append(os.Environ(), roleEnv+"=1")
	s.Stderr = os.Stderr
	return s, s.Start()
}

func (s *senders) end() {
	s.Process.Kill() //nolint:errcheck // it may have ended
	s.Wait()         //nolint:errcheck // it was killed
}

// send beats for all peers, evenly over each interval.
func send(args []string) error {
	if len(args) != 3 {
		return errors.New("senders need an address, a number of peers and an interval")
	}
	peers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	interval, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	conns := make([]net.Conn, min(peers, mostConnections))
	each := peers / len(conns)
	begin := time.Now()
	for seq := 1; ; seq++ {
		for i := range conns {
			due := begin.Add(time.Duration(seq-1)*interval + interval*time.Duration(i)/time.Duration(len(conns)))
			if wait := time.Until(due); wait > time.Millisecond {
				time.Sleep(wait)
			}
			if conns[i] == nil {
				if conns[i], err = measure.Dial(args[0], i); err != nil {
					return err
				}
			}
			if _, err := conns[i].Write(beats(i, each, seq, interval)); err != nil {
				return err
			}
		}
	}
}

// beats returns those of all services of a host.
func beats(host, services, seq int, interval time.Duration) []byte {
	var all []byte
	for service := range services {
		payload := fmt.Appendf(nil, `{"host":"web-%d","service":"shop-%d","pid":4711,"run":"r","seq":%d,"interval_ms":%d,"sent_ms":%d}`,
			host, service, seq, interval.Milliseconds(), time.Now().UnixMilli())
		all = wire.AppendFrame(all, payload)
	}
	return all
}
