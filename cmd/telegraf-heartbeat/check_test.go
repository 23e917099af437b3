package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/execd"
)

// checked returns what -check says of a configuration in dir, a line for each
// thing that is wrong.
func checked(t *testing.T, dir, conf string) []string {
	t.Helper()
	file := filepath.Join(dir, "heartbeat.conf")
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o600))
	var stdout, stderr bytes.Buffer
	err := execd.Run(t.Context(), []string{"-check", "-config", file}, nil, &stdout, &stderr)
	if err == nil {
		require.Equal(t, "ok: one instance in "+file+"\n", stdout.String())
	} else {
		require.Equal(t, 3, cli.ExitCode(err))
		require.Empty(t, stdout.String())
		fmt.Fprintln(&stderr, "E! telegraf-heartbeat:", err)
	}
	said := strings.ReplaceAll(stderr.String(), file, "CONF")
	return strings.Split(strings.TrimSpace(strings.ReplaceAll(said, dir, "DIR")), "\n")
}

// -check reads all that a start reads, and says each line that cannot work.
func TestCheckReadsWhatAStartReads(t *testing.T) {
	write := func(name, text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
	}
	const table = "[[inputs.heartbeat]]\n"
	for name, c := range map[string]struct {
		conf  string
		files func(t *testing.T, dir string)
		want  []string
	}{
		"fine": {table + `expect_files = ["DIR/hosts"]`, write("hosts", "web-1\n10.0.0.5/nginx\n"), []string{""}},
		"expect files that name nobody": {table + "\nexpect_files = [\"DIR/hosts\"]", write("hosts", "*.example.com\nweb-1\n10.0.0.0/24\nweb-1:9100\n"), []string{
			`E! telegraf-heartbeat: CONF:3: DIR/hosts:1: "*.example.com" is a pattern: list each host by name ('expect_files')`,
			`E! telegraf-heartbeat: CONF:3: DIR/hosts:3: "10.0.0.0/24" is a network: list each address ('expect_files')`,
			`E! telegraf-heartbeat: CONF:3: DIR/hosts:4: "web-1:9100" has a port, or is not an address: write HOST or HOST/SERVICE ('expect_files')`,
		}},
		"a file that is not there": {table + `expect_files = ["DIR/hosts"]`, nil, []string{
			`E! telegraf-heartbeat: CONF:2: cannot read "DIR/hosts" in 'expect_files': ... DIR/hosts: no such file or directory`,
		}},
		"a directory": {table + `expect_files = ["DIR"]`, nil, []string{
			`E! telegraf-heartbeat: CONF:2: cannot read "DIR" in 'expect_files': "DIR" is not a regular file`,
		}},
		"a key that is too short": {table + "welcome = \"x\"\n[inputs.heartbeat.keys]\n\"web-2\" = \"0123456789abcdef\"\n\"web-1\" = \"short\"\n", nil, []string{
			`E! telegraf-heartbeat: CONF:5: key "web-1" of 'keys': ... 5 bytes, but needs at least 16`,
		}},
		"two keys and a certificate": {
			table + "service_addresses = [\"tls://:7878\"]\ntls_cert = \"DIR/cert\"\ntls_key = \"DIR/key\"\n" +
				"[inputs.heartbeat.keys]\nweb-2 = \"short\"\nweb-3 = \"0123456789abcdef\"\nweb-1 = \"file:DIR/none\"\n", nil, []string{
				`E! telegraf-heartbeat: CONF:8: key "web-1" of 'keys': ... DIR/none: no such file or directory`,
				`E! telegraf-heartbeat: CONF:6: key "web-2" of 'keys': ... 5 bytes, but needs at least 16`,
				`E! telegraf-heartbeat: CONF:3: cannot read the files of 'tls_cert', 'tls_key' and 'tls_allowed_cacerts': ... DIR/cert: no such file or directory`,
			},
		},
		"a key file that is too short": {table + "[inputs.heartbeat.keys]\nweb-1 = \"file:DIR/key\"\n", write("key", "short\n"), []string{
			`E! telegraf-heartbeat: CONF:3: key "web-1" of 'keys': ... 5 bytes, but needs at least 16`,
		}},
		"a directory of keys that are named as no host is": {table + "keys_dir = \"DIR/keys\"", func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700))
			for _, name := range []string{"keys/web-1.key", "keys/web-2.key"} {
				write(name, "0123456789abcdef\n")(t, dir)
			}
		}, []string{`I! [inputs.heartbeat] Keys in 'keys_dir': 2, the first is "web-1.key"`}},
		"an empty directory of keys": {table + "keys_dir = \"DIR/keys\"", func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "keys"), 0o700))
		}, []string{`I! [inputs.heartbeat] Keys in 'keys_dir': none`}},
		"a certificate that is not there": {table + "service_addresses = [\"tls://:7878\"]\ntls_cert = \"DIR/cert\"\ntls_key = \"DIR/key\"\n", nil, []string{
			`E! telegraf-heartbeat: CONF:3: cannot read the files of 'tls_cert', 'tls_key' and 'tls_allowed_cacerts': ... DIR/cert: no such file or directory`,
		}},
		"a duration without a unit": {table + "dead_after = 5\n[[inputs.heartbeat.rule]]\nhost = \"a\"\ndead_after = \"30\"", nil, []string{
			`W! [inputs.heartbeat] CONF:2: option 'dead_after' has no unit: 5 means seconds, write "5s"`,
			`W! [inputs.heartbeat] CONF:5: option 'dead_after' has no unit: 30 means seconds, write "30s"`,
		}},
		"the option itself": {table + "expect = [\"web-1\", \"10.0.0.0/24\"]", nil, []string{
			`E! telegraf-heartbeat: CONF:2: 'expect': "10.0.0.0/24" is a network: list each address`,
		}},
		"a rule": {table + "dead_after = \"1h\"\n[[inputs.heartbeat.rule]]\nhost = \"a\"\ndead_after = \"1h\"\n[[inputs.heartbeat.rule]]\nhost = \"b\"\ndead_after = \"1s\"\n", nil, []string{
			`E! telegraf-heartbeat: CONF:8: rule 2 of [[inputs.heartbeat.rule]]: 'dead_after' must be at least 2s and at most 3650d, not 1s`,
		}},
		"a cluster": {table + "tls_cert = \"\"\nwelcome = \"x\"\n[inputs.heartbeat.cluster]\nmates = [\"c1:6222\", \"tcp://c2:6222\"]\nsecret = \"0123456789abcdef\"\n", nil, []string{
			`E! telegraf-heartbeat: CONF:5: [inputs.heartbeat.cluster]: 'mates': "tcp://c2:6222" has a scheme: write "c2:6222"`,
		}},
		"certificates of a cluster": {table + "tls_cert = \"\"\n[inputs.heartbeat.cluster]\nmates = [\"c1:6222\"]\nsecret = \"0123456789abcdef\"\ntls_cert = \"a\"", nil, []string{
			`E! telegraf-heartbeat: CONF:6: [inputs.heartbeat.cluster]: set 'tls_cert', 'tls_key' and 'tls_allowed_cacerts', or none of them: ... certificates`,
		}},
		"the secret of a cluster": {table + "[inputs.heartbeat.cluster]\nmates = [\"c1:6222\"]\nsecret = \"file:DIR/none\"", nil, []string{
			`E! telegraf-heartbeat: CONF:4: [inputs.heartbeat.cluster]: 'secret': ... DIR/none: no such file or directory`,
		}},
		"mates that are not there": {table + "[inputs.heartbeat.cluster]\nsecret = \"0123456789abcdef\"\nmates = [\"127.0.0.1:1\", \"127.0.0.1:2\"]", nil, []string{
			`E! telegraf-heartbeat: CONF:4: [inputs.heartbeat.cluster]: 'mates': no collector listens on 127.0.0.1:1: ... refused`,
			`E! telegraf-heartbeat: CONF:4: [inputs.heartbeat.cluster]: 'mates': no collector listens on 127.0.0.1:2: ... refused`,
		}},
		"an option of a cluster that is misspelt": {table + "[inputs.heartbeat.cluster]\nmate = [\"c1:6222\"]\n", nil, []string{
			`E! telegraf-heartbeat: CONF:3: option 'mate' does not exist; did you mean 'mates'?`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.files != nil {
				c.files(t, dir)
			}
			said := checked(t, dir, strings.ReplaceAll(c.conf, "DIR", dir))
			require.Len(t, said, len(c.want), said)
			for i, want := range c.want {
				begin, end, cut := strings.Cut(want, "... ")
				require.True(t, said[i] == want || cut && strings.HasPrefix(said[i], begin) && strings.HasSuffix(said[i], end), "%s\n%s", said[i], want)
			}
		})
	}
}

// Two tables are both checked.
func TestCheckOfSeveralTables(t *testing.T) {
	said := checked(t, t.TempDir(), `
[[inputs.heartbeat]]
  missed_beats = 0
[[inputs.heartbeat]]
  service_addresses = ["tcp://:7879"]
  expect = ["*"]
  tags = {site = "x"}
`)
	require.Len(t, said, 2)
	require.Contains(t, said[0], "CONF:3: 'missed_beats' must be between 1 and 1000, not 0")
	require.Contains(t, said[1], "CONF:6: 'expect': \"*\" is a pattern")
}
