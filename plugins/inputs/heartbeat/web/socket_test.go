package web

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A Unix socket is there in the file system only while it is served.
func TestSocketAnswersUntilClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	socket, err := net.Listen("unix", path)
	require.NoError(t, err)
	warn := func(text string) { t.Error(text) }
	echo := func(w http.ResponseWriter, r *http.Request) {
		_, err := io.WriteString(w, r.URL.Path)
		assert.NoError(t, err)
	}
	s := Serve(socket, http.HandlerFunc(echo), warn)

	answer, err := readerAt(path).Get("http://collector/api/peers")
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, "/api/peers", string(body))

	idle, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer idle.Close()
	s.Close()
	require.NoFileExists(t, path)
	_, err = idle.Read(make([]byte, 1))
	require.Error(t, err, "its connections are closed")
	(*Socket)(nil).Close()
}

// A reader that sends more than one may is refused before it is all read.
func TestSocketBoundsWhatAReaderSends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	socket, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := Serve(socket, http.NotFoundHandler(), func(string) {})
	defer s.Close()
	request, err := http.NewRequest(http.MethodGet, "http://collector/", http.NoBody)
	require.NoError(t, err)
	request.Header.Set("X-Long", string(bytes.Repeat([]byte("x"), 64<<10)))
	answer, err := readerAt(path).Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answer.StatusCode)
	for _, limit := range []any{s.server.ReadHeaderTimeout, s.server.ReadTimeout, s.server.WriteTimeout, s.server.IdleTimeout} {
		require.NotZero(t, limit)
	}
}

func TestTroubleOfASocketIsTold(t *testing.T) {
	socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	told := make(chan string, 1)
	s := Serve(socket, http.NotFoundHandler(), func(text string) { told <- text })
	require.NoError(t, socket.Close())
	require.Contains(t, <-told, "use of closed network connection")
	s.Close()
}

// readerAt returns one that asks at a Unix socket.
func readerAt(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}
