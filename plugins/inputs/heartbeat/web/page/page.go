// Package page shows peers: to people as one page, to programs as JSON. It knows how peers are
// sorted, searched and printed. It never knows how peers are judged, where a request comes from or
// who may read.
package page

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// Options are the sources of a Page. The functions may be called at any time, and
// concurrently.
type Options struct {
	Peers     func() []liveness.Details // all peers, in any order; duplicates are possible
	Collector func() api.Collector
	Listening func() bool
}

// A Page answers readers. It makes a snapshot on demand, at most twice a second, which all
// readers share.
type Page struct {
	options Options
	paths   *http.ServeMux
	cache   cache
}

// New returns a Page.
func New(options Options) *Page {
	p := &Page{options: options, paths: http.NewServeMux()}
	p.cache.take = p.snapshot
	p.paths.HandleFunc("/{$}", p.showPage)
	p.paths.HandleFunc(api.PathPeers, p.listPeers)
	p.paths.HandleFunc(api.PathPeer+"{source}", p.showPeer) // not found; without this it would be redirected
	p.paths.HandleFunc(api.PathPeer+"{source}/{service...}", p.showPeer)
	p.paths.HandleFunc(api.PathCollector, p.showCollector)
	p.paths.HandleFunc(api.PathHealth, p.showHealth)
	p.paths.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("no such path: %.64q", r.URL.Path))
	})
	return p
}

// ServeHTTP answers a reader.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setSecurityHeaders(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("method %.16q is not allowed: use GET or HEAD", r.Method))
		return
	}
	p.paths.ServeHTTP(w, r)
}

// setSecurityHeaders sets headers so that a browser does not guess the type of an answer, does not show
// it in the page of another site, and does not send its URL to other sites.
func setSecurityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-cache")
}

func (p *Page) showPage(w http.ResponseWriter, r *http.Request) {
	asked, err := parseVisit(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	p.cache.answer("page "+r.URL.Query().Encode(), func(s *snapshot) *answer { return s.page(&asked) }).serve(w, r)
}

func (p *Page) listPeers(w http.ResponseWriter, r *http.Request) {
	asked, err := parseQuestion(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	allowed := freshFor
	if asked.after != nil {
		allowed = keptFor
	}
	p.cache.answerFrom(allowed, "peers "+r.URL.Query().Encode(), func(s *snapshot) *answer { return inJSON(s.list(&asked)) }).serve(w, r)
}

func (p *Page) showPeer(w http.ResponseWriter, r *http.Request) {
	if err := onlyKnown(r.URL.Query()); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	name := r.PathValue("source") + "/" + r.PathValue("service")
	found := p.cache.answer("peer "+name, func(s *snapshot) *answer {
		if d := s.find(name); d != nil {
			return inJSON(peerOf(d, s.made))
		}
		return nil
	})
	if found == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("no peer is named %.300q", name))
		return
	}
	found.serve(w, r)
}

func (p *Page) showCollector(w http.ResponseWriter, r *http.Request) {
	if err := onlyKnown(r.URL.Query()); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	inJSON(p.options.Collector()).serve(w, r)
}

// showHealth reports whether the collector listens. Anyone may ask, so it names no peer.
func (p *Page) showHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !p.options.Listening() {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "not listening\n") //nolint:errcheck // the reader has gone
		return
	}
	io.WriteString(w, "OK\n") //nolint:errcheck // the reader has gone
}

func refuse(w http.ResponseWriter, status int, err error) {
	a := inJSON(api.Error{Error: strings.ToValidUTF8(err.Error(), "?")})
	w.Header().Set("Content-Type", a.kind)
	w.WriteHeader(status)
	w.Write(a.body) //nolint:errcheck // the reader has gone
}
