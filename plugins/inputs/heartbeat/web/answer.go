package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// maxDrained is how many bytes of an unused body are read.
const maxDrained = 1 << 20

// A request is an HTTP request together with its client and response writer.
type request struct {
	*http.Request
	client
	w     http.ResponseWriter
	visit *visit // nil in tests of requests
}

// discardBody discards the body. A client may read the answer only after it has sent its body.
func (q *request) discardBody() {
	//nolint:errcheck // the body does not matter
	io.Copy(io.Discard, http.MaxBytesReader(q.w, q.Body, maxDrained))
}

// An answer is the answer to an accepted request.
type answer struct {
	status    int
	text      string
	deadAfter time.Duration // 0 for none
	recorded  bool          // it was a beat
}

func ok() *answer { return &answer{status: http.StatusOK, text: "OK"} }

// A refusal is why a request is refused, and the answer to its client.
type refusal struct {
	status int
	reason wire.Reason
	text   string // for the log: never a token, and no part of the URL that may be one
	answer string // for the client; text if empty
	allow  string // the allowed methods, if the method was the reason
}

func refuse(status int, reason wire.Reason, format string, args ...any) *refusal {
	return &refusal{status: status, reason: reason, text: fmt.Sprintf(format, args...)}
}

func badMethod(method string, allowed ...string) *refusal {
	all := strings.Join(allowed, ", ")
	r := refuse(http.StatusMethodNotAllowed, ReasonRequest, "method is %.16q: use %s", method, all)
	r.allow = all
	return r
}

func unknownPath() *refusal { return refuse(http.StatusNotFound, ReasonRequest, "not found") }

// A format is the form of answers for one kind of client.
type format struct {
	contentType string
	ok, refused func(text string) string
}

// The formats.
var (
	plain = format{"text/plain; charset=utf-8", asText, asText}
	kuma  = format{"application/json; charset=utf-8", asPushed, asNotPushed}
	reads = format{"application/json; charset=utf-8", asText, asNotRead}
	ours  = format{"application/json; charset=utf-8", asText, asError}
)

func asText(text string) string { return text }

func asPushed(string) string { return `{"ok":true}` }

func asNotPushed(text string) string {
	quoted, _ := json.Marshal(text) //nolint:errcheck,errchkjson // a string always encodes
	return `{"ok":false,"msg":` + string(quoted) + `}`
}

func asNotRead(text string) string {
	quoted, _ := json.Marshal(api.Error{Error: text}) //nolint:errcheck,errchkjson // a string always encodes
	return string(quoted)
}

// asError returns text as an answer of the wire protocol, unless it is one already.
func asError(text string) string {
	if strings.HasPrefix(text, "{") {
		return text
	}
	return string(wire.AppendAnswer(nil, &wire.Answer{Error: text, NowMS: time.Now().UnixMilli()}))
}

// answer processes a request with take, and answers it.
func (s *Server) answer(q *request, f format, take func(*request) (*answer, *refusal), methods ...string) {
	if !slices.Contains(methods, q.Method) {
		s.refuse(q, f, badMethod(q.Method, methods...))
		return
	}
	a, refusal := take(q)
	if refusal != nil {
		s.refuse(q, f, refusal)
		return
	}
	if a.recorded && q.visit != nil {
		s.Recorded(q.visit.Conn)
	}
	q.discardBody()
	if a.deadAfter > 0 {
		q.w.Header().Set("Heartbeat-Dead-After", formatDuration(a.deadAfter))
	}
	q.send(f, a.status, f.ok(a.text))
}

func (s *Server) refuse(q *request, f format, r *refusal) {
	s.Refused(r.reason, q.name, r.text)
	q.discardBody()
	if r.allow != "" {
		q.w.Header().Set("Allow", r.allow)
	}
	text := r.text
	if r.answer != "" {
		text = r.answer
	}
	q.send(f, r.status, f.refused(text))
}

func (q *request) send(f format, status int, text string) {
	header := q.w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	q.w.WriteHeader(status)
	//nolint:errcheck // the client has gone
	io.WriteString(q.w, text)
}

// formatDuration formats d in the short form: 25h, not 25h0m0s.
func formatDuration(d time.Duration) string {
	text := d.Round(time.Millisecond).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
