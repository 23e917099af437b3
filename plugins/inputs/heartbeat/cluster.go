package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
	common_tls "github.com/influxdata/telegraf/plugins/common/tls"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/cluster"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/cluster/bus"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// ClusterOptions are the table [inputs.heartbeat.cluster]. Without it the collector is
// alone, and package cluster is not used.
type ClusterOptions struct {
	Name              string        `toml:"name"`
	Listen            string        `toml:"listen"`
	Mates             []string      `toml:"mates"`
	Secret            config.Secret `toml:"secret"`
	TLSCert           string        `toml:"tls_cert"`
	TLSKey            string        `toml:"tls_key"`
	TLSKeyPwd         string        `toml:"tls_key_pwd"`
	TLSAllowedCACerts []string      `toml:"tls_allowed_cacerts"`
}

// listenForMates is the default of 'listen': the port of NATS routes, on all addresses.
const listenForMates = ":6222"

// listen returns the address on which the mates connect.
func (c *ClusterOptions) listen() string {
	if c.Listen == "" {
		return listenForMates
	}
	return c.Listen
}

// check returns an error for the first mistake in the table. Without a table it returns nil.
func (c *ClusterOptions) check() error {
	if c == nil {
		return nil
	}
	return inCluster(firstError(c.checkName(), c.checkListen(), c.checkMates(), c.checkSecret(), c.checkTLS()))
}

// inCluster adds the name of the table to an error.
func inCluster(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("[inputs.heartbeat.cluster]: %w", err)
}

func (c *ClusterOptions) checkName() error {
	if c.Name == "" {
		return nil
	}
	if len(c.Name) > cluster.MaxName {
		return fmt.Errorf("'name': %q has %d bytes: use at most %d", c.Name, len(c.Name), cluster.MaxName)
	}
	if _, err := wire.Host(c.Name); err != nil {
		return fmt.Errorf("'name': %q is not a valid host name: %w", c.Name, err)
	}
	return nil
}

func (c *ClusterOptions) checkListen() error {
	if _, err := splitHostPort(c.listen()); err != nil {
		return fmt.Errorf("'listen': %q %w", c.Listen, err)
	}
	return nil
}

func (c *ClusterOptions) checkMates() error {
	if len(c.Mates) == 0 {
		return errors.New("'mates' must name at least one other collector, like \"collector-2:6222\"")
	}
	for i, mate := range c.Mates {
		host, err := splitHostPort(mate)
		if err == nil && isUnspecified(host) {
			err = errors.New("has no host: write \"collector-2:6222\"")
		}
		if err != nil {
			return fmt.Errorf("'mates': %q %w", mate, err)
		}
		if slices.ContainsFunc(c.Mates[:i], func(other string) bool { return strings.EqualFold(other, mate) }) {
			return fmt.Errorf("'mates': %q is listed twice", mate)
		}
	}
	return nil
}

func (c *ClusterOptions) checkSecret() error {
	if c.Secret.Empty() {
		return errors.New("'secret' is missing: write secret = \"file:/etc/telegraf/heartbeat/cluster.key\", " +
			"a file with the output of: openssl rand -hex 32")
	}
	return nil
}

func (c *ClusterOptions) checkTLS() error {
	set := []bool{c.TLSCert != "", c.TLSKey != "", len(c.TLSAllowedCACerts) > 0}
	if slices.Contains(set, true) && slices.Contains(set, false) {
		return errors.New("set 'tls_cert', 'tls_key' and 'tls_allowed_cacerts', or none of them: " +
			"collectors verify each other's certificates")
	}
	if c.TLSKeyPwd != "" && c.TLSKey == "" {
		return errors.New("'tls_key_pwd' needs 'tls_key'")
	}
	return nil
}

// splitHostPort returns the host of an address like collector-2:6222, or "" if it has
// none. The text of its error continues a sentence that begins with the address.
func splitHostPort(address string) (host string, err error) {
	if _, rest, has := strings.Cut(address, "://"); has {
		return "", fmt.Errorf("has a scheme: write %q", rest)
	}
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return "", fmt.Errorf("has no port: write %q", address+listenForMates)
	}
	host, port := address[:colon], address[colon+1:]
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", fmt.Errorf("has port %q: use 1 to 65535", port)
	}
	if host == "" {
		return "", nil
	}
	if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
		host = strings.TrimSuffix(inner, "]")
		if addr, err := netip.ParseAddr(host); err != nil || !addr.Is6() {
			return "", fmt.Errorf("has no IPv6 address in brackets: write \"[2001:db8::2]:%s\"", port)
		}
		return host, nil
	}
	if strings.Contains(host, ":") {
		return "", fmt.Errorf("is an IPv6 address without brackets: write \"[2001:db8::2]%s\"", listenForMates)
	}
	if _, err := wire.Host(host); err != nil {
		return "", fmt.Errorf("is not a host and a port: %w", err)
	}
	return host, nil
}

// isUnspecified reports whether a host means all addresses of this host.
func isUnspecified(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// name returns the name of this collector among its mates.
func (c *ClusterOptions) name() (string, error) {
	name := c.Name
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("cannot get the name of this host, set 'name': %w", err)
		}
	}
	name, err := wire.Host(name)
	if err != nil {
		return "", fmt.Errorf("the name of this host is not valid for a collector, set 'name': %w", err)
	}
	return name, nil
}

// open reads the secret and the certificates, and returns the options of a Cluster.
func (c *ClusterOptions) open(log telegraf.Logger) (_ *cluster.Options, err error) {
	defer func() { err = inCluster(err) }()
	o := &cluster.Options{Listen: c.listen(), Mates: c.Mates, Log: log}
	if o.Name, err = c.name(); err != nil {
		return nil, err
	}
	if o.Secret, err = c.openSecret(); err != nil {
		return nil, fmt.Errorf("'secret': %w", err)
	}
	if c.TLSCert == "" {
		return o, nil
	}
	certificates, err := c.openCertificates(log)
	if err != nil {
		return nil, fmt.Errorf("cannot read the files of 'tls_cert', 'tls_key' and 'tls_allowed_cacerts': %w", err)
	}
	o.TLS = certificates.Mutual()
	return o, nil
}

func (c *ClusterOptions) openSecret() ([]byte, error) {
	buffer, err := c.Secret.Get()
	if err != nil {
		return nil, err
	}
	defer buffer.Destroy()
	return verify.ReadSecret(strings.Clone(buffer.String()))
}

func (c *ClusterOptions) openCertificates(log serve.Logger) (*serve.Certificates, error) {
	server := common_tls.ServerConfig{
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, TLSKeyPwd: c.TLSKeyPwd, TLSAllowedCACerts: c.TLSAllowedCACerts,
	}
	files := append([]string{c.TLSCert, c.TLSKey}, c.TLSAllowedCACerts...)
	return serve.OpenCertificates(files, server.TLSConfig, log)
}

// probeLimit is the timeout for all mates together.
const probeLimit = 5 * time.Second

// problems returns errors for the secret, the certificates and the connection to each mate. It
// tries all mates at once.
func (c *ClusterOptions) problems(log telegraf.Logger) []error {
	if c == nil {
		return nil
	}
	o, err := c.open(log)
	if err != nil {
		return []error{err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
	defer cancel()
	wrong := make([]error, len(o.Mates))
	var all sync.WaitGroup
	for i, mate := range o.Mates {
		if c.isOwn(mate, o.Name) {
			continue // it is not running
		}
		all.Go(func() { // ends with ctx
			if err := bus.Probe(ctx, mate, o.Secret, o.TLS); err != nil {
				wrong[i] = inCluster(fmt.Errorf("'mates': %w", err))
			}
		})
	}
	all.Wait()
	return slices.DeleteFunc(wrong, func(err error) bool { return err == nil })
}

// isOwn reports whether an address in 'mates' belongs to this collector: all collectors can have
// the same list.
func (c *ClusterOptions) isOwn(mate, name string) bool {
	host, err := splitHostPort(mate)
	host = strings.ToLower(host)
	same := host == name || strings.HasPrefix(host, name+".") || strings.HasPrefix(name, host+".")
	return err == nil && same && portOf(mate) == portOf(c.listen())
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// clusterOptions returns the options of the cluster, or nil if the collector is alone.
func (h *Heartbeat) clusterOptions() (*cluster.Options, error) {
	if h.Cluster == nil {
		return nil, nil
	}
	o, err := h.Cluster.open(h.Log)
	if err != nil {
		return nil, err
	}
	o.Rules, o.Peers, o.Check = h.agreed(), h.judge, checkRecord
	return o, nil
}

// checkRecord refuses a record that this collector would not have made itself.
func checkRecord(r *liveness.Record) error {
	names := wire.Beat{Host: r.ID.Source, Service: r.ID.Service, Boot: r.Process.Boot, Run: r.Speaker, Tags: make([]wire.Label, len(r.Labels))}
	for i, label := range r.Labels {
		names.Tags[i] = wire.Label(label)
	}
	if err := names.Validate(); err != nil {
		return err
	}
	return statefile.CheckRecord(r)
}

// openCluster starts to connect to the mates, if there are any.
func (h *Heartbeat) openCluster(o *cluster.Options) (err error) {
	h.cluster = nil
	if o != nil {
		h.cluster, err = cluster.Open(o)
	}
	return err
}

// mates returns the status of the mates, or nil without a cluster.
func (h *Heartbeat) mates() *judge.Mates {
	if h.Cluster == nil {
		return nil
	}
	status := h.cluster.Status()
	return &judge.Mates{
		Reachable: len(status.Mates), Differ: status.Differ, Speaks: status.Speaks, Asked: status.Asked, Spared: status.Spared,
	}
}
