package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

const hostService = "host" // names the host itself, to collectors too

// sender returns a Sender that speaks for whom the settings name, and the
// targets that its first peers are about.
func (c *call) sender(ctx context.Context) (*sender.Sender, []watch.Target, error) {
	peers, targets, err := c.peers()
	if err != nil {
		return nil, nil, invalid(err)
	}
	s, err := c.senderFor(ctx, peers)
	return s, targets, err
}

// senderFor returns a Sender that speaks for peers.
func (c *call) senderFor(ctx context.Context, peers []sender.Peer) (*sender.Sender, error) {
	if len(c.settings.servers) == 0 {
		return nil, invalid(errors.New("no server to send to: give one with -server, HEARTBEAT_SERVER or 'server' in the file"))
	}
	s := &sender.Sender{
		Servers: c.settings.servers, Interval: c.settings.interval, BackIn: c.settings.backIn,
		Peers: peers, Infof: c.infof, Warnf: c.warnf,
	}
	ctx, cancel := context.WithTimeout(ctx, c.filesTime)
	defer cancel()
	if err := c.settings.trust.apply(ctx, s, c.environ); err != nil {
		return nil, invalid(err)
	}
	return s, invalid(s.Validate())
}

// peers returns for whom the settings ask to speak: for services that are
// watched and the host they run on, for this process under the name of a
// service, or for the host. What is to be said of those that are watched is
// not known yet. The host comes last: it is its beat that is acknowledged.
func (c *call) peers() (peers []sender.Peer, targets []watch.Target, err error) {
	s := &c.settings
	common, err := c.common()
	if err != nil {
		return nil, nil, err
	}
	watches := s.watches
	if s.target != (watch.Target{}) {
		watches = append([]settings{*s}, watches...)
	}
	host := speakFor(common, sender.Host(common.Host))
	for i := range watches {
		peer, err := watches[i].watched(host)
		if err != nil {
			return nil, nil, err
		}
		peers, targets = append(peers, peer), append(targets, watches[i].watchTarget(s.grace))
	}
	self := s.peer.Service != "" && s.peer.Service != hostService && s.target == (watch.Target{})
	if self {
		peers = append(peers, speakFor(common, sender.Self(common.Host, s.peer.Service)))
	}
	if !self || len(watches) > 0 {
		peers = append(peers, host)
	}
	return peers, targets, nil
}

// common returns what the settings say of all peers.
func (c *call) common() (sender.Peer, error) {
	common := c.settings.peer
	if common.Host == "" {
		name, err := c.ownName()
		if err != nil {
			return common, fmt.Errorf("this host has no name to go by: %w; give one with -host", err)
		}
		common.Host = name
	}
	return common, nil
}

// speakFor returns common about somebody else.
func speakFor(common, who sender.Peer) sender.Peer {
	common.Service, common.PID, common.StartMS, common.Watched = who.Service, who.PID, who.StartMS, who.Watched
	if !common.NoIP { // else it is on another host
		common.Boot = who.Boot
	}
	return common
}

// noGrace is that of a table which gives none.
const noGrace = -1

// watched returns the peer that settings with a target are about, on a host.
func (s *settings) watched(host sender.Peer) (sender.Peer, error) {
	name, err := s.serviceName()
	peer := host
	peer.Service, peer.Silent = name, true
	if s.peer.Status != "" {
		peer.Status = s.peer.Status
	}
	peer.Tags = merged(host.Tags, s.peer.Tags)
	return peer, err
}

// watchTarget returns the target; grace is that of all.
func (s *settings) watchTarget(grace time.Duration) watch.Target {
	target := s.target
	target.Grace = s.grace
	if s.grace == noGrace {
		target.Grace = grace
	}
	return target
}

// serviceName returns what to call the target.
func (s *settings) serviceName() (string, error) {
	name := s.peer.Service
	if name == "" {
		var err error
		if name, err = s.target.Service(); err != nil {
			return "", err
		}
	}
	if name == hostService {
		return "", fmt.Errorf("service %q is the host itself: give %s another name", name, s.target.String())
	}
	return name, nil
}

// merged returns the labels of both; of two with one key that of own.
func merged(common, own []sender.Tag) []sender.Tag {
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

// properName returns name as collectors spell it, unless it is nobody's own.
func properName(name string) (string, error) {
	if name == "" || name == "(none)" { // as Linux says before a name is set
		return "", fmt.Errorf("%q is no name", name)
	}
	proper, err := wire.Host(name)
	if proper == "localhost" || strings.HasPrefix(proper, "localhost.") {
		return "", fmt.Errorf("%q is what every host calls itself", proper)
	}
	return proper, err
}

// namePause is the time between two looks at the name of this host.
const namePause = time.Minute

// watchName says once when this host gets another name than the one that it is
// spoken for by, until ctx ends. The old one is kept: with another name it would
// be another peer, and the former one dead.
func (c *call) watchName(ctx context.Context, told string) {
	if c.settings.peer.Host != "" { // it was given
		return
	}
	ticker := time.NewTicker(namePause)
	defer ticker.Stop()
	for last := told; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		name, err := c.ownName()
		if err != nil || name == last {
			continue
		}
		if last = name; name != told {
			c.warnf("this host is called %q now, and its beats still say %q: restart heartbeat-sender, or set 'host'", name, told)
		}
	}
}
