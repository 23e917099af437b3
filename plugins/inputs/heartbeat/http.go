package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/telegraf/config"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A Check says whom a token speaks for over HTTP, and how long they may be silent.
type Check struct {
	Peer       string          `toml:"peer"`
	Peers      []string        `toml:"peers"`
	Token      *config.Secret  `toml:"token"`
	Every      config.Duration `toml:"every"`
	Grace      config.Duration `toml:"grace"`
	MaxRuntime config.Duration `toml:"max_runtime"`
	Schedule   string          `toml:"schedule"`
	Timezone   string          `toml:"timezone"`
}

// web returns a check as package web knows it, without its token.
func (c *Check) web() web.Check {
	return web.Check{
		Peer: c.Peer, Peers: c.Peers,
		Every: time.Duration(c.Every), Grace: time.Duration(c.Grace), MaxRuntime: time.Duration(c.MaxRuntime),
		Schedule: c.Schedule, Timezone: c.Timezone,
	}
}

// agreed returns what decides verdicts. Who may say so is the matter of each collector.
func (c *Check) agreed() map[string]any {
	return set(map[string]any{
		"peer": c.Peer, "peers": sorted(c.Peers), "every": c.Every, "grace": c.Grace, "max_runtime": c.MaxRuntime,
		"schedule": c.Schedule, "timezone": c.Timezone,
	})
}

func inCheck(number int, err error) error {
	return fmt.Errorf("check %d of [[inputs.heartbeat.check]]: %w", number, err)
}

// isHTTP reports whether a URL of 'service_addresses' is one of HTTP.
func isHTTP(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}

// checkHTTP says what is wrong with the options about HTTP, as far as that can be told
// without secrets and files.
func (o *Options) checkHTTP() error {
	for i := range o.Checks {
		check := o.Checks[i].web()
		if err := check.Validate(); err != nil {
			return inCheck(i+1, err)
		}
		if o.Checks[i].Token == nil {
			return inCheck(i+1, errors.New("it must have a 'token'"))
		}
	}
	hasPassword := o.BasicPassword != nil && !o.BasicPassword.Empty()
	switch {
	case slices.ContainsFunc(o.ServiceAddresses, isHTTP):
	case o.hasChecks():
		return errors.New("[[inputs.heartbeat.check]] and 'check_files' need an address http:// or https:// in 'service_addresses'")
	case len(o.AllowedReaders) > 0 || len(o.TrustedProxies) > 0 || o.BasicUsername != "" || hasPassword:
		return errors.New("'allowed_readers', 'basic_username', 'basic_password' and 'trusted_proxies' need " +
			"an address http:// or https:// in 'service_addresses'")
	}
	if (o.BasicUsername != "") != hasPassword {
		return errors.New("'basic_username' and 'basic_password' need each other")
	}
	if hasPassword && len(o.AllowedReaders) > 0 {
		return errors.New("'allowed_readers' and 'basic_password' exclude each other: readers show a password, or come from an address")
	}
	return nil
}

// hasChecks reports whether anybody may show a token.
func (o *Options) hasChecks() bool { return len(o.Checks) > 0 || len(o.CheckFiles) > 0 }

// openChecks reads the tokens of all checks.
func (o *Options) openChecks(log web.Logger) (*web.Checks, error) {
	all := make([]web.Check, 0, len(o.Checks))
	for i := range o.Checks {
		check := o.Checks[i].web()
		token, err := readSecret(o.Checks[i].Token)
		if err != nil {
			return nil, inCheck(i+1, fmt.Errorf("'token': %w", err))
		}
		check.Token = token
		all = append(all, check)
	}
	return web.NewChecks(all, o.CheckFiles, log)
}

// readSecret returns a secret, or the one in the file that it names.
func readSecret(secret *config.Secret) (string, error) {
	buffer, err := secret.Get()
	if err != nil {
		return "", err
	}
	defer buffer.Destroy()
	text, err := verify.ReadSecret(strings.Clone(buffer.String()))
	return string(text), err
}

// The websites of a Heartbeat are its addresses of HTTP.
type websites struct {
	checks  *web.Checks
	options web.Options
	servers []*web.Server
}

// openWebsites returns what serves addresses of HTTP, or nil if there is none.
func (h *Heartbeat) openWebsites(taker *taker) (*websites, error) {
	if !slices.ContainsFunc(h.ServiceAddresses, isHTTP) {
		return nil, nil
	}
	checks, err := h.openChecks(h.Log)
	if err != nil {
		return nil, err
	}
	w := &websites{checks: checks, options: web.Options{
		Checks:         checks,
		AllowedSources: h.valid.allowed, AllowedReaders: h.valid.readers, TrustedProxies: h.valid.proxies,
		Username: h.BasicUsername, ReadTimeout: time.Duration(h.ReadTimeout), MaxBeat: int(h.MaxFrameSize),
		Take: taker.takePing, Beat: taker.takeRequest, Read: h.page, Log: h.Log,
	}}
	w.options.Password, err = h.password()
	return w, err
}

// password returns that of readers, or "" if they need none.
func (o *Options) password() (string, error) {
	if o.BasicUsername == "" {
		return "", nil
	}
	password, err := readSecret(o.BasicPassword)
	if err != nil {
		return "", fmt.Errorf("'basic_password': %w", err)
	}
	return password, nil
}

// start serves the connections of HTTP of a server until end.
func (w *websites) start(server *serve.Server) {
	if w == nil {
		return
	}
	for _, visitors := range server.Visitors() {
		options := w.options
		options.Recorded, options.Refused, options.Panicked = visitors.Recorded, visitors.Refuse, visitors.Panicked
		site := web.New(visitors, &options)
		site.Start()
		w.servers = append(w.servers, site)
	}
}

// end closes all connections.
func (w *websites) end() {
	if w == nil {
		return
	}
	for _, site := range w.servers {
		site.End()
	}
}

// expected returns the peers of checks.
func (w *websites) expected(ctx context.Context) ([]liveness.Expected, bool) {
	peers, complete := w.checks.Read(ctx)
	all := make([]liveness.Expected, 0, len(peers))
	for _, p := range peers {
		all = append(all, liveness.Expected{Source: p.Host, Service: p.Service, Interval: p.Every, Margin: p.Grace, Schedule: p.Schedule})
	}
	return all, complete
}

// takePing takes a beat of a foreign client.
func (t *taker) takePing(ping *web.Ping) web.Taken {
	rules := t.rulesFor(&ping.From)
	var refusal *wire.Refusal
	if ping.From.May == nil {
		refusal = rules.Check(&ping.Beat, &verify.Speaker{Certificate: ping.From.Certificate, Remote: ping.From.Remote})
	}
	if refusal == nil {
		refusal = mayNot(&ping.From, &ping.Beat)
	}
	if refusal != nil {
		return web.Taken{Refusal: refusal}
	}
	speaker := t.speakerOf(&ping.From, &rules)
	speaker.Job, speaker.Begins, speaker.MaxRuntime = ping.Job, ping.Begins, ping.MaxRuntime
	b := new(judge.Beat)
	outcome, refusal := t.decide(b, &ping.Beat, speaker)
	return takenOf(&ping.Beat, &outcome, refusal)
}

// takeRequest takes one of our own beats that came in a request, and answers it.
func (t *taker) takeRequest(payload []byte, from *web.Speaker) web.Taken {
	rules := t.rulesFor(from)
	var said wire.Latest
	signer, refusal := rules.Read(payload, new(wire.Decoder), &said, &verify.Speaker{Certificate: from.Certificate, Remote: from.Remote})
	if refusal == nil {
		refusal = mayNot(from, &said.Beat)
	}
	if refusal != nil {
		return t.answered(web.Taken{Refusal: refusal}, nil)
	}
	speaker := t.speakerOf(from, &rules)
	speaker.Signed, speaker.Verified = signer != "", speaker.Verified || signer != ""
	b := new(judge.Beat)
	outcome, refusal := t.decide(b, &said.Beat, speaker)
	taken := takenOf(&said.Beat, &outcome, refusal)
	if refusal == nil && signer != "" && !said.Check {
		rules.Recipient.Note(said.To, b.ID.Source, from.Name)
	}
	return t.answered(taken, t.answer(b, said.Seq, &outcome))
}

// rulesFor returns what a client has to show. A token stands for a signature and for the
// host of its peers; a certificate that is shown has to name the host.
func (t *taker) rulesFor(from *web.Speaker) verify.Rules {
	rules := t.rules
	if from.May != nil {
		rules.Host, rules.IP, rules.Signature = false, false, false
	} else if from.Certificate != nil {
		rules.Host, rules.Signature = true, false
	}
	return rules
}

// mayNot returns why a token is not for the peer of a beat, or nil.
func mayNot(from *web.Speaker, said *wire.Beat) *wire.Refusal {
	if from.May == nil || from.May(said.Host, said.Service) {
		return nil
	}
	text := fmt.Sprintf("the token is not for %.64q/%.64q: see 'peer' and 'peers' of its check", said.Host, said.Service)
	return &wire.Refusal{Reason: web.ReasonPeer, Text: text}
}

func (t *taker) speakerOf(from *web.Speaker, rules *verify.Rules) *judge.Speaker {
	return &judge.Speaker{
		Remote: from.Remote, AtRemote: t.fromConnection, Verified: from.May != nil || rules.Host, Listed: from.May != nil,
		Printer: new(judge.Printer),
	}
}

// takenOf returns what became of a beat.
func takenOf(said *wire.Beat, outcome *liveness.Outcome, refusal *wire.Refusal) web.Taken {
	if refusal != nil {
		return web.Taken{Refusal: refusal, Blameless: mayPass(refusal.Reason)}
	}
	return web.Taken{
		DeadAfter: outcome.Silence.Dead, Recorded: !said.Check, Unknown: outcome.Fate == liveness.UnknownPeer,
		New: outcome.Fate == liveness.Accepted && outcome.Gap == 0,
	}
}

// answered adds the answer of the wire protocol.
func (t *taker) answered(taken web.Taken, answer *wire.Answer) web.Taken {
	now := time.Now().UnixMilli()
	if refusal := taken.Refusal; refusal != nil {
		answer = &wire.Answer{Error: refusal.Text}
		if refusal.After > 0 {
			now = max(now, refusal.After+1)
		}
	}
	answer.NowMS, answer.Collector = now, t.rules.Recipient.ID()
	taken.Answer = wire.AppendAnswer(nil, answer)
	return taken
}
