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

// A Check configures a token for beats over HTTP: its peers, and how long they may be silent.
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

// web returns the check for package web, without its token.
func (c *Check) web() web.Check {
	return web.Check{
		Peer: c.Peer, Peers: c.Peers,
		Every: time.Duration(c.Every), Grace: time.Duration(c.Grace), MaxRuntime: time.Duration(c.MaxRuntime),
		Schedule: c.Schedule, Timezone: c.Timezone,
	}
}

// agreed returns the options that affect verdicts. The token is not among them: each collector may
// have its own.
func (c *Check) agreed() map[string]any {
	return onlySet(map[string]any{
		"peer": c.Peer, "peers": sorted(c.Peers), "every": c.Every, "grace": c.Grace, "max_runtime": c.MaxRuntime,
		"schedule": c.Schedule, "timezone": c.Timezone,
	})
}

func inCheck(number int, err error) error {
	return fmt.Errorf("check %d of [[inputs.heartbeat.check]]: %w", number, err)
}

// isHTTP reports whether a URL of 'service_addresses' is http:// or https://.
func isHTTP(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}

// checkHTTP returns an error if the options for HTTP are wrong. It reads no secrets and no files.
func (o *Options) checkHTTP() error {
	for i := range o.Checks {
		check := o.Checks[i].web()
		if err := check.Validate(); err != nil {
			return inCheck(i+1, err)
		}
		if o.Checks[i].Token == nil {
			return inCheck(i+1, errors.New("'token' is missing"))
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
		return errors.New("set both 'basic_username' and 'basic_password', or neither")
	}
	if hasPassword && len(o.AllowedReaders) > 0 {
		return errors.New("'allowed_readers' and 'basic_password' cannot both be set: readers are allowed by address or by password")
	}
	return nil
}

// hasChecks reports whether there are any tokens.
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

// readSecret returns a secret, or the content of the file that it names.
func readSecret(secret *config.Secret) (string, error) {
	buffer, err := secret.Get()
	if err != nil {
		return "", err
	}
	defer buffer.Destroy()
	text, err := verify.ReadSecret(strings.Clone(buffer.String()))
	return string(text), err
}

// websites serve the http:// and https:// addresses of a Heartbeat.
type websites struct {
	checks  *web.Checks
	options web.Options
	servers []*web.Server
}

// openWebsites returns the websites, or nil without an http:// or https:// address.
func (h *Heartbeat) openWebsites(receiver *receiver) (*websites, error) {
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
		Receive: receiver.receivePing, ReceiveBeat: receiver.receiveRequest, Read: h.page, Log: h.Log,
	}}
	w.options.Password, err = h.password()
	return w, err
}

// password returns the password of readers, or "" if they need none.
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

// start serves the HTTP connections of a server until end.
func (w *websites) start(server *serve.Server) {
	if w == nil {
		return
	}
	for _, listener := range server.HTTPListeners() {
		options := w.options
		options.Recorded, options.Refused, options.Panicked = listener.Recorded, listener.Refuse, listener.Panicked
		site := web.New(listener, &options)
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

// receivePing receives a beat of a client of another service.
func (r *receiver) receivePing(ping *web.Ping) web.Result {
	rules := r.rulesFor(&ping.From)
	var refusal *wire.Refusal
	if ping.From.May == nil {
		refusal = rules.Check(&ping.Beat, &verify.Speaker{Certificate: ping.From.Certificate, Remote: ping.From.Remote})
	}
	if refusal == nil {
		refusal = refusalByToken(&ping.From, &ping.Beat)
	}
	if refusal != nil {
		return web.Result{Refusal: refusal}
	}
	speaker := r.speakerOf(&ping.From, &rules)
	speaker.Job, speaker.Begins, speaker.MaxRuntime = ping.Job, ping.Begins, ping.MaxRuntime
	b := new(judge.Beat)
	outcome, refusal := r.decide(b, &ping.Beat, speaker)
	return resultOf(&ping.Beat, &outcome, refusal)
}

// receiveRequest receives a beat of the wire protocol that came in a request, and answers it.
func (r *receiver) receiveRequest(payload []byte, from *web.Speaker) web.Result {
	rules := r.rulesFor(from)
	var latest wire.Latest
	signer, refusal := rules.Read(payload, new(wire.Decoder), &latest, &verify.Speaker{Certificate: from.Certificate, Remote: from.Remote})
	if refusal == nil {
		refusal = refusalByToken(from, &latest.Beat)
	}
	if refusal != nil {
		return r.withAnswer(web.Result{Refusal: refusal}, nil)
	}
	speaker := r.speakerOf(from, &rules)
	speaker.Signed, speaker.Verified = signer != "", speaker.Verified || signer != ""
	b := new(judge.Beat)
	outcome, refusal := r.decide(b, &latest.Beat, speaker)
	result := resultOf(&latest.Beat, &outcome, refusal)
	if refusal == nil && signer != "" && !latest.Check {
		rules.Recipient.Note(latest.To, b.ID.Source, from.Name)
	}
	return r.withAnswer(result, r.answer(b, latest.Seq, &outcome))
}

// rulesFor returns the rules that a client must satisfy. A token replaces a signature and
// proves the host of its peers; a certificate, if there is one, must name the host.
func (r *receiver) rulesFor(from *web.Speaker) verify.Rules {
	rules := r.rules
	if from.May != nil {
		rules.Host, rules.IP, rules.Signature = false, false, false
	} else if from.Certificate != nil {
		rules.Host, rules.Signature = true, false
	}
	return rules
}

// refusalByToken returns a refusal if the token does not cover the peer of a beat, or nil.
func refusalByToken(from *web.Speaker, beat *wire.Beat) *wire.Refusal {
	if from.May == nil || from.May(beat.Host, beat.Service) {
		return nil
	}
	text := fmt.Sprintf("the token is not for %.64q/%.64q: see 'peer' and 'peers' of its check", beat.Host, beat.Service)
	return &wire.Refusal{Reason: web.ReasonPeer, Text: text}
}

func (r *receiver) speakerOf(from *web.Speaker, rules *verify.Rules) *judge.Speaker {
	return &judge.Speaker{
		Remote: from.Remote, AtRemote: r.fromConnection, Verified: from.May != nil || rules.Host, Listed: from.May != nil,
		Printer: new(judge.Printer),
	}
}

// resultOf returns the result for a beat.
func resultOf(beat *wire.Beat, outcome *liveness.Outcome, refusal *wire.Refusal) web.Result {
	if refusal != nil {
		return web.Result{Refusal: refusal, Blameless: isTemporary(refusal.Reason)}
	}
	return web.Result{
		DeadAfter: outcome.Silence.Dead, Recorded: !beat.Check, Unknown: outcome.Fate == liveness.UnknownPeer,
		New: outcome.Fate == liveness.Accepted && outcome.Gap == 0,
	}
}

// withAnswer adds the answer of the wire protocol to a result.
func (r *receiver) withAnswer(result web.Result, answer *wire.Answer) web.Result {
	now := time.Now().UnixMilli()
	if refusal := result.Refusal; refusal != nil {
		answer = &wire.Answer{Error: refusal.Text}
		if refusal.After > 0 {
			now = max(now, refusal.After+1)
		}
	}
	answer.NowMS, answer.Collector = now, r.rules.Recipient.ID()
	result.Answer = wire.AppendAnswer(nil, answer)
	return result
}
