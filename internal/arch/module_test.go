package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program that imports the sender's module gets no other modules and no other versions. The
// test builds the module without a proxy and runs its examples.
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
