package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sender runs on every host, so it stays small: a new dependency is a
// decision, not an accident. Telegraf alone would bring some 450 packages.
func TestSenderDependsOnNothingElse(t *testing.T) {
	const module = "github.com/telegraf-heartbeat/telegraf-heartbeat"
	want := []string{
		"github.com/BurntSushi/toml",
		"github.com/BurntSushi/toml/internal",
		module + "/cmd/heartbeat-sender",
		module + "/internal/cli",
		module + "/internal/probe",
		module + "/internal/proc",
		module + "/internal/proc/handover",
		module + "/internal/proc/job",
		module + "/internal/watch",
		module + "/plugins/inputs/heartbeat/regular",
		module + "/plugins/inputs/heartbeat/wire",
		module + "/sender",
		"golang.org/x/sys/unix",
	}

	out, err := exec.Command("go", "list", "-deps",
		"-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	require.NoError(t, err)
	require.Equal(t, want, slices.Sorted(strings.FieldsSeq(string(out))))
}
