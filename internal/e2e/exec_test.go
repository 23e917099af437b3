//go:build linux

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// wrap returns a command around which exec is.
func wrap(t testing.TB, address string, command ...string) *exec.Cmd {
	t.Helper()
	return wrapTo(t, "tcp://"+address, command...)
}

func wrapTo(t testing.TB, url string, command ...string) *exec.Cmd {
	t.Helper()
	args := append([]string{
		"exec", "-config", os.DevNull, "-server", url, "-host", "web-1", "-service", "job", "-quiet", "--",
	}, command...)
	return exec.Command(testkit.Program(t, "heartbeat-sender"), args...)
}

func TestJobsAreToldAsTheyEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		script string
		code   int
		want   []string
	}{
		"success": {"sleep 0.5", 0, []string{"alive beat", "left finished"}},
		"failure": {"sleep 0.5; exit 3", 3, []string{"alive beat", "dead exited"}},
		"signal":  {"sleep 0.5; kill -9 $$", 137, []string{"alive beat", "dead exited"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t)
			p.relieve()
			job := testkit.Start(t, "exec", wrap(t, p.address, "sh", "-c", tt.script))
			require.Equal(t, tt.code, job.Exit())
			p.now().Until("its end", func() bool { return len(p.states("web-1", "job")) == len(tt.want) })
			require.Equal(t, tt.want, p.states("web-1", "job"))
			require.Empty(t, p.states("web-1", "host"), "it speaks for nobody else")
		})
	}
}

// Whoever stops the wrapper stops the job, and that was planned.
func TestStoppedJobHasLeft(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.relieve()
	job := testkit.Start(t, "exec", wrap(t, p.address, "sh", "-c", "sleep 3600; true")) // a group of two
	p.untilAll(1)
	job.Signal(syscall.SIGTERM)
	require.Equal(t, 143, job.Exit())
	p.now().Until("its end", func() bool { return len(p.states("web-1", "job")) == 2 })
	require.Equal(t, "left leaving", last(p.states("web-1", "job")))
}

// Process 1 of a container has what the kernel asks of one: it takes in orphans, hands on the
// signal at which it would not end by itself, ends as its job does, and says so first.
func TestProcess1OfAContainerTellsHowItEnds(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, which makes namespaces")
	}
	t.Parallel()
	// The job tells who its parent and that of its orphans are, and waits until no zombie is left.
	const job = `echo "$PPID" >$said
(sh -c 'sleep 0.3; grep PPid /proc/$$/status >>$said' &)
until grep -q PPid $said && ! grep -q "^State:.Z" /proc/[0-9]*/status 2>/dev/null; do sleep 0.05; done
echo clean >>$said
until [ -e $said.end ]; do sleep 0.05; done
`
	for name, tt := range map[string]struct {
		end  string // of the job
		stop bool   // send process 1 a signal instead
		code int
		want string
	}{
		"success": {"exit 0", false, 0, "left finished"},
		"failure": {"exit 3", false, 3, "dead exited"},
		"killed":  {"kill -9 $$", false, 137, "dead exited"},
		"stopped": {"", true, 7, "left leaving"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t)
			p.relieve()
			said := filepath.Join(t.TempDir(), "said")
			exec1 := wrap(t, p.address, "sh", "-c", "trap 'exit 7' TERM\n"+job+tt.end)
			cmd := exec.Command("unshare", append([]string{"--mount-proc", "--"}, exec1.Args...)...)
			cmd.Env = []string{"said=" + said}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
			container := testkit.Start(t, "exec", cmd)
			container.Until("the end of the orphan", func() bool {
				text, err := os.ReadFile(said)
				return err == nil && strings.HasSuffix(string(text), "clean\n")
			})
			text, err := os.ReadFile(said)
			require.NoError(t, err)
			require.Equal(t, "1\nPPid:\t1\nclean\n", string(text))
			p.now().Until("the job", func() bool { return len(p.states("web-1", "job")) == 1 })
			if tt.stop {
				container.Signal(syscall.SIGTERM)
			} else {
				require.NoError(t, os.WriteFile(said+".end", nil, 0o600))
			}
			require.Equal(t, tt.code, container.Exit())
			p.now().Until("its end", func() bool { return len(p.states("web-1", "job")) == 2 })
			require.Equal(t, []string{"alive beat", tt.want}, p.states("web-1", "job"))
		})
	}
}

// No collector delays a job: it starts at once, and its end waits for nobody
// but for a connection that may come within a second. The limits are ten times
// what it may take.
func TestNoCollectorDelaysAJob(t *testing.T) {
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, refusing.Close())
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody reads
	require.NoError(t, err)
	defer silent.Close()
	for name, tt := range map[string]struct {
		url   string
		limit time.Duration
	}{
		"refusing":       {"tcp://" + refusing.Addr().String(), 500 * time.Millisecond},
		"silent":         {"tcp://" + silent.Addr().String(), 500 * time.Millisecond},
		"blackhole":      {"tcp://" + blackhole(t), time.Second + 500*time.Millisecond},
		"stopped reader": {"unixgram://" + fullSocket(t), 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			const times = 5
			var starts, ends []time.Duration
			for range times {
				begin := time.Now()
				cmd := wrapTo(t, tt.url, "date", "+%s%N")
				out, err := cmd.Output()
				require.NoError(t, err)
				ends = append(ends, time.Since(begin)-bare(t))
				starts = append(starts, unixNano(t, out).Sub(begin))
			}
			slices.Sort(starts)
			slices.Sort(ends)
			t.Logf("CMD has started after %s, and it ended %s later than without exec (medians of %d)", starts[times/2], ends[times/2], times)
			require.Less(t, starts[times/2], 500*time.Millisecond)
			require.Less(t, ends[times/2], tt.limit)
		})
	}
}

// bare returns how long the command takes by itself.
func bare(t testing.TB) time.Duration {
	t.Helper()
	begin := time.Now()
	require.NoError(t, exec.Command("date", "+%s%N").Run())
	return time.Since(begin)
}

func unixNano(t testing.TB, text []byte) time.Time {
	t.Helper()
	nanos, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	require.NoError(t, err)
	return time.Unix(0, nanos)
}

// blackhole returns an address that answers no SYN: the queue of its listener
// is full, and nobody accepts.
func blackhole(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue of a listener has no end")
	return ""
}

// fullSocket returns a unix socket for datagrams that nobody reads, and that has
// no room left.
func fullSocket(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hb.sock")
	reader, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { reader.Close() })
	writer, err := net.Dial("unixgram", path)
	require.NoError(t, err)
	defer writer.Close()
	for {
		require.NoError(t, writer.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		if _, err := writer.Write([]byte("{}")); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return path
		}
	}
}
