// Command report runs the benchmarks whose output stands in BENCHMARKS.md, and puts
// what they print in the place of what they printed before. Each place is between
// two comments, the first of which names the command:
//
//	<!-- run: go run ./internal/bench/tracker -->
//	<!-- end -->
//
// The text around them is for humans to write.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

const (
	runs = "<!-- run: "
	ends = "<!-- end -->"
)

func main() {
	only := flag.String("only", "", "only commands that contain this")
	flag.Parse()
	if err := refresh("BENCHMARKS.md", *only); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// refresh writes the file after each command: one that fails late costs nothing
// that was measured before.
func refresh(file, only string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for at := 0; ; {
		begin := bytes.Index(text[at:], []byte(runs))
		if begin < 0 {
			return nil
		}
		begin += at
		line, _, _ := bytes.Cut(text[begin+len(runs):], []byte(" -->\n"))
		from := begin + len(runs) + len(line) + len(" -->\n")
		length := bytes.Index(text[from:], []byte(ends))
		if length < 0 {
			return fmt.Errorf("%s: no end of %q", file, line)
		}
		at = from
		if !strings.Contains(string(line), only) {
			continue
		}
		said, err := run(string(line))
		if err != nil {
			return err
		}
		text = append(append(text[:from:from], said...), text[from+length:]...)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
	}
}

func run(line string) ([]byte, error) {
	if line == "machine" {
		return machine()
	}
	fmt.Println(line)
	command := exec.Command("sh", "-c", line)
	command.Stderr = os.Stderr
	said, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	return []byte("\n" + strings.TrimSpace(string(said)) + "\n\n"), nil
}

// machine tells on what and when all that follows is measured.
func machine() ([]byte, error) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	_, model, _ := strings.Cut(string(info), "model name\t: ")
	model, _, _ = strings.Cut(model, "\n")
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	release, _, _ := strings.Cut(string(kernel), "-")
	return fmt.Appendf(nil, "\n%s, on %d cores of a virtual machine (%s), Linux %s, %s.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), model, strings.TrimSpace(release), runtime.Version()), nil
}
