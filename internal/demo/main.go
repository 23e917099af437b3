// Command demo shows the main job with a real Telegraf: it starts Telegraf
// with sample.conf as it is, lets a few senders live and die, and prints what
// Telegraf wrote about them. It exits 0 only if it has seen all of that.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	server   = "tcp://127.0.0.1:7878" // where sample.conf listens
	patience = 30 * time.Second       // for one thing to be seen
	longest  = 55 * time.Second       // for all of them
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	if err := portIsFree(ctx); err != nil {
		return err
	}
	state, err := os.MkdirTemp("", "heartbeat-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	t, err := startTelegraf(ctx, bin, state)
	if err != nil {
		return err
	}
	err = errors.Join(story(ctx, bin, t), t.stop())
	if err == nil {
		fmt.Printf("\nAll of this was seen, in %d lines that Telegraf wrote.\n", t.lines)
		return nil
	}
	return fmt.Errorf("%w\nTelegraf logged:\n%s", err, t.log.String())
}

func portIsFree(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", ":7878")
	if err != nil {
		return fmt.Errorf("sample.conf listens on port 7878, which is not free here: %w", err)
	}
	return listener.Close()
}

// story lets senders live and die and waits for what Telegraf writes.
func story(ctx context.Context, bin string, t *telegraf) error {
	say("Telegraf is started with sample.conf; it starts telegraf-heartbeat")
	if err := t.expect(ctx, claim{"the collector listens", event, tags{"reason": "started"}, nil}); err != nil {
		return err
	}

	sender := filepath.Join(bin, "heartbeat-sender")
	say("heartbeat-sender run beats every second for nginx on web-1 and on web-2")
	polite, err := start(ctx, sender, "run", "-server", server, "-host", "web-1", "-service", "nginx", "-interval", "1s")
	if err != nil {
		return err
	}
	defer polite.kill()
	killed, err := start(ctx, sender, "run", "-server", server, "-host", "web-2", "-service", "nginx", "-interval", "1s")
	if err != nil {
		return err
	}
	defer killed.kill()

	say("the article's client sends its bare JSON, unframed, and never reads")
	client, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:7878")
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.Write([]byte(`{"ip": "10.0.0.5", "status": "alive", "pid": 4711}`)); err != nil {
		return err
	}

	say("cron calls heartbeat-sender once -every 1m, three times, each time another process")
	for range 3 {
		out, err := exec.CommandContext(ctx, sender, "once", "-server", server, "-host", "web-3", "-every", "1m").CombinedOutput()
		if err != nil {
			return fmt.Errorf("heartbeat-sender once: %w: %s", err, out)
		}
	}
	if err := t.expect(ctx, births...); err != nil {
		return err
	}

	say("the sender on web-1 is stopped politely (SIGTERM), the one on web-2 is killed (SIGKILL)")
	if err := errors.Join(polite.end(syscall.SIGTERM), killed.end(syscall.SIGKILL)); err != nil {
		return err
	}
	if err := t.expect(ctx, ends...); err != nil {
		return err
	}

	say("every 10 s, all peers and the collector itself (waiting for the next time)")
	t.forget()
	if err := t.expect(ctx, gathered...); err != nil {
		return err
	}
	return t.series()
}

func say(text string) { fmt.Printf("\n--- %s\n", text) }
