package watch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Without a living main process; that decides before anything else.
func TestUnitWithoutMainProcess(t *testing.T) {
	tests := []struct {
		name   string
		status string // active, sub, result, and more
		ran    bool
		want   kind
	}{
		{"stopped", "inactive dead success", true, stopped},
		{"stopped after a failure", "inactive dead exit-code", true, stopped},
		{"removed", "inactive dead success LoadState=not-found", true, stopped},
		{"no job is told as 0 too", "inactive dead success Job=0", true, stopped},
		{"between stop and start", "inactive dead success Job=123", true, held},
		{"being stopped", "deactivating stop-sigterm success", true, held},
		{"restarted, but it ends with an error", "failed failed exit-code Job=123", true, between},
		{"queued after a failure", "inactive dead exit-code Job=123", true, between},
		{"ending by itself with an error", "deactivating stop-post exit-code", true, between},
		{"failed", "failed failed signal", true, failed},
		{"failed before it is restarted", "failed failed-before-auto-restart signal", true, between},
		{"dead before it is restarted", "inactive dead-before-auto-restart success", true, between},
		{"waiting to be restarted", "activating auto-restart exit-code", true, between},
		{"preparing its start", "activating start-pre success Job=1", true, between},
		{"its end is not noticed yet", "active running success MainPID=4711", true, ended},
		{"its end is not noticed yet while it stops", "deactivating stop-sigterm success MainPID=4711", true, ended},
		{"done, and meant to stay active", "active exited success", true, stopped},
		{"failed, and meant to stay active", "active exited exit-code", true, failed},
		{"never had a main process", "active exited success", false, between},
		{"never had a main process, and failed", "active exited exit-code", false, between},
		{"main process is not known for a moment", "active running success", true, between},
		{"reloading without a main process", "reloading reload success", true, between},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			words := strings.Fields(tt.status)
			block := "LoadState=loaded\nActiveState=" + words[0] + "\nSubState=" + words[1] + "\nResult=" + words[2] +
				"\n" + strings.Join(words[3:], "\n")
			status, err := parseStatus(block)
			require.NoError(t, err)
			require.Equal(t, tt.want, status.sighting(tt.ran).kind)
		})
	}
}

func TestUnitTellsHowItEnded(t *testing.T) {
	for text, want := range map[string]Exit{
		"ExecMainCode=0\nExecMainStatus=0":  {},
		"ExecMainCode=1\nExecMainStatus=0":  {HasCode: true},
		"ExecMainCode=1\nExecMainStatus=78": {HasCode: true, Code: 78},
		"ExecMainCode=2\nExecMainStatus=9":  {Signal: signalName(9)},
		"ExecMainCode=3\nExecMainStatus=11": {Signal: signalName(11)},
	} {
		status, err := parseStatus("LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n" + text)
		require.NoError(t, err)
		require.Equal(t, want, status.sighting(true).exit, text)
	}
}

func TestWhatIsNoStatusIsRefused(t *testing.T) {
	for _, text := range []string{"", "hello", "LoadState=loaded", "LoadState=loaded\nActiveState=active\nMainPID=x"} {
		_, err := parseStatus(text)
		require.Error(t, err, text)
	}
}
