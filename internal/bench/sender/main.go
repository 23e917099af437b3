//go:build linux

// Command sender measures the binary of heartbeat-sender and what it holds in
// memory while it beats once a second, to a bin/telegraf-heartbeat that answers.
//
//	make build && go run ./internal/bench/sender
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/bench/measure"
)

const (
	watched = 30 * time.Second
	program = "bin/heartbeat-sender"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sender:", err)
		os.Exit(1)
	}
}

func run() error {
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sender")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket, config := filepath.Join(dir, "socket"), filepath.Join(dir, "plugin.conf")
	text := fmt.Sprintf("[[inputs.heartbeat]]\nservice_addresses = [\"unix://%s\"]\nstate_file = \"none\"\n", socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	stopCollector, _, err := start("bin/telegraf-heartbeat", "-config", config, "-interval", "1h")
	if err != nil {
		return err
	}
	defer stopCollector()
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			break
		}
	}
	stopSender, pid, err := start(program, "run", "-server", "unix://"+socket, "-interval", "1s", "-host", "web-1", "-config", os.DevNull)
	if err != nil {
		return err
	}
	defer stopSender()
	time.Sleep(watched)
	memory, err := measure.Memory(pid)
	if err != nil {
		return err
	}
	used, err := measure.Used(pid)
	if err != nil {
		return err
	}
	fmt.Printf("| binary | resident after %s at a beat a second | processor in that time |\n|--:|--:|--:|\n", watched)
	fmt.Printf("| %.2f MB | %.1f MB | %d ms |\n", float64(info.Size())/1e6, float64(memory)/1e6, used.Milliseconds())
	return nil
}

func start(program string, args ...string) (stop func(), pid int, err error) {
	command := exec.Command(program, args...)
	if err := command.Start(); err != nil {
		return nil, 0, err
	}
	return func() {
		command.Process.Kill() //nolint:errcheck // it may have ended
		command.Wait()         //nolint:errcheck // it was killed
	}, command.Process.Pid, nil
}
