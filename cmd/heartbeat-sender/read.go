package main

import (
	"context"
	"os"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

const maxFile = 4 << 20 // bytes; the authorities that a system trusts have a quarter of it

// filesTime is how long the files of the settings are waited for: a disk may
// have to spin up, but no mount that hangs keeps a job from running or from
// ending.
func (c *command) filesTime() time.Duration {
	if c.wraps {
		return time.Second
	}
	return 5 * time.Second
}

// readOnce returns what is in a file.
func readOnce(ctx context.Context, name string) (regular.Content, error) {
	return (&regular.Reader{Name: name, Limit: maxFile}).Read(ctx)
}

// readConfig returns the text of a file with settings. The null device stands
// for one that is empty.
func readConfig(ctx context.Context, name string) (string, error) {
	if name == os.DevNull {
		return "", nil
	}
	content, err := readOnce(ctx, name)
	return string(content.Text), err
}
