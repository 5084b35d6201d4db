package run_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envrun/envrun/environ"
	"envrun/envrun/redact"
	"envrun/envrun/run"
	"envrun/vault"
)

// The test binary plays three parts: the tests; the wrapper, which is what
// cmd/envrun does, with a Command made from its arguments and roleOptions; and the
// probe, a program that says how it sees the world.
const (
	roleVar    = "RUN_TEST_ROLE"
	optionsVar = "RUN_TEST_OPTIONS"
)

func TestMain(m *testing.M) {
	run.Begin()
	switch os.Getenv(roleVar) {
	case "wrapper":
		wrapper()
	case "probe":
		probe()
	}
	os.Exit(testMain(m))
}

// options are what a test says of a run beside its arguments.
type options struct {
	Shell         string            `json:",omitempty"`
	Dir           string            `json:",omitempty"`
	Set           map[string]string `json:",omitempty"` // secrets: into the environment, and masked
	Unset         []string          `json:",omitempty"`
	Files         map[string]string `json:",omitempty"` // variable to content
	MemFD         bool              `json:",omitempty"`
	RuntimeDir    string            `json:",omitempty"`
	RuntimeDirAny bool              `json:",omitempty"`
	Mask          string            `json:",omitempty"`
	Sensitive     bool              `json:",omitempty"`
	Timeout       time.Duration     `json:",omitempty"`
	KillAfter     time.Duration     `json:",omitempty"`
	Exec          bool              `json:",omitempty"`
	Supervise     bool              `json:",omitempty"`
	Hook          string            `json:",omitempty"` // a file that a clean-up function writes
	HookWaits     bool              `json:",omitempty"` // and then waits for ever
	PanicIn       string            `json:",omitempty"` // "masker", "context"
}

func wrapper() {
	var o options
	if text := os.Getenv(optionsVar); text != "" {
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			fmt.Fprintln(os.Stderr, "wrapper:", err)
			os.Exit(99)
		}
	}
	var ctx context.Context = context.Background()
	if o.PanicIn == "context" {
		ctx = panicking{ctx}
	}
	status, err := run.Run(ctx, o.command(os.Args[1:]))
	for _, w := range status.Warnings {
		fmt.Fprintln(os.Stderr, "wrapper: warning:", w)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wrapper:", err)
	}
	status.Exit()
}

// panicking is a context that panics when it is waited for, which is when
// everything runs.
type panicking struct{ context.Context }

func (panicking) Done() <-chan struct{} { panic("context") }

func (o options) command(argv []string) run.Command {
	env := environ.FromList(os.Environ(), "")
	env.Unset(roleVar)
	env.Unset(optionsVar)
	for _, name := range o.Unset {
		env.Unset(name)
	}
	var secrets []redact.Secret
	for name, value := range o.Set {
		_ = env.Set(name, value)
		secrets = append(secrets, redact.Secret{Name: name, Value: vault.NewValueString(value)})
	}
	c := run.Command{
		Argv: argv, Shell: o.Shell, Dir: o.Dir, Env: env,
		MemFD: o.MemFD, RuntimeDir: o.RuntimeDir, RuntimeDirAny: o.RuntimeDirAny,
		Sensitive: o.Sensitive, Timeout: o.Timeout, KillAfter: o.KillAfter,
		ForceExec: o.Exec, ForceSupervise: o.Supervise,
		Masker: func() *redact.Masker {
			if o.PanicIn == "masker" {
				panic("masker")
			}
			return redact.New(secrets)
		},
	}
	if o.Mask != "" {
		mask, err := run.ParseMask(o.Mask)
		if err != nil {
			panic(err)
		}
		c.Mask = mask
	}
	for name, content := range o.Files {
		c.Files = append(c.Files, run.FileVar{Var: name, Value: vault.NewValueString(content)})
	}
	if o.Hook != "" {
		c.OnExit = append(c.OnExit, func(ctx context.Context) error {
			if err := os.WriteFile(o.Hook, []byte("called\n"), 0o600); err != nil {
				return err
			}
			if o.HookWaits {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
	}
	return c
}

// testBinary is this program.
func testBinary(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// environment is this process's without what would make a child play a part,
// and with more.
func environment(more ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "RUN_TEST_") && !strings.HasPrefix(entry, "GOCOVERDIR=") {
			env = append(env, entry)
		}
	}
	env = append(env, "GORACE=atexit_sleep_ms=0") // the race detector would make each of our processes linger
	return append(env, more...)
}

// wrapperEnv makes the test binary the wrapper.
func wrapperEnv(t testing.TB, o options) []string {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return []string{roleVar + "=wrapper", optionsVar + "=" + string(text)}
}

// writeFile writes a file of a test and returns its path.
func writeFile(t testing.TB, dir, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// patience is how long a test waits for what must happen: long, because the
// machine may be busy, and never reached unless something is wrong.
const patience = 20 * time.Second

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}
