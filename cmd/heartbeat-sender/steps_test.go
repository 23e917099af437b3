//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// The document has the steps that are printed otherwise, whatever a collector says.
func TestStepsInJSONAreThoseInText(t *testing.T) {
	for name, text := range map[string]string{"refused": "\"\\\x1b\n\u2028\u202e\u00e9</script>\x7f", "accepted": ""} {
		t.Run(name, func(t *testing.T) {
			url := talk(t, nil, func(b *wire.Beat) []byte {
				answer := wire.Answer{Seq: b.Seq, ID: "web-1/host", DeadAfterMS: 35_000, Rule: text + "interval", Error: text}
				return wire.AppendFrame(nil, wire.AppendAnswer(nil, &answer))
			})
			lines, code := checkSteps(t, "-server", url)
			document, codeOfJSON := checkSteps(t, "-json", "-server", url)
			require.Equal(t, code, codeOfJSON)
			var got struct {
				ExitCode int `json:"exit_code"`
				Steps    []struct{ Server, Step, Text string }
			}
			require.NoError(t, json.Unmarshal([]byte(document), &got), document)
			require.Equal(t, code, got.ExitCode)
			var again strings.Builder
			for _, s := range got.Steps {
				require.Equal(t, url, s.Server)
				fmt.Fprintf(&again, "%-10s %s\n", s.Step, s.Text)
			}
			require.Equal(t, varying.ReplaceAllString(lines, ""), varying.ReplaceAllString(again.String(), ""))
		})
	}
}

func TestStepsAreQuotedWhole(t *testing.T) {
	var out bytes.Buffer
	c := &call{stdout: &out, steps: []step{{"tcp://\xff\"", "a", "b\\\u2028"}, {"", "c", ""}}}
	require.Equal(t, cli.ExitFailed, exitCode(c.printSteps(cli.ExitFailed)))
	var got struct{ Steps []map[string]string }
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Equal(t, []map[string]string{
		{"server": "tcp://\ufffd\"", "step": "a", "text": "b\\\u2028"}, {"server": "", "step": "c", "text": ""},
	}, got.Steps)
	out.Reset()
	c.steps = nil
	require.NoError(t, c.printSteps(0))
	require.True(t, json.Valid(out.Bytes()))
}

// varying is what two checks say differently.
var varying = regexp.MustCompile(`127\.0\.0\.1:\d+|[0-9.]+(µs|ms|s)\b`)

// checkSteps returns what check prints and how it ends.
func checkSteps(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out, said bytes.Buffer
	c := testCall(t, "", append([]string{"check"}, args...)...)
	c.stdout, c.stderr = &out, &said
	code := c.exit(t.Context())
	require.Empty(t, said.String())
	return out.String(), code
}
