package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// A platform is a system that a program is built for.
type platform struct {
	os, arch string
	env      []string // selects the variant of the architecture
	flags    []string // flags of go build
	packaged string   // nfpm's name of the architecture; empty without packages
	programs []string
}

const (
	senderProgram = "heartbeat-sender"
	pluginProgram = "telegraf-heartbeat"
)

// platforms returns all platforms that programs are published for. The plugin is built for
// platforms for which Telegraf has packages and users have asked.
func platforms() []platform {
	sender, both := []string{senderProgram}, []string{senderProgram, pluginProgram}
	return []platform{
		{os: "linux", arch: "amd64", packaged: "amd64", programs: both},
		{os: "linux", arch: "arm64", packaged: "arm64", programs: both},
		{os: "linux", arch: "arm", env: []string{"GOARM=7"}, packaged: "arm7", programs: sender},
		{os: "linux", arch: "386", packaged: "386", programs: sender},
		// Routers have little space: 5.90 MB without inlined functions, 6.42 MB with them.
		{
			os: "linux", arch: "mipsle", env: []string{"GOMIPS=softfloat"}, flags: []string{"-gcflags=all=-l"},
			packaged: "mipsel", programs: sender,
		},
		{os: "linux", arch: "riscv64", packaged: "riscv64", programs: sender},
		{os: "windows", arch: "amd64", programs: both},
		{os: "darwin", arch: "amd64", programs: sender},
		{os: "darwin", arch: "arm64", programs: sender},
		{os: "freebsd", arch: "amd64", programs: sender},
	}
}

// fixedEnv sets the variables that Go would otherwise take from the environment or from go env
// -w.
var fixedEnv = []string{
	"CGO_ENABLED=0", "GOENV=off", "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "GO386=sse2", "GORISCV64=rva20u64",
}

func (p platform) name() string { return p.os + "/" + p.arch }

// build builds a program and returns its path.
func (r *release) build(p platform, program string) (string, error) {
	file := filepath.Join(r.out, "bin", p.os+"-"+p.arch, program)
	if p.os == "windows" {
		file += ".exe"
	}
	// Go gets version and commit from git, and -version prints them. The program depends neither
	// on the machine nor on the settings of its user.
	env := append(slices.Clone(fixedEnv), "GOOS="+p.os, "GOARCH="+p.arch)
	env = append(env, p.env...)
	ldflags := "-ldflags=-s -w -buildid="
	args := []string{"build", "-trimpath", "-buildvcs=true"}
	if program == senderProgram { // as in make build
		args = append(args, "-gcflags=crypto/tls=-l")
	}
	if program == senderProgram && p.arch == "amd64" {
		ldflags += " -funcalign=16"
	}
	args = append(append(args, ldflags), p.flags...)
	if err := runWith(env, "go", append(args, "-o", file, "./cmd/"+program)...); err != nil {
		return "", err
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	fmt.Printf("%-18s %-15s %5.2f MB\n", program, p.name(), float64(info.Size())/1e6)
	return file, nil
}
