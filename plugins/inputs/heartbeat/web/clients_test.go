package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A message as Telegraf 1.39.3 builds it with all that it can include.
const fullMessage = `{"id":"telegraf-a","version":"Telegraf 1.39.3","schema":1,"last":1700000000,"hostname":"Web-1",` +
	`"configurations":["/etc/telegraf/telegraf.conf"],"statistics":{"errors":1,"warnings":2,"metrics":300},` +
	`"logs":[{"time":"2026-11-30T00:00:00Z","level":"ERROR","source":"inputs.x","attributes":{"a":{"b":[1]}},"message":"bad"}],"status":"WARN"}`

func TestMessagesOfTelegrafAreBeats(t *testing.T) {
	s := newSite(t, nil)
	require.Equal(t, 200, s.ask(local("POST", "/heartbeat?every=5m", fullMessage)).Code)
	p := s.taken[0]
	require.Equal(t, "web-1/telegraf WARN every=5m grace=0s", said(&p))
	require.Equal(t, []wire.Field{{Key: "errors", Value: 1.0}, {Key: "metrics", Value: 300.0}, {Key: "warnings", Value: 2.0}}, p.Fields)
	require.False(t, p.Watched, "it speaks for itself")

	require.Equal(t, 200, s.ask(local("POST", "/heartbeat?service=edge", `{"schema":1,"id":"web-2","version":"Telegraf 1.39.3"}`)).Code)
	require.Equal(t, "web-2/edge alive every=0s grace=0s", said(&s.taken[1]), "every and grace of 'dead_after'")
	require.NotEqual(t, p.PID, s.taken[1].PID, "another id is another process")
	require.NotZero(t, s.taken[1].PID)
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return packed.String()
}

func TestMessagesMayBePacked(t *testing.T) {
	s := newSite(t, nil)
	r := local("POST", "/heartbeat", packed(t, fullMessage))
	r.Header.Set("Content-Encoding", "gzip")
	require.Equal(t, 200, s.ask(r).Code)
	require.Equal(t, "web-1", s.taken[0].Host)
}

func TestBadMessagesAreRefused(t *testing.T) {
	long := `{"logs":["` + strings.Repeat("x", maxMessage) + `"],"id":"a","schema":1}`
	for name, c := range map[string]struct {
		body, encoding string
		status         int
		reason         wire.Reason
	}{
		"nothing":         {"", "", 400, wire.ReasonJSON},
		"no object":       {"[]", "", 400, wire.ReasonJSON},
		"cut":             {fullMessage[:100], "", 400, wire.ReasonJSON},
		"no id":           {`{"schema":1,"hostname":"a"}`, "", 400, wire.ReasonMissing},
		"another schema":  {`{"schema":2,"id":"a"}`, "", 400, wire.ReasonVersion},
		"no schema":       {`{"id":"a"}`, "", 400, wire.ReasonVersion},
		"no host":         {`{"schema":1,"id":"a b"}`, "", 400, wire.ReasonValue},
		"a number for id": {`{"schema":1,"id":3}`, "", 400, wire.ReasonJSON},
		"an end":          {`{"schema":1,"id":"a","status":"down"}`, "", 400, wire.ReasonValue},
		"deep":            {`{"logs":` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + `,"id":"a","schema":1}`, "", 400, wire.ReasonJSON},
		"too long":        {long, "", 413, wire.ReasonOversize},
		"a bomb":          {packed(t, long), "gzip", 413, wire.ReasonOversize},
		"no gzip":         {fullMessage, "gzip", 400, wire.ReasonJSON},
		"brotli":          {fullMessage, "br", 415, ReasonRequest},
	} {
		s := newSite(t, nil)
		r := local("POST", "/heartbeat", c.body)
		r.Header.Set("Content-Encoding", c.encoding)
		require.Equal(t, c.status, s.ask(r).Code, name)
		require.Equal(t, []wire.Reason{c.reason}, s.refused, name)
		require.Empty(t, s.taken, name)
	}
	s := newSite(t, nil)
	body := `{"logs":["` + strings.Repeat("x", maxMessage-100) + `"],"id":"a","schema":1}`
	require.Equal(t, 200, s.ask(local("POST", "/heartbeat", body)).Code, "logs of many hours")
}

func TestAPushTellsHowLongItTook(t *testing.T) {
	for ping, want := range map[string]int{"12.5": 1, "": 0, "x": 0, "NaN": 0, "inf": 0} {
		s := newSite(t, nil)
		require.Equal(t, 200, s.ask(remote("GET", "/api/push/"+uuid+"?ping="+ping, "")).Code)
		require.Len(t, s.taken[0].Fields, want, ping)
	}
}

// A body that does not end costs no ping.
func TestABodyThatIsTooLongIsNoError(t *testing.T) {
	s := newSite(t, nil)
	w := s.ask(remote(http.MethodPost, "/ping/"+uuid, strings.Repeat("x", maxDrained+1)))
	require.Equal(t, 200, w.Code)
	require.Len(t, s.taken, 1)
	require.Empty(t, s.refused)

	body := strings.NewReader(strings.Repeat("x", maxDrained))
	r := remote(http.MethodPost, "/ping/"+uuid, "")
	r.Body = io.NopCloser(body)
	require.Equal(t, 200, s.ask(r).Code)
	require.Zero(t, body.Len(), "the client may send all of it before it reads")
}
