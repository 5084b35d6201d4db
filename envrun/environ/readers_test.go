package environ_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"

	"envrun/envrun/environ"
)

// The tests here give what Export writes to the programs it is written for.
// One that is not on the machine is skipped by name.

// run starts a program with a deadline and returns what it printed.
func run(t *testing.T, env []string, program string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = t.TempDir()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%.2000s", program, err, stderr.Bytes())
	}
	return out
}

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not on this machine", program)
	}
	return path
}

// file writes text where only this test sees it.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// decode reads {"name": "base64"}.
func decode(t *testing.T, out []byte) map[string][]byte {
	t.Helper()
	var got map[string][]byte
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %.200q", err, out)
	}
	return got
}

// export writes what fits and returns both.
func export(t *testing.T, f environ.Format, o environ.ExportOptions) (string, []environ.Entry) {
	t.Helper()
	fit := fitting(t, f, o, refusals(f))
	text, err := write(t, f, o, fit...)
	if err != nil {
		t.Fatal(err)
	}
	return text, fit
}

func TestShellsReadShell(t *testing.T) {
	text, want := export(t, environ.Shell, environ.ExportOptions{})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A program's environment has no room for all of it at once.
	small := split(want, 1<<20)
	if len(text) < 1<<10 || len(small) == 0 {
		t.Fatal("nothing to read")
	}
	for _, shell := range [][]string{{"sh"}, {"dash"}, {"bash"}, {"bash", "--posix"}, {"zsh", "-f"}, {"ksh"}, {"mksh"}, {"busybox", "sh"}} {
		for _, locale := range []string{"C", "C.UTF-8"} {
			t.Run(strings.Join(shell, " ")+" "+locale, func(t *testing.T) {
				path := need(t, shell[0])
				for _, part := range small {
					text, err := write(t, environ.Shell, environ.ExportOptions{}, part...)
					if err != nil {
						t.Fatal(err)
					}
					args := append(shell[1:len(shell):len(shell)], "-c", `. "$1"; exec "$2"`, "x", file(t, "env.sh", text), self)
					out := run(t, []string{dumpVariable + "=1", "LC_ALL=" + locale}, path, args...)
					sameValues(t, shell[0], decode(t, out), part)
				}
			})
		}
	}
}

// split divides entries so that each part has at most this many bytes.
func split(entries []environ.Entry, most int) (parts [][]environ.Entry) {
	var part []environ.Entry
	size := 0
	for _, e := range entries {
		n := len(e.Name) + e.Value.Len() + 16
		if size+n > most {
			parts, part, size = append(parts, part), nil, 0
		}
		part = append(part, e)
		size += n
	}
	return append(parts, part)
}

func TestFishReadsFish(t *testing.T) {
	path := need(t, "fish")
	text, want := export(t, environ.Fish, environ.ExportOptions{})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	out := run(t, []string{dumpVariable + "=1", "HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_DATA_HOME=" + home, "LC_ALL=C.UTF-8"},
		path, "--no-config", "-c", `source $argv[1]; exec $argv[2]`, file(t, "env.fish", text), self)
	sameValues(t, "fish", decode(t, out), want)
}

// In fish a variable whose name ends in PATH is a list, cut at colons and
// joined again: that, too, has to give the same bytes.
func TestFishKeepsPathLists(t *testing.T) {
	path := need(t, "fish")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	want := []environ.Entry{entry("A_PATH", "a:b::c:"), entry("MANPATH", ":"), entry("CDPATH", "x y:'z'")}
	text, err := write(t, environ.Fish, environ.ExportOptions{}, want...)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	out := run(t, []string{dumpVariable + "=1", "HOME=" + home}, path, "--no-config", "-c", `source $argv[1]; exec $argv[2]`, file(t, "env.fish", text), self)
	sameValues(t, "fish", decode(t, out), want)
}

func TestPowerShellReadsPowerShell(t *testing.T) {
	text, want := export(t, environ.PowerShell, environ.ExportOptions{})
	t.Run("by its grammar", func(t *testing.T) {
		got := map[string][]byte{}
		for line := range strings.Lines(text) {
			name, value := powerShell(t, strings.TrimSuffix(line, "\n"))
			got[name] = value
		}
		sameValues(t, "PowerShell", got, want)
	})
	for _, program := range []string{"pwsh", "powershell"} {
		t.Run(program, func(t *testing.T) {
			path := need(t, program)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range split(want, 1<<20) {
				text, err := write(t, environ.PowerShell, environ.ExportOptions{}, part...)
				if err != nil {
					t.Fatal(err)
				}
				script := file(t, "env.ps1", text+"\n& '"+self+"'\n")
				out := run(t, []string{dumpVariable + "=1"}, path, "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File", script)
				sameValues(t, program, decode(t, out), part)
			}
		})
	}
}

// powerShell evaluates "$env:NAME = " and a sum of 'strings' and [char]0xNNNN,
// which PowerShell keeps in UTF-16. Only printable ASCII may stand in quotes.
func powerShell(t *testing.T, line string) (string, []byte) {
	t.Helper()
	name, rest, ok := strings.Cut(strings.TrimPrefix(line, "$env:"), " = ")
	if !ok || !strings.HasPrefix(rest, "'") {
		t.Fatalf("%q is no assignment of a string", line)
	}
	var units []uint16
	for {
		switch {
		case strings.HasPrefix(rest, "'"):
			for rest = rest[1:]; ; rest = rest[1:] {
				if rest == "" || rest[0] < ' ' || rest[0] > '~' {
					t.Fatalf("%.100q is not closed, or not ASCII", line)
				}
				if rest[0] == '\'' {
					if rest = rest[1:]; rest == "" || rest[0] != '\'' {
						break
					}
				}
				units = append(units, uint16(rest[0]))
			}
		case strings.HasPrefix(rest, "[char]0x") && len(rest) >= 12:
			n, err := strconv.ParseUint(rest[8:12], 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			units, rest = append(units, uint16(n)), rest[12:]
		default:
			t.Fatalf("%.100q is no sum of strings and characters", line)
		}
		if rest == "" {
			return name, []byte(string(utf16.Decode(units)))
		}
		if rest[0] != '+' {
			t.Fatalf("%.100q goes on with %q", line, rest[0])
		}
		rest = rest[1:]
	}
}

// GitHub's runner, by the code of its SetEnvFileCommand: a line with "<<"
// before any "=" opens a value that ends at the line that repeats what follows.
func TestGitHubReadsGitHub(t *testing.T) {
	text, want := export(t, environ.GitHub, environ.ExportOptions{})
	for _, windows := range []bool{false, true} {
		got := map[string][]byte{}
		for at := 0; at < len(text); {
			line, _, next := githubLine(text, at, windows)
			at = next
			if line == "" {
				continue
			}
			equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
			if equals >= 0 && (heredoc < 0 || equals < heredoc) {
				t.Fatalf("%q is read as a value of one line", line)
			}
			if heredoc <= 0 || line[heredoc+2:] == "" {
				t.Fatalf("%q has no name or no delimiter", line)
			}
			start, end := at, at
			for {
				if at >= len(text) {
					t.Fatalf("%q is not closed", line)
				}
				inner, newline, next := githubLine(text, at, windows)
				if at = next; inner == line[heredoc+2:] {
					break
				}
				end = at - len(newline)
			}
			got[line[:heredoc]] = []byte(text[start:max(start, end)])
		}
		sameValues(t, fmt.Sprintf("GitHub's runner (Windows %v)", windows), got, want)
	}
}

func githubLine(text string, at int, windows bool) (line, newline string, next int) {
	n := strings.Index(text[at:], "\n")
	if n < 0 {
		return text[at:], "", len(text)
	}
	if cr := strings.Index(text[at:], "\r\n"); windows && cr >= 0 && cr < n {
		return text[at : at+cr], "\r\n", at + cr + 2
	}
	return text[at : at+n], "\n", at + n + 1
}

// A delimiter is drawn for each value, so that a value cannot hold the one that ends it.
func TestGitHubDelimitersAreNotGuessed(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		text, err := write(t, environ.GitHub, environ.ExportOptions{}, entry("A", "x"), entry("B", "y"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if _, delimiter, ok := strings.Cut(line, "<<"); ok {
				if seen[delimiter] || len(delimiter) < 26 {
					t.Fatalf("delimiter %q", delimiter)
				}
				seen[delimiter] = true
			}
		}
	}
}

func TestProgramsReadJSON(t *testing.T) {
	text, want := export(t, environ.JSON, environ.ExportOptions{})
	path := file(t, "env.json", text)
	t.Run("encoding/json", func(t *testing.T) {
		var got map[string]string
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		sameValues(t, "encoding/json", toBytes(got), want)
	})
	t.Run("node", func(t *testing.T) {
		sameValues(t, "node", decode(t, run(t, nil, need(t, "node"), "-e", nodeMain+`print(JSON.parse(text))`, path)), want)
	})
	t.Run("python3", func(t *testing.T) {
		sameValues(t, "python3", decode(t, run(t, nil, need(t, "python3"), "-c", pythonMain+`show(json.loads(text))`, path)), want)
	})
	t.Run("jq", func(t *testing.T) {
		sameValues(t, "jq", decode(t, run(t, nil, need(t, "jq"), "map_values(@base64)", path)), want)
	})
}

func TestProgramsReadYAML(t *testing.T) {
	text, want := export(t, environ.YAML, environ.ExportOptions{})
	path := file(t, "env.yaml", text)
	t.Run("yaml/v3", func(t *testing.T) {
		var got map[string]string
		if err := yaml.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		sameValues(t, "yaml/v3", toBytes(got), want)
	})
	t.Run("npm yaml", func(t *testing.T) {
		got := run(t, nil, need(t, "node"), "-e", nodeMain+`const {parse}=require(process.argv[2]);for(const version of["1.1","1.2"])var v=parse(text,{version});print(v)`, path, npm(t, "yaml"))
		sameValues(t, "npm yaml", decode(t, got), want)
	})
	t.Run("PyYAML", func(t *testing.T) {
		python := need(t, "python3")
		if exec.Command(python, "-c", "import yaml").Run() != nil {
			t.Skip("PyYAML is not on this machine")
		}
		sameValues(t, "PyYAML", decode(t, run(t, nil, python, "-c", pythonMain+`import yaml; show(yaml.safe_load(text))`, path)), want)
	})
}

const nodeMain = `const text=require('fs').readFileSync(process.argv[1],'utf8');
function print(o){const r={};for(const k in o)r[k]=Buffer.from(o[k],'utf8').toString('base64');console.log(JSON.stringify(r))}
`

const pythonMain = `import sys, json, base64
text = open(sys.argv[1], encoding="utf-8", newline="").read()
def show(o): print(json.dumps({k: base64.b64encode(v.encode("utf-8")).decode() for k, v in o.items()}))
`

func toBytes(m map[string]string) map[string][]byte {
	b := map[string][]byte{}
	for k, v := range m {
		b[k] = []byte(v)
	}
	return b
}

func TestProgramsReadDotenv(t *testing.T) {
	for _, d := range []environ.Dialect{environ.DialectAuto, environ.DialectNode} {
		fit := fitting(t, environ.Dotenv, environ.ExportOptions{Dialect: d}, nil)
		text, err := write(t, environ.Dotenv, environ.ExportOptions{Dialect: d}, fit...)
		if err != nil {
			t.Fatal(err)
		}
		path := file(t, ".env", text)
		for _, module := range []string{"dotenv16", "dotenv17"} {
			t.Run(module+" "+string(d), func(t *testing.T) {
				got := run(t, nil, need(t, "node"), "-e", nodeMain+`print(require(process.argv[2]).parse(text))`, path, npm(t, module))
				sameValues(t, module, decode(t, got), fit)
			})
		}
		if d != environ.DialectAuto {
			continue
		}
		t.Run("node's own", func(t *testing.T) {
			node := need(t, "node")
			if exec.Command(node, "-e", "require('util').parseEnv('')").Run() != nil {
				t.Skip("this node has no util.parseEnv")
			}
			sameValues(t, "util.parseEnv", decode(t, run(t, nil, node, "-e", nodeMain+`print(require('util').parseEnv(text))`, path)), fit)
		})
		t.Run("python-dotenv", func(t *testing.T) {
			python := need(t, "python3")
			if exec.Command(python, "-c", "import dotenv.main").Run() != nil {
				t.Skip("python-dotenv is not on this machine")
			}
			sameValues(t, "python-dotenv", decode(t, run(t, nil, python, "-c", pythonMain+`import dotenv; show(dotenv.dotenv_values(sys.argv[1], encoding="utf-8"))`, path)), fit)
		})
		t.Run("ruby's dotenv", func(t *testing.T) {
			ruby := need(t, "ruby")
			if exec.Command(ruby, "-e", "require 'dotenv'").Run() != nil {
				t.Skip("the gem dotenv is not on this machine")
			}
			got := run(t, []string{"LC_ALL=C.UTF-8"}, ruby, "-e", `require 'dotenv'; require 'json'; puts JSON.generate(Dotenv.parse(ARGV[0]).transform_values{|v| [v].pack('m0')})`, path)
			sameValues(t, "ruby's dotenv", decode(t, got), fit)
		})
	}
}

// Docker's CLI reads the file and sends the result to its engine, whose place
// a small server takes here.
func TestDockerReadsItsOwnFile(t *testing.T) {
	docker := need(t, "docker")
	socket := filepath.Join(shortTempDir(t), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Skipf("no unix socket: %v", err)
	}
	received := make(chan []string, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.47")
		w.Header().Set("Content-Type", "application/json")
		if r.Method != http.MethodPost {
			return
		}
		var body struct{ Env []string }
		if raw, err := io.ReadAll(r.Body); err == nil && json.Unmarshal(raw, &body) == nil {
			received <- body.Env
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"Id":"x"}`)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	ask := func(path string) []string {
		config := t.TempDir()
		run(t, []string{"DOCKER_CONFIG=" + config, "DOCKER_HOST=", "DOCKER_CONTEXT="}, docker, "-H", "unix://"+socket, "create", "--env-file", path, "image")
		return <-received
	}

	text, want := export(t, environ.Docker, environ.ExportOptions{})
	got := map[string][]byte{}
	for _, line := range ask(file(t, "env", text)) {
		name, value, _ := strings.Cut(line, "=")
		got[name] = []byte(value)
	}
	sameValues(t, "docker", got, want)

	// And what we make of other files is what Docker makes of them.
	for _, text := range []string{
		"\ufeffA=1\n  B= 2 \n# c\n\t# c\n\nC='x' # y\r\nD=\"a\\nb\"\nE=$HOME\nF=\nG==x=\n\u00a0H=1\n",
		"A=" + strings.Repeat("x", 64<<10-3) + "\nB=1",
		"A-b.c=1\nA=2\nA=3\n",
	} {
		mine, _, _, err := read(t, text, environ.Docker, environ.ImportOptions{})
		if err != nil {
			t.Errorf("%.40q: %v", text, err)
		}
		theirs := map[string]string{}
		for _, line := range ask(file(t, "env", text)) {
			name, value, _ := strings.Cut(line, "=")
			theirs[name] = value
		}
		if !equal(mine, theirs) {
			t.Errorf("%.40q: docker reads %.200q, we %.200q", text, theirs, mine)
		}
	}
	for _, text := range []string{"A =1\n", "=1\n", "export A=1\n", "A=" + strings.Repeat("x", 64<<10-2) + "\n"} {
		cmd := exec.Command(docker, "-H", "unix://"+socket, "create", "--env-file", file(t, "env", text), "image")
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+t.TempDir())
		if cmd.Run() == nil {
			t.Errorf("docker takes %.40q", text)
			<-received
		}
	}
}

// shortTempDir is a folder in which a socket's path is short enough.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "env")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestKubectlReadsK8s(t *testing.T) {
	kubectl := need(t, "kubectl")
	text, want := export(t, environ.K8s, environ.ExportOptions{Name: "app", Namespace: "prod"})
	// --local changes a manifest without a cluster: it reads and prints it.
	out := run(t, []string{"HOME=" + t.TempDir(), "KUBECONFIG=none"}, kubectl, "label", "--local", "-f", file(t, "secret.yaml", text), "a=b", "-o", "json")
	var secret struct {
		APIVersion, Kind, Type string
		Metadata               struct{ Name, Namespace string }
		Data                   map[string][]byte
	}
	if err := json.Unmarshal(out, &secret); err != nil {
		t.Fatal(err)
	}
	if secret.APIVersion != "v1" || secret.Kind != "Secret" || secret.Type != "Opaque" || secret.Metadata.Name != "app" || secret.Metadata.Namespace != "prod" {
		t.Errorf("kubectl reads %+v", secret.Metadata)
	}
	sameValues(t, "kubectl", secret.Data, want)
}

// Compose, by its rules: a YAML file in which $$ is $ and any other $ before a
// name or a brace is replaced.
func TestComposeReadsCompose(t *testing.T) {
	text, want := export(t, environ.Compose, environ.ExportOptions{Name: "api"})
	var compose struct {
		Services map[string]struct{ Environment map[string]string }
	}
	if err := yaml.Unmarshal([]byte(text), &compose); err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{}
	for name, value := range compose.Services["api"].Environment {
		if rest := strings.ReplaceAll(value, "$$", ""); strings.Contains(rest, "$") {
			t.Errorf("%s: Compose would look at a $ in %.60q", name, value)
		}
		got[name] = []byte(strings.ReplaceAll(value, "$$", "$"))
	}
	sameValues(t, "Compose", got, want)

	t.Run("docker compose", func(t *testing.T) {
		docker := need(t, "docker")
		if exec.Command(docker, "compose", "version").Run() != nil {
			t.Skip("docker has no compose here")
		}
		var config struct {
			Services map[string]struct{ Environment map[string]string }
		}
		out := run(t, nil, docker, "compose", "-f", file(t, "compose.yaml", strings.Replace(text, "environment:", "image: x\n    environment:", 1)), "config", "--format", "json")
		if err := json.Unmarshal(out, &config); err != nil {
			t.Fatal(err)
		}
		got := map[string][]byte{}
		for name, value := range config.Services["api"].Environment {
			got[name] = []byte(strings.ReplaceAll(value, "$$", "$")) // it writes a file to be read again
		}
		sameValues(t, "docker compose", got, want)
	})
}

// npm returns the folder of a module, which is installed once for all tests.
func npm(t *testing.T, module string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("npm's modules are not fetched in a short run")
	}
	need(t, "npm")
	dir, err := npmModules()
	if err != nil {
		t.Skipf("npm cannot install %s: %v", module, err)
	}
	return filepath.Join(dir, "node_modules", module)
}

var npmModules = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "environ-npm")
	if err != nil {
		return "", err
	}
	cleanUp = append(cleanUp, func() { _ = os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--cache", filepath.Join(dir, "cache"),
		"--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--fetch-retries=0", "--fetch-timeout=20000", "--loglevel=error",
		"dotenv16@npm:dotenv@16.6.1", "dotenv17@npm:dotenv@17.4.2", "yaml@2.9.1")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %.300s", err, out)
	}
	return dir, nil
})
