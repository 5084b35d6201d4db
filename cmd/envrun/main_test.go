package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"envrun/auth/keychain/keychaintest"
	"envrun/cmd/internal/generated"
	"envrun/completions"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write completions, man pages and the golden parts of scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"envrun": main,
		"probe":  probe,

		"envrun-then": mainThen,

		"age-plugin-toy": agePluginToy,
	})
}

// mainThen is envrun at a time that does not pass: that of ENVRUN_TEST_TIME.
func mainThen() {
	at, err := time.Parse(time.RFC3339, os.Getenv("ENVRUN_TEST_TIME"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(runMain(os.Args[1:], func() time.Time { return at }))
}

// probe prints what a command of the user's would see: arguments and chosen variables.
func probe() {
	if len(os.Args) > 2 && os.Args[1] == "exit" {
		n, _ := strconv.Atoi(os.Args[2])
		os.Exit(n)
	}
	for _, arg := range os.Args[1:] {
		if name, ok := strings.CutPrefix(arg, "%"); ok {
			value, set := os.LookupEnv(name)
			if !set {
				fmt.Printf("%s is not set\n", name)
				continue
			}
			fmt.Printf("%s=%s\n", name, value)
			continue
		}
		fmt.Printf("arg %q\n", arg)
	}
}

// The scripts are what a user types, one file a behaviour. Each has a home, a
// config and a state folder of its own, and no keychain but a file.
func TestScript(t *testing.T) {
	first := &firstTeam{dir: t.TempDir()}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, ".home")
			if err := os.MkdirAll(home, 0o700); err != nil {
				return err
			}
			e.Setenv("HOME", home)
			e.Defer(func() { keychaintest.ForgetUnlocked(home) })
			e.Setenv("XDG_RUNTIME_DIR", "")
			e.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, "gitconfig"))
			e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			e.Setenv("GIT_AUTHOR_NAME", "alice")
			e.Setenv("GIT_AUTHOR_EMAIL", "alice@example.org")
			e.Setenv("GIT_COMMITTER_NAME", "alice")
			e.Setenv("GIT_COMMITTER_EMAIL", "alice@example.org")
			e.Values[teamKey{}] = first
			e.Setenv("CANARY", "canary-9f31c07be2")
			return os.WriteFile(filepath.Join(home, "gitconfig"), []byte("[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"), 0o644)
		},
		Condition: func(cond string) (bool, error) {
			switch {
			case cond == "root":
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: hostileCommands(map[string]func(*testscript.TestScript, bool, []string){
			"setup":    setup,
			"nowhere":  nowhere,
			"pair":     pair,
			"sub":      sub,
			"byteflip": byteflip,
			"fact":     fact,
			"keyed":    keyed,
			"toykey":   toykey,
			"auditlog": auditlog,
		}),
	})
}

// setup [ENVS]: a project with a vault and an identity in a file, made in the present folder.
func setup(ts *testscript.TestScript, neg bool, args []string) {
	envs := "dev"
	if len(args) > 0 {
		envs = args[0]
	}
	ts.Check(ts.Exec("envrun", "init", "--project", "app", "--env", envs, "--store", "file", "--no-recovery", "--member", "alice@laptop"))
}

// nowhere TEXT: TEXT is in no file below the work folder but those that scripts
// keep it in on purpose (named plain*), and neither in stdout nor in stderr.
func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	text := []byte(args[0])
	for _, stream := range []string{"stdout", "stderr"} {
		if strings.Contains(ts.ReadFile(stream), args[0]) {
			ts.Fatalf("%s shows %s", stream, args[0])
		}
	}
	err := filepath.WalkDir(ts.Getenv("WORK"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "plain") {
			return err
		}
		b, err := os.ReadFile(file)
		if err == nil && bytes.Contains(b, text) {
			ts.Fatalf("%s is in %s", text, file)
		}
		return err
	})
	ts.Check(err)
}

// sub FILE OLD NEW: replaces text in a file, once; \n is a newline.
func sub(ts *testscript.TestScript, neg bool, args []string) {
	file := ts.MkAbs(args[0])
	text := ts.ReadFile(args[0])
	unescape := strings.NewReplacer(`\n`, "\n", `\r`, "\r")
	old, new := unescape.Replace(args[1]), unescape.Replace(args[2])
	if !strings.Contains(text, old) {
		ts.Fatalf("%s does not have %q", args[0], old)
	}
	ts.Check(os.WriteFile(file, []byte(strings.Replace(text, old, new, 1)), 0o644))
}

// byteflip FILE N: changes one bit of byte N, from the end if N is negative.
func byteflip(ts *testscript.TestScript, neg bool, args []string) {
	file := ts.MkAbs(args[0])
	b := []byte(ts.ReadFile(args[0]))
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n < 0 {
		n += len(b)
	}
	b[n] ^= 1
	ts.Check(os.WriteFile(file, b, 0o644))
}

// fact VAR KEY ARGS…: keeps the first KEY, a string, of the facts that envrun ARGS prints.
func fact(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec("envrun", append(args[2:], "--json")...))
	_, rest, ok := strings.Cut(ts.ReadFile("stdout"), `"`+args[1]+`": "`)
	if !ok {
		ts.Fatalf("no %s in %s", args[1], ts.ReadFile("stdout"))
	}
	value, _, _ := strings.Cut(rest, `"`)
	ts.Setenv(args[0], value)
}

// keyed FILE COMMAND…: runs a command with what is in FILE as ENVRUN_KEY.
func keyed(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv("ENVRUN_KEY", strings.TrimSpace(ts.ReadFile(args[0])))
	err := ts.Exec(args[1], args[2:]...)
	ts.Setenv("ENVRUN_KEY", "")
	if neg && err == nil {
		ts.Fatalf("it succeeded")
	}
	if !neg {
		ts.Check(err)
	}
}

func whole() *cobra.Command {
	root := newRoot(&tool{goos: "linux"}, nil)
	root.InitDefaultHelpCmd()
	return root
}

// The completion scripts and the man pages are those of the commands; with
// -update they are written.
func TestGenerated(t *testing.T) { generated.Check(t, whole, *update) }

// Shells take the scripts: each is loaded by its own shell.
func TestCompletionScriptsLoad(t *testing.T) {
	for shell, args := range map[string][]string{
		"bash": {"--norc", "-c", `source /dev/stdin && declare -F __start_envrun`},
		"zsh":  {"-f", "-c", `autoload -Uz compinit && compinit -u -D; source /dev/stdin; whence -w _envrun`},
		"fish": {"--no-config", "-c", `source - ; complete -c envrun | string match -q '*envrun*'`},
	} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("suite %s completion skipped: no %s here", shell, shell)
			}
			cmd := exec.Command(shell, args...)
			cmd.Stdin = bytes.NewReader(completions.Script(shell))
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	t.Run("powershell", func(t *testing.T) {
		if _, err := exec.LookPath("pwsh"); err != nil {
			t.Skip("suite powershell completion skipped: no pwsh here, and no package of it to install")
		}
		out, err := exec.Command("pwsh", "-NoProfile", "-Command", string(completions.Script("powershell"))).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// Every command has a summary, an example that names it, and a group; and the
// start builds the one command that the arguments name.
func TestCommands(t *testing.T) {
	root := whole()
	for _, cmd := range root.Commands() {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: summary %q", cmd.Name(), cmd.Short)
		}
		if cmd.GroupID == "" {
			t.Errorf("%s is in no group", cmd.Name())
		}
	}
	for args, want := range map[string]string{
		"-- npm start":                  "run",
		"-e prod -- x":                  "run",
		"-eprod -- x":                   "run",
		"--env=prod --json explain":     "explain",
		"--env prod set":                "set",
		"run -- envrun get":             "run",
		"help set":                      "",
		"sett X":                        "",
		"__complete get x":              "",
		"--mask always -- x":            "run",
		"":                              "",
		"--yes=prod -v --no-input list": "list",
	} {
		if got := commandOf(strings.Fields(args)); got != want {
			t.Errorf("commandOf(%q) = %q, want %q", args, got, want)
		}
	}
	// commandOf must skip the value of each global flag that takes one.
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.NoOptDefVal == "" && commandOf([]string{"--" + f.Name, "set", "list"}) != "list" {
			t.Errorf("commandOf takes the value of --%s for a command", f.Name)
		}
		if f.NoOptDefVal != "" && commandOf([]string{"--" + f.Name, "list"}) != "list" {
			t.Errorf("commandOf does not know --%s", f.Name)
		}
	})
}
