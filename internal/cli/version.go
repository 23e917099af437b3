package cli

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
)

// Version returns what a bug report needs: the version of a program, its commit,
// the versions of Go and of the modules named in need, and the platform.
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
		for _, path := range need {
			if module.Path == path {
				parts = append(parts, path[strings.LastIndexByte(path, '/')+1:]+" "+module.Version)
			}
		}
	}
	parts = append(parts, info.GoVersion, runtime.GOOS+"/"+runtime.GOARCH)
	return program + " " + cmp.Or(info.Main.Version, "(unknown)") + " (" + strings.Join(parts, ", ") + ")"
}
