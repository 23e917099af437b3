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
	addr        netip.Addr // behind trusted proxies; invalid if they do not send it
	local       bool       // sent by a process on this host, and not by a page of another site
	forwarded   bool       // by a proxy that is not trusted
	crossSite   bool       // sent by a browser for a page of another site
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
		// By default nginx adds no header, sets Host to this server and uses HTTP/1.0.
		direct := r.ProtoAtLeast(1, 1) && !anyContains(s.TrustedProxies, remote)
		c.local = remote.IsLoopback() && direct && isLocalName(r.Host) && !c.crossSite
	case anyContains(s.TrustedProxies, remote):
		c.addr, c.certificate = s.forwarded(r.Header), nil // the certificate is the proxy's
		c.name = c.place()
	default:
		c.forwarded = true
	}
	return c
}

// advice returns what to change so that this option allows the client.
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

// isCrossSite reports whether a browser sent a request for a page of another site. Over plain HTTP,
// where browsers do not send Sec-Fetch-Site, a POST still has the origin of the page.
func isCrossSite(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	_, host, _ := strings.Cut(origin, "://")
	return r.Header.Get("Sec-Fetch-Site") == "cross-site" || origin != "" && !strings.EqualFold(host, r.Host)
}

func remoteOf(address string) netip.Addr {
	remote, _ := netip.ParseAddrPort(address) //nolint:errcheck // then it is invalid
	return remote.Addr().Unmap().WithZone("")
}

// certificateOf returns the verified certificate of a client, or nil.
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

// isLocalName reports whether a Host header names this host without the help of DNS: a
// page of another site can have a name that resolves to this host.
func isLocalName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, strings.ToLower(name))
}

// isForwarded reports whether a request came through a proxy.
func isForwarded(header http.Header) bool {
	return slices.ContainsFunc([]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"}, func(key string) bool {
		return len(header.Values(key)) > 0
	})
}

// forwarded returns the last hop that is not a trusted proxy. A proxy sets one of the headers, and
// may pass on another one that the client set: if two headers differ, none is trusted.
func (s *Server) forwarded(header http.Header) (addr netip.Addr) {
	for _, hops := range [][]string{
		hopsOf(header.Values("X-Forwarded-For")), forwardedFor(header.Values("Forwarded")), hopsOf(header.Values("X-Real-Ip")),
	} {
		hop, found := s.lastHop(hops)
		switch {
		case !found:
		case !hop.IsValid(), addr.IsValid() && addr != hop:
			return netip.Addr{}
		default:
			addr = hop
		}
	}
	return addr
}

// lastHop returns the last hop that is not a trusted proxy. The address is invalid if the
// hop is not an address, or if all hops are trusted. found is false without any hops.
func (s *Server) lastHop(hops []string) (addr netip.Addr, found bool) {
	for _, hop := range slices.Backward(hops) {
		if addr = hopAddr(hop); !addr.IsValid() || !anyContains(s.TrustedProxies, addr) {
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

// forwardedFor returns the hops of RFC 7239, 4. An element without a "for" parameter is a hop
// without an address.
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

// hopAddr parses an address that may have a port or brackets.
func hopAddr(hop string) netip.Addr {
	hop = strings.TrimSpace(hop)
	if addr, err := netip.ParseAddrPort(hop); err == nil {
		return addr.Addr().Unmap().WithZone("")
	}
	addr, _ := netip.ParseAddr(strings.Trim(hop, "[]")) //nolint:errcheck // then it is invalid
	return addr.Unmap().WithZone("")
}

func anyContains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// isAuthenticated reports whether a request has the user name and the password of readers, in
// constant time.
func (s *Server) isAuthenticated(r *http.Request) bool {
	name, password, _ := r.BasicAuth()
	return compareTexts(name, s.Username)&compareTexts(password, s.Password) == 1
}

func compareTexts(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

// bearer returns the bearer token of a request.
func bearer(r *http.Request) (token string, shown bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}
