//go:build unix

package docs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is the time limit for a command that ends at once, on a busy machine.
const patience = 30 * time.Second

// A place is the machine that a document describes: a collector, and directories instead of the
// system's directories.
type place struct {
	bin, system string
	port, web   string // ports for heartbeats and for HTTP
}

// pingID is the token of the first check in docs/pings.md.
const pingID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"

// clients is the collector's configuration for the clients in the documents.
const clients = `
[[inputs.heartbeat.check]]
token = "` + pingID + `"
peer = "web-1/backup"
[[inputs.heartbeat.check]]
token = "hTdVEhHwzBOFWcVYJnkuxRbR4RpsrYVf"
peer = "web-1/mirror"
[[inputs.heartbeat.check]]
token = "a-secret-of-web-1"
peers = ["web-1/*"]
`

// A world runs the blocks of one document in order.
type world struct {
	*testing.T
	place
	*inventory
	dir     string
	printed string // output of the last block that was run
	section int    // the current section
	staying []staying
}

// files are the files that the documents expect to exist.
var files = map[string]string{
	"etc/telegraf/heartbeat/web-1.key":      "fedcba9876543210\n",
	"etc/telegraf/heartbeat/web-2.key":      "0123456789abcdef\n",
	"etc/telegraf/heartbeat/cluster.key":    "a secret of all collectors\n",
	"etc/telegraf-heartbeat/heartbeat.conf": "[[inputs.heartbeat]]\n",
	"etc/telegraf-heartbeat/hosts":          "web-1\nweb-2\nweb-3\n",
	"etc/telegraf/telegraf.d/x":             "",
	"etc/telegraf-heartbeat/x":              "",
	"etc/heartbeat-sender/x":                "",
	"usr/local/sbin/backup":                 "#!/bin/sh\n",
	"run/lock/backup":                       "",
	"usr/bin/sudo":                          "#!/bin/sh\nexec \"$@\"\n",
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{system: t.TempDir()}
	for name, text := range files {
		path := filepath.Join(p.system, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	certify(t, filepath.Join(p.system, "etc/telegraf/heartbeat"))
	for _, name := range []string{"usr/local/sbin/backup", "usr/bin/sudo"} {
		require.NoError(t, os.Chmod(filepath.Join(p.system, name), 0o700))
	}
	var err error
	p.bin, err = filepath.Abs(filepath.Join(root, "bin"))
	require.NoError(t, err)
	for _, name := range []string{"heartbeat-sender", "telegraf-heartbeat", "telegraf"} {
		if _, err := os.Stat(filepath.Join(p.bin, name)); err != nil {
			t.Skipf("needs bin/%s, which \"make test\" builds", name)
		}
		require.NoError(t, os.Symlink(filepath.Join(p.bin, name), filepath.Join(p.system, "usr/bin", name)))
	}
	p.startCollector(t)
	return p
}

// certify writes a self-signed certificate of a collector, its key, and the CA file.
func certify(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"collector.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	certDER, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, text := range map[string][]byte{"collector.pem": certPEM, "ca.pem": certPEM, "collector.key": keyPEM} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
}

// startCollector starts a collector and waits until it has saved its state, which the command
// peers reads.
func (p *place) startCollector(t *testing.T) {
	t.Helper()
	options := fmt.Sprintf("[[inputs.heartbeat]]\nservice_addresses = [\"tcp://127.0.0.1:0\", \"http://127.0.0.1:0\"]\n"+
		"[inputs.heartbeat.keys]\nweb-2 = \"file:%s/etc/telegraf/heartbeat/web-2.key\"\n", p.system) + clients
	file, log := filepath.Join(p.system, "heartbeat.conf"), filepath.Join(p.system, "log")
	require.NoError(t, os.WriteFile(file, []byte(options), 0o600))
	stderr, err := os.Create(log)
	require.NoError(t, err)
	defer stderr.Close()
	collector := exec.Command(filepath.Join(p.bin, "telegraf-heartbeat"), "-config", file, "-interval", "10s")
	collector.Env, collector.Stderr = p.environ(), stderr
	require.NoError(t, collector.Start())
	t.Cleanup(func() {
		collector.Process.Kill() //nolint:errcheck // it may have ended
		collector.Wait()         //nolint:errcheck // likewise
	})
	listening := regexp.MustCompile(`Listening on (tcp|http)://127\.0\.0\.1:(\d+)`)
	require.Eventually(t, func() bool {
		said, _ := os.ReadFile(log)
		_, unsaved := os.Stat(filepath.Join(p.system, "heartbeat.state"))
		for _, found := range listening.FindAllSubmatch(said, -1) {
			*map[string]*string{"tcp": &p.port, "http": &p.web}[string(found[1])] = string(found[2])
		}
		return p.port != "" && p.web != "" && unsaved == nil
	}, patience, 50*time.Millisecond)
	p.beatOnce(t)
}

// beatOnce sends a beat for each host of the documents, so that the collector knows the hosts and
// goodbyes work.
func (p *place) beatOnce(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+p.port)
	require.NoError(t, err)
	defer conn.Close()
	for _, host := range []string{"web-1", "web-2", "web-5", "web-17", "rack7-2", "win-1"} {
		_, err := fmt.Fprintf(conn, `{"host":%q,"pid":0,"interval_ms":86400000}`, host)
		require.NoError(t, err)
	}
	_, err = fmt.Fprint(conn, `{"host":"web-1","service":"telegraf","pid":0}`)
	require.NoError(t, err)
}

func (p *place) environ() []string {
	return []string{
		"PATH=" + filepath.Join(p.system, "usr/bin") + ":" + os.Getenv("PATH"),
		"STATE_DIRECTORY=" + p.system, "HEARTBEAT_HOST=web-1", "HEARTBEAT_SERVER=tcp://127.0.0.1:" + p.port,
		"PAGE_PASSWORD=a-password-of-the-page",
	}
}

var (
	address  = regexp.MustCompile(`(?:collector[-0-9]*\.example\.com|127\.0\.0\.1)([:/ ])(7878|7879)`)
	absolute = regexp.MustCompile(`(^|[\s"'=:])/(etc|run|usr|var)/`)
	splay    = regexp.MustCompile(`-splay \S+`)
	before   = regexp.MustCompile(`^(?:sudo |[A-Z_]+=\S+ )+`)
	checking = regexp.MustCompile(`(telegraf-heartbeat -check)$`)
	exitCode = regexp.MustCompile(`exit code (\d+)`)
)

// here replaces addresses and directories in a text by those of this collector.
func (w *world) here(text string) string {
	text = address.ReplaceAllString(text, "127.0.0.1${1}\x00${2}")
	text = strings.NewReplacer("\x007878", w.port, "\x007879", w.web).Replace(text)
	text = checking.ReplaceAllString(text, "$1 -config /etc/telegraf-heartbeat/heartbeat.conf") // its default path
	text = absolute.ReplaceAllString(text, "${1}"+w.system+"/${2}/")
	return splay.ReplaceAllString(text, "-splay 0s")
}

// run runs a line in a shell and returns its exit code and output.
func (w *world) run(line string, environ ...string) (code int, said string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -o pipefail; "+line)
	cmd.Dir, cmd.Env, cmd.WaitDelay = w.dir, append(w.environ(), environ...), time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(w, ctx.Err(), "%s does not end: is it to stay?\n%s", line, out)
	if cmd.ProcessState == nil {
		require.NoError(w, err, line)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// works runs a line. Its exit code must be 0, or the code that the text around it names.
func (w *world) works(line string, b block) {
	w.Helper()
	want := "0"
	if found := exitCode.FindStringSubmatch(b.around); found != nil {
		want = found[1]
	}
	code, said := w.run(w.here(line))
	require.Equal(w, want, fmt.Sprint(code), "%s\n%s", line, said)
	require.NotContains(w, said, "cannot report", line) // a failed report does not make a job fail
	w.printed += said
}

// write writes a file with text from a document and returns its path.
func (w *world) write(name, text string) string {
	w.Helper()
	path := filepath.Join(w.dir, name)
	require.NoError(w, os.WriteFile(path, []byte(w.here(text)), 0o600))
	return path
}

// unusedServer returns the address of a server on which no program listens.
func unusedServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return "tcp://" + listener.Addr().String()
}

// lookPath returns the path of a program that is not ours.
func (w *world) lookPath(name, from string) string {
	w.Helper()
	for _, at := range []string{name, filepath.Join(root, "build/servers/usr/bin", name)} {
		if path, err := exec.LookPath(at); err == nil {
			path, err = filepath.Abs(path)
			require.NoError(w, err)
			return path
		}
	}
	w.Skipf("needs %s: %s", name, from)
	return ""
}
