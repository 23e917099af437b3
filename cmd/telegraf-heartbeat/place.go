package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// variableURL is the environment variable for -url. It may contain a password: unlike a
// command line, other users cannot read it.
const variableURL = "HEARTBEAT_URL"

// A place is where peers are read from: a collector, a state file, or the file if the
// collector does not answer.
type place struct {
	client *api.Client // nil for a file only
	file   string      // "" for a collector only
}

// A listing is the content of a place.
type listing struct {
	place   string
	written time.Time      // when the file was written; zero if the listing is live
	notes   []string       // sentences about the listing
	counts  map[string]int // number of all peers by state
	held    bool           // the collector is isolated
	peers   []peer
}

// A peer is one entry of a listing.
type peer struct {
	*api.Peer
	inTime bool // alive, and the file does not have the time of its last beat
}

// placeFlags returns the flags that select places.
func placeFlags() []cli.Flag {
	return []cli.Flag{
		{
			Name: "url", Value: "URL",
			Usage: "ask a collector over HTTP, e.g. https://USER@collector.example.com; default: $" + variableURL + ", if set",
		},
		{Name: "password-file", Value: "FILE", Usage: "file with the password of USER in its first line"},
		{Name: "config", Value: "FILE", Usage: "configuration of the collector on this host, to find its 'state_file'"},
		{Name: "state-file", Value: "FILE", Usage: "read a state file instead of asking a collector"},
	}
}

// placesOf returns the places in the flags or the environment, or else the places of the
// collectors on this host.
func placesOf(given cli.Given, getenv func(string) string) ([]place, error) {
	if err := checkPlaces(given); err != nil {
		return nil, execd.Failure(cli.ExitUsage, err)
	}
	if file, ok := given.Last("state-file"); ok {
		return []place{{file: file}}, nil
	}
	config, configured := given.Last("config")
	if address := getenv(variableURL); given["url"] != nil || address != "" && !configured {
		client, err := clientOf(given, address)
		return []place{{client: client}}, err
	}
	if given["password-file"] != nil {
		return nil, execd.Failure(cli.ExitUsage, errors.New("'-password-file' needs '-url'"))
	}
	files, err := stateFiles(config)
	places := make([]place, 0, len(files))
	for _, file := range files {
		places = append(places, place{api.OverSocket(api.SocketBeside(file)), file})
	}
	return places, err
}

// checkPlaces refuses flags that contradict each other.
func checkPlaces(given cli.Given) error {
	var named []string
	for _, name := range []string{"url", "config", "state-file"} {
		if given[name] != nil {
			named = append(named, name)
		}
	}
	if len(named) > 1 {
		return fmt.Errorf("'-%s' and '-%s' cannot be combined", named[0], named[1])
	}
	return nil
}

// clientOf returns a client for -url, else for the URL in the environment.
func clientOf(given cli.Given, address string) (*api.Client, error) {
	name, wrong := variableURL, cli.ExitConfig
	if url, ok := given.Last("url"); ok {
		name, address, wrong = "'-url'", url, cli.ExitUsage
	}
	client, err := api.OverHTTP(address)
	file, ok := given.Last("password-file")
	switch {
	case err != nil:
		return nil, execd.Failure(wrong, fmt.Errorf("%s: %w", name, err))
	case wrong == cli.ExitUsage && client.HasPassword():
		return nil, execd.Failure(wrong, errors.New("'-url' has a password, which everybody on this host can read: use '-password-file' or "+variableURL))
	case !ok:
		return client, nil
	case client.User() == "":
		return nil, execd.Failure(cli.ExitUsage, fmt.Errorf("'-password-file' needs a user: write https://USER@... in %s", name))
	}
	password, err := readPassword(file)
	if err != nil {
		return nil, execd.Failure(cli.ExitConfig, fmt.Errorf("'-password-file': %w", err))
	}
	client.Authenticate(client.User(), password)
	return client, nil
}

// maxPassword is the longest password, in bytes.
const maxPassword = 1024

// readPassword returns the first line of a file.
func readPassword(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPassword))
	if err != nil {
		return "", err
	}
	password, _, _ := strings.Cut(string(text), "\n")
	if password = strings.TrimSuffix(password, "\r"); password == "" {
		return "", fmt.Errorf("%q has no password in its first line", path)
	}
	return password, nil
}

// stateFiles returns the state files of the collectors in a configuration.
func stateFiles(config string) ([]string, error) {
	plugins, err := execd.Plugins(config)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, plugin := range plugins {
		if h, ok := plugin.(*heartbeat.Heartbeat); ok && h.StatePath() != "" {
			paths = append(paths, h.StatePath())
		}
	}
	if len(paths) == 0 {
		return nil, errors.New(`'state_file' is "none", so there is no socket and no file: give '-url', with an http:// address in 'service_addresses'`)
	}
	return paths, nil
}

// list returns the peers that q selects, and possibly others. If the collector does not
// answer, it reads the file, which may be old.
func (p *place) list(ctx context.Context, q api.Query, now time.Time) (*listing, error) {
	if p.client == nil {
		return readFile(p.file, now)
	}
	live, err := ask(ctx, p.client, q)
	if err == nil || p.file == "" || ctx.Err() != nil {
		return live, err
	}
	l, failed := readFile(p.file, now)
	if failed != nil {
		return nil, fmt.Errorf("%w, and %w", err, failed)
	}
	l.notes = append([]string{"Not live: " + err.Error() + "."}, l.notes...)
	return l, nil
}

// ask returns the listing of a collector.
func ask(ctx context.Context, client *api.Client, q api.Query) (*listing, error) {
	collector, err := client.Collector(ctx)
	if err != nil {
		return nil, err
	}
	all, err := client.Peers(ctx, q)
	if err != nil {
		return nil, err
	}
	l := &listing{place: client.String(), counts: collector.Peers, held: collector.Isolated}
	if l.held {
		l.notes = append(l.notes, "The collector is isolated: so many peers fell silent at once that it is probably cut off itself.")
	}
	l.peers = make([]peer, 0, len(all.Peers))
	for i := range all.Peers {
		l.peers = append(l.peers, peer{Peer: &all.Peers[i]})
	}
	l.sort()
	return l, nil
}

// urgency returns the rank of a state; more urgent states have lower ranks.
func urgency(name string) int {
	return slices.IndexFunc(liveness.Urgent[:], func(state liveness.State) bool { return state.String() == name })
}

// sort puts the most urgent state first, and the latest changes first within a state.
func (l *listing) sort() {
	slices.SortStableFunc(l.peers, func(a, b peer) int {
		return cmp.Or(cmp.Compare(urgency(a.State), urgency(b.State)), cmp.Compare(b.Since, a.Since), cmp.Compare(a.Name(), b.Name()))
	})
}

// head returns the line above the peers of a listing.
func (l *listing) head(now time.Time) string {
	how := "live"
	if !l.written.IsZero() {
		how = "last written " + formatSpan(now.Sub(l.written)) + " ago"
	}
	texts := make([]string, 0, len(states))
	for _, state := range states {
		texts = append(texts, fmt.Sprintf("%d %s", l.counts[state], state))
	}
	return fmt.Sprintf("%s, %s: %s", l.place, how, strings.Join(texts, ", "))
}
