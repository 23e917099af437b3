package wire

import (
	"net/netip"
	"strings"
)

// Host returns the one spelling of a host's name that is compared and printed:
// in lower case and without a final dot, which only says that a name is
// complete (RFC 1034, 3.1). A host that is an address is written as RFC 5952
// says, an IPv4 address in IPv6 as the former. An error is a *Refusal.
func Host(text string) (string, error) { return hostOf("host", text) }

// hostOf is Host for the value of key.
func hostOf[T string | []byte](key string, text T) (string, error) {
	name := text
	if n := len(text); n > 0 && text[n-1] == '.' {
		name = text[:n-1]
	}
	if err := checkText(key, name, MaxHost, hostByte); err != nil {
		return "", err
	}
	if name[len(name)-1] == '.' {
		return "", refuse(ReasonValue, "%s: %s ends in more than one dot", key, quote(text))
	}
	lower := strings.ToLower(string(name))
	if addr := hostAddr(lower); addr.IsValid() {
		return addr.Unmap().String(), nil
	}
	return lower, nil
}

// hostAddr returns the address that a host is, or none if it is a name. Its
// characters are those of a host.
func hostAddr(host string) netip.Addr {
	if host == "" || (host[0] < '0' || host[0] > '9') && strings.IndexByte(host, ':') < 0 {
		return netip.Addr{} // is told without the cost of an error
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}
