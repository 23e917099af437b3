package judge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

func TestLogOfManyBadLinesIsShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("bad line\n", 10000)+"web-1\n"), 0o600))
	e := NewExpecter(nil, nil, []string{path}, nil).collect(t.Context())
	require.Equal(t, []liveness.Expected{{Source: "web-1"}}, e.all)
	require.Len(t, e.wrong, maxLogged+1)
	require.ErrorContains(t, e.wrong[maxLogged], "9990 more invalid lines")
}

// Files saved by editors of Windows are read correctly.
func TestExpectFilesOfAllEditors(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		all  []liveness.Expected
		says string
	}{
		"byte order mark":    {"\ufeffweb-1\nweb-2\n", []liveness.Expected{{Source: "web-1"}, {Source: "web-2"}}, ""},
		"and a comment":      {"\ufeff# the web\nweb-1", []liveness.Expected{{Source: "web-1"}}, ""},
		"nothing else":       {"\ufeff", nil, ""},
		"line ends":          {"web-1\r\nweb-2/nginx\r\n\r\n", []liveness.Expected{{Source: "web-1"}, {Source: "web-2", Service: "nginx"}}, ""},
		"UTF-16":             {"\xff\xfew\x00e\x00b\x00\n\x00", nil, "is not UTF-8 text"},
		"UTF-16, no mark":    {"w\x00e\x00b\x00\n\x00", nil, "is not UTF-8 text"},
		"Latin 1, a comment": {"web-1 # M\xfcller\n", []liveness.Expected{{Source: "web-1"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := new(expectedPeers)
			e.addFile("hosts", []byte(c.text))
			require.Equal(t, c.all, e.all)
			if c.says == "" {
				require.Empty(t, e.wrong)
				return
			}
			require.Len(t, e.wrong, 1)
			require.ErrorContains(t, e.wrong[0], c.says)
			require.True(t, e.partial, "as one that cannot be read, it must not make anybody unexpected")
		})
	}
}

// A line in another encoding costs only itself.
func TestExpectLineInAnotherEncoding(t *testing.T) {
	e := &expectedPeers{}
	e.addFile("hosts", []byte("web-1\nm\xfcller\nweb-2/m\xfcller\nweb-3\n"))
	require.Equal(t, []liveness.Expected{{Source: "web-1"}, {Source: "web-3"}}, e.all)
	require.Len(t, e.wrong, 2)
	require.ErrorContains(t, e.wrong[0], `hosts:2: "m\xfcller"`)
	require.ErrorContains(t, e.wrong[1], `hosts:3: "web-2/m\xfcller"`)
	require.False(t, e.partial)
}
