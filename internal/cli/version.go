package cli

import (
	"cmp"
	"fmt"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// Version returns the data for a bug report: the version of a program, its commit, the
// versions of Go and of the given modules, and the platform.
func Version(program string, need ...string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return describe(program, info, need)
}

func describe(program string, info *debug.BuildInfo, need []string) string {
	commit := "unknown"
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			commit = setting.Value
		}
	}
	parts := []string{"commit " + commit}
	for _, module := range info.Deps {
		if slices.Contains(need, module.Path) {
			parts = append(parts, path.Base(module.Path)+" "+module.Version)
		}
	}
	parts = append(parts, info.GoVersion, runtime.GOOS+"/"+runtime.GOARCH)
	return fmt.Sprintf("%s %s (%s)", program, cmp.Or(info.Main.Version, "(unknown)"), strings.Join(parts, ", "))
}
