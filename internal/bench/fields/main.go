//go:build linux

// Command fields measures what the fields of heartbeat_peer cost: bytes of line
// protocol, and bytes that InfluxDB keeps of each sample. What a field costs there
// depends on how it changes, so fields that change alike are measured together.
//
//	make servers && go run ./internal/bench/fields
package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	series  = 200
	samples = 1080 // of each: three hours, one every 10 s
	begin   = 1_795_000_000
)

// A group are fields that change alike.
type group struct {
	name   string
	fields string
	value  func(sample int, r *rand.Rand) string
}

var groups = []group{
	{"flags and codes, hardly ever another one", "alive, dead, state_code, reason_code, status_code, flapping, last_pid", func(int, *rand.Rand) string { return "1i" }},
	{"counters of mishaps, mostly 0", "lost_total, restarts_total, deaths_total, mistakes_total, conflicts_total", func(int, *rand.Rand) string { return "0i" }},
	{"counter of beats", "beats_total", func(sample int, _ *rand.Rand) string { return fmt.Sprintf("%di", 1000+sample) }},
	{"constant fractions", "since_timestamp_seconds, dead_seconds_total, dead_after_seconds", func(int, *rand.Rand) string { return "1794990000.123" }},
	{"fractions that are others each time", "age_seconds", func(_ int, r *rand.Rand) string { return fmt.Sprintf("%.9f", 10*r.Float64()) }},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fields:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "fields")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	url, pid, stop, err := startInfluxDB(dir)
	if err != nil {
		return err
	}
	defer stop()
	for i, g := range groups {
		for _, stamps := range []time.Duration{time.Millisecond, time.Nanosecond} {
			if err := g.write(url, database(i, stamps), stamps); err != nil {
				return err
			}
		}
	}
	time.Sleep(30 * time.Second) // everything is written, in the form in which it stays
	fmt.Println("| fields | how they change | InfluxDB keeps of a sample | with stamps in nanoseconds |\n|---|---|--:|--:|")
	for i, g := range groups {
		ours, err := sizeOf(filepath.Join(dir, "data", database(i, time.Millisecond)), ".tsm")
		if err != nil {
			return err
		}
		exact, err := sizeOf(filepath.Join(dir, "data", database(i, time.Nanosecond)), ".tsm")
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %.2f B | %.2f B |\n", g.fields, g.name, ours, exact)
	}
	return comparePoints(dir, url, pid)
}

func database(group int, stamps time.Duration) string {
	return fmt.Sprintf("group_%d_%s", group, stamps)
}

// startInfluxDB starts one that writes its final files soon.
func startInfluxDB(dir string) (url string, pid int, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, nil, err
	}
	address := listener.Addr().String()
	listener.Close()
	config := filepath.Join(dir, "influxdb.conf")
	text := fmt.Sprintf("reporting-disabled = true\nbind-address = \"127.0.0.1:0\"\n[meta]\ndir = \"%[1]s/meta\"\n"+
		"[data]\ndir = \"%[1]s/data\"\nwal-dir = \"%[1]s/wal\"\ncache-snapshot-write-cold-duration = \"2s\"\ncompact-full-write-cold-duration = \"3s\"\n"+
		"[http]\nbind-address = %[2]q\nlog-enabled = false\n[monitor]\nstore-enabled = false\n", dir, address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", 0, nil, err
	}
	server := exec.Command("build/servers/usr/bin/influxd", "-config", config)
	if err := server.Start(); err != nil {
		return "", 0, nil, err
	}
	stop = func() {
		server.Process.Kill() //nolint:errcheck // it may have ended
		server.Wait()         //nolint:errcheck // it was killed
	}
	url = "http://" + address
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		if err = post(url+"/query?q=SHOW+DATABASES", nil); err == nil {
			return url, server.Process.Pid, stop, nil
		}
	}
	stop()
	return "", 0, nil, err
}

// write writes one field of the group, with stamps that are multiples of a unit.
func (g *group) write(url, database string, stamps time.Duration) error {
	if err := post(url+"/query?q=CREATE+DATABASE+"+database, nil); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	for first := 0; first < samples; first += 60 {
		var lines strings.Builder
		for sample := first; sample < first+60; sample++ {
			for s := range series {
				at := int64(begin+10*sample)*1e9 + r.Int64N(1e9)/int64(stamps)*int64(stamps) // a Gather is not punctual
				fmt.Fprintf(&lines, "heartbeat_peer,service=shop,source=web-%d v=%s %d\n", s, g.value(sample, r), at)
			}
		}
		if err := post(url+"/write?db="+database, strings.NewReader(lines.String())); err != nil {
			return err
		}
	}
	return nil
}

func post(url string, body io.Reader) error {
	answer, err := http.Post(url, "text/plain", body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		var said bytes.Buffer
		said.ReadFrom(answer.Body) //nolint:errcheck // there is an error already
		return fmt.Errorf("%s: %s", url, said.String())
	}
	return nil
}

// sizeOf returns the bytes of a sample in the files below dir with such names.
func sizeOf(dir, suffix string) (float64, error) {
	size := int64(0)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return float64(size) / (series * samples), err
}
