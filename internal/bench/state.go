package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// stateSettles is how long all peers must have been well before writes are counted.
const stateSettles = 2 * time.Minute

var stateSizes = []int{1, 10_000, 1_000_000}

// stateCommand measures the writes to the state file while all peers beat every 10 s and are
// well.
func stateCommand(set *flag.FlagSet) func() {
	most := set.Int("peers", 1_000_000, "the largest number of peers to measure")
	watched := set.Duration("watch", 10*time.Minute, "how long to measure; collectors write more often after a start")
	settles := set.Duration("settle", stateSettles, "how long all peers are well before the measurement")
	return func() {
		fmt.Printf("\nEach collector was watched for %s.\n", *watched)
		header("peers", "writes per hour", "KB per second", "resident memory")
		for _, peers := range stateSizes {
			if peers > *most {
				continue
			}
			w, resident := measureState(peers, *settles, *watched)
			hourly, kbs := float64(w.writes)/watched.Hours(), float64(w.bytes)/1e3/watched.Seconds()
			fmt.Printf("| %d | %.0f | %.2f | %s |\n", peers, hourly, kbs, mib(resident))
			if peers == 1 {
				note("state/1", hourly)
				continue
			}
			note("state/"+strconv.Itoa(peers), kbs)
		}
	}
}

// A written is how many bytes a process has written, and in how many writes.
type written struct{ writes, bytes int64 }

func measureState(peers int, settles, watched time.Duration) (w written, resident int64) {
	plugin := start(pluginTable("tcp", `state_file = "{dir}/heartbeat.state"`, `emit_beats = "none"`,
		fmt.Sprintf("max_peers = %d", peers+1)), "bin/telegraf-heartbeat")
	defer plugin.stop()
	p := point{peers: peers, interval: 10 * time.Second}
	senders := p.load().start(plugin.address)
	defer senders.stop()
	senders.writeLine("go")
	time.Sleep(settles)
	before := plugin.written()
	seen := plugin.describeStateFiles()
	for end := time.Now().Add(watched); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if now := plugin.describeStateFiles(); now != seen {
			seen = now
			w.writes++
		}
	}
	w.bytes = plugin.written() - before
	return w, plugin.resident()
}

// describeStateFiles describes the state files as they are now. If the description changes, there was a
// write.
func (p *process) describeStateFiles() string {
	var text strings.Builder
	for _, entry := range must(os.ReadDir(p.dir)) {
		if info, err := entry.Info(); err == nil { // no error: it has not been renamed meanwhile
			fmt.Fprintln(&text, entry.Name(), info.Size(), info.ModTime())
		}
	}
	return text.String()
}

// written returns how many bytes the process has passed to write(2) (proc_pid_io(5), wchar). The
// process sends no answers and prints nothing, so these bytes are its state, plus eight bytes each
// time that Go wakes a thread that waits for sockets.
func (p *process) written() (bytes int64) {
	_, after, _ := strings.Cut(p.readProc("io"), "wchar: ")
	must(fmt.Sscan(after, &bytes))
	return bytes
}
