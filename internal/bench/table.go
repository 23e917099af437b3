package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// header prints the header of a Markdown table, after an empty line. All columns except the first
// contain numbers.
func header(first string, others ...string) {
	fmt.Printf("\n| %s | %s |\n|---|%s\n", first, strings.Join(others, " | "), strings.Repeat("--:|", len(others)))
}

// median returns the middle value, or the mean of the two middle values. It returns 0 for an
// empty list.
func median[T ~int64 | ~float64](all []T) T {
	n := len(all)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// ratio returns a/b as text, or "" if b is 0.
func ratio(a, b time.Duration) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

func us(d time.Duration) string { return fmt.Sprintf("%.2f us", float64(d)/1e3) }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

func mib(bytes int64) string { return fmt.Sprintf("%d MiB", bytes>>20) }

func percent(part float64) string { return fmt.Sprintf("%.1f %%", 100*part) }

// A budget is a limit that the design sets (section 10).
type budget struct {
	what   string // what is measured
	unit   string
	goal   float64 // the limit
	figure string  // name of the figure
}

// The anchor is inputs.socket_listener with the JSON parser. The bare reader uses a goroutine for
// each connection. Figures of Go benchmarks are named after the benchmark and its unit, figures
// of this program "command/what". Figures that are measured by hand also have a name.
var budgets = []budget{
	{"CPU per beat, batched frames, no metric per beat", "of the anchor", 0.08, "cost/batched/quiet/anchor"},
	{"- one metric per beat", "of the anchor", 0.2, "cost/batched/metric/anchor"},
	{"CPU per beat, 15,000 long connections, no metric per beat", "of the bare reader", 0.75, "cost/long/quiet/bare"},
	{"- the same", "of the anchor", 0.55, "cost/long/quiet/anchor"},
	{"- one metric per beat", "of the anchor", 0.75, "cost/long/metric/anchor"},
	{"resident memory of an idle plain connection, including its peer", "KiB", 3, "idle/quiet"},
	{"CPU per beat over UDP", "of the bare reader", 1.2, "cost/udp/quiet/bare"},
	{"CPU per beat over a short connection", "of the bare reader", 1.2, "cost/short/quiet/bare"},
	{"tracker of a million peers: memory per peer, including its strings", "B", 450, "Million/first_beat B/peer"},
	{"- a beat whose connection knows its peer", "ns", 250, "Million/beat,_peer_known_by_the_connection ns/peer"},
	{"Gather of a million peers", "of Telegraf's AddGauge loop", 0.67, "Gather/1000000 ratio"},
	{"- largest heap", "of the heap before", 1.5, "Gather/1000000 times-the-heap"},
	{"a metric on the execd path", "of the stock shim", 0.5, "execd/shim"},
	{"state file while all peers are well: 1 peer that beats every 10 s", "writes per hour", 20, "state/1"},
	{"- 10,000 peers", "KB/s", 50, "state/10000"},
	{"- a million peers", "KB/s", 3000, "state/1000000"},
	{"start with a million peers: until the collector listens", "s", 1, "Restart/1000000 s-listening"},
	{"- until all peers are restored", "s", 6, "Restart/1000000 s-known"},
	{"stop with a million peers, including saving the state", "s", 2, "Restart/1000000 s-Stop"},
	{"longest hold of the lock, a million peers: tick", "ms", 20, "Hold ms/tick"},
	{"- isolation", "ms", 20, "Hold ms/isolation"},
	{"- Gather", "ms", 20, "Hold ms/Gather"},
	{"- save", "ms", 20, "Hold ms/save"},
	{"kill -9 of a process that beats for itself: until it is suspect", "ms", 2, "latency/kill -9 -> suspect"},
	{"- until it is dead, including 5 s of grace period", "ms", 5250, "latency/kill -9 -> dead"},
	{"exec -- true with a collector that accepts and never answers", "ms", 100, "exec/silent"},
	{"- without a collector at the address", "ms", 50, "exec/nobody"},
	{"- with name servers that never answer", "ms", 100, "exec/names"},
	{"exec -- false with a collector that accepts and never answers", "ms", 1000, "exec/silent/false"},
	{"two collectors with broken paths: false deaths that a reachable collector could have prevented", "", 0, "collectors/avoidable"},
	{"disturbances of the collector: false deaths (`go test -run Disturbance ./plugins/inputs/heartbeat/liveness`)", "", 0, "disturbances"},
	{"mistakes on six traces (`go test -run Thresholds ./internal/verdicts -scale 1`)", "of the best rival", 1, "verdicts"},
	{"sender: binary", "MB", 6, "sender/binary"},
	{"- resident memory at one beat per second", "MB", 8, "sender/resident"},
	{"`make demo` from an empty module cache", "s", 90, "make demo"},
	{"`make test`, warm, without CI", "min", 5, "make test"},
	{"`.ci/run` on a fresh machine", "min", 60, ".ci/run"},
}

// A figure is a measured value, with the day of the measurement.
type figure struct {
	value float64
	day   string
}

// noted has the figures of this run, by name.
var noted = make(map[string]figure)

// note records a figure if there is a budget for it.
func note(name string, value float64) {
	if slices.ContainsFunc(budgets, func(b budget) bool { return b.figure == name }) {
		noted[name] = figure{value, time.Now().UTC().Format(time.DateOnly)}
	}
}

// noteRatio is like note for a/b. It does nothing if one of them was not measured.
func noteRatio(name string, a, b time.Duration) {
	if a > 0 && b > 0 {
		note(name, float64(a)/float64(b))
	}
}

// row returns the row of a budget in a table of all budgets.
func (b *budget) row(all map[string]figure) string {
	f, measured := all[b.figure]
	if !measured {
		return fmt.Sprintf("| %s | %s | not measured yet | | |", b.what, b.text(b.goal))
	}
	verdict := "met"
	if f.value > b.goal {
		verdict = "**missed**"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |", b.what, b.text(b.goal), b.text(f.value), verdict, f.day)
}

// text returns a value with its unit, with about three digits.
func (b *budget) text(value float64) string {
	digits := 0
	switch {
	case value < 1:
		digits = 3
	case value < 10:
		digits = 2
	case value < 1000:
		digits = 1
	}
	text := strconv.FormatFloat(value, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return strings.TrimSpace(text + " " + b.unit)
}

// printBudgets prints the budgets that were measured, or all of them.
func printBudgets(to io.Writer, figures map[string]figure, all bool) {
	fmt.Fprint(to, "\n| what | budget | measured | | date |\n|---|--:|--:|---|---|\n")
	for i := range budgets {
		if _, measured := figures[budgets[i].figure]; measured || all {
			fmt.Fprintln(to, budgets[i].row(figures))
		}
	}
}

// figuresEnv is the environment variable that names the file with the figures of all runs. Each
// line has a name, a value and a day, separated by tabs.
const figuresEnv = "BENCH_FIGURES"

func readFigures(file string) map[string]figure {
	all := make(map[string]figure)
	text, err := os.ReadFile(file)
	if !os.IsNotExist(err) {
		check(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if len(cells) != 3 {
			fail("%s: the line %.64q is not a name, a value and a day separated by tabs", file, line)
		}
		all[cells[0]] = figure{must(strconv.ParseFloat(cells[1], 64)), cells[2]}
	}
	return all
}

func writeFigures(file string, all map[string]figure) {
	var text strings.Builder
	for i := range budgets {
		if f, measured := all[budgets[i].figure]; measured {
			fmt.Fprintf(&text, "%s\t%.4g\t%s\n", budgets[i].figure, f.value, f.day)
		}
	}
	check(os.WriteFile(file, []byte(text.String()), 0o644))
}

// saveFigures prints the budgets of the figures of this run after its tables. It also saves the
// figures if a file for them is set.
func saveFigures() {
	if len(noted) == 0 {
		return
	}
	printBudgets(os.Stderr, noted, false)
	if file := os.Getenv(figuresEnv); file != "" {
		all := readFigures(file)
		maps.Copy(all, noted)
		writeFigures(file, all)
	}
}

// budgetsCommand prints all budgets with the saved figures.
func budgetsCommand(*flag.FlagSet) func() {
	return func() { printBudgets(os.Stdout, readFigures(os.Getenv(figuresEnv)), true) }
}

// noteCommand saves a figure that was measured by hand, or the figures that Go benchmarks print.
func noteCommand(set *flag.FlagSet) func() {
	return func() {
		if set.NArg() == 2 {
			note(set.Arg(0), must(strconv.ParseFloat(set.Arg(1), 64)))
			return
		}
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			noteBenchmark(lines.Text())
		}
	}
}

// noteBenchmark records the figures in a line of a Go benchmark: its name, the number of runs,
// and values with units.
func noteBenchmark(line string) {
	cells := strings.Fields(line)
	if len(cells) < 4 || !strings.HasPrefix(cells[0], "Benchmark") {
		return
	}
	name := strings.TrimPrefix(cells[0], "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
		name = name[:i]
	}
	for i := 2; i+1 < len(cells); i += 2 {
		note(name+" "+cells[i+1], must(strconv.ParseFloat(cells[i], 64)))
	}
}
