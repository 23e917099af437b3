package sender

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Addresses of the world. Nobody is at those that start with 192.0.2.
const (
	home    = "10.0.0.1" // of the collector
	home2   = "10.0.0.2" // its second address
	newHome = "10.0.0.9" // where it moves to
)

// A world is what a sender meets: name servers, addresses and collectors, in
// virtual time.
type world struct {
	mu      sync.Mutex // guards what follows
	servers []nameServer
	zone    []string // addresses of the collector's name
	homes   map[string]*collector
}

// A nameServer is one line of resolv.conf.
type nameServer struct {
	dead  bool          // it answers nothing
	fails bool          // it answers SERVFAIL
	takes time.Duration // for an answer
}

// serve makes s live in w.
func (w *world) serve(s *Sender) { s.Dial, s.lookup = w.dial, w.lookup }

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) at(address string) *collector {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.homes[address]
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lookup asks like Go's resolver: each name server twice, one after the other,
// five seconds each time. The name has no IPv6 addresses.
func (w *world) lookup(ctx context.Context, mayAsk func(string) error, network, host string) ([]netip.Addr, error) {
	var failed error
	for i := range 2 * len(w.servers) {
		name := fmt.Sprintf("192.0.2.%d:53", i%len(w.servers)+1)
		if failed = mayAsk(name); failed != nil {
			continue
		}
		var server nameServer
		w.set(func() { server = w.servers[i%len(w.servers)] })
		switch {
		case server.dead:
			failed = &net.DNSError{Err: "i/o timeout", Name: host, Server: name, IsTimeout: true}
			if pause(ctx, 5*time.Second) != nil {
				return nil, failed
			}
		case server.fails:
			failed = &net.DNSError{Err: "server misbehaving", Name: host, Server: name}
		default:
			if err := pause(ctx, server.takes); err != nil {
				return nil, err
			}
			return w.answer(network, host, name)
		}
	}
	return nil, failed
}

func (w *world) answer(network, host, server string) (addrs []netip.Addr, err error) {
	if network == "ip6" {
		return nil, &net.DNSError{Err: "no such host", Name: host, Server: server, IsNotFound: true}
	}
	w.set(func() {
		for _, address := range w.zone {
			addrs = append(addrs, netip.MustParseAddr(address))
		}
	})
	return addrs, nil
}

// dial connects to an address, not to a name.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || net.ParseIP(host) == nil {
		return nil, fmt.Errorf("%q is no address", address)
	}
	if network == "udp" {
		near, far := net.Pipe()
		return &datagrams{Conn: near, far: far, to: host, world: w}, nil
	}
	c := w.at(host)
	if c == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return c.dial(ctx, network, address)
}

// A datagrams is a socket that sends to an address of a world.
type datagrams struct {
	net.Conn
	far     net.Conn
	to      string
	world   *world
	refused bool // the network has said that nobody listens, and tells it once
}

func (d *datagrams) Write(payload []byte) (int, error) {
	if d.refused {
		d.refused = false
		return 0, syscall.ECONNREFUSED
	}
	c := d.world.at(d.to)
	if c == nil {
		return len(payload), nil
	}
	c.set(func() { d.refused = c.refuses })
	if d.refused {
		return len(payload), nil
	}
	beat, err := wire.Decode(payload)
	if err != nil {
		panic(err)
	}
	c.take(beat, 0)
	return len(payload), nil
}

func (d *datagrams) Read(b []byte) (int, error) {
	if d.refused {
		d.refused = false
		return 0, syscall.ECONNREFUSED
	}
	return d.Conn.Read(b)
}

func (d *datagrams) Close() error {
	d.far.Close()
	return d.Conn.Close()
}

// certified is the certificate of every collector, and who trusts it.
var certified = sync.OnceValues(func() (server, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"hb"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	return server, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
})

// heard returns when the collectors got beats, and whether the last one was an
// end. Of several peers it counts the last.
func (w *world) heard() (at []time.Time, ended bool) {
	var beats []received
	for _, c := range w.collectors() {
		c.set(func() { beats = append(beats, c.beats...) })
	}
	slices.SortStableFunc(beats, func(a, b received) int { return a.at.Compare(b.at) })
	for _, b := range beats {
		at = append(at, b.at)
		ended = ended || b.Status != wire.StatusAlive
	}
	return at, ended
}

// collectors returns each of them once.
func (w *world) collectors() (all []*collector) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.homes {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// lifeOf returns the part of a run that a sender draws once in its life.
func lifeOf(run string) string {
	life, _, _ := strings.Cut(run, ".")
	return life
}
