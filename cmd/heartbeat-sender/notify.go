package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A manager is the service manager that started this program and wants to know
// how it is (sd_notify(3)). Without one, nothing is sent.
type manager struct {
	socket string        // empty if there is none
	kick   time.Duration // how often it wants to hear from its watchdog; 0 for never
}

func (c *call) manager() manager {
	socket, _ := lookup(c.environ, "NOTIFY_SOCKET")
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:] // abstract
	}
	m := manager{socket: socket}
	pid, ok := lookup(c.environ, "WATCHDOG_PID")
	if ok && pid != strconv.Itoa(os.Getpid()) {
		return m
	}
	text, _ := lookup(c.environ, "WATCHDOG_USEC")
	if micros, err := strconv.ParseInt(text, 10, 64); err == nil && micros > 0 {
		m.kick = time.Duration(micros) * time.Microsecond / 3 // it may miss two
	}
	return m
}

// notifyTime is how long a manager is waited for whose queue is full. Nothing
// beats meanwhile.
const notifyTime = 100 * time.Millisecond

// notify says something like READY=1. The manager may be gone; that is its affair.
func (m manager) notify(text string) {
	if m.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(notifyTime)) //nolint:errcheck // it is open
	conn.Write([]byte(text))                          //nolint:errcheck // see above
}

// progress notifies, and kicks the watchdog: a new life begins, and its first kick is far.
func (m manager) progress(line string) {
	if m.kick > 0 {
		line += "\nWATCHDOG=1"
	}
	m.notify(line)
}

// A status is what "systemctl status" shows of this program: which services it
// cannot look at, and the last news of its sender.
type status struct {
	manager

	mu     sync.Mutex // guards what follows
	unseen []string
	news   string
}

// tell takes in what the sender says.
func (s *status) tell(news string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news = news
	s.say()
}

// see takes in whether a service could be looked at.
func (s *status) see(service string, seen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.unseen, service)
	switch {
	case seen == (at < 0):
		return
	case seen:
		s.unseen = slices.Delete(s.unseen, at, at+1)
	default:
		s.unseen = append(s.unseen, service)
	}
	s.say()
}

func (s *status) say() {
	text := s.news
	if len(s.unseen) > 0 {
		text = "cannot check " + s.unseen[0]
		if more := len(s.unseen) - 1; more > 0 {
			text = fmt.Sprintf("%s and %d more", text, more)
		}
		if s.news != "" {
			text += "; " + s.news
		}
	}
	s.notify("STATUS=" + text)
}

// watchdog kicks the watchdog as long as turning says that what beats goes
// round, until ctx ends.
func (m manager) watchdog(ctx context.Context, turning func(context.Context) bool) {
	if m.kick == 0 {
		return
	}
	ticker := time.NewTicker(m.kick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		soon, cancel := context.WithTimeout(ctx, m.kick)
		if turning(soon) {
			m.notify("WATCHDOG=1")
		}
		cancel()
	}
}
