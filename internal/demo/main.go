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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		cancel()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	if err := portIsFree(); err != nil {
		return err
	}
	t, err := startTelegraf(ctx, bin)
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

func portIsFree() error {
	listener, err := net.Listen("tcp", ":7878")
	if err != nil {
		return fmt.Errorf("sample.conf listens on port 7878, which is not free here: %w", err)
	}
	return listener.Close()
}

// story lets senders live and die and waits for what Telegraf writes.
func story(ctx context.Context, bin string, t *telegraf) error {
	say("Telegraf is started with sample.conf; it starts telegraf-heartbeat")
	if err := t.expect(ctx, claim{"the collector listens", "heartbeat_event", tags{"reason": "started"}, nil}); err != nil {
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

	if err := t.expect(ctx,
		claim{"nginx on web-1 is alive", "heartbeat_event", tags{"source": "web-1", "service": "nginx", "state": "alive", "reason": "beat"}, nil},
		claim{"nginx on web-2 is alive", "heartbeat_event", tags{"source": "web-2", "service": "nginx", "state": "alive", "reason": "beat"}, nil},
		claim{"each beat is a metric", "heartbeat", tags{"source": "web-1", "service": "nginx"}, fields{"status": "alive", "interval_seconds": 1.0}},
		claim{"the article's client is alive, known by ip and pid", "heartbeat_event", tags{"ip": "10.0.0.5", "pid": "4711", "state": "alive"}, nil},
		claim{"the cron job is alive", "heartbeat_event", tags{"source": "web-3", "service": "host", "state": "alive"}, nil},
	); err != nil {
		return err
	}

	say("the sender on web-1 is stopped politely (SIGTERM), the one on web-2 is killed (SIGKILL)")
	if err := errors.Join(polite.end(syscall.SIGTERM), killed.end(syscall.SIGKILL)); err != nil {
		return err
	}
	if err := t.expect(ctx,
		claim{"it said goodbye: left, which alarms nobody", "heartbeat_event", tags{"source": "web-1", "state": "left", "reason": "leaving"}, nil},
		claim{"silence for 1.6 intervals: suspect", "heartbeat_event", tags{"source": "web-2", "state": "suspect", "reason": "silence"}, nil},
		claim{"silence for 3.5 intervals: dead", "heartbeat_event", tags{"source": "web-2", "state": "dead", "previous": "suspect", "reason": "silence"}, nil},
		claim{"who is down, since when and why, is one row", "heartbeat_down", tags{"source": "web-2", "service": "nginx", "state": "dead", "reason": "silence"}, nil},
	); err != nil {
		return err
	}

	say("every 10 s, all peers and the collector itself (waiting for the next time)")
	t.forget()
	if err := t.expect(ctx,
		claim{"web-2 is dead, once", "heartbeat_peer", tags{"source": "web-2", "service": "nginx"}, fields{"alive": int64(0), "dead": int64(1), "deaths_total": int64(1)}},
		claim{"web-1 is neither alive nor dead, and never was dead", "heartbeat_peer", tags{"source": "web-1", "service": "nginx"}, fields{"alive": int64(0), "dead": int64(0), "deaths_total": int64(0)}},
		claim{"the cron job is one peer: three beats, no restart", "heartbeat_peer", tags{"source": "web-3", "service": "host"}, fields{"alive": int64(1), "beats_total": int64(3), "restarts_total": int64(0)}},
		claim{"the article's client is alive", "heartbeat_peer", tags{"ip": "10.0.0.5", "pid": "4711"}, fields{"alive": int64(1), "dead": int64(0)}},
		claim{"one is dead, as the collector counts", "heartbeat_collector", tags{"state": "dead"}, fields{"peers": int64(1)}},
		claim{"the collector has never stalled nor refused", "heartbeat_collector", nil, fields{"refused_total": int64(0)}},
		claim{"what came in at the socket", "heartbeat_listener", tags{"address": "tcp://[::]:7878"}, fields{"connections": int64(1)}},
	); err != nil {
		return err
	}
	return t.series()
}

func say(text string) { fmt.Printf("\n--- %s\n", text) }
