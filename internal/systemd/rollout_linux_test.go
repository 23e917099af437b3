package systemd

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

var rolloutHosts = flag.Int("hosts", 0, "how many hosts TestRollout sets up; 0: it is not run")

// A rollout is a fleet of machines in a network of its own, the first of which is the
// collector, and a playbook that knows them.
type rollout struct {
	t         *testing.T
	dir       string   // of the controller
	packages  []string // files, that of the sender first
	collector *machine
	hosts     []*machine
}

// The playbook sets up a collector and a host, then the other hosts, and all are alive.
// Run again it changes nothing. Then every host gets another secret, while it beats, and
// nothing that it says is refused, until the old secret is.
func TestRollout(t *testing.T) {
	if *rolloutHosts == 0 {
		return
	}
	r := newRollout(t)
	r.play("", "--limit", "hb-1,web-1")
	require.Equal(t, []string{"web-1", "web-1/demo"}, r.expected(), "the others wait for their turn")
	r.play("")
	ended := time.Now()
	r.allAlive()
	after := time.Since(ended)
	t.Logf("%d hosts were alive %s after the end of the play", len(r.hosts), after.Round(time.Millisecond))
	require.Len(t, r.expected(), 2*len(r.hosts))
	require.Contains(t, r.get("peers?limit=500"), `"dead_after_seconds":300,`, "the rule holds")
	changed := regexp.MustCompile(`(?m)changed=[1-9]`)
	require.NotRegexp(t, changed, r.play(""), "nothing has changed")

	first := r.secrets()
	const both = "heartbeat_secret_versions=[2,1]"
	require.Regexp(t, changed, r.play(both, "--check", "--limit", "hb-1,web-1"), "it says what it would do")
	require.Equal(t, first, r.secrets(), "and does not do it")
	made, err := filepath.Glob(filepath.Join(r.dir, "secrets", "*.2"))
	require.NoError(t, err)
	require.Empty(t, made, "nor does it make secrets")
	r.refusesToPlay("heartbeat_services=[{pid_file: /run/demo.pid}]", "an entry of heartbeat_services needs a 'service'")
	// A host that asks too early is refused, and asks again; that is no beat of it.
	const again = "FAILED - RETRYING"
	early := strings.Count(r.interrupted(both), again)
	require.Equal(t, first, r.secrets(), "it was not restarted")
	early += strings.Count(r.play(both), again)
	second := r.secrets()
	for i := range second {
		require.NotEqual(t, first[i], second[i])
	}
	r.refusesToPlay("", "web-1.2")
	r.play("heartbeat_secret_versions=[2]", "--limit", "heartbeat_collectors")
	require.Equal(t, second, r.secrets())
	r.beat()
	r.allAlive()
	before := r.refused()
	require.Empty(t, r.deaths())

	// The old secret is refused, and that is counted. So it is known what asking once counts.
	web := r.hosts[0]
	web.write("/root/old", first[0], 0o600)
	said, err := web.try("heartbeat-sender", "check", "-key-file", "/root/old")
	require.Error(t, err)
	require.Contains(t, said, `signature does not match key \"web-1\"`)
	once := r.refused() - before
	require.Positive(t, once)
	require.Equal(t, early*once, before, "beats were refused")

	r.withoutFirstStep(second)
	r.expectsWhoFailed()
}

// interrupted runs the playbook until a host has the file of its secret, and stops then.
func (r *rollout) interrupted(variables string) string {
	r.t.Helper()
	key := r.hosts[0].path("/etc/heartbeat-sender/heartbeat.key")
	before := read(r.t, key)
	said, err := r.try(variables, "--limit", "hb-1,web-1", "-e", "heartbeat_sender_back_in={{ missing }}")
	require.Error(r.t, err)
	require.NotEqual(r.t, before, read(r.t, key), "%s", said)
	return said
}

// expectsWhoFailed runs the playbook for a host on which it fails, and no other, and the
// collector expects it all the same, by the names that it would beat under. As if the
// run before had been interrupted, it reads its options again.
func (r *rollout) expectsWhoFailed() {
	r.t.Helper()
	r.collector.write("/etc/telegraf/heartbeat/expect", "", 0o644)
	const marker = "/etc/telegraf-heartbeat/.unfinished"
	r.collector.write(marker, "", 0o644)
	said, err := r.try("heartbeat_secret_versions=[3,2]", "--limit", "hb-1,web-1",
		"-e", "heartbeat_sender_package_file=/nowhere.deb", "-e", `{"heartbeat_services": [{"systemd_unit": "a\\x2db.mount"}]}`)
	require.Error(r.t, err)
	require.Contains(r.t, said, "/nowhere.deb")
	require.Contains(r.t, said, "RUNNING HANDLER [heartbeat_collector : Reload Telegraf]")
	require.NoFileExists(r.t, r.collector.path(marker))
	require.Equal(r.t, []string{"web-1", "web-1/a_x2db"}, r.expected())
}

// refusesToPlay runs the playbook for the collector, and it stops, for this reason.
func (r *rollout) refusesToPlay(variables, reason string) {
	r.t.Helper()
	said, err := r.try(variables, "--limit", "heartbeat_collectors")
	require.Error(r.t, err)
	require.Contains(r.t, said, reason)
}

// withoutFirstStep gives a host a secret of which the collector has not been told. The
// play stops before it is used, or its beats are refused, and that is counted.
func (r *rollout) withoutFirstStep(used []string) {
	r.t.Helper()
	const next = "heartbeat_secret_versions=[3,2]"
	said, err := r.try(next, "--limit", "web-1", "-e", "heartbeat_sender_check=1")
	require.Error(r.t, err)
	require.Contains(r.t, said, `signature does not match key`)
	require.Equal(r.t, used, r.secrets(), "it goes on with that")
	before := r.refused()
	r.beat()
	require.Equal(r.t, before, r.refused())

	r.play(next, "--limit", "web-1", "-e", "heartbeat_sender_check=0")
	testkit.Until(r.t, "beats that are refused", func() bool { return r.refused() > before })
}

// A key that is not valid costs nothing that is in the directory, and is not printed.
func TestKeysAreWrittenWhenAllAreValid(t *testing.T) {
	t.Parallel()
	needsAll(t, map[string]string{"ansible": "ansible-core"})
	const secret = "a secret that is long enough"
	dir := t.TempDir()
	write := func(hosts int, keys map[string]any) (string, error) {
		args, err := json.Marshal(map[string]any{"path": dir, "group": "root", "hosts": hosts, "keys": keys})
		require.NoError(t, err)
		cmd := exec.Command("ansible", "localhost", "-i", "localhost,", "-c", "local", "-vvv",
			"-e", "ansible_python_interpreter=/usr/bin/python3",
			"-M", project("deploy/ansible/roles/heartbeat_collector/library"), "-m", "heartbeat_keys", "-a", string(args))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8", "ANSIBLE_NOCOLOR=1"}
		said, err := cmd.CombinedOutput()
		require.NotContains(t, string(said), "long enough")
		return string(said), err
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "old"), nil, 0o600))

	said, err := write(2, map[string]any{"web-1": []string{secret, "another that is long enough"}, "web-2": []string{}})
	require.NoError(t, err, "%s", said)
	require.Regexp(t, `WARNING\]: No longer in the inventory, (?s:.)*: old\n`, said)
	const both = secret + "\nanother that is long enough\n"
	for id, wrong := range map[string]any{
		"string": secret, "number": []int{12345678901234567}, "lines": []string{secret + "\n" + secret},
		"short": []string{"not long"}, "a/b": []string{secret}, "A.": []string{secret},
	} {
		said, err := write(3, map[string]any{"a": []string{secret}, id: wrong, "web-1": []string{secret}})
		require.Error(t, err)
		require.Contains(t, said, "'"+id+"'")
		require.NotContains(t, said, "not long")
		require.Equal(t, both, read(t, filepath.Join(dir, "web-1")))
	}
	said, err = write(2, map[string]any{"web-1": []string{secret}})
	require.Error(t, err)
	require.Contains(t, said, "2 hosts have 1 names")
	require.Equal(t, both, read(t, filepath.Join(dir, "web-1")))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "the key and the directory")
}

// expected returns whom the collector expects.
func (r *rollout) expected() []string {
	r.t.Helper()
	_, names, _ := strings.Cut(r.collector.run("cat", "/etc/telegraf/heartbeat/expect"), "\n")
	return strings.Fields(names)
}

// deaths returns the events of deaths.
func (r *rollout) deaths() []string {
	r.t.Helper()
	return regexp.MustCompile(`(?m)^heartbeat_event,.*state=dead.*$`).FindAllString(r.collector.run("cat", metricsFile), -1)
}

func newRollout(t *testing.T) *rollout {
	needsAll(t, map[string]string{"ansible-playbook": "ansible-core", "curl": "curl"})
	if _, err := os.Stat("/usr/lib/python3/dist-packages/apt"); err != nil {
		t.Skip("needs Debian's package python3-apt")
	}
	read(t, project("bin/telegraf-stock"))
	r := &rollout{t: t, dir: t.TempDir(), packages: makePackages(t, "1.0.0")}
	network := startNetwork(t)
	add := func(name string, address int) *machine {
		m := start(t, name)
		network.join(m, address)
		r.file(name+".pid", strconv.Itoa(m.cmd.Process.Pid), 0o600)
		m.prepareDpkg()
		return m
	}
	r.collector = add("hb-1", 1)
	r.collector.addTelegraf()
	for i := range *rolloutHosts {
		m := add(fmt.Sprintf("web-%d", i+1), i+2)
		m.write("/etc/systemd/system/demo.service", demoUnit, 0o644)
		m.systemctl("daemon-reload")
		m.systemctl("start", "demo")
		r.hosts = append(r.hosts, m)
	}
	r.inventory()
	return r
}

func (r *rollout) file(name, text string, mode os.FileMode) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(filepath.Join(r.dir, name), []byte(text), mode))
}

// inventory writes what the playbook knows of the machines. Instead of ssh it enters
// their namespaces.
func (r *rollout) inventory() {
	r.file("enter", `#!/bin/sh
# Called as ssh is: options, the host, a command.
for argument; do host=$command command=$argument; done
exec nsenter --target "$(cat `+r.dir+`/"$host".pid)" --mount --pid --net --uts --ipc --cgroup --wd=/ -- \
	env -i PATH=`+localBin+` HOME=/root LC_ALL=C.UTF-8 /bin/sh -c "$command"
`, 0o700)
	r.file("inventory.yml", fmt.Sprintf(`
heartbeat_collectors:
  hosts: {hb-1: }
  vars:
    heartbeat_collector_telegraf: ""
    heartbeat_collector_package_file: %[4]s
    heartbeat_collector_options: {rule: [{host: "web-*", service: demo, dead_after: 5m}]}
heartbeat_senders:
  hosts: {"web-[1:%[2]d]": }
  vars:
    heartbeat_servers: ["tcp://10.99.0.1:7878"]
    heartbeat_services: [{systemd_unit: demo}]
    heartbeat_sender_package_file: %[3]s
all:
  vars:
    ansible_become: false
    ansible_python_interpreter: /usr/bin/python3
    ansible_ssh_executable: %[1]s/enter
`, r.dir, len(r.hosts), r.packages[0], r.packages[1]), 0o600)
}

// try runs the playbook and returns what it printed.
func (r *rollout) try(variables string, args ...string) (string, error) {
	r.t.Helper()
	all := append([]string{"-i", filepath.Join(r.dir, "inventory.yml"), project("deploy/ansible/site.yml")}, args...)
	if name, value, ok := strings.Cut(variables, "="); ok {
		all = append(all, "-e", fmt.Sprintf("{%q: %s}", name, value))
	}
	cmd := exec.Command("ansible-playbook", all...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "LC_ALL=C.UTF-8", "ANSIBLE_NOCOLOR=1", "ANSIBLE_FORKS=10",
		"ANSIBLE_PIPELINING=1", "ANSIBLE_SSH_TRANSFER_METHOD=piped",
	}
	began := time.Now()
	said, err := cmd.CombinedOutput()
	r.t.Logf("%s took %s", cmd, time.Since(began).Round(time.Second))
	return string(said), err
}

// play is try for what has to succeed.
func (r *rollout) play(variables string, args ...string) string {
	r.t.Helper()
	said, err := r.try(variables, args...)
	require.NoError(r.t, err, "%s", said)
	return said
}

// get returns an answer of the collector.
func (r *rollout) get(path string) string {
	r.t.Helper()
	return r.collector.run("curl", "-sS", "--unix-socket", "/var/lib/telegraf/heartbeat.sock", "http://localhost/api/"+path)
}

// ask asks the collector.
func (r *rollout) ask(path string, answer any) {
	r.t.Helper()
	said := r.get(path)
	require.NoError(r.t, json.Unmarshal([]byte(said), answer), said)
}

// refused returns how often the collector has refused something.
func (r *rollout) refused() int {
	r.t.Helper()
	var collector struct {
		Refused int `json:"refused_total"`
	}
	r.ask("collector", &collector)
	return collector.Refused
}

// beats returns how many beats came of each peer that is alive.
func (r *rollout) beats() map[string]int {
	r.t.Helper()
	var page struct {
		Peers []struct {
			Source, Service, State string
			Beats                  int `json:"beats_total"`
		}
	}
	r.ask("peers?limit=500", &page)
	beats := make(map[string]int)
	for _, peer := range page.Peers {
		if peer.State == "alive" {
			beats[peer.Source+"/"+peer.Service] = peer.Beats
		}
	}
	return beats
}

// allAlive waits until every host and its service are.
func (r *rollout) allAlive() {
	r.t.Helper()
	testkit.Until(r.t, "all to be alive", func() bool { return len(r.beats()) == 2*len(r.hosts) })
}

// beat waits for another beat of everybody.
func (r *rollout) beat() {
	r.t.Helper()
	before := r.beats()
	testkit.Until(r.t, "more beats", func() bool {
		now := r.beats()
		for peer, beats := range before {
			if now[peer] <= beats {
				return false
			}
		}
		return true
	})
}

// secrets returns those that the hosts sign with: what their units began with.
func (r *rollout) secrets() (secrets []string) {
	r.t.Helper()
	for _, m := range r.hosts {
		secrets = append(secrets, m.run("cat", "/run/credentials/heartbeat-sender-watch.service/heartbeat.key"))
	}
	return secrets
}

// A network is a bridge in a namespace that nobody else is in.
type network struct {
	t   *testing.T
	pid string
}

func startNetwork(t *testing.T) *network {
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it waits below
		cmd.Wait()         //nolint:errcheck // it was killed
	})
	n := &network{t, strconv.Itoa(cmd.Process.Pid)}
	n.ip("link", "add", "bridge", "type", "bridge")
	n.ip("link", "set", "bridge", "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	said, err := exec.Command("nsenter", append([]string{"--target", n.pid, "--net", "ip"}, args...)...).CombinedOutput()
	require.NoError(n.t, err, "%s", said)
}

// join gives a machine an address in the network.
func (n *network) join(m *machine, address int) {
	n.t.Helper()
	port := fmt.Sprintf("port%d", address)
	n.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(m.cmd.Process.Pid))
	n.ip("link", "set", port, "master", "bridge", "up")
	m.run("ip", "address", "add", fmt.Sprintf("10.99.0.%d/24", address), "dev", "eth0")
	m.run("ip", "link", "set", "eth0", "up")
}
