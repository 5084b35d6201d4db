//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/vault"
)

// atHome is the tool in a project of its own, with what it prints in a file.
func atHome(t *testing.T) (tl *tool, printed func() string) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	env := []string{"HOME=" + dir, "ENVRUN_CONFIG_DIR=" + filepath.Join(dir, "config"), "ENVRUN_STATE_DIR=" + filepath.Join(dir, "state"), "PATH=" + os.Getenv("PATH"), "OUTER=yes"}
	t.Setenv("HOME", dir)
	out, err := os.Create(filepath.Join(dir, "printed"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close(); in.Close() })
	tl = &tool{goos: "linux", environ: func() []string { return env }, now: time.Now, releaseSignals: func() {}}
	tl.Streams = cli.Streams{In: in, Out: out, Err: out, Getenv: func(name string) string {
		for _, kv := range env {
			if n, v, _ := strings.Cut(kv, "="); n == name {
				return v
			}
		}
		return ""
	}}
	return tl, func() string {
		b, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// command is a command of envrun in this process.
func command(t *testing.T, tl *tool, args ...string) {
	t.Helper()
	root := newRoot(tl, args)
	root.SetArgs(args)
	root.SetOut(io.Discard)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("envrun %s: %v", strings.Join(args, " "), err)
	}
}

func TestLineRunner(t *testing.T) {
	tl, printed := atHome(t)
	command(t, tl, "init", "--project", "app", "--env", "dev,prod", "--store", "file", "--no-recovery", "--member", "alice@laptop")
	command(t, tl, "set", "TOKEN=FAKE-canary-51c07be2")
	r := lineRunner{tl, func(ctx context.Context, env vault.Env) (selected, error) {
		p, err := tl.project()
		if err != nil {
			return selected{}, err
		}
		e, err := named(p, string(env))
		if err != nil {
			return selected{}, err
		}
		v, err := tl.vault(ctx, e.Vault)
		return selectIn(p, e, v), err
	}}

	ran, err := r.Run(t.Context(), "dev", `echo "token $TOKEN in $ENVRUN_ENV, outer $OUTER"; exit 7`, false)
	if err != nil || ran.Status != 7 || ran.Signal != 0 {
		t.Fatalf("%+v, %v", ran, err)
	}
	if got := printed(); !strings.Contains(got, "token FAKE-canary-51c07be2 in dev, outer yes") {
		t.Errorf("the command printed %q", got)
	}

	ran, err = r.Run(t.Context(), "dev", `kill -TERM $$`, false)
	if err != nil || ran.Status != 143 || ran.Signal != 15 {
		t.Errorf("%+v, %v", ran, err)
	}

	before := len(printed())
	if _, err = r.Run(t.Context(), "dev", `echo "token $TOKEN"`, true); err != nil {
		t.Fatal(err)
	}
	if got := printed()[before:]; strings.Contains(got, "canary") || !strings.Contains(got, "token ") {
		t.Errorf("masked, the command printed %q", got)
	}

	// What cannot be resolved starts nothing.
	before = len(printed())
	if _, err := r.Run(t.Context(), "prod", `echo started`, false); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("got %v", err)
	}
	if got := printed()[before:]; strings.Contains(got, "started") {
		t.Errorf("it was started: %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Run(ctx, "dev", `echo started`, false); err == nil {
		t.Error("a run that is over has begun")
	}
}
