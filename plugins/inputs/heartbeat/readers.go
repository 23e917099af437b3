package heartbeat

import (
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/page"
)

// This file has the status for readers, and the socket for readers on this host.

// readersMode lets the group of the collector read too: answers contain no secrets.
const readersMode = "0660"

// SocketPath returns the path of the Unix socket for readers, beside the state file, or ""
// without a state file.
func (h *Heartbeat) SocketPath() string {
	path := h.StatePath()
	if path == "" {
		return ""
	}
	return api.SocketBeside(path)
}

// openSocket listens for readers on this host. They are answered once h.readers is called.
// If listening fails, the collector still receives heartbeats.
func (h *Heartbeat) openSocket() {
	h.readers = nil
	path := h.SocketPath()
	if path == "" {
		return
	}
	socket, err := serve.ListenUnix(path, readersMode)
	if err != nil {
		h.Log.Warnf("Cannot listen on %q, the socket beside the 'state_file'; 'telegraf-heartbeat peers' will read that file instead: %v", path, err)
		return
	}
	h.readers = func() *web.Socket {
		return web.Serve(socket, h.page, func(text string) { h.Log.Warnf("Answering requests on %s: %s", path, strings.TrimSpace(text)) })
	}
}

// serveLocalClients starts to answer readers on this host, if openSocket has succeeded.
func (h *Heartbeat) serveLocalClients() {
	if h.socket = nil; h.readers != nil {
		h.socket = h.readers()
	}
}

// pageOptions returns the options of the page of a collector that starts now.
func (h *Heartbeat) pageOptions(now time.Time) page.Options {
	return page.Options{
		Peers:     h.judge.Peers,
		Collector: func() api.Collector { return h.status(now, time.Now()) },
		Listening: func() bool { return h.running.Load() != nil },
	}
}

// status returns the status of the collector for readers.
func (h *Heartbeat) status(started, now time.Time) api.Collector {
	own, known := h.ownStatus(now), h.judge.Summary()
	c := api.Collector{
		ID: h.recipient.ID(), Now: unixSeconds(now), Started: unixSeconds(started),
		Isolated: known.Isolated, Stalled: known.Stalled.Seconds(), Refused: own.Refused, Panics: known.Panics, Peers: known.Peers,
	}
	if own.Memory.Wanted {
		c.State = &api.State{Saved: own.Memory.Works, Age: own.Memory.Age.Seconds()}
	}
	if h.Cluster != nil {
		status := h.cluster.Status()
		c.Name, c.Mates = status.Name, &api.Mates{Reachable: append(make([]string, 0), status.Mates...), Differ: status.Differ, Speaks: status.Speaks}
	}
	return c
}

// unixSeconds returns a Unix time in seconds, to the millisecond.
func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
