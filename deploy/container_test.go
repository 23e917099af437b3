//go:build unix

package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// dockerfile returns what its instructions say, by their names.
func dockerfile(t *testing.T) map[string][]string {
	t.Helper()
	said := make(map[string][]string)
	for line := range strings.Lines(text(t, "container/Dockerfile")) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			said[name] = append(said[name], rest)
		}
	}
	return said
}

func text(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(content)
}

func TestImagesAreOfWhatIsThere(t *testing.T) {
	file := dockerfile(t)
	for _, line := range file["COPY"] {
		switch source := strings.Fields(line)[0]; {
		case source == "--from=build":
			program := strings.Fields(line)[1]
			require.DirExists(t, filepath.Join("..", "cmd", strings.TrimPrefix(program, "/src/bin/")))
		case !strings.HasPrefix(source, "--"):
			_, err := os.Stat(filepath.Join("..", source))
			require.NoError(t, err)
		}
	}
	for _, line := range file["RUN"] {
		if target, ok := strings.CutPrefix(line, "make "); ok {
			require.Regexp(t, `(?m)^`+target+`:`, text(t, "../Makefile"))
		}
	}
	mod := text(t, "../go.mod")
	golang := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(mod)[1]
	telegraf := regexp.MustCompile(`influxdata/telegraf v(\d+\.\d+)`).FindStringSubmatch(mod)[1]
	require.Contains(t, file["FROM"], "golang:"+golang+" AS build")
	require.Contains(t, file["FROM"], "telegraf:"+telegraf+" AS collector")
}

// A variable is one of the environment of a container.
type variable struct {
	Name, Value string
	ValueFrom   struct {
		FieldRef struct {
			FieldPath string `yaml:"fieldPath"`
		} `yaml:"fieldRef"`
	} `yaml:"valueFrom"`
}

// composition is compose.yaml, as far as we use its format.
type composition struct {
	Services map[string]struct {
		Build                      struct{ Context, Dockerfile, Target string }
		Hostname, Restart          string
		Ports, Volumes, Entrypoint []string
		Environment                map[string]string
	}
	Volumes map[string]any
}

func TestCompositionFitsTogether(t *testing.T) {
	decoder := yaml.NewDecoder(strings.NewReader(text(t, "container/compose.yaml")))
	decoder.KnownFields(true)
	var file composition
	require.NoError(t, decoder.Decode(&file))
	for name, service := range file.Services {
		from := filepath.Join("container", service.Build.Context, service.Build.Dockerfile)
		require.FileExists(t, from)
		require.Contains(t, strings.Join(dockerfile(t)["FROM"], "\n")+"\n", " AS "+service.Build.Target+"\n", name)
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, "./") {
				require.FileExists(t, filepath.Join("container", source))
			} else {
				require.Contains(t, file.Volumes, source)
			}
		}
	}
	host, port, ok := strings.Cut(strings.TrimPrefix(file.Services["shop"].Environment["HEARTBEAT_SERVER"], "tcp://"), ":")
	require.True(t, ok)
	require.Contains(t, file.Services, host)
	require.Contains(t, file.Services[host].Ports, port+":"+port)
	require.Contains(t, text(t, "container/heartbeat.conf"), `"tcp://:`+port+`"`)

	var entrypoint []string
	require.NoError(t, json.Unmarshal([]byte(dockerfile(t)["ENTRYPOINT"][1]), &entrypoint))
	require.Equal(t, "/heartbeat-sender", entrypoint[0][len("/usr/bin"):])
	beat := wrapped(t, entrypoint, file.Services["shop"].Environment)
	require.Equal(t, "compose", beat.Host)
}

// wrapped runs a command line of a container around another application, and
// returns the first beat of that.
func wrapped(t *testing.T, line []string, environ map[string]string) *wire.Beat {
	t.Helper()
	end := slices.Index(line, "--")
	require.Positive(t, end, line)
	require.Equal(t, installed, line[0])
	help, err := exec.Command(built, "help").Output()
	require.NoError(t, err)
	variables := make([]string, 0, len(environ))
	for name, value := range environ {
		option := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "HEARTBEAT_"), "_", "-"))
		require.Contains(t, string(help), "\n  -"+option+" ", "%s is no variable of the program", name)
		if name != "HEARTBEAT_SERVER" {
			variables = append(variables, name+"="+value)
		}
	}
	server, beats := collector(t)
	said, err := program(t, append(slices.Clone(line[1:end+1]), "sh", "-c", "sleep 1"), append(variables, server)...).CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Empty(t, said)
	beat := <-beats
	require.Equal(t, "shop", beat.Service)
	require.Equal(t, []wire.Label{{Key: "deployment", Value: "shop"}}, beat.Tags)
	return beat
}

// An object is one of Kubernetes, as far as we use its formats.
type object struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Data map[string]string
	Spec struct {
		ServiceName string `yaml:"serviceName"`
		Selector    map[string]any
		Ports       []struct {
			Name string
			Port int
		}
		Endpoints []struct {
			Port        string
			HonorLabels bool `yaml:"honorLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]any }
			Spec     struct {
				Containers []struct {
					Command, Args []string
					Env           []variable
					Ports         []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
				}
			}
		}
	}
}

func objects(t *testing.T, name string) map[string]object {
	t.Helper()
	all := make(map[string]object)
	decoder := yaml.NewDecoder(strings.NewReader(text(t, name)))
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all[o.Kind] = o
	}
}

func TestPodsFitTogether(t *testing.T) {
	all := objects(t, "container/kubernetes.yaml")
	service, set, shop := all["Service"].Spec, all["StatefulSet"].Spec, all["Deployment"].Spec
	require.Equal(t, set.Template.Metadata.Labels, service.Selector)
	require.Equal(t, all["Service"].Metadata.Name, set.ServiceName)
	for i, port := range set.Template.Spec.Containers[0].Ports {
		require.Equal(t, port.Name, service.Ports[i].Name)
		require.Equal(t, port.ContainerPort, service.Ports[i].Port)
	}
	for _, o := range []object{all["StatefulSet"], all["Deployment"]} {
		require.Equal(t, o.Spec.Template.Metadata.Labels, o.Spec.Selector["matchLabels"])
	}

	environ := make(map[string]string)
	for _, v := range shop.Template.Spec.Containers[0].Env {
		environ[v.Name] = v.Value
		if v.ValueFrom.FieldRef.FieldPath == "metadata.name" {
			environ[v.Name] = "shop-7d4b9c5f6-x2x7k"
		}
	}
	require.Equal(t, "tcp://"+all["Service"].Metadata.Name+":7878", environ["HEARTBEAT_SERVER"])
	beat := wrapped(t, shop.Template.Spec.Containers[0].Command, environ)
	require.Equal(t, "shop-7d4b9c5f6-x2x7k", beat.Host)
}

func TestServiceMonitorScrapesTheCollector(t *testing.T) {
	monitor, service := objects(t, "prometheus/servicemonitor.yaml")["ServiceMonitor"], objects(t, "container/kubernetes.yaml")["Service"]
	for key, value := range monitor.Spec.Selector["matchLabels"].(map[string]any) {
		require.Equal(t, value, service.Metadata.Labels[key])
	}
	require.Len(t, monitor.Spec.Endpoints, 1)
	require.True(t, monitor.Spec.Endpoints[0].HonorLabels, "else the label service is lost")
	require.Equal(t, monitor.Spec.Endpoints[0].Port, service.Spec.Ports[1].Name)
	require.Contains(t, text(t, "container/telegraf.conf"), `":9273"`)
	require.Equal(t, 9273, service.Spec.Ports[1].Port)
}

// The programs read the files of the containers.
func TestCollectorTakesTheFilesOfContainers(t *testing.T) {
	config := filepath.Join(t.TempDir(), "heartbeat.conf")
	require.NoError(t, os.WriteFile(config, []byte(objects(t, "container/kubernetes.yaml")["ConfigMap"].Data["heartbeat.conf"]), 0o600))
	for _, call := range [][]string{
		{"telegraf-heartbeat", "-check", "-config", "container/heartbeat.conf"},
		{"telegraf-heartbeat", "-check", "-config", config},
		{"telegraf", "config", "check", "--config", "container/telegraf.conf"},
	} {
		path := filepath.Join("..", "bin", call[0])
		if _, err := os.Stat(path); err != nil {
			t.Skipf("needs bin/%s, which \"make test\" builds", call[0])
		}
		out := new(bytes.Buffer)
		cmd := exec.Command(path, call[1:]...)
		cmd.Stdout, cmd.Stderr = out, out
		require.NoError(t, cmd.Run(), "%s", out)
	}
}
