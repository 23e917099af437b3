package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/probe"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

const hostService = "host" // name of the host itself, also at collectors

// A watchlist has the targets and probes of the first peers of a sender: first one
// peer for each target, then one for each probe.
type watchlist struct {
	targets []watch.Target
	probes  []probe.Probe
}

// sender returns a Sender for the peers in the settings, and the watchlist of its
// first peers.
func (c *call) sender(ctx context.Context) (*sender.Sender, watchlist, error) {
	peers, watched, err := c.peers()
	if err != nil {
		return nil, watched, settingsError(err)
	}
	s, err := c.senderFor(ctx, peers)
	return s, watched, err
}

// senderFor returns a Sender for peers.
func (c *call) senderFor(ctx context.Context, peers []sender.Peer) (*sender.Sender, error) {
	if len(c.settings.servers) == 0 {
		return nil, settingsError(errors.New("no server to send to: give one with -server, HEARTBEAT_SERVER or 'server' in the file"))
	}
	s := &sender.Sender{
		Servers: c.settings.servers, Interval: c.settings.interval, BackIn: c.settings.backIn,
		Peers: peers, Infof: c.infof, Warnf: c.warnf,
	}
	ctx, cancel := context.WithTimeout(ctx, c.filesTime)
	defer cancel()
	if err := c.settings.trust.apply(ctx, s, c.environ); err != nil {
		return nil, settingsError(err)
	}
	return s, settingsError(s.Validate())
}

// peers returns the peers in the settings: watched services and their host, this
// process under the name of a service, or the host. The states of watched services
// are not known yet. The host comes last: its beat is the one that is acknowledged.
func (c *call) peers() (peers []sender.Peer, watched watchlist, err error) {
	s := &c.settings
	common, err := c.common()
	if err != nil {
		return nil, watched, err
	}
	watches := s.watches
	if s.hasTarget() {
		watches = append([]settings{*s}, watches...)
	}
	host := withCommon(common, sender.Host(common.Host))
	var probed []sender.Peer
	for i := range watches {
		peer, err := watches[i].watched(host)
		switch one := &watches[i]; {
		case err != nil:
			return nil, watched, err
		case one.probe != nil:
			probed = append(probed, peer)
			watched.probes = append(watched.probes, probe.Probe{Args: one.probe, Environ: c.environ, Interval: s.interval})
		default:
			peers, watched.targets = append(peers, peer), append(watched.targets, one.watchTarget(s.grace))
		}
	}
	peers = append(peers, probed...)
	self := s.peer.Service != "" && s.peer.Service != hostService && !s.hasTarget()
	if self {
		peers = append(peers, withCommon(common, sender.Self(common.Host, s.peer.Service)))
	}
	if !self || len(watches) > 0 {
		peers = append(peers, host)
	}
	return peers, watched, nil
}

// common returns the settings that all peers share.
func (c *call) common() (sender.Peer, error) {
	common := c.settings.peer
	if common.Host == "" {
		name, err := c.ownName()
		if err != nil {
			return common, fmt.Errorf("the name of this host cannot be used: %w; give one with -host", err)
		}
		common.Host = name
	}
	return common, nil
}

// withCommon returns a peer for the service or process of other, with all other settings
// from common.
func withCommon(common, other sender.Peer) sender.Peer {
	common.Service, common.PID, common.StartMS, common.Watched = other.Service, other.PID, other.StartMS, other.Watched
	if !common.NoIP { // otherwise the peer is on another host
		common.Boot = other.Boot
	}
	return common
}

// noGrace is the grace of a table that sets none.
const noGrace = -1

// watched returns the peer for settings with a target, on a host.
func (s *settings) watched(host sender.Peer) (sender.Peer, error) {
	name, err := s.serviceName()
	peer := host
	peer.Service = name
	switch {
	case s.probe != nil:
		peer.Status = "" // alive, until the probe reports a status
	case s.peer.Status != "":
		peer.Status = s.peer.Status
	}
	peer.Silent = true // until its state is known
	peer.Tags = mergeTags(host.Tags, s.peer.Tags)
	return peer, err
}

// watchTarget returns the target; grace is the default for its grace.
func (s *settings) watchTarget(grace time.Duration) watch.Target {
	target := s.target
	target.Grace = s.grace
	if s.grace == noGrace {
		target.Grace = grace
	}
	return target
}

// serviceName returns the service name of the target.
func (s *settings) serviceName() (string, error) {
	name := s.peer.Service
	if name == "" {
		var err error
		if name, err = s.defaultName(); err != nil {
			return "", err
		}
	}
	if name == hostService {
		return "", fmt.Errorf("service %q is the host itself: give %s another name", name, s.describeTarget())
	}
	return name, nil
}

// defaultName returns the default service name of the target.
func (s *settings) defaultName() (string, error) {
	if s.probe != nil {
		return watch.ServiceName(filepath.Base(s.probe[0])), nil
	}
	return s.target.Service()
}

// describeTarget returns a description of the target for messages.
func (s *settings) describeTarget() string {
	if s.probe != nil {
		return describeCommand(s.probe)
	}
	return s.target.String()
}

// mergeTags returns the labels of both; own overrides common.
func mergeTags(common, own []sender.Tag) []sender.Tag {
	tags := slices.DeleteFunc(slices.Clone(common), func(tag sender.Tag) bool {
		return slices.ContainsFunc(own, func(o sender.Tag) bool { return o.Key == tag.Key })
	})
	return append(tags, own...)
}

// ownName returns the name of this host.
func (c *call) ownName() (string, error) {
	name, err := c.hostName()
	if err != nil {
		return "", err
	}
	return properName(name)
}

// properName returns name as collectors spell it, or an error if it cannot identify a
// host.
func properName(name string) (string, error) {
	if name == "" || name == "(none)" { // what Linux reports before a name is set
		return "", fmt.Errorf("%q is not a host name", name)
	}
	proper, err := wire.Host(name)
	if proper == "localhost" || strings.HasPrefix(proper, "localhost.") {
		return "", fmt.Errorf("%q is not unique to this host", proper)
	}
	return proper, err
}

// namePause is the time between two checks of the name of this host.
const namePause = time.Minute

// watchName warns once when the name of this host is no longer the one in its beats,
// until ctx ends. Beats keep the old name: with another name the host would be
// another peer, and the old peer would be dead.
func (c *call) watchName(ctx context.Context, reported string) {
	if c.settings.peer.Host != "" { // it was given
		return
	}
	ticker := time.NewTicker(namePause)
	defer ticker.Stop()
	for last := reported; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		name, err := c.ownName()
		if err != nil || name == last {
			continue
		}
		if last = name; name != reported {
			c.warnf("this host is now called %q, but its beats still say %q: restart heartbeat-sender, or set 'host'", name, reported)
		}
	}
}
