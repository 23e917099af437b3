//go:build unix

package deploy

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// There is no macOS and no FreeBSD here. What can be known without them: the files are
// well formed, and the command line in them beats for the host and promises to be back.

const installedElsewhere = "/usr/local/bin/heartbeat-sender"

func TestSamplesForOtherSystemsSayThatTheyAreUntested(t *testing.T) {
	for _, name := range []string{"launchd/heartbeat-sender.plist", "rc.d/heartbeat_sender"} {
		above, _, _ := strings.Cut(strings.TrimPrefix(text(t, name), "#!/bin/sh\n"), "\n")
		require.Contains(t, above, "Not tested: never run on ")
	}
}

// launchdKeys are those of launchd.plist(5) that we use, with the elements that they take.
var launchdKeys = map[string][]string{
	"Label": {"string"}, "ProgramArguments": {"array"}, "RunAtLoad": {"true", "false"}, "KeepAlive": {"true", "false"},
	"ThrottleInterval": {"integer"}, "UserName": {"string"},
}

func TestLaunchdStartsTheSender(t *testing.T) {
	keys := readPlist(t, "launchd/heartbeat-sender.plist")
	for key, value := range keys {
		require.Contains(t, launchdKeys[key], value.XMLName.Local, key)
	}
	require.Equal(t, "true", keys["RunAtLoad"].XMLName.Local)
	require.Equal(t, "true", keys["KeepAlive"].XMLName.Local)
	var args []string
	for _, element := range keys["ProgramArguments"].Elements {
		require.Equal(t, "string", element.XMLName.Local)
		args = append(args, element.Text)
	}
	beatsAndLeaves(t, args)
}

// An element is one of a property list.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Elements []element `xml:",any"`
}

// readPlist returns the values of the dictionary in a property list.
func readPlist(t *testing.T, name string) map[string]element {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text(t, name)))
	var list struct {
		XMLName xml.Name `xml:"plist"`
		Version string   `xml:"version,attr"`
		Dict    element  `xml:"dict"`
	}
	require.NoError(t, decoder.Decode(&list))
	_, err := decoder.Token()
	for err == nil {
		_, err = decoder.Token()
	}
	require.True(t, errors.Is(err, io.EOF), err)
	require.Equal(t, "1.0", list.Version)
	elements := list.Dict.Elements
	require.NotEmpty(t, elements)
	require.Zero(t, len(elements)%2, "a key has no value")
	values := make(map[string]element)
	for i := 0; i < len(elements); i += 2 {
		require.Equal(t, "key", elements[i].XMLName.Local)
		require.NotContains(t, values, elements[i].Text)
		values[elements[i].Text] = elements[i+1]
	}
	return values
}

func TestRCStartsTheSender(t *testing.T) {
	words := rcCommand(t)
	require.Equal(t, strings.Fields("/usr/sbin/daemon -c -f -r -P /var/run/heartbeat_sender.pid -u nobody"), words[:8])
	beatsAndLeaves(t, words[8:])
	own := rcCommand(t, "heartbeat_sender_flags=-interval 30s")
	require.Equal(t, []string{installedElsewhere, "run", "-interval", "30s"}, own[8:])
}

// rcCommand returns what the script of FreeBSD would have rc.subr start, with variables of rc.conf.
func rcCommand(t *testing.T, variables ...string) []string {
	t.Helper()
	const stub = `load_rc_config() { [ "$1" = heartbeat_sender ]; }
run_rc_command() { echo "$1 $name $rcvar $heartbeat_sender_enable:$command $command_args $heartbeat_sender_flags"; }
`
	dir := t.TempDir()
	library, script := filepath.Join(dir, "rc.subr"), filepath.Join(dir, "script")
	require.NoError(t, os.WriteFile(library, []byte(stub), 0o600))
	ours := strings.Replace(text(t, "rc.d/heartbeat_sender"), ". /etc/rc.subr\n", ". "+library+"\n", 1)
	require.NoError(t, os.WriteFile(script, []byte(ours), 0o600))
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", script, "start")
	cmd.Env = variables
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	asked, command, _ := strings.Cut(string(said), ":")
	require.Equal(t, "start heartbeat_sender heartbeat_sender_enable NO", asked, "it runs where it is enabled")
	return strings.Fields(command)
}

// beatsAndLeaves runs a command line of ours with another collector.
func beatsAndLeaves(t *testing.T, words []string) {
	t.Helper()
	require.Equal(t, installedElsewhere, words[0])
	server, beats := collector(t)
	args := strings.Join(words[1:], " ")
	require.Contains(t, args, " tcp://collector.example.com:7878")
	args = strings.Replace(args, "tcp://collector.example.com:7878", strings.TrimPrefix(server, "HEARTBEAT_SERVER="), 1)
	promisesToBeBack(t, program(t, strings.Fields(args)), beats)
}
