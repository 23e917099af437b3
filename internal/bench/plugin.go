package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// startPlugin runs the external plugin, or a program with the same configuration. It gathers when
// it reads a line.
func startPlugin(program string, options ...string) *process {
	options = append([]string{`state_file = "none"`}, options...) // before any tables in options
	return start(pluginTable("tcp", options...), program)
}

func dial(plugin *process) net.Conn { return must(net.Dial("tcp", plugin.address)) }

// A peerSample has the metrics of a beating peer in line protocol: one for its latest beat and
// one for the peer itself.
type peerSample struct{ beat, peer string }

// samples returns n samples of one peer, a second apart.
func samples(n int) []peerSample {
	p := startPlugin("bin/telegraf-heartbeat")
	defer p.stop()
	conn := dial(p)
	defer conn.Close()
	readMetric := func(measurement string) string {
		for {
			if line := p.readLine(); strings.HasPrefix(line, measurement+",") {
				return line
			}
		}
	}
	l := load{Services: 1}
	all := make([]peerSample, n)
	for i := range all {
		must(conn.Write(l.beats(0, i+1, 1)))
		all[i].beat = readMetric("heartbeat")
		p.writeLine("")
		all[i].peer = readMetric("heartbeat_peer")
		time.Sleep(time.Second)
	}
	return all
}

// senderCommand measures the sender while it beats once a second.
func senderCommand(*flag.FlagSet) func() {
	return func() {
		const program, watched = "bin/heartbeat-sender", 30 * time.Second
		plugin := startPlugin("bin/telegraf-heartbeat")
		defer plugin.stop()
		sender := startSender(plugin, "-host", "web-1", "-interval", "1s")
		defer sender.stop()
		time.Sleep(watched)
		header("binary", "resident memory after "+watched.String()+" at one beat per second", "processor time")
		binary, resident := float64(must(os.Stat(program)).Size())/1e6, float64(sender.resident())/1e6
		fmt.Printf("| %.2f MB | %.1f MB | %d ms |\n", binary, resident, sender.used().Milliseconds())
		note("sender/binary", binary)
		note("sender/resident", resident)
	}
}

// startSender runs a heartbeat-sender that beats to the plugin.
func startSender(plugin *process, flags ...string) *process {
	return start("", "bin/heartbeat-sender", append([]string{"run", "-config", os.DevNull, "-server", "tcp://" + plugin.address}, flags...)...)
}

// withResolver runs a command with a different /etc/resolv.conf. It needs root.
const withResolver = `mount --bind "$1" /etc/resolv.conf && shift && exec "$@"`

// execCommand measures how long heartbeat-sender exec runs.
func execCommand(set *flag.FlagSet) func() {
	turns := set.Int("n", 20, "how often each command is run")
	return func() {
		silent := must(net.Listen("tcp", "127.0.0.1:0")) // accepts connections and never answers
		defer silent.Close()
		names := must(net.ListenPacket("udp", "127.0.0.153:53")) // likewise
		defer names.Close()
		resolver := filepath.Join(must(os.MkdirTemp("", "bench")), "resolv.conf")
		defer os.RemoveAll(filepath.Dir(resolver))
		check(os.WriteFile(resolver, []byte("nameserver 127.0.0.153\n"), 0o644))
		wrapper := []string{"unshare", "--mount", "sh", "-c", withResolver, "sh", resolver}
		sender := func(server, command string) []string {
			return []string{"bin/heartbeat-sender", "exec", "-config", os.DevNull, "-server", "tcp://" + server, "-host", "bench", "--", command}
		}
		unresolved := sender("collector.example:7878", "true")
		rows := []*execRow{
			{"exec -- true with a collector that accepts and never answers", "exec/silent", sender(silent.Addr().String(), "true"), nil},
			{"exec -- true without a collector at the address", "exec/nobody", sender(freeAddress(), "true"), nil},
			{"exec -- true with name servers that never answer, including the setup for that", "", append(slices.Clone(wrapper), unresolved...), nil},
			{"exec -- false with a collector that accepts and never answers", "exec/silent/false", sender(silent.Addr().String(), "false"), nil},
			{"true with name servers that never answer, including the setup for that", "", append(slices.Clone(wrapper), "true"), nil},
		}
		for range *turns {
			for _, r := range rows {
				r.took = append(r.took, timeOf(r.run))
			}
		}
		header("command", "n", "median", "max")
		for _, r := range rows {
			fmt.Printf("| %s | %d | %s | %s |\n", r.name, len(r.took), ms(median(r.took)), ms(slices.Max(r.took)))
			note(r.figure, float64(median(r.took))/1e6)
		}
		note("exec/names", float64(median(rows[2].took)-median(rows[4].took))/1e6)
	}
}

// An execRow is a command that is measured, with its duration in each turn.
type execRow struct {
	name, figure string
	run          []string
	took         []time.Duration
}

// timeOf returns how long a command runs. It expects a command to fail only if its last argument
// is "false".
func timeOf(run []string) time.Duration {
	c := exec.Command(run[0], run[1:]...)
	c.Env = []string{"PATH=" + os.Getenv("PATH")}
	begin := time.Now()
	output, err := c.CombinedOutput()
	took := time.Since(begin)
	if failed := err != nil; failed != (run[len(run)-1] == "false") {
		fail("%v: %v: %s", run, err, output)
	}
	return took
}
