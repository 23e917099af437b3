package web

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// The defaults for a ping.
const (
	defaultEvery = 24 * time.Hour
	defaultGrace = time.Hour
)

// A Ping is a request about one peer.
type Ping struct {
	wire.Beat
	Job        string        // the id of a job's run; empty for one without an id
	Begins     bool          // the run begins
	MaxRuntime time.Duration // of the run; 0 for no limit
	From       Speaker
}

// A Speaker is the client that sent a request, as far as its identity is proven.
type Speaker struct {
	Name        string                          // in messages
	Remote      netip.Addr                      // invalid if a proxy does not send it
	Certificate *x509.Certificate               // verified; nil for none
	May         func(host, service string) bool // whether its token covers a peer; nil without a token
}

// Result is the result for a beat.
type Result struct {
	Refusal   *wire.Refusal // why it was refused; nil if it was accepted
	Blameless bool          // the client is not to blame for the refusal, and may retry
	DeadAfter time.Duration // the silence that is allowed from now on
	New       bool          // its peer was not known before
	Unknown   bool          // a goodbye for an unknown peer
	Recorded  bool          // it was a beat, and not only a check
	Answer    []byte        // of the wire protocol, to one of its beats
}

// A pingPath is the parsed path of a ping.
type pingPath struct {
	first   string // a token, or a host
	service string // or a slug; may be empty
	verb    string // "" for success; a number is an exit code
}

var verbs = []string{"fail", "log", "start", "leave"}

// errPath is the error of Healthchecks for a malformed path.
var errPath = errors.New("invalid url format")

func parsePath(escaped string) (p pingPath, err error) {
	segments := strings.Split(strings.TrimSuffix(escaped, "/"), "/")
	for i, segment := range segments {
		if segments[i], err = url.PathUnescape(segment); err != nil || segments[i] == "" {
			return p, errPath
		}
	}
	last := len(segments) - 1
	isCode := strings.Trim(segments[last], "0123456789") == ""
	if last > 0 && (isCode || slices.Contains(verbs, segments[last])) {
		p.verb, segments = segments[last], segments[:last]
	}
	if code, err := strconv.ParseUint(p.verb, 10, 8); isCode && p.verb != "" && (err != nil || strconv.FormatUint(code, 10) != p.verb) {
		return p, errPath
	}
	p.first, p.service = segments[0], strings.Join(segments[1:], "/")
	return p, nil
}

// ping receives a request of a client of Healthchecks, or of a script.
func (s *Server) ping(q *request) (*answer, *refusal) {
	p, err := parsePath(strings.TrimPrefix(q.URL.EscapedPath(), "/ping/"))
	if _, wrong := url.ParseQuery(q.URL.RawQuery); err != nil || wrong != nil {
		err = errPath
		return nil, refuse(http.StatusBadRequest, ReasonRequest, "%v", err)
	}
	q.w.Header().Set("Ping-Body-Limit", "10000")
	check, refusal := s.checkOf(q, &p)
	if refusal != nil {
		return nil, refusal
	}
	from, refusal := s.speaker(q, check)
	if refusal != nil {
		return nil, refusal
	}
	ping := &Ping{Beat: wire.Beat{Host: p.first, Service: p.service, Status: wire.StatusAlive, Watched: true}, From: *from}
	if err := ping.applyVerb(p.verb, q.URL.Query()); err != nil {
		return nil, refuse(http.StatusBadRequest, wire.ReasonValue, "%v", err)
	}
	if err := ping.schedule(check, q.URL.Query(), defaultEvery, defaultGrace); err != nil {
		return nil, refuse(http.StatusBadRequest, wire.ReasonValue, "%v", err)
	}
	if p.verb == "log" {
		return ok(), nil
	}
	return s.record(ping, q.URL.Query().Get("create") == "1")
}

// checkOf returns the check of the token in a path, and replaces the token with the host and
// the service. The check is nil if the path has no token.
func (s *Server) checkOf(q *request, p *pingPath) (*check, *refusal) {
	check := s.Checks.find(p.first)
	switch {
	case check == nil && uuidForm.MatchString(p.first):
		return nil, refuse(http.StatusNotFound, ReasonToken, "not found")
	case check == nil && p.service == "":
		return nil, refuseUnknown()
	case check == nil:
		check, refusal := s.bearerCheck(q)
		if check == nil && refusal == nil && looksLikeToken(p.first) {
			refusal = refuse(http.StatusNotFound, ReasonToken,
				"not found: it looks like a token, but is not one of [[inputs.heartbeat.check]] or 'check_files'; "+
					"a host of %d letters or more without . or - needs a bearer token", MinToken)
		}
		return check, refusal
	case check.Peer != "" && p.service == "":
		p.first, p.service = check.host, check.service
		return check, nil
	case p.service == "":
		return nil, refuse(http.StatusBadRequest, ReasonRequest, "%v", errPath)
	}
	if p.first = check.slugHost(); p.first == "" {
		return nil, refuse(http.StatusBadRequest, ReasonPeer, `the check of this token needs peers = ["HOST/*"]`)
	}
	return check, nil
}

// refuseUnknown refuses a path that has no known token and does not name a host and a service.
func refuseUnknown() *refusal {
	return refuse(http.StatusNotFound, ReasonToken,
		"not found: use /ping/TOKEN with a token of [[inputs.heartbeat.check]] or 'check_files', or /ping/HOST/SERVICE")
}

// bearerCheck returns the check of the bearer token, or nil without one.
func (s *Server) bearerCheck(q *request) (*check, *refusal) {
	token, shown := bearer(q.Request)
	if !shown {
		return nil, nil
	}
	if check := s.Checks.find(token); check != nil {
		return check, nil
	}
	q.w.Header().Set("WWW-Authenticate", `Bearer realm="heartbeat"`)
	return nil, refuse(http.StatusUnauthorized, ReasonToken, "unknown token: use one of [[inputs.heartbeat.check]] or 'check_files', "+
		"or none over an SSH tunnel: ssh -L 7879:localhost:7879 HOST")
}

// speaker returns the speaker of a request. Without a token or a certificate, the request
// must come from this host or from an allowed source.
func (s *Server) speaker(q *request, check *check) (*Speaker, *refusal) {
	from := &Speaker{Name: q.name, Remote: q.addr, Certificate: q.certificate}
	switch {
	case check != nil:
		from.May = check.covers
		return from, nil
	case q.certificate != nil, q.local, anyContains(s.AllowedSources, q.addr) && !q.crossSite:
		return from, nil
	}
	return nil, refuse(http.StatusForbidden, reasonSource, "%s may not send heartbeats without a token of [[inputs.heartbeat.check]]: %s",
		q.place(), q.advice("allowed_sources"))
}

// applyVerb applies the verb of a path.
func (p *Ping) applyVerb(verb string, query url.Values) (err error) {
	if p.Job = strings.ToLower(query.Get("rid")); p.Job != "" && !uuidForm.MatchString(p.Job) {
		return errPath
	}
	switch verb {
	case "", "0", "log":
	case "start":
		p.Begins = true
	case "leave":
		p.Status = wire.StatusLeaving
		p.BackInMS, err = milliseconds(query, "back_in")
	case "fail":
		p.Status = wire.StatusDead
	default:
		p.Status, p.HasExitCode = wire.StatusDead, true
		p.ExitCode, err = strconv.ParseInt(verb, 10, 64)
	}
	return err
}

// schedule sets the interval and the grace period: from the check, else from the request, else the
// defaults. Without a grace period, the usual margin applies.
func (p *Ping) schedule(check *check, query url.Values, every, grace time.Duration) (err error) {
	if p.IntervalMS, err = milliseconds(query, "every"); err != nil {
		return err
	}
	if query.Has("every") && p.IntervalMS < wire.MinIntervalMS {
		return fmt.Errorf("every: must be at least %s", leastEvery)
	}
	if p.GraceMS, err = milliseconds(query, "grace"); err != nil {
		return err
	}
	limit, err := milliseconds(query, "max_runtime")
	if err != nil {
		return err
	}
	p.MaxRuntime = time.Duration(limit) * time.Millisecond
	if check != nil {
		p.IntervalMS = cmp.Or(check.Every.Milliseconds(), p.IntervalMS)
		p.GraceMS = cmp.Or(check.Grace.Milliseconds(), p.GraceMS)
		p.MaxRuntime = cmp.Or(check.MaxRuntime, p.MaxRuntime)
		if check.schedule != nil { // it decides when the beat is due
			p.IntervalMS, p.GraceMS = 0, 0
			return nil
		}
	}
	if p.IntervalMS == 0 {
		p.IntervalMS, p.GraceMS = every.Milliseconds(), cmp.Or(p.GraceMS, grace.Milliseconds())
	}
	return nil
}

// expected returns the peer of the check, which is expected even before its first beat.
func (c *check) expected() Expected {
	e := Expected{Host: c.host, Service: c.service, Every: c.Every, Grace: c.Grace, Schedule: c.schedule}
	if c.Every == 0 {
		e.Grace = cmp.Or(c.Grace, defaultGrace)
		if c.schedule == nil {
			e.Every = defaultEvery
		}
	}
	return e
}

// record passes a ping to Receive, and returns the answer to its client.
func (s *Server) record(ping *Ping, create bool) (*answer, *refusal) {
	host, err := wire.Host(ping.Host)
	if err == nil {
		ping.Host = host
		err = ping.Validate()
	}
	if err != nil {
		return nil, refuseValue(err)
	}
	result := s.Receive(ping)
	switch {
	case result.Refusal != nil:
		return nil, refuseResult(&result)
	case result.Unknown:
		return &answer{status: http.StatusNotFound, text: "no such peer"}, nil
	}
	a := &answer{status: http.StatusOK, text: "OK", deadAfter: result.DeadAfter, recorded: true}
	if create && result.New {
		a.status, a.text = http.StatusCreated, "Created"
	}
	return a, nil
}

// refuseValue refuses an invalid beat. The error may quote a mistyped token, so only the
// client gets it.
func refuseValue(err error) *refusal {
	return &refusal{
		status: http.StatusBadRequest, reason: wire.ReasonValue,
		text: "the host, the service or a value of the request is not valid", answer: err.Error(),
	}
}

// refuseResult returns the refusal of a well-formed beat.
func refuseResult(result *Result) *refusal {
	r := refuse(http.StatusForbidden, result.Refusal.Reason, "%s", result.Refusal.Text)
	switch {
	case result.Blameless:
		r.status = http.StatusServiceUnavailable
	case result.Refusal.Reason != wire.ReasonSignature && slices.Contains(wire.Reasons(), result.Refusal.Reason):
		r.status = http.StatusBadRequest
	}
	return r
}

// milliseconds returns a duration of a query, or 0 without one.
func milliseconds(query url.Values, key string) (int64, error) {
	text := query.Get(key)
	if text == "" {
		return 0, nil
	}
	d, err := parseDuration(text)
	if err == nil && !isInRange(d) {
		err = fmt.Errorf("%.64q is too long: at most 400d is allowed", text)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return d.Milliseconds(), nil
}

// leastEvery is the shortest time between two beats.
const leastEvery = wire.MinIntervalMS * time.Millisecond

// isInRange reports whether d is within the limits of intervals, windows and runs.
func isInRange(d time.Duration) bool { return d >= 0 && d <= wire.MaxIntervalMS*time.Millisecond }

// parseDuration parses a duration like 90s, 12h or 7d; a number alone is in seconds.
func parseDuration(text string) (d time.Duration, err error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		d, err = multiply(days, 24*time.Hour)
	} else if d, err = multiply(text, time.Second); err != nil {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%.64q is not a duration: write one like \"5m\", \"24h\" or \"7d\"", text)
	}
	return d, nil
}

// multiply returns number times unit, or an error if that overflows.
func multiply(number string, unit time.Duration) (time.Duration, error) {
	n, err := strconv.ParseUint(number, 10, 32)
	if err == nil && n > uint64(math.MaxInt64/unit) {
		err = strconv.ErrRange
	}
	return time.Duration(n) * unit, err
}
