package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// sender returns a Sender that speaks for whom the settings name: the host,
// or with a service this process under that name.
func (c *call) sender() (*sender.Sender, error) {
	s := c.settings.Sender
	s.Logf = c.logf
	if len(s.Servers) == 0 {
		return nil, invalid(errors.New("no server to send to: give one with -server, HEARTBEAT_SERVER or 'server' in the file"))
	}
	if s.Peer.Host == "" {
		name, err := c.ownName()
		if err != nil {
			return nil, invalid(fmt.Errorf("this host has no name to go by: %w; give one with -host", err))
		}
		s.Peer.Host = name
	}
	self := sender.Host(s.Peer.Host)
	if s.Peer.Service != "" && s.Peer.Service != "host" { // which is the host itself
		self = sender.Self(s.Peer.Host, s.Peer.Service)
	}
	s.Peer.PID, s.Peer.StartMS, s.Peer.Watched = self.PID, self.StartMS, self.Watched
	if !s.Peer.NoIP {
		s.Peer.Boot = self.Boot
	}
	return &s, invalid(s.Validate())
}

// ownName returns the name of this host.
func (c *call) ownName() (string, error) {
	name, err := c.hostName()
	if err != nil {
		return "", err
	}
	return properName(name)
}

// properName returns name in lower case, as collectors do, unless it is
// nobody's own.
func properName(name string) (string, error) {
	name = strings.ToLower(name)
	switch {
	case name == "", name == "(none)": // as Linux says before a name is set
		return "", fmt.Errorf("%q is no name", name)
	case name == "localhost", strings.HasPrefix(name, "localhost."):
		return "", fmt.Errorf("%q is what every host calls itself", name)
	}
	return name, (&wire.Beat{Host: name}).Validate()
}
