package main

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// However fast a target changes, its lines are one a minute on average, and the
// last one is about what it is now.
func TestChangesAreOneLineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		l := changeLog{say: func(text string, _ bool) { lines = append(lines, text) }}
		said := func() []string {
			l.mu.Lock() // say is called under it
			defer l.mu.Unlock()
			return slices.Clone(lines)
		}
		const minutes = 30
		last := 0
		for end := time.Now().Add(minutes * time.Minute); time.Now().Before(end); last++ {
			l.add(fmt.Sprintf("running as process %d", last), false)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		require.LessOrEqual(t, len(said()), minutes+changesAtOnce)
		require.Equal(t, []string{"running as process 0", "running as process 1", "running as process 2"}, said()[:3])
		require.Regexp(t, `^running as process [0-9]+ \([0-9]+ earlier changes were not logged\)$`, said()[3])
		time.Sleep(changePause)
		synctest.Wait()
		require.Contains(t, said()[len(said())-1], fmt.Sprintf("running as process %d ", last-1))

		time.Sleep(time.Hour)
		for _, text := range []string{"dead", "running", "stopped", "dead again"} {
			l.add(text, true)
		}
		require.Equal(t, "stopped", said()[len(said())-1], "what is rare is logged at once")
		time.Sleep(changePause)
		synctest.Wait()
		require.Equal(t, "dead again", said()[len(said())-1], "a minute later what is so now")
	})
}
