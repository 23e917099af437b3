package heartbeat

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// speaksFor makes this test binary send once over the Unix socket that it names, like
// another process, user or container. PID means its own number.
const speaksFor = "HEARTBEAT_TEST_SPEAKS_TO"

func TestSpeakAsAnother(t *testing.T) {
	path := os.Getenv(speaksFor)
	if path == "" {
		return // the tests below run it, as another process
	}
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer conn.Close()
	payload := strings.ReplaceAll(os.Getenv(speaksFor+"_SAYING"), "PID", strconv.Itoa(os.Getpid()))
	_, err = conn.Write(wire.AppendFrame(nil, []byte(payload)))
	require.NoError(t, err)
	answer, err := wire.NewReader(conn, wire.MaxAnswer).Next()
	require.NoError(t, err)
	_, err = os.Stderr.Write(append(answer, '\n'))
	require.NoError(t, err)
}

// speak lets another process say something to h, and returns the answer and the
// number of that process.
func speak(t *testing.T, h *Heartbeat, as *syscall.SysProcAttr, payload string) (wire.Answer, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^TestSpeakAsAnother$")
	cmd.Env = []string{speaksFor + "=" + strings.TrimPrefix(address(h), "unix://"), speaksFor + "_SAYING=" + payload}
	cmd.SysProcAttr, cmd.Stdout = as, io.Discard
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		t.Skipf("a process as %+v cannot be started here: %v: %s", as, err, said.String())
	}
	answer, err := wire.DecodeAnswer([]byte(strings.TrimSpace(said.String())))
	require.NoError(t, err, said.String())
	return answer, cmd.Process.Pid
}

// unixForAll starts a plugin whose socket every user may open.
func unixForAll(t *testing.T) *Heartbeat {
	t.Helper()
	path := socketPath(t)
	h := transport(t, "unix://"+path, func(h *Heartbeat) { h.SocketMode = "0666" })
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755)) //nolint:gosec // other users have to come in
	return h
}

// user returns how a process of another user is started.
func asUser(id uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
}

// Nobody buries, retires or revives the service of another user.
func TestUsersSpeakForTheirOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	const alice, bob = 61001, 61002
	h := unixForAll(t)
	says := func(who uint32, more string) string {
		answer, _ := speak(t, h, asUser(who), `{"host":"web-1","service":"shop","pid":PID,"ack":true,"interval_ms":60000`+more+`}`)
		return answer.Error
	}
	require.Empty(t, says(alice, ""))
	for _, more := range []string{`,"status":"dead"`, `,"status":"leaving"`, `,"status":"leaving","back_in_ms":1000`, "", `,"check":true`} {
		require.Contains(t, says(bob, more), "peer web-1/shop belongs to another user, not to uid 61002", more)
		require.Contains(t, says(bob, `,"watched":true`+more), "belongs to another user", "who watches too")
	}
	require.EqualValues(t, 10, rejected(h, judge.ReasonUser))
	require.Empty(t, says(alice, `,"status":"dead"`))
	require.Contains(t, says(bob, ""), "belongs to another user", "its death is not hidden")
	require.Empty(t, says(0, ""), "root may")
	require.Contains(t, says(bob, ""), "belongs to another user", "and takes nothing")
	retired, _ := speak(t, h, asUser(0), `{"host":"web-1","service":"shop","pid":0,"ack":true,"status":"leaving"}`)
	require.Empty(t, retired.Error)
	require.Empty(t, says(bob, ""), "it has left")
	require.Contains(t, says(alice, ""), "belongs to another user")
}

// dialAs connects to h as another user.
func dialAs(t *testing.T, h *Heartbeat, user uintptr) *client {
	t.Helper()
	const unchanged = ^uintptr(0)
	become := func(user uintptr) { // this thread alone, and so that it can come back
		_, _, failed := syscall.RawSyscall(syscall.SYS_SETRESUID, unchanged, user, unchanged)
		require.Zero(t, failed)
	}
	runtime.LockOSThread()
	become(user)
	conn := dialURL(t, h)
	become(0)
	runtime.UnlockOSThread() // else it ends with this test
	return newClient(t, conn)
}

// A user with many connections that have had nothing accepted does not use up those of others,
// and is named in the log.
func TestUnprovenConnectionsOfOneUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	const alice, bob = 61001, 61002
	log := &testutil.CaptureLogger{}
	path := socketPath(t)
	h := transport(t, "unix://"+path, func(h *Heartbeat) { h.SocketMode, h.MaxConnections, h.Log = "0666", 80, log })
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755)) //nolint:gosec // other users have to come in
	for range 10 {
		dialAs(t, h, alice)
	}
	dialAs(t, h, alice).closed()
	dialAs(t, h, alice).closed()
	const beat = `{"host":"web-1","pid":0,"check":true}`
	for _, other := range []uintptr{0, bob} {
		c := dialAs(t, h, other)
		require.Empty(t, c.decoded(beat).Error, "uid %d", other)
		c.Close()
	}
	require.EqualValues(t, 2, rejected(h, serve.ReasonUnproven))
	require.Equal(t, []string{"W! [] Refused uid 61001 over a unix socket, unproven: " +
		"too many connections from this address or user have had nothing accepted yet: " +
		"the limit is 10, an eighth of 'max_connections' or of the descriptor limit"}, log.Warnings())
	h.Stop()
}

// In a namespace of its own a process can have any number. It is known by ours,
// so that it passes for no other one.
func TestNumberInANamespaceIsNobodyElses(t *testing.T) {
	h := unixForAll(t)
	const beat = `{"host":"web-1","pid":PID,"ack":true,"interval_ms":60000`
	inside := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	victim := newClient(t, dialURL(t, h))
	require.Empty(t, victim.decoded(strings.Replace(beat, "PID", strconv.Itoa(os.Getpid()), 1)+`}`).Error)

	answer, outside := speak(t, h, inside, beat+`}`)
	require.Empty(t, answer.Error, "a container may speak")
	require.Equal(t, fmt.Sprintf("web-1/%d", outside), answer.ID, "it says 1, which another one is")
	answer, _ = speak(t, h, inside, strings.Replace(beat, "PID", strconv.Itoa(os.Getpid()), 1)+`,"status":"dead"}`)
	require.Contains(t, answer.Error, "is not the pid of the sending process")
}
