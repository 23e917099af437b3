package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

// blocked makes a file that blocks whoever opens it, in a directory where it is
// called heartbeat.key.
var blocked = map[string]func(t *testing.T) string{
	"FIFO": func(t *testing.T) string {
		name := filepath.Join(t.TempDir(), credential)
		require.NoError(t, unix.Mkfifo(name, 0o600))
		return name
	},
	"hung mount": func(t *testing.T) string { return filepath.Join(testkit.MountHanging(t), credential) },
}

// program returns a call of heartbeat-sender that ends with the test. No file of
// this host is read, and no collector is there.
func program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "heartbeat-sender", args...)
	cmd.Env = append(os.Environ(), "TEST_HOSTNAME=web-1", "TEST_CONFIG=/nonexistent", "HEARTBEAT_SERVER=tls://127.0.0.1:1")
	return cmd
}

// Every file that is named to the sender may block. Each command comes to an
// end all the same, and says what was wrong; a job runs and ends as ever.
func TestFilesThatBlockHoldUpNobody(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*deadline)
	defer cancel()
	calls := make(map[string]*exec.Cmd) // they all wait at the same time
	for kind, file := range blocked {
		for _, door := range []string{"-config", "-key-file", "-tls-ca", "-tls-cert", "-tls-key", "CREDENTIALS_DIRECTORY", "-pid-file"} {
			for _, command := range []string{"run", "once", "leave", "check", "exec"} {
				if door == "-pid-file" && (command == "exec" || command == "leave" || command == "run") {
					continue // takes none, does not read it, goes on without
				}
				cmd := callWith(ctx, command, door, file(t))
				cmd.Stdout = new(bytes.Buffer)
				cmd.Stderr = cmd.Stdout
				require.NoError(t, cmd.Start())
				calls[strings.Join([]string{kind, door, command}, " ")] = cmd
			}
		}
	}
	for name, cmd := range calls {
		t.Run(name, func(t *testing.T) {
			err := cmd.Wait()
			require.NoError(t, ctx.Err(), "it hangs")
			said := cmd.Stdout.(*bytes.Buffer).String()
			require.Regexp(t, "not a regular file|takes too long", said)
			if strings.HasSuffix(name, "exec") {
				require.NoError(t, err)
				require.Contains(t, said, "it ran\n")
				return
			}
			ended := new(exec.ExitError)
			require.ErrorAs(t, err, &ended, said)
		})
	}
}

// callWith returns a call to which a file is given in one of the ways there are.
func callWith(ctx context.Context, command, door, file string) *exec.Cmd {
	args := []string{command, door, file}
	switch door {
	case "-tls-cert", "-tls-key": // they need each other
		args = []string{command, "-tls-cert", file, "-tls-key", file}
	case "CREDENTIALS_DIRECTORY":
		args = args[:1]
	}
	if command == "exec" {
		args = append(args, "--", "echo", "it ran")
	}
	cmd := program(ctx, args...)
	if door == "CREDENTIALS_DIRECTORY" {
		cmd.Env = append(cmd.Env, door+"="+filepath.Dir(file))
	}
	return cmd
}

// While a pid file blocks, the host is spoken for, and a stop is a stop.
func TestPIDFileThatBlocksHoldsUpNoStop(t *testing.T) {
	for kind, file := range blocked {
		t.Run(kind, func(t *testing.T) {
			c := &collector{file: filepath.Join(t.TempDir(), "heard")}
			require.NoError(t, c.start())
			defer c.stop()
			config := filepath.Join(t.TempDir(), "x.toml")
			require.NoError(t, os.WriteFile(config, []byte("[[watch]]\nservice = \"shop\"\npid_file = \""+file(t)+"\"\n"), 0o600))
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			cmd := program(ctx, "run", "-interval", "100ms", "-config", config, "-server", "tcp://"+c.address())
			require.NoError(t, cmd.Start())
			require.NoError(t, c.hears(20))
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			require.NoError(t, cmd.Wait())
			require.NoError(t, ctx.Err(), "it hangs")
			heard, err := os.ReadFile(c.file)
			require.NoError(t, err)
			require.Contains(t, string(heard), `"status":"leaving"`)
			require.NotContains(t, string(heard), `"status":"dead"`)
		})
	}
}

// A mount that hangs must not cut this host off from its collector: the
// certificates that were read last hold.
func TestCertificatesThatHangAreThoseOfLastTime(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(name, authorityOf(certificate(t, "test")), 0o600))
	files := newTLSFiles(&trust{ca: name})
	first, err := files.config(t.Context())
	require.NoError(t, err)
	second, err := files.renewed()
	require.NoError(t, err)
	require.NotSame(t, first, second, "it was read again")

	require.NoError(t, os.Remove(name))
	require.NoError(t, os.Symlink(filepath.Join(testkit.MountHanging(t), "ca.pem"), name))
	for range 2 {
		third, err := files.renewed()
		require.NoError(t, err)
		require.Same(t, second, third)
	}
	_, err = files.config(t.Context())
	require.ErrorIs(t, err, regular.ErrSlow)

	require.NoError(t, os.Remove(name))
	_, err = newTLSFiles(&trust{ca: name}).renewed()
	require.ErrorIs(t, err, os.ErrNotExist, "that is a mistake to mend")
}
