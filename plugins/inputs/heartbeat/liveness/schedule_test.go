package liveness

import (
	"encoding/csv"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestScheduleAgreesWithReference plays 2,000 beats of a bad radio link, with
// the deadlines that the reference of internal/verdicts gives them. That
// begins with an interval that is 3 % wrong, on purpose, and with a lateness.
func TestScheduleAgreesWithReference(t *testing.T) {
	t.Parallel()
	const declared = time.Second
	terms := Terms{Margin: MarginOf(3)}
	s := schedule{interval: 970 * time.Millisecond, lateness: declared / 16}
	var before int64
	for i, beat := range golden(t) {
		seq, at, want := beat[0], time.Duration(beat[1])*time.Microsecond, time.Duration(beat[2])*time.Microsecond
		if i == 0 {
			s.begin(at, declared)
		} else {
			s.learn(at, declared, seq-before)
		}
		before = seq
		got := at + terms.silence(declared, 0, &s, at).Dead
		require.InDelta(t, want.Seconds(), got.Seconds(), 0.001, "deadline after beat %d", seq)
	}
}

func golden(t *testing.T) [][3]int64 {
	t.Helper()
	file, err := os.Open("testdata/wifi101.csv")
	require.NoError(t, err)
	defer file.Close()
	lines := csv.NewReader(file)
	lines.Comment = '#'
	rows, err := lines.ReadAll()
	require.NoError(t, err)
	require.Len(t, rows[1:], 2000)
	beats := make([][3]int64, 2000)
	for i, row := range rows[1:] {
		for column, text := range row {
			beats[i][column], err = strconv.ParseInt(text, 10, 64)
			require.NoError(t, err)
		}
	}
	return beats
}
