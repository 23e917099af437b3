package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever imports the sender gets no other module, in no other version. It is
// built here without a proxy, and its examples run.
func TestSenderIsReleasedAsAModuleThatRequiresNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sender")
	run := func(in, name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GOWORK=off")
		said, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s %q: %s", name, args, said)
		return string(said)
	}
	run(root, "scripts/sender-module", dir)
	require.Equal(t, module+"/sender\n", run(dir, "go", "list", "-m", "all"))
	run(dir, "go", "mod", "tidy", "-diff")
	require.Contains(t, run(dir, "go", "test", "."), "ok")
}
