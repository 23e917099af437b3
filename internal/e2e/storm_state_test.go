//go:build unix

package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

const (
	keptPeers    = 12 // enough for isolation to have a say
	keptInterval = 2 * time.Second
)

// startKept starts a collector with peers and waits until they are saved.
func startKept(t *testing.T, p *post, command ...string) {
	t.Helper()
	p.relieve(command...)
	startFleet(t, p.address, keptPeers, keptInterval)
	p.untilAll(keptPeers)
}

func TestBadStateFileCostsOnlyWhatItHolds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(good []byte) []byte
		want  string
	}{
		{"garbage", func([]byte) []byte { return []byte("\x00\xff garbage\n\n{") }, "it is not a heartbeat state file"},
		{"empty", func([]byte) []byte { return nil }, "it is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t)
			startKept(t, p)
			p.stop()
			good, err := os.ReadFile(p.state)
			require.NoError(t, err)
			bad := tt.spoil(good)
			require.NoError(t, os.WriteFile(p.state, bad, 0o600))

			p.relieve()
			said := p.now().Stderr.With(p.state)
			require.NotEmpty(t, said)
			require.Contains(t, said[0], "W! ")
			require.Contains(t, said[0], tt.want)
			require.Contains(t, said[0], p.state+".bad")
			aside, err := os.ReadFile(p.state + ".bad")
			require.NoError(t, err)
			require.True(t, bytes.Equal(bad, aside), "%q", aside)

			require.Len(t, said, 1)
			require.Empty(t, p.now().Stderr.With("Restored "))
			p.untilAll(keptPeers)
			p.stop()
			p.relieve()
			require.Len(t, p.now().Stderr.With("Restored "+strconv.Itoa(keptPeers)+" peers"), 1)
			p.untilAll(keptPeers)
			p.requireNoDeath()
		})
	}
}

// What is cut off or damaged costs the peers that it was about.
func TestDamagedStateFileCostsTheDamaged(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(good []byte) []byte
		said  int
	}{
		{"a line", func(good []byte) []byte { return bytes.Replace(good, []byte(`-0003"`), []byte(`-0007"`), 1) }, 1},
		{"its end", func(good []byte) []byte { return good[:len(good)-10] }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t)
			startKept(t, p)
			p.stop()
			p.relieve() // what follows is what a crash leaves
			p.now().Kill()
			good, err := os.ReadFile(p.state)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(p.state, tt.spoil(good), 0o600))
			p.relieve()
			require.Len(t, p.now().Stderr.With("could not be read"), tt.said)
			p.untilAll(keptPeers)
			p.requireNoDeath()
		})
	}
}

// inTmpfs returns a command that runs another with a file system of its own
// over the directory of the state file, prepared by a shell script, to which $0
// is the name of that file.
func (p *post) inTmpfs(options, script string) []string {
	p.t.Helper()
	if runtime.GOOS != "linux" || exec.Command("unshare", "-m", "true").Run() != nil {
		p.t.Skip("needs root and unshare, to mount a file system that fails")
	}
	const mount = `set -e; cd "$1"; shift; mount -t tmpfs -o "$1" tmpfs .; cd "$PWD"; shift; `
	return []string{"unshare", "-m", "sh", "-c", mount + script + `; exec "$@"`, filepath.Base(p.state), p.dir, options}
}

// inside returns the name of a file as the collector that runs now has it.
func (p *post) inside(file string) string {
	return filepath.Join("/proc", strconv.Itoa(p.now().PID()), "root", file)
}

func TestReadOnlyDirectoryIsNoReasonNotToServe(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	command := p.inTmpfs("size=1m", "mount -o remount,ro .")
	startKept(t, p, command...)
	said := p.now().Stderr.With(p.state)
	require.Len(t, said, 1)
	require.Contains(t, said[0], "W! ")
	require.Contains(t, said[0], "State will not survive a restart")
	require.Contains(t, said[0], "read-only file system")
	pause(silence(keptInterval))
	require.Len(t, p.now().Stderr.With(p.state), 1)
	p.untilAll(keptPeers)
	p.stop()

	p.relieve(command...)
	p.untilAll(keptPeers)
	p.requireNoDeath()
}

func TestFullDiskIsSavedToOnceThereIsSpace(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, options, fill string }{
		{"no bytes", "size=64k", "head -c 1000000 /dev/zero >full 2>&- || true"},
		{"no files", "nr_inodes=9", `touch "$0.lock"; while touch full$((i += 1)) 2>&-; do :; done`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t)
			startKept(t, p, p.inTmpfs(tt.options, tt.fill)...)
			c := p.now()
			c.Until("it to complain", func() bool { return c.Stderr.Says(p.state) })
			pause(silence(keptInterval))
			said := c.Stderr.With(p.state)
			require.Len(t, said, 1)
			require.Contains(t, said[0], "E! ")
			require.Contains(t, said[0], "no space left on device")

			full, err := filepath.Glob(p.inside(filepath.Join(p.dir, "full*")))
			require.NoError(t, err)
			require.NotEmpty(t, full)
			for _, file := range full {
				require.NoError(t, os.Remove(file))
			}
			saved(c, p.inside(p.state))
			p.untilAll(keptPeers)
			p.requireNoDeath()
			p.stop()
		})
	}
}

// Who finds the state file in use by another process is not the collector: it
// says so, waits without the port, and goes on when that one ends.
func TestSecondCollectorWithTheSameStateFileWaits(t *testing.T) {
	t.Parallel()
	p, second := newPost(t), newPost(t)
	config, err := os.ReadFile(second.config)
	require.NoError(t, err)
	config = bytes.Replace(config, []byte(second.state), []byte(p.state), 1)
	require.NoError(t, os.WriteFile(second.config, config, 0o600))

	startKept(t, p)
	other := testkit.StartProgram(t, "telegraf-heartbeat", "-config", second.config)
	second.lives = append(second.lives, other)
	other.Until("it to say so", func() bool { return other.Stderr.Says(p.state) })
	said := other.Stderr.With(p.state)[0]
	require.Contains(t, said, "W! ")
	require.Contains(t, said, "is the table configured twice?")
	require.Contains(t, said, "another process (pid "+strconv.Itoa(p.now().PID())+") uses it")
	_, err = net.Dial("tcp", second.address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "it holds nothing while it waits")
	p.untilAll(keptPeers)
	p.stop()
	require.Equal(t, second.address, listens(other))
	require.Len(t, other.Stderr.With("Restored "+strconv.Itoa(keptPeers)+" peers"), 1)
	p.requireNoDeath()
	second.requireNoDeath()
}
