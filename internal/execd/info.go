package execd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// printVersion prints what a bug report needs.
func printVersion(w io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	_, err := fmt.Fprintln(w, versionLine(info))
	return err
}

func versionLine(info *debug.BuildInfo) string {
	version, parts := "(unknown)", []string{info.GoVersion, runtime.GOOS + "/" + runtime.GOARCH}
	if info.Main.Version != "" {
		version = info.Main.Version
	}
	for _, dependency := range info.Deps {
		if dependency.Path == "github.com/influxdata/telegraf" {
			parts = append([]string{"telegraf " + dependency.Version}, parts...)
		}
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			parts = append([]string{"commit " + setting.Value}, parts...)
		}
	}
	return fmt.Sprintf("telegraf-heartbeat %s (%s)", version, strings.Join(parts, ", "))
}

// printTelegrafConf prints the table that makes Telegraf run this program as
// it was called now.
func printTelegrafConf(w io.Writer, opts options) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program failed: %w", err)
	}
	command := []string{program}
	if opts.explicit {
		file, err := filepath.Abs(opts.config)
		if err != nil {
			return fmt.Errorf("finding the configuration failed: %w", err)
		}
		command = append(command, "-config", file)
	}
	if opts.debug {
		command = append(command, "-debug")
	}
	for i, word := range command {
		command[i] = `"` + escape(word, false) + `"`
	}
	_, err = fmt.Fprintf(w, `[[inputs.execd]]
  command = [%s]
  signal = "STDIN"
  restart_delay = "1s"
  data_format = "influx"
`, strings.Join(command, ", "))
	return err
}
