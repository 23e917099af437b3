//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A million of something new, in so many steps.
const (
	floodSteps = 40
	floodStep  = 1_000_000 / floodSteps
)

func TestMillionIdentitiesCostNoMemoryAndNoPeer(t *testing.T) {
	t.Parallel()
	const honest, most = 20, 10_000
	p := newPost(t, alone, fmt.Sprint("max_peers = ", most))
	c := p.relieve()
	startFleet(t, p.address, honest, probeInterval)
	before := p.untilAll(honest)

	intruder := dial(t, p.address)
	peer := func(i int) string {
		return fmt.Sprintf(`{"host":"flood-%07d","service":"shop","pid":1,"interval_ms":3600000}`, i)
	}
	require.NoError(t, intruder.write(0, most-honest, peer))
	intruder.beat(map[string]any{"host": "flood-0000000", "service": "shop", "pid": 1, "interval_ms": 3_600_000}) // all were read before it
	var memory footprint
	for step := range floodSteps {
		require.NoError(t, intruder.SetDeadline(time.Now().Add(testkit.Patience)))
		written := make(chan error, 1)
		go func() { written <- intruder.write(most+step*floodStep, floodStep, peer) }() // ends with step
		for range floodStep {
			answer, err := intruder.answers.Next()
			require.NoError(t, err)
			require.True(t, bytes.Contains(answer, []byte("'max_peers'")), "%s", answer)
		}
		require.NoError(t, <-written)
		memory = append(memory, residentKiB(t, c))
	}
	memory.judge(t)

	require.EqualValues(t, floodSteps*floodStep, p.refused("max_peers"))
	for _, i := range []int{0, 1, most - honest - 1} {
		intruder.beat(map[string]any{"host": fmt.Sprintf("flood-%07d", i), "service": "shop", "pid": 1, "interval_ms": 3_600_000})
	}
	after := p.look(most)
	require.EqualValues(t, most, total(t, after, "alive"))
	for name, m := range before {
		require.Greater(t, number(t, after[name], "beats_total"), number(t, m, "beats_total"), name)
	}
	p.requireNoDeath()
}

// One peer, and each beat has a name of a label, a value of a tag, a name of a
// field and a text that no other has.
func TestNewLabelsAndFieldsCostNoMemory(t *testing.T) {
	t.Parallel()
	options := writeOptions(t, anyPort, `tag_keys = ["rack"]`, "max_beats_per_second = 0")
	command := exec.Command(testkit.Program(t, "telegraf-heartbeat"), "-config", options)
	c := testkit.Start(t, "telegraf-heartbeat", command, "heartbeat_listener,", "heartbeat,")
	intruder := dial(t, listens(c))
	beat := func(i int) string {
		return fmt.Sprintf(`{"host":"web-1","service":"shop","pid":1,`+
			`"tags":{"rack":"r%d","label_%d":"new"},"fields":{"f_%d":%d,"text":"new %d"}}`, i, i, i, i, i)
	}
	var memory footprint
	n := size(floodStep/4, floodStep)
	for step := range floodSteps {
		require.NoError(t, intruder.SetDeadline(time.Now().Add(testkit.Patience)))
		require.NoError(t, intruder.write(step*n, n, beat))
		c.Until("all beats to be counted", func() bool {
			c.Say("\n") // a Gather goes behind all that is queued
			return len(c.Stdout.With(fmt.Sprintf("beats_total=%di", (step+1)*n))) > 0
		})
		memory = append(memory, residentKiB(t, c))
	}
	memory.judge(t)
	told := len(series(parse(t, c.Stdout.With("heartbeat,"))))
	t.Logf("%d beats, as many racks; %d of them were told: a peer makes no more than 1,000 metrics a second", floodSteps*n, told)
	require.Greater(t, told, 1000)
}

// write sends framed payloads, many in one write.
func (c *client) write(from, n int, payload func(i int) string) error {
	const batch = 1000
	for i := from; i < from+n; i += batch {
		var frames []byte
		for j := i; j < min(i+batch, from+n); j++ {
			frames = wire.AppendFrame(frames, []byte(payload(j)))
		}
		if _, err := c.Write(frames); err != nil {
			return err
		}
	}
	return nil
}
