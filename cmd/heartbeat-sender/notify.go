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

// A manager is the service manager that started this program and wants its status
// (sd_notify(3)). Without a service manager, nothing is sent.
type manager struct {
	socket string        // empty if there is none
	kick   time.Duration // interval of watchdog notifications; 0 for none
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

// notifyTime is how long to wait for a manager whose queue is full. No beats are sent
// meanwhile.
const notifyTime = 100 * time.Millisecond

// notify sends a message like READY=1, and ignores errors: the manager may be gone.
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

// progress sends a message and resets the watchdog: after a reload, the next regular
// reset may take a while.
func (m manager) progress(line string) {
	if m.kick > 0 {
		line += "\nWATCHDOG=1"
	}
	m.notify(line)
}

// A status is the text that "systemctl status" shows for this program: the services that
// it cannot check, and the last message of its sender.
type status struct {
	manager

	mu     sync.Mutex // guards what follows
	unseen []string
	news   string
}

// setNews sets the last message of the sender.
func (s *status) setNews(news string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news = news
	s.publish()
}

// setSeen records whether a service could be checked.
func (s *status) setSeen(service string, seen bool) {
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
	s.publish()
}

func (s *status) publish() {
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

// watchdog resets the watchdog while isResponsive reports that the sender makes progress,
// until ctx ends.
func (m manager) watchdog(ctx context.Context, isResponsive func(context.Context) bool) {
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
		if isResponsive(soon) {
			m.notify("WATCHDOG=1")
		}
		cancel()
	}
}
