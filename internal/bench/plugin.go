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

// startPlugin runs the external plugin, or a program that is configured alike. It
// gathers when it reads a line.
func startPlugin(program string, options ...string) *process {
	options = append([]string{`state_file = "none"`}, options...) // before tables in them
	return start(heartbeat("tcp", options...), program)
}

func dial(plugin *process) net.Conn { return must(net.Dial("tcp", plugin.address)) }

// A peerSample is what the plugin emits of a peer that beats, in line protocol: of its
// latest beat and of itself.
type peerSample struct{ beat, peer string }

// samples returns some of one peer, a second pauseBefore.
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

// senderCommand measures the sender, which beats once a second.
func senderCommand(*flag.FlagSet) func() {
	return func() {
		const program, watched = "bin/heartbeat-sender", 30 * time.Second
		plugin := startPlugin("bin/telegraf-heartbeat")
		defer plugin.stop()
		sender := startSender(plugin, "-host", "web-1", "-interval", "1s")
		defer sender.stop()
		time.Sleep(watched)
		header("binary", "resident after "+watched.String()+" at a beat a second", "processor in that time")
		binary, resident := float64(must(os.Stat(program)).Size())/1e6, float64(sender.resident())/1e6
		fmt.Printf("| %.2f MB | %.1f MB | %d ms |\n", binary, resident, sender.used().Milliseconds())
		note("sender/binary", binary)
		note("sender/resident", resident)
	}
}

// startSender runs heartbeat-sender, which beats to the plugin.
func startSender(plugin *process, flags ...string) *process {
	return start("", "bin/heartbeat-sender", append([]string{"run", "-config", os.DevNull, "-server", "tcp://" + plugin.address}, flags...)...)
}

// withResolver runs a command with another /etc/resolv.conf, which takes root.
const withResolver = `mount --bind "$1" /etc/resolv.conf && shift && exec "$@"`

// execCommand measures heartbeat-sender exec, from its start to its end.
func execCommand(set *flag.FlagSet) func() {
	turns := set.Int("n", 20, "how often each is run")
	return func() {
		silent := must(net.Listen("tcp", "127.0.0.1:0")) // connects, and answers nothing
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
			{"exec -- true, a collector that accepts and never answers", "exec/silent", sender(silent.Addr().String(), "true"), nil},
			{"exec -- true, nobody there", "exec/nobody", sender(freeAddress(), "true"), nil},
			{"exec -- true, name servers dead, and what that takes to arrange", "", append(slices.Clone(wrapper), unresolved...), nil},
			{"exec -- false, a collector that accepts and never answers", "exec/silent/false", sender(silent.Addr().String(), "false"), nil},
			{"true, name servers dead, and what that takes to arrange", "", append(slices.Clone(wrapper), "true"), nil},
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

// An execRow is a command that is measured, and how long it took in each turn.
type execRow struct {
	name, figure string
	run          []string
	took         []time.Duration
}

// timeOf returns how long a command takes. One whose last word is false has to fail.
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
