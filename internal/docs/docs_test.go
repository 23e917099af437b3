//go:build unix

package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const pluginREADME = "plugins/inputs/heartbeat/README.md"

// kinds contains the check for each language of blocks.
var kinds = map[string]func(*world, block){
	"sh":       (*world).runScript,
	"cron":     (*world).runCrontab,
	"bat":      (*world).runPrompt,
	"toml":     (*world).checkTOML,
	"ini":      (*world).checkUnit,
	"yaml":     (*world).checkYAML,
	"promql":   (*world).checkPromQL,
	"go":       (*world).buildGo,
	"python":   (*world).compareExample,
	"bash":     (*world).compareExample,
	"nginx":    (*world).compareExample,
	"caddy":    (*world).compareExample,
	"text":     (*world).comparePrinted,
	"sql":      func(*world, block) {}, // internal/e2e runs those of docs/charts.md
	"markdown": func(*world, block) {},
}

// ours are the programs that are run. Other programs in scripts belong to the operator, and are
// not run.
var (
	ours   = strings.Fields("heartbeat-sender telegraf-heartbeat printf echo curl")
	others = strings.Fields("ansible docker export install kubectl mkdir sudoedit systemctl systemd-sysusers")
)

func TestDocumentsAreTrue(t *testing.T) {
	place := newPlace(t)
	inventory := newInventory(t)
	counts := make(map[string]int)
	for _, document := range append(documents(t), pluginREADME) {
		w := &world{place: place, inventory: inventory, dir: t.TempDir()}
		t.Cleanup(w.leave)
		require.NoError(t, os.Symlink(place.bin, filepath.Join(w.dir, "bin")))
		for _, b := range blocksOf(t, document) {
			if document == pluginREADME && b.language != "text" {
				continue // the plugin's tests check these
			}
			w.enter(b.section, place)
			if b.language != "text" {
				w.printed = ""
			}
			if b.excuse.kind != "" {
				counts[b.excuse.kind]++
				continue
			}
			counts[b.language]++
			t.Run(fmt.Sprintf("%s:%d", document, b.line), func(t *testing.T) {
				check, ok := kinds[b.language]
				require.True(t, ok, "there is no check for blocks of the language %q", b.language)
				w.T = t
				check(w, b)
			})
		}
	}
	t.Log(counts)
}

func (w *world) runScript(b block) {
	if strings.Contains(b.text, "openssl ") {
		w.runWhole(b)
		return
	}
	for _, line := range commands(b.text) {
		if found := kills.FindStringSubmatch(strings.TrimPrefix(line, "sudo ")); found != nil {
			w.kill(found[1])
			continue
		}
		for part := range strings.SplitSeq(line, " && ") {
			words := strings.Fields(before.ReplaceAllString(part, ""))
			switch name := strings.TrimPrefix(words[0], "bin/"); {
			case name == "make":
				w.hasTargets(words[1:])
			case name == "go":
				w.hasPackages(words[1:])
			case stays.MatchString(part):
				w.start(part)
			case slices.Contains(ours, name):
				if strings.Contains(part, "curl ") {
					w.lookPath("curl", "install Debian's package curl")
				}
				w.works(part, b)
			default:
				require.Contains(w, others, name, "there is no check for this command: %s", line)
			}
		}
	}
}

// runWhole runs a whole script that makes keys or certificates. It uses new directories and the
// user that runs the tests.
func (w *world) runWhole(b block) {
	w.lookPath("openssl", "install Debian's package openssl")
	apart := *w
	apart.system = w.T.TempDir()
	require.NoError(w, os.MkdirAll(filepath.Join(apart.system, "etc/telegraf"), 0o700))
	mine := strings.NewReplacer("-o root -g telegraf ", "", "chgrp telegraf ", "chgrp $(id -g) ")
	code, said := w.run("set -e; " + apart.here(mine.Replace(b.text)))
	require.Zero(w, code, said)
}

// hasPackages checks that the packages of ours that a command names exist.
func (w *world) hasPackages(words []string) {
	for _, word := range words {
		if strings.HasPrefix(word, "./") || strings.HasPrefix(word, module) {
			require.DirExists(w, filepath.Join(root, strings.TrimPrefix(word, module)))
		}
	}
}

// hasTargets checks that the targets of make that a command names exist.
func (w *world) hasTargets(words []string) {
	for _, word := range words {
		if name, _, isVariable := strings.Cut(word, "="); isVariable || strings.HasSuffix(word, `"`) {
			require.NotEmpty(w, name)
			continue
		}
		if !strings.Contains(word, ".") {
			require.Regexp(w, `(?m)^`+regexp.QuoteMeta(word)+`:`, read(w.T, "Makefile"), "make %s", word)
		}
	}
}

func (w *world) runCrontab(b block) {
	entry := regexp.MustCompile(`^(?:[0-9*/,-]+ ){5}[a-z]+ ((?:/usr/(?:bin/heartbeat-sender|local/sbin/backup;)|curl) .*)$`)
	var variables strings.Builder
	for _, line := range commands(b.text) {
		if before.MatchString(line + " ") {
			fmt.Fprintf(&variables, "export %s; ", line)
			continue
		}
		found := entry.FindStringSubmatch(line)
		require.NotNil(w, found, line)
		w.works(variables.String()+found[1], b)
	}
}

// runPrompt runs the commands of a Windows prompt.
func (w *world) runPrompt(b block) {
	found := regexp.MustCompile(`heartbeat-sender\.exe"? ([^"\n]*)`).FindAllStringSubmatch(b.text, -1)
	require.NotEmpty(w, found)
	for _, call := range found {
		w.works("heartbeat-sender "+call[1], b)
	}
}

func (w *world) checkTOML(b block) {
	if example.MatchString(b.around) {
		w.compareExample(b)
	}
	table := regexp.MustCompile(`(?m)^\[?\[([a-z]+(?:\.[a-z_]+)?)`).FindStringSubmatch(b.text)
	switch {
	case strings.Contains(b.text, "[inputs.heartbeat.cluster]"): // the only error may be that no mate listens
		code, said := w.run("telegraf-heartbeat -check -config " + w.write("heartbeat.conf", b.text))
		require.Equal(w, 3, code, said)
		for line := range strings.Lines(said) {
			require.Contains(w, line, "[inputs.heartbeat.cluster]: 'mates': no collector listens on ")
		}
	case table != nil && table[1] == "inputs.heartbeat":
		w.works("telegraf-heartbeat -check -config "+w.write("heartbeat.conf", b.text), block{})
	case table != nil && table[1] != "watch":
		w.works("telegraf config check --config "+w.write("telegraf.conf", b.text), block{})
	default: // the only error may be that no collector listens
		file := w.write("heartbeat-sender.toml", b.text)
		code, said := w.run("heartbeat-sender once -splay 0s -timeout 1s -config "+file, "HEARTBEAT_SERVER="+unusedServer(w.T))
		require.Equal(w, 1, code, said)
	}
}

// checkUnit verifies a unit with systemd-analyze, which prints nothing if the unit is correct.
func (w *world) checkUnit(b block) {
	file := w.write("documented.service", "[Service]\nExecStart=/bin/true\n"+b.text)
	code, said := w.run(w.lookPath("systemd-analyze", "install Debian's package systemd") + " verify " + file)
	require.Zero(w, code, said)
	require.Empty(w, said)
}

func (w *world) checkYAML(b block) {
	var content map[string]any
	require.NoError(w, yaml.NewDecoder(bytes.NewBufferString(b.text)).Decode(&content))
	require.NotEmpty(w, content)
	for key, check := range programs {
		if _, is := content[key]; is {
			check(w, b.text)
		}
	}
}

// programs contains the program that checks a YAML document, by a key of the document.
var programs = map[string]func(w *world, text string){
	"scrape_configs": func(w *world, text string) { w.promtool("config --syntax-only", text) },
	"groups":         func(w *world, text string) { w.promtool("rules", text) },
	"receivers":      func(w *world, text string) { w.tool("amtool check-config", "make servers", text) },
	"inhibit_rules": func(w *world, text string) {
		w.tool("amtool check-config", "make servers", "route: {receiver: chat}\nreceivers: [{name: chat}]\n"+text)
	},
	"steps": (*world).runSteps,
	"hooks": func(w *world, text string) {
		needed := "location: {source_directories: [/etc], repositories: [/backup]}\n"
		w.tool("validate-borgmatic-config --config", "install Debian's package borgmatic", needed+text)
	},
}

// runSteps runs the pings of a workflow of GitHub Actions.
func (w *world) runSteps(text string) {
	var workflow struct{ Steps []struct{ Run string } }
	require.NoError(w, yaml.Unmarshal([]byte(text), &workflow))
	w.lookPath("curl", "install Debian's package curl")
	for _, step := range workflow.Steps {
		if strings.HasPrefix(step.Run, "make ") { // the job that the workflow runs
			continue
		}
		code, said := w.run(step.Run, "PING_URL="+w.here("http://collector.example.com:7879/ping/"+pingID))
		require.Zero(w, code, "%s\n%s", step.Run, said)
	}
}

// checkPromQL checks with Prometheus that each line is a valid expression.
func (w *world) checkPromQL(b block) {
	type rule struct{ Record, Expr string }
	var rules []rule
	for _, line := range commands(b.text) {
		rules = append(rules, rule{fmt.Sprintf("documented_%d", len(rules)), line})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "documented", "rules": rules}}})
	require.NoError(w, err)
	w.promtool("rules", string(text))
}

func (w *world) promtool(what, text string) {
	w.Helper()
	w.tool("promtool check "+what, "make servers", text)
}

// tool checks a file with a program that is not ours.
func (w *world) tool(command, from, text string) {
	w.Helper()
	name, args, _ := strings.Cut(command, " ")
	code, said := w.run(w.lookPath(name, from) + " " + args + " " + w.write(name+".yaml", text))
	require.Zero(w, code, said)
}

// buildGo compiles the text as the body of a function that has a context.
func (w *world) buildGo(b block) {
	source := w.write("x.go", "package x\nimport (\n\"context\"\n\"time\"\n\""+module+"/sender\"\n)\n"+
		"func f(ctx context.Context) error {\n_ = time.Second\n"+b.text+"return err\n}\n")
	here, err := filepath.Abs("documented") // it does not exist
	require.NoError(w, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "x.go"): source}})
	require.NoError(w, err)
	build := exec.Command("go", "build", "-buildvcs=false", "-overlay", w.write("overlay.json", string(overlay)), "./documented")
	out, err := build.CombinedOutput()
	require.NoError(w, err, "%s", out)
}

const module = "github.com/telegraf-heartbeat/telegraf-heartbeat"

// example matches a link to a file that a document shows.
var example = regexp.MustCompile(`\((?:\.\./)?(deploy/examples/[a-z.-]+)\)`)

// compareExample checks that the block is equal to the linked file, which internal/e2e runs.
func (w *world) compareExample(b block) {
	name := example.FindStringSubmatch(b.around)
	require.NotNil(w, name, "the text around it has no link to a file in deploy/examples")
	require.Equal(w, read(w.T, name[1]), b.text, "%s differs from the block", name[1])
}

// The number of fields in a series is the number of fields in the plugin's README, or one less
// for a peer that never reports its status. Documents must name that number.
func TestDocumentsCountTheFieldsOfAPeer(t *testing.T) {
	_, list, found := strings.Cut(read(t, pluginREADME), "\n- heartbeat_peer ")
	require.True(t, found)
	list, _, _ = strings.Cut(list, "\n\n")
	_, list, found = strings.Cut(list, "- fields:\n")
	require.True(t, found)
	require.Contains(t, list, "    - status_code ")
	count := len(regexp.MustCompile(`(?m)^    - [a-z_]+ \(`).FindAllString(list, -1))
	for document, sentence := range map[string]string{
		"README.md":       "one series of %d fields to your database, or %d if it sends",
		"docs/faq.md":     "One series of %d fields for each peer, %d if",
		"README.zh-CN.md": "每个对端在数据库里多一个序列，%d 个字段；发送状态的对端有 %d 个",
	} {
		require.Contains(t, read(t, document), fmt.Sprintf(sentence, count-1, count))
	}
}
