package web

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every request is answered; refused ones are counted; accepted ones are valid beats; and no
// log contains a token.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET /ping/" + uuid + "/3?rid=" + unknown + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /ping/" + key + "/backup/leave?back_in=5m&create=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
		"GET /ping/web-1/a%2Fb?every=7d&grace=90 HTTP/1.0\r\n\r\n",
		"GET /api/push/" + uuid + "?status=down&ping=1e3 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /heartbeat?every=5m HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + fleet + "\r\nContent-Length: 32\r\n\r\n" +
			`{"schema":1,"id":"a","status":1}`,
		"POST /beat HTTP/1.1\r\nHost: [::1]\r\nForwarded: for=\"[::1]:1\";by=x, for=_y\r\nX-Forwarded-For: 1.2.3.4, x\r\n\r\n",
		"GET /api/peers HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic b3BzOnNlY3JldA==\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		r.RemoteAddr = "127.0.0.1:4711"
		s := newSite(t, nil)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		require.Equal(t, w.Code >= 400, len(s.refused) == 1, "%d %s", w.Code, w.Body)
		for _, p := range s.taken {
			require.NoError(t, p.Validate())
			require.NotEmpty(t, p.Host)
		}
		for _, text := range s.texts {
			for _, token := range []string{uuid, unknown, key, fleet} {
				require.NotContains(t, text, token)
			}
		}
	})
}
