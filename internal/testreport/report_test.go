package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReport(t *testing.T) {
	tests := []struct {
		name   string
		events string
		want   string
	}{
		{
			name: "a package that passes is one line",
			events: `
{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"pass","Package":"p","Elapsed":1.5}`,
			want: "ok\tp\t1.5s\n\n1 passed, 0 failed, 0 skipped\n",
		},
		{
			name: "a skip is named with its reason",
			events: `
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: needs root\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}`,
			want: "ok\tp\t0s\n\nskipped:\n  p TestA: a_test.go:3: needs root\n\n0 passed, 0 failed, 1 skipped\n",
		},
		{
			name: "a failure is printed in full, its neighbours are not",
			events: `
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"wrong\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Output":"FAIL p\n"}
{"Action":"fail","Package":"p"}`,
			want: "wrong\nFAIL p\n\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a package that does not build is one failure",
			events: `
{"Action":"build-output","ImportPath":"p [p.test]","Output":"undefined: x\n"}
{"Action":"build-fail","ImportPath":"p [p.test]"}
{"Action":"output","Package":"p","Output":"FAIL p [build failed]\n"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`,
			want: "undefined: x\nFAIL p [build failed]\n\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a test that never ends is the failure",
			events: `
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Output":"exit status 3\n"}
{"Action":"fail","Package":"p"}`,
			want: "=== RUN   TestA\nexit status 3\n\n0 passed, 1 failed, 0 skipped\n",
		},
		{
			name: "a package that fails outside its tests is one failure",
			events: `
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"leaked goroutines\n"}
{"Action":"fail","Package":"p"}`,
			want: "leaked goroutines\n\n1 passed, 1 failed, 0 skipped\n",
		},
		{
			name:   "a package without tests is nothing",
			events: `{"Action":"skip","Package":"p"}`,
			want:   "\n0 passed, 0 failed, 0 skipped\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			r := newReport(&out)
			require.NoError(t, r.read(strings.NewReader(tt.events)))
			r.close()
			require.Equal(t, tt.want, out.String())
		})
	}
}

func TestWhatIsNoEventIsAnError(t *testing.T) {
	err := newReport(t.Output()).read(strings.NewReader("go: oops"))
	require.ErrorContains(t, err, "reading the events of go test")
}

func TestSkipFailsOnlyWhereAllMustRun(t *testing.T) {
	const skip = `{"Action":"skip","Package":"p","Test":"TestA"}`
	require.NoError(t, run(exec.Command("echo", skip), t.Output(), false))
	require.ErrorContains(t, run(exec.Command("echo", skip), t.Output(), true), "skipped")
}

func TestFailureOfGoTestIsAFailure(t *testing.T) {
	missing := exec.Command("go", "test", "-json", "./missing")
	require.ErrorContains(t, run(missing, t.Output(), false), "go test")
}
