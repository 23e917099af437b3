package wire

import (
	"net/netip"
	"strings"
)

// Host returns the canonical spelling of a host, which is compared and printed: in lower case
// and without a final dot, which only marks a name as complete (RFC 1034, 3.1). An address is
// spelled as in RFC 5952, and an IPv4 address in IPv6 as IPv4. An error is a *Refusal.
func Host(text string) (string, error) { return hostOf("host", text) }

// hostOf is like Host, for the value of key.
func hostOf[T string | []byte](key string, text T) (string, error) {
	name := text
	if n := len(text); n > 0 && text[n-1] == '.' {
		name = text[:n-1]
	}
	if err := checkText(key, name, MaxHost, isHostByte); err != nil {
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

// hostAddr returns the address in host; it is invalid if host is a name. host has only the
// characters of hosts.
func hostAddr(host string) netip.Addr {
	if host == "" || (host[0] < '0' || host[0] > '9') && strings.IndexByte(host, ':') < 0 {
		return netip.Addr{} // saves the cost of an error
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}
