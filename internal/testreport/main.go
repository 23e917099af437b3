// Command testreport runs go test and says what matters: a line per package,
// failures in full, and which tests were skipped and why. It exits with 1 if
// a test failed, and with CI=true also if one was skipped: nobody reads the
// list there.
//
//	testreport [flags and packages of go test]
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	if err := run(cmd, os.Stdout, os.Getenv("CI") == "true"); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
}

// run reports on out what cmd, a go test -json, does.
func run(cmd *exec.Cmd, out io.Writer, mustRunAll bool) error {
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}

	r := newReport(out)
	readErr := r.read(events)
	goErr := cmd.Wait()
	r.close()

	switch {
	case readErr != nil:
		return readErr
	case goErr != nil:
		return fmt.Errorf("go test: %w", goErr)
	case len(r.failed) > 0:
		return fmt.Errorf("%d tests failed", len(r.failed))
	case len(r.skips) > 0 && mustRunAll:
		return fmt.Errorf("%d tests were skipped, and CI=true", len(r.skips))
	}
	return nil
}
