package web

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/calendar"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// hostService is the name of the service that means the host itself.
const hostService = "host"

// A Check configures a token: its peers, and how long they may be silent.
type Check struct {
	Token      string
	Peer       string        // HOST/SERVICE, or HOST for the host itself; empty with Peers
	Peers      []string      // patterns of the same form
	Every      time.Duration // between two beats; 0 for that of the request
	Grace      time.Duration // beyond that; 0 for that of the request
	MaxRuntime time.Duration // of a run that a request begins; 0 for no limit
	Schedule   string        // when beats are due, as in crontab, instead of Every
	Timezone   string        // of Schedule; "" for that of this machine
}

// An Expected is a peer of a check.
type Expected struct {
	Host, Service string // without a service, the host itself
	Every, Grace  time.Duration
	Schedule      *calendar.Schedule // instead of Every; nil for none
}

// A check is a compiled Check.
type check struct {
	Check
	digest        digest // of Token, which itself is not kept
	host, service string // of Peer
	schedule      *calendar.Schedule
}

// Validate returns an error if a check is wrong; it does not look at the token.
func (c *Check) Validate() error {
	_, err := c.compile()
	return err
}

// compile checks a Check. Errors never name the token.
func (c *Check) compile() (*check, error) {
	compiled := &check{Check: *c}
	compiled.Token, compiled.Peers = "", slices.Clone(c.Peers)
	switch {
	case c.Peer != "" && len(c.Peers) > 0:
		return nil, errors.New("'peer' and 'peers' cannot both be set")
	case c.Peer == "" && len(c.Peers) == 0:
		return nil, errors.New("set 'peer', like \"web-1/backup\", or 'peers', like [\"web-1/*\"]")
	}
	for i, pattern := range c.Peers {
		host, service, named := strings.Cut(pattern, "/")
		if _, err := path.Match(withoutSlashes(pattern), ""); err != nil || !named || host == "" || service == "" {
			return nil, fmt.Errorf("'peers': %.80q is not a pattern like \"web-1/*\"", pattern)
		}
		compiled.Peers[i] = strings.ToLower(host) + "/" + service
	}
	if c.Peer != "" {
		if err := compiled.parsePeer(); err != nil {
			return nil, err
		}
	}
	if !isInRange(c.Every) || !isInRange(c.Grace) || !isInRange(c.MaxRuntime) || c.Every > 0 && c.Every < leastEvery {
		return nil, errors.New("'every', 'grace' and 'max_runtime' must be durations of at most 400d, and 'every' at least 100ms")
	}
	err := compiled.parseSchedule()
	return compiled, err
}

// parseSchedule compiles Schedule, in the time zone of the check.
func (c *check) parseSchedule() (err error) {
	switch {
	case c.Schedule == "" && c.Timezone != "":
		return errors.New("'timezone' needs 'schedule'")
	case c.Schedule == "":
		return nil
	case c.Every != 0:
		return errors.New("'schedule' and 'every' cannot both be set")
	case c.Peer == "":
		return errors.New("'schedule' needs 'peer': it is for one job")
	case c.Grace != 0 && c.Grace < minGrace:
		return fmt.Errorf("'grace' must be at least %s with 'schedule'", minGrace)
	}
	if c.schedule, err = calendar.ParseSchedule(c.Schedule, c.Timezone); err != nil {
		return fmt.Errorf("'schedule', 'timezone': %w", err)
	}
	return nil
}

// minGrace is the least grace period with a schedule.
const minGrace = 2 * time.Second

// parsePeer sets the host and the service from Peer.
func (c *check) parsePeer() (err error) {
	host, service, named := strings.Cut(c.Peer, "/")
	if strings.ContainsAny(c.Peer, "*?[") {
		return fmt.Errorf("'peer': %.80q is a pattern: write it in 'peers'", c.Peer)
	}
	c.host, err = wire.Host(host)
	if c.service = service; service == hostService {
		c.service = ""
	}
	beat := wire.Beat{Service: service}
	if err != nil || beat.Validate() != nil || named && service == "" {
		return fmt.Errorf("'peer': %.80q is not a peer: write \"HOST/SERVICE\", or \"HOST\" for the host itself", c.Peer)
	}
	return nil
}

// covers reports whether the token covers a peer.
func (c *check) covers(host, service string) bool {
	if c.Peer != "" {
		return host == c.host && (service == c.service || service == hostService && c.service == "")
	}
	if service == "" {
		service = hostService
	}
	return slices.ContainsFunc(c.Peers, func(pattern string) bool {
		fits, _ := path.Match(withoutSlashes(pattern), withoutSlashes(host+"/"+service)) //nolint:errcheck // it was checked
		return fits
	})
}

// withoutSlashes replaces each "/" in the service of a peer, so that a "*" of path.Match matches it
// too.
func withoutSlashes(peer string) string {
	host, service, _ := strings.Cut(peer, "/")
	return host + "/" + strings.ReplaceAll(service, "/", "\x00")
}

// slugHost returns the host of the peer, if the URL names the service, or "".
func (c *check) slugHost() string {
	if len(c.Peers) != 1 {
		return ""
	}
	host, service, _ := strings.Cut(c.Peers[0], "/")
	if service != "*" || strings.ContainsAny(host, "*?[") {
		return ""
	}
	return host
}

// MinToken is the minimum length of a token, in bytes: shorter ones can be guessed.
const MinToken = 16

var (
	tokenForm = regexp.MustCompile(`^[A-Za-z0-9._~+=-]+$`)
	uuidForm  = regexp.MustCompile(`^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// CheckToken returns an error if a token is not valid. The error does not contain the token.
func CheckToken(token string) error {
	switch {
	case len(token) < MinToken:
		return fmt.Errorf("the token has %d bytes: it must have at least %d", len(token), MinToken)
	case !tokenForm.MatchString(token):
		return errors.New("the token cannot be part of a URL: use only letters, digits and -._~+=")
	}
	return nil
}

// looksLikeToken reports whether a text in the place of a host is more likely a token that is
// unknown or misplaced. A token must not become the name of a host.
func looksLikeToken(text string) bool {
	return len(text) >= MinToken && !strings.ContainsAny(text, "/.-") || uuidForm.MatchString(text)
}

// Checks find the check of a token. Check files are reloaded when they change.
type Checks struct {
	log   Logger
	key   [sha256.Size]byte // of digests
	own   []*check          // of options
	files []*checkFile

	mu       sync.RWMutex // guards the rest
	byDigest map[digest]*check
}

// A digest is all that is kept of a token. Nobody can choose a token whose lookup takes
// longer, because the key is secret.
type digest [sha256.Size]byte

// NewChecks returns the checks of the options. Read adds the checks of files.
func NewChecks(all []Check, files []string, log Logger) (*Checks, error) {
	c := &Checks{log: log, byDigest: make(map[digest]*check)}
	rand.Read(c.key[:])
	for i := range all {
		if err := c.add(&all[i]); err != nil {
			return nil, fmt.Errorf("check %d of [[inputs.heartbeat.check]]: %w", i+1, err)
		}
	}
	for _, name := range files {
		c.files = append(c.files, &checkFile{file: regular.Reader{Name: name, Limit: maxCheckFile}})
	}
	return c, nil
}

func (c *Checks) add(of *Check) error {
	if err := CheckToken(of.Token); err != nil {
		return err
	}
	check, err := of.compile()
	if err != nil {
		return err
	}
	check.digest = c.digestOf(of.Token)
	if c.byDigest[check.digest] != nil {
		return errors.New("another check has the same token")
	}
	c.own, c.byDigest[check.digest] = append(c.own, check), check
	return nil
}

func (c *Checks) digestOf(token string) (d digest) {
	if uuidForm.MatchString(token) {
		token = strings.ToLower(token)
	}
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write([]byte(token))
	mac.Sum(d[:0])
	return d
}

// find returns the check of a token, or nil.
func (c *Checks) find(token string) *check {
	d := c.digestOf(token)
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byDigest[d]
}

// Read reads the files, and returns the peers that are expected. complete is false if a
// file has not been read yet: then there may be more.
func (c *Checks) Read(ctx context.Context) (expected []Expected, complete bool) {
	complete = true
	all, byDigest := slices.Clone(c.own), make(map[digest]*check)
	for _, check := range c.own {
		byDigest[check.digest] = check
	}
	for _, file := range c.files {
		file.read(ctx, c)
		complete = complete && file.known
		for _, line := range file.lines {
			if byDigest[line.digest] == nil {
				all, byDigest[line.digest] = append(all, line), line
			}
		}
	}
	c.mu.Lock()
	c.byDigest = byDigest
	c.mu.Unlock()
	for _, check := range all {
		if check.Peer != "" {
			expected = append(expected, check.expected())
		}
	}
	return expected, complete
}

// Problems returns the current problems with the files.
func (c *Checks) Problems() (wrong []error) {
	for _, file := range c.files {
		wrong = append(wrong, file.parse(context.Background(), c)...)
	}
	return wrong
}
