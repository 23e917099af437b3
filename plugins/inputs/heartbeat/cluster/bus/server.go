package bus

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	cluster = "heartbeat" // the name of the cluster
	user    = "collector"

	// A route ends after three intervals if the server at the other end is gone or frozen.
	pingInterval = 1500 * time.Millisecond
	maxPings     = 2

	writeDeadline = 2 * time.Second  // a route that is blocked for this long ends
	maxPending    = 16 << 20         // a route ends if more bytes than this wait for it
	maxPayload    = 1 << 20          // bytes; larger than MaxMessage, for later versions
	handshakeTime = 5 * time.Second  // for a connection to authenticate
	startTime     = 30 * time.Second // for the server to listen, which takes milliseconds

	// About once a second, NATS tries to connect to each mate that is not connected, and counts the
	// attempts. It reports each attempt whose number is divisible by one of these numbers. It also
	// reports the first attempt, which nearly always fails when all collectors start together.
	reportFirst = 10
	reportAgain = 3600
)

// password returns the password of routes. It reveals nothing about the secret, unless the secret
// can be guessed.
func password(secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("routes of inputs.heartbeat.cluster"))
	return hex.EncodeToString(mac.Sum(nil))
}

// startServer starts a server that accepts and opens routes. Only a client with the token can
// connect to it. It uses no files and no signal handlers. It listens on two ports: one for routes,
// and one on loopback for clients.
func startServer(o *Options, token string) (*server.Server, error) {
	options, err := serverOptions(o, token)
	if err != nil {
		return nil, err
	}
	log := newServerLog(o.Log)
	options.CustomRouterAuthentication = &routeAuth{password: password(o.Secret), log: log}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("cannot create the NATS server of [inputs.heartbeat.cluster]: %w", err)
	}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if err := waitUntilListening(s, log.fatal); err != nil {
		stopServer(s)
		return nil, fmt.Errorf("cannot listen on %q ('listen' in [inputs.heartbeat.cluster]): %w", o.Listen, err)
	}
	return s, nil
}

func serverOptions(o *Options, token string) (*server.Options, error) {
	host, port, err := listenAddress(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address for 'listen' in [inputs.heartbeat.cluster]: %w", o.Listen, err)
	}
	routes, err := routeURLs(o.Mates, password(o.Secret))
	if err != nil {
		return nil, err
	}
	return &server.Options{
		ServerName: rand.Text(),

		// NATS starts routes only if there is a port for clients, so the server opens one on loopback.
		Host:          "127.0.0.1",
		Port:          server.RANDOM_PORT,
		Authorization: token,
		AuthTimeout:   handshakeTime.Seconds(),

		NoSigs:                true,
		NoSystemAccount:       true,
		NoFastProducerStall:   true, // a slow route must not delay the others
		MaxPayload:            maxPayload,
		MaxPending:            maxPending,
		WriteDeadline:         writeDeadline,
		MaxClosedClients:      1, // kept for monitoring, which is not enabled
		ConnectErrorReports:   reportFirst,
		ReconnectErrorReports: reportFirst,

		Routes: routes,
		Cluster: server.ClusterOpts{
			Name:          cluster,
			Host:          host,
			Port:          port,
			Username:      user,
			Password:      password(o.Secret),
			AuthTimeout:   handshakeTime.Seconds(),
			TLSConfig:     o.TLS,
			NoAdvertise:   true,
			PoolSize:      -1, // a single connection per mate keeps messages in order
			Compression:   server.CompressionOpts{Mode: server.CompressionOff},
			PingInterval:  pingInterval,
			MaxPingsOut:   maxPings,
			WriteDeadline: writeDeadline,
			WriteTimeout:  server.WriteTimeoutPolicyClose,
		},
	}, nil
}

// listenAddress returns the host and port of an address. The port 0 stands for any free port.
func listenAddress(address string) (host string, port int, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = net.LookupPort("tcp", service) //nolint:noctx // only looks into a table
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, err
}

// routeURLs returns the addresses of mates as URLs for NATS. NATS resolves the host names again at
// each attempt to connect.
func routeURLs(mates []string, password string) ([]*url.URL, error) {
	routes := make([]*url.URL, 0, len(mates))
	for _, mate := range mates {
		if _, _, err := net.SplitHostPort(mate); err != nil {
			return nil, fmt.Errorf("%q is not an address for 'mates' in [inputs.heartbeat.cluster]: %w", mate, err)
		}
		routes = append(routes, &url.URL{Scheme: "nats-route", User: url.UserPassword(user, password), Host: mate})
	}
	return routes, nil
}

// waitUntilListening waits until the server listens for routes. If that fails, it returns the
// error.
func waitUntilListening(s *server.Server, fatal <-chan error) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(startTime)
	for s.ClusterAddr() == nil {
		select {
		case <-tick.C:
		case err := <-fatal:
			return err
		case <-limit:
			return errors.New("the NATS server did not start")
		}
	}
	return nil
}

// stopServer stops the server and returns when all its goroutines have ended.
func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// connect creates the client that sends and receives messages for the bus. It is the only client of
// the server.
func (b *Bus) connect(token string) error {
	client, err := nats.Connect("",
		nats.InProcessServer(b.server),
		nats.Token(token),
		nats.NoEcho(),
		nats.Timeout(startTime),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond),
		nats.ReconnectBufSize(-1), // store nothing while disconnected
		nats.IgnoreDiscoveredServers(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // by default it writes to stderr
		nats.ClosedHandler(func(*nats.Conn) { close(b.gone) }),
	)
	if err != nil {
		return fmt.Errorf("cannot connect to the NATS server of [inputs.heartbeat.cluster]: %w", err)
	}
	if _, err = client.ChanSubscribe(subject, b.arrived); err == nil {
		err = client.FlushTimeout(startTime)
	}
	if err != nil {
		client.Close()
		return fmt.Errorf("cannot subscribe on the NATS server of [inputs.heartbeat.cluster]: %w", err)
	}
	b.client = client
	return nil
}

// A routeAuth accepts only routes with the right password.
type routeAuth struct {
	password string
	log      *serverLog
}

// Check reports whether a connection may become a route.
func (g *routeAuth) Check(c server.ClientAuthentication) bool {
	given := c.GetOpts()
	if given.Username != user {
		return false // not a collector
	}
	if subtle.ConstantTimeCompare([]byte(given.Password), []byte(g.password)) == 1 {
		return true
	}
	if from := c.RemoteAddress(); from != nil {
		g.log.warnOtherSecret(from.String())
	}
	return false
}
