package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	relayInterval = 10 * time.Second
	relayWarm     = 25 * time.Second // by then, all hosts have beaten twice
	relayWatched  = 60 * time.Second
)

// relayConfig configures a central Telegraf. It receives the metrics of hosts over HTTP; the
// configuration in the document about fleets turns them into beats.
const relayConfig = `[agent]
flush_interval = "1s"
omit_hostname = true
metric_buffer_limit = 100000
quiet = true
[[inputs.influxdb_listener]]
service_address = "{address}"
`

func relayCommand(set *flag.FlagSet) func() {
	hosts := set.Int("hosts", 10_000, "number of hosts that send metrics")
	return func() {
		collector := startPlugin("bin/telegraf-heartbeat", `emit_beats = "none"`)
		defer collector.stop()
		said := listen(collector.out)
		central := start(relayConfig+relayBlock(collector.address), "bin/telegraf-stock")
		defer central.stop()
		empty := collector.resident()
		go sendSystem("http://"+central.address+"/write", *hosts) // until the measurement ends
		time.Sleep(relayWarm)
		centralBefore, collectorBefore := central.used(), collector.used()
		for range int(relayWatched / relayInterval) {
			collector.writeLine("") // Gather
			time.Sleep(relayInterval)
		}
		if alive := said.number("heartbeat_collector,state=alive ", "peers"); alive != *hosts {
			fail("%d of %d hosts are alive", alive, *hosts)
		}
		beats := said.number("heartbeat_listener,address=tcp://"+collector.address+" ", "beats_total")
		fmt.Printf("\n%d hosts sent three metrics each every %s for %s; %d beats arrived in total.\n", *hosts, relayInterval, relayWatched, beats)
		header("process", "share of a core", "memory")
		printRelayRow("the central Telegraf", central, centralBefore)
		printRelayRow("telegraf-heartbeat, with a Gather every 10 s", collector, collectorBefore)
		fmt.Printf("\nMemory per host in telegraf-heartbeat: %.1f KiB.\n", float64(collector.resident()-empty)/1024/float64(*hosts))
	}
}

// printRelayRow prints the processor time and memory of a process. before is the processor time
// that it had used earlier, which is subtracted.
func printRelayRow(name string, p *process, before time.Duration) {
	fmt.Printf("| %s | %s | %s |\n", name, percent((p.used()-before).Seconds()/relayWatched.Seconds()), mib(p.resident()))
}

// latestLines has the latest line of each series that is not about a peer, by measurement and
// tags.
type latestLines struct{ lines sync.Map }

// listen reads the output of a collector until it ends.
func listen(out *bufio.Reader) *latestLines {
	s := new(latestLines)
	go func() {
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				return
			}
			if series, _, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(series, "heartbeat_peer,") {
				s.lines.Store(series+" ", line)
			}
		}
	}()
	return s
}

// number returns an integer field of a series.
func (s *latestLines) number(series, field string) (n int) {
	line, _ := s.lines.Load(series)
	_, after, _ := strings.Cut(fmt.Sprint(line), field+"=")
	must(fmt.Sscanf(after, "%d", &n))
	return n
}

// relayBlock returns the configuration that the document shows, with the address of a collector
// in another process.
func relayBlock(address string) string {
	shown := string(must(os.ReadFile("deploy/examples/fleet.conf")))
	return strings.Replace(shown, "udp://127.0.0.1:7878", "tcp://"+address, 1)
}

// sendSystem sends the metrics of inputs.system for each host in each interval, a tenth of the
// hosts every second.
func sendSystem(url string, hosts int) {
	for second := 0; ; second++ {
		begin := time.Now()
		var lines strings.Builder
		for host := second % 10; host < hosts; host += 10 {
			name, at := fmt.Sprintf("host-%05d", host), begin.Truncate(time.Second).UnixNano()
			fmt.Fprintf(&lines, "system,host=%s load1=0.1,load15=0.2,load5=0.3,n_cpus=2i,n_users=1i %d\n", name, at)
			fmt.Fprintf(&lines, "system,host=%s uptime=%di %d\nsystem,host=%s uptime_format=\"1 day,  2:03\" %d\n", name, 93_780+second, at, name, at)
		}
		post(url, lines.String())
		time.Sleep(time.Until(begin.Add(time.Second)))
	}
}
