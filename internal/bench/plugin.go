package main

import (
	"flag"
	"fmt"
	"net"
	"os"
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

// samples returns some of one peer, a second apart.
func samples(n int) []peerSample {
	p := startPlugin("bin/telegraf-heartbeat")
	defer p.stop()
	conn := dial(p)
	defer conn.Close()
	hearOf := func(measurement string) string {
		for {
			if line := p.hear(); strings.HasPrefix(line, measurement+",") {
				return line
			}
		}
	}
	l := load{Services: 1}
	all := make([]peerSample, n)
	for i := range all {
		must(conn.Write(l.beats(0, i+1, 1)))
		all[i].beat = hearOf("heartbeat")
		p.say("")
		all[i].peer = hearOf("heartbeat_peer")
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
		fmt.Printf("| %.2f MB | %.1f MB | %d ms |\n", float64(must(os.Stat(program)).Size())/1e6,
			float64(sender.resident())/1e6, sender.used().Milliseconds())
	}
}

// startSender runs heartbeat-sender, which beats to the plugin.
func startSender(plugin *process, flags ...string) *process {
	return start("", "bin/heartbeat-sender", append([]string{"run", "-config", os.DevNull, "-server", "tcp://" + plugin.address}, flags...)...)
}
