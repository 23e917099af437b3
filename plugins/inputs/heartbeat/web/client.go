package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A client is where a request comes from.
type client struct {
	addr        netip.Addr // behind proxies that are trusted; invalid if they do not say
	local       bool       // a process of this host has sent it, and no page of somebody else made it do so
	forwarded   bool       // by a proxy that is not trusted
	crossSite   bool       // a page of somebody else made a browser send it
	certificate *x509.Certificate
	name        string // in messages
}

// place returns where a client is, for messages.
func (c *client) place() string {
	if !c.addr.IsValid() {
		return "a client behind a proxy"
	}
	return c.addr.String()
}

func (s *Server) clientOf(r *http.Request, v *visit) client {
	remote := remoteOf(r.RemoteAddr)
	c := client{addr: remote, name: r.RemoteAddr, crossSite: isCrossSite(r)}
	c.certificate = certificateOf(r, v)
	switch {
	case !isForwarded(r.Header):
		// nginx that is not told otherwise adds nothing, has Host name us, and speaks HTTP/1.0.
		direct := r.ProtoAtLeast(1, 1) && !contain(s.TrustedProxies, remote)
		c.local = remote.IsLoopback() && direct && isLocalName(r.Host) && !c.crossSite
	case contain(s.TrustedProxies, remote):
		c.addr, c.certificate = s.forwarded(r.Header), nil // a certificate is that of the proxy
		c.name = c.place()
	default:
		c.forwarded = true
	}
	return c
}

// advice says how a client may do what only some may, who are listed in an option.
func (q *request) advice(option string) string {
	port := "7879"
	if addr, ok := q.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		port = strconv.Itoa(int(netip.MustParseAddrPort(addr.String()).Port()))
	}
	cure := "add it to '" + option + "'"
	switch {
	case q.forwarded:
		cure = "the request came through a proxy: add the proxy to 'trusted_proxies', and the client behind it to '" + option + "'"
	case !q.addr.IsValid():
		cure = "the proxy does not send the client's address, which must be in '" + option + "'"
	case q.addr.IsLoopback():
		cure = "use http://localhost:" + port + "/ with HTTP/1.1, or add it to '" + option + "'"
	}
	return cure + "; or use an SSH tunnel: ssh -L " + port + ":localhost:" + port + " HOST, then http://localhost:" + port + "/"
}

// isCrossSite reports whether a page of somebody else made a browser send a request. Where that is
// not told, as over plain HTTP, what is posted has the origin of the page.
func isCrossSite(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	_, host, _ := strings.Cut(origin, "://")
	return r.Header.Get("Sec-Fetch-Site") == "cross-site" || origin != "" && !strings.EqualFold(host, r.Host)
}

func remoteOf(address string) netip.Addr {
	remote, _ := netip.ParseAddrPort(address) //nolint:errcheck // then there is none
	return remote.Addr().Unmap().WithZone("")
}

// certificateOf returns the certificate that a client has shown, which was verified.
func certificateOf(r *http.Request, v *visit) *x509.Certificate {
	state := r.TLS
	if v != nil {
		if secure, ok := v.Conn.(*tls.Conn); ok {
			now := secure.ConnectionState()
			state = &now
		}
	}
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}

// isLocalName reports whether a Host header names this host, and nothing that a name
// server could say is this host: a page of somebody else may have such a name.
func isLocalName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, strings.ToLower(name))
}

// isForwarded reports whether a proxy has passed a request on.
func isForwarded(header http.Header) bool {
	return slices.ContainsFunc([]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"}, func(key string) bool {
		return len(header.Values(key)) > 0
	})
}

// forwarded returns the last hop that is not a trusted proxy. A proxy writes one of the
// headers, and may let through what a client has written into another one: if two of
// them differ, none is believed.
func (s *Server) forwarded(header http.Header) (addr netip.Addr) {
	for _, hops := range [][]string{
		hopsOf(header.Values("X-Forwarded-For")), forwardedFor(header.Values("Forwarded")), hopsOf(header.Values("X-Real-Ip")),
	} {
		hop, told := s.lastHop(hops)
		switch {
		case !told:
		case !hop.IsValid(), addr.IsValid() && addr != hop:
			return netip.Addr{}
		default:
			addr = hop
		}
	}
	return addr
}

// lastHop returns the last hop that is not a trusted proxy, which is invalid if it is no
// address, or if all of them are trusted. It reports false if there is none.
func (s *Server) lastHop(hops []string) (addr netip.Addr, told bool) {
	for _, hop := range slices.Backward(hops) {
		if addr = hopAddr(hop); !addr.IsValid() || !contain(s.TrustedProxies, addr) {
			return addr, true
		}
	}
	return netip.Addr{}, len(hops) > 0
}

func hopsOf(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	return strings.Split(strings.Join(values, ","), ",")
}

// forwardedFor returns the hops of RFC 7239, 4. An element without one is a hop that is
// no address.
func forwardedFor(values []string) (hops []string) {
	for _, element := range hopsOf(values) {
		hop := ""
		for pair := range strings.SplitSeq(element, ";") {
			if key, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(key, "for") {
				hop = strings.Trim(value, `"`)
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

// hopAddr reads an address that may have a port, or brackets.
func hopAddr(hop string) netip.Addr {
	hop = strings.TrimSpace(hop)
	if addr, err := netip.ParseAddrPort(hop); err == nil {
		return addr.Addr().Unmap().WithZone("")
	}
	addr, _ := netip.ParseAddr(strings.Trim(hop, "[]")) //nolint:errcheck // then there is none
	return addr.Unmap().WithZone("")
}

func contain(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// knows reports whether a request shows name and password of readers. How long that takes
// does not tell how much of them is right.
func (s *Server) knows(r *http.Request) bool {
	name, password, _ := r.BasicAuth()
	return same(name, s.Username)&same(password, s.Password) == 1
}

func same(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

// bearer returns the token that a request shows in a header.
func bearer(r *http.Request) (token string, shown bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}
