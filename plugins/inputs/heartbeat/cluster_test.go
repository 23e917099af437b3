package heartbeat

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// clustered returns a plugin with one mate, which is not running.
func clustered(t *testing.T, change func(*ClusterOptions)) *Heartbeat {
	h := newPlugin(t)
	h.Cluster = &ClusterOptions{
		Listen: "127.0.0.1:" + portOf(unused(t)), Mates: []string{unused(t)}, Secret: config.NewSecret([]byte(secretOne)),
	}
	change(h.Cluster)
	return h
}

// unused returns an address of this host on which no process listens.
func unused(t *testing.T) string {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func TestWrongOptionsOfTheCluster(t *testing.T) {
	mates := func(all ...string) func(*ClusterOptions) { return func(c *ClusterOptions) { c.Mates = all } }
	listen := func(address string) func(*ClusterOptions) { return func(c *ClusterOptions) { c.Listen = address } }
	for want, change := range map[string]func(*ClusterOptions){
		`'mates' must name at least one other collector, like "collector-2:6222"`:          mates(),
		`'mates': "tcp://c2:6222" has a scheme: write "c2:6222"`:                           mates("tcp://c2:6222"),
		`'mates': "c2" has no port: write "c2:6222"`:                                       mates("c3:6222", "c2"),
		`'mates': "c2:" has port "": use 1 to 65535`:                                       mates("c2:"),
		`'mates': "c2:0" has port "0": use 1 to 65535`:                                     mates("c2:0"),
		`'mates': "c2:65536" has port "65536"`:                                             mates("c2:65536"),
		`'mates': ":6222" has no host: write "collector-2:6222"`:                           mates(":6222"),
		`'mates': "0.0.0.0:6222" has no host`:                                              mates("0.0.0.0:6222"),
		`'mates': "[::]:6222" has no host`:                                                 mates("[::]:6222"),
		`'mates': "2001:db8::2:6222" is an IPv6 address without brackets: write "[2001:db`: mates("2001:db8::2:6222"),
		`'mates': "[c2]:6222" has no IPv6 address in brackets: write "[2001:db8::2]:6222"`: mates("[c2]:6222"),
		`'mates': "c 2:6222" is not a host and a port: host: ' ' in "c 2" is not allowed`:  mates("c 2:6222"),
		`'mates': "" has no port`:                                                          mates(""),
		`'mates': "C2:6222" is listed twice`:                                               mates("c2:6222", "c3:6222", "C2:6222"),
		`'listen': "6222" has no port`:                                                     listen("6222"),
		`'listen': "tcp://:6222" has a scheme: write ":6222"`:                              listen("tcp://:6222"),
		`'listen': ":0" has port "0": use 1 to 65535`:                                      listen(":0"),
		`'name': "a b" is not a valid host name: host: ' ' in "a b" is not allowe`:         func(c *ClusterOptions) { c.Name = "a b" },
		`'secret' is missing: write secret = "file:/etc/telegraf/heartbeat/cluster.key"`:   func(c *ClusterOptions) { c.Secret = config.NewSecret(nil) },
		`set 'tls_cert', 'tls_key' and 'tls_allowed_cacerts', or none`:                     func(c *ClusterOptions) { c.TLSCert, c.TLSKey = "a", "b" },
		`set 'tls_cert', 'tls_key' and 'tls_allowed_cacerts', or none of them: collectors`: func(c *ClusterOptions) { c.TLSAllowedCACerts = []string{"a"} },
		`'tls_key_pwd' needs 'tls_key'`:                                                    func(c *ClusterOptions) { c.TLSKeyPwd = "a" },
	} {
		err := clustered(t, change).Init()
		require.ErrorContains(t, err, "[inputs.heartbeat.cluster]: "+want)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestGoodOptionsOfTheCluster(t *testing.T) {
	for _, change := range []func(*ClusterOptions){
		func(*ClusterOptions) {},
		func(c *ClusterOptions) { c.Listen = "" },
		func(c *ClusterOptions) { c.Name, c.Listen = "Collector-1", "[::]:6222" },
		func(c *ClusterOptions) { c.Listen, c.Mates = "c1:6222", []string{"c1:6222", "c2:6222", "c2:6223"} },
		func(c *ClusterOptions) { c.Mates = []string{"10.0.0.2:6222", "[2001:db8::2]:6222"} },
		func(c *ClusterOptions) { c.TLSCert, c.TLSKey, c.TLSAllowedCACerts = "a", "b", []string{"c"} },
	} {
		require.NoError(t, clustered(t, change).Init())
	}
}

func TestWhatAClusterIsGiven(t *testing.T) {
	h := clustered(t, func(c *ClusterOptions) { c.Name, c.Listen, c.Mates = "Collector-1", "", []string{"c2:6222"} })
	_, err := h.prepare(time.Now())
	require.NoError(t, err)
	o, err := h.clusterOptions()
	require.NoError(t, err)
	require.Equal(t, "collector-1", o.Name, "names are compared in lower case")
	require.Equal(t, ":6222", o.Listen)
	require.Equal(t, []string{"c2:6222"}, o.Mates)
	require.Equal(t, secretOne, string(o.Secret))
	require.Nil(t, o.TLS)
	require.Equal(t, h.agreed(), o.Rules)
	require.Same(t, h.judge, o.Peers)

	h.Cluster.Name = ""
	host, err := os.Hostname()
	require.NoError(t, err)
	o, err = h.clusterOptions()
	require.NoError(t, err)
	require.Equal(t, strings.ToLower(host), o.Name)
}

func TestSecretOfTheCluster(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		require.NoError(t, os.Chmod(file, mode))
		return "file:" + file
	}
	open := func(value string) (string, error) {
		c := &ClusterOptions{Secret: config.NewSecret([]byte(value))}
		secret, err := c.openSecret()
		return string(secret), err
	}
	for _, text := range []string{secretOne, write("plain", secretOne, 0o600), write("line", "# of all\n"+secretOne+"\n", 0o640)} {
		secret, err := open(text)
		require.NoError(t, err)
		require.Equal(t, secretOne, secret)
	}
	for text, want := range map[string]string{
		"short":                     "secret 1 has 5 bytes, but needs at least 16",
		"file:" + dir + "/none":     "no such file",
		"file:" + dir:               "is not a regular file",
		write("empty", "\n", 0o600): "there is no secret",
		write("two", secretOne+"\n"+secretTwo, 0o600): "it has 2 secrets, one per line, but only one is allowed",
		write("public", secretOne, 0o604):             "(mode 0604): make it 0600 or 0640",
	} {
		if runtime.GOOS == "windows" && strings.Contains(want, "mode") {
			continue
		}
		_, err := open(text)
		require.ErrorContains(t, err, want)
	}
}

// Start says what is wrong with the files, and leaves nothing open.
func TestWrongFilesOfTheCluster(t *testing.T) {
	for want, change := range map[string]func(*ClusterOptions){
		"[inputs.heartbeat.cluster]: 'secret': secret 1 has 5 bytes": func(c *ClusterOptions) { c.Secret = config.NewSecret([]byte("short")) },
		"[inputs.heartbeat.cluster]: cannot read the files of 'tls_cert', 'tls_key' and 'tls_allowed_cacerts': ": func(c *ClusterOptions) {
			c.TLSCert, c.TLSKey, c.TLSAllowedCACerts = "none", "none", []string{"none"}
		},
	} {
		h := clustered(t, change)
		require.NoError(t, h.Init())
		require.ErrorContains(t, h.Start(new(testutil.Accumulator)), want)
		require.Nil(t, h.server, "no socket is open")
		require.Len(t, h.Check(), 1)
		require.ErrorContains(t, h.Check()[0], want)
	}
}

// -check tries each mate but the collector itself, which does not run.
func TestCheckTriesEachMate(t *testing.T) {
	h := clustered(t, func(c *ClusterOptions) {
		c.Name, c.Listen = "localhost.example.com", ":6222"
		other := "localhost:" + portOf(unused(t)) // is another one on this host
		c.Mates = []string{unused(t), "localhost:6222", other, "Localhost.example.com:6222"}
	})
	require.NoError(t, h.Init())
	wrong := h.Check()
	require.Len(t, wrong, 2)
	require.ErrorContains(t, wrong[0], `[inputs.heartbeat.cluster]: 'mates': no collector listens on `+h.Cluster.Mates[0])
	require.ErrorContains(t, wrong[1], `[inputs.heartbeat.cluster]: 'mates': no collector listens on `+h.Cluster.Mates[2])
}

// Both ends of a connection between collectors verify the certificate of the other.
func TestCertificatesOfTheClusterServeBothDirections(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	routes := func(a *authority, name string) *tls.Config {
		files := a.issue(name, name)
		c := &ClusterOptions{TLSCert: files.cert, TLSKey: files.key, TLSAllowedCACerts: []string{a.file}}
		certificates, err := c.openCertificates(testutil.Logger{Quiet: true})
		require.NoError(t, err)
		return certificates.Mutual()
	}
	one, two, stranger := routes(ours, "c1"), routes(ours, "c2"), routes(theirs, "c3")
	naked := two.Clone()
	naked.GetClientCertificate = nil
	for _, c := range []struct {
		server, client *tls.Config
		name           string
		works          bool
	}{
		{one, two, "c1", true},
		{two, one, "c2", true},
		{one, two, "c9", false},
		{one, stranger, "c1", false},
		{stranger, one, "c3", false},
		{one, naked, "c1", false},
	} {
		client := c.client.Clone()
		client.ServerName = c.name
		require.Equal(t, c.works, shakeHands(t, c.server, client) == nil, c.name)
	}
}

// shakeHands returns why a client and a server do not take each other's certificate.
func shakeHands(t *testing.T, server, client *tls.Config) error {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	failed := make(chan error, 1)
	go func() { // ends with the socket, or with the connection
		conn, err := tls.NewListener(l, server).Accept()
		if err == nil {
			defer conn.Close()
			err = conn.(*tls.Conn).HandshakeContext(t.Context())
		}
		failed <- err
	}()
	socket, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	defer socket.Close()
	require.NoError(t, socket.SetDeadline(time.Now().Add(patience)))
	err = tls.Client(socket, client).HandshakeContext(t.Context())
	if err != nil {
		socket.Close()
	}
	return errors.Join(err, <-failed)
}

// A collector that is alone has no goroutine of the cluster, and says nothing of mates.
func TestCollectorThatIsAlone(t *testing.T) {
	h := newPlugin(t)
	acc := start(t, h)
	gather(t, h)
	require.Nil(t, h.cluster)
	stacks := make([]byte, 1<<20)
	require.NotContains(t, string(stacks[:runtime.Stack(stacks, true)]), "heartbeat/cluster.")
	for _, m := range acc.GetTelegrafMetrics() {
		require.False(t, m.HasField("mates"), m)
	}
	require.Nil(t, h.ownStatus(time.Now()).Mates)
}

// fieldsOfMates are those that heartbeat_collector has in a cluster alone.
var fieldsOfMates = []string{"mates", "mates_differ", "speaks", "asked_total", "spared_total"}

func TestCollectorOfACluster(t *testing.T) {
	h := clustered(t, func(*ClusterOptions) {})
	acc := start(t, h)
	gather(t, h)
	for _, m := range metricsOf(acc, "heartbeat_collector", "", "") {
		for _, field := range fieldsOfMates {
			require.Equal(t, m.HasField("isolated"), m.HasField(field), field)
		}
	}
	require.NotNil(t, h.ownStatus(time.Now()).Mates)
}

// Telegraf's own reader takes the table, with a secret of a store.
func TestTelegrafReadsTheTable(t *testing.T) {
	const text = `
[[inputs.heartbeat]]
  state_file = "none"
  [inputs.heartbeat.cluster]
    name = "c1"
    mates = ["c2:6222"]
    secret = "%s"
`
	c := config.NewConfig()
	require.NoError(t, c.LoadConfigData([]byte(strings.Replace(text, "%s", secretOne, 1)), config.EmptySourcePath))
	require.Len(t, c.Inputs, 1)
	h, ok := c.Inputs[0].Input.(*Heartbeat)
	require.True(t, ok)
	require.NoError(t, h.Init())
	secret, err := h.Cluster.openSecret()
	require.NoError(t, err)
	require.Equal(t, secretOne, string(secret))
}

// Two collectors that have only their options in common find each other, over TLS too,
// and -check finds them. With another secret they do not.
func TestCollectorsFindEachOther(t *testing.T) {
	a := newAuthority(t)
	secure := func(c *ClusterOptions) {
		files := a.issue(c.Name, "localhost")
		c.TLSCert, c.TLSKey, c.TLSAllowedCACerts = files.cert, files.key, []string{a.file}
	}
	for name, change := range map[string]func(*ClusterOptions){"plaintext": func(*ClusterOptions) {}, "tls": secure} {
		t.Run(name, func(t *testing.T) {
			first, second := "localhost:"+portOf(unused(t)), "localhost:"+portOf(unused(t))
			one := clustered(t, func(c *ClusterOptions) {
				c.Name, c.Listen, c.Mates = "c1", first, []string{second}
				change(c)
			})
			two := clustered(t, func(c *ClusterOptions) {
				c.Name, c.Listen, c.Mates = "c2", second, []string{first, second} // its own among them
				change(c)
			})
			start(t, one)
			start(t, two)
			waitUntil(t, func() bool { return one.mates().Reachable == 1 && two.mates().Reachable == 1 }, "the mates")
			require.Empty(t, one.Check())
			require.Zero(t, one.mates().Differ)

			stranger := clustered(t, func(c *ClusterOptions) {
				c.Name, c.Mates, c.Secret = "c3", []string{first}, config.NewSecret([]byte(secretTwo))
				change(c)
			})
			require.NoError(t, stranger.Init())
			wrong := stranger.Check()
			require.Len(t, wrong, 1)
			require.ErrorContains(t, wrong[0], "its 'secret' is different")
		})
	}
}

// Records from a mate must pass the same checks as beats from senders.
func TestRecordsOfMatesAreChecked(t *testing.T) {
	good := liveness.Record{
		ID: liveness.ID{Source: "2001:db8::1", Service: "nginx"}, Since: time.Now(), Heard: time.Now(), Process: liveness.Process{Boot: "b"}, Speaker: "k3v9",
		Labels: []liveness.Label{{Key: "site", Value: "north 1"}}, State: liveness.Unknown, Reason: liveness.ReasonMateLost,
	}
	require.NoError(t, checkRecord(&good))
	for name, change := range map[string]func(*liveness.Record){
		"host":   func(r *liveness.Record) { r.ID.Source = "a\nE! b" },
		"nobody": func(r *liveness.Record) { r.ID = liveness.ID{} },
		"length": func(r *liveness.Record) { r.ID.Service = strings.Repeat("s", 70_000) },
		"labels": func(r *liveness.Record) { r.Labels = make([]liveness.Label, 3000) },
		"state":  func(r *liveness.Record) { r.State = 200 },
		"reason": func(r *liveness.Record) { r.Reason = 250 },
		"span":   func(r *liveness.Record) { r.Used = 1<<63 - 1 },
	} {
		bad := good
		change(&bad)
		require.Error(t, checkRecord(&bad), name)
	}
}
