package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"envrun/cmd/internal/cli"

	"github.com/spf13/cobra"
)

func newDemo(t *tool) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on a throwaway project, unattended, and clean up",
		Long: `Makes a project in a temporary folder, with an identity of its own, imports a .env
file, deletes it, and runs a program with its values: every command is shown with
its output. Nothing of yours is read or changed, and nothing stays.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), t, keep) },
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the folder")
	return cmd
}

const demoPassword = "correct-horse-battery-staple"

func runDemo(ctx context.Context, t *tool, keep bool) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// A pipe that is closed early must not keep us from cleaning up.
	signal.Ignore(syscall.SIGPIPE)
	top, err := os.MkdirTemp("", "envrun-demo-")
	if err != nil {
		return err
	}
	if !keep {
		defer func() {
			if rerr := os.RemoveAll(top); err == nil {
				err = rerr
			}
		}()
	}
	d := demo{tool: t, self: self, dir: filepath.Join(top, "shop"), home: filepath.Join(top, "home")}
	if err := errors.Join(os.Mkdir(d.dir, 0o755), os.Mkdir(d.home, 0o700)); err != nil {
		return err
	}
	program := []string{"sh", "-c", `echo "connecting to $DATABASE_URL with a password of ${#DB_PASSWORD} characters"`}
	if t.goos == "windows" {
		program = []string{"cmd", "/c", "echo connecting to %DATABASE_URL%"}
	}
	env := "# the file that every project has and nobody wants\nDATABASE_URL=postgres://shop@db.internal/shop\nDB_PASSWORD=" + demoPassword + "\n"
	if err := os.WriteFile(filepath.Join(d.dir, ".env"), []byte(env), 0o600); err != nil {
		return err
	}
	_, gitErr := exec.LookPath("git")
	withGit := gitErr == nil

	d.title("A project with a plain .env file")
	if withGit {
		d.quiet(ctx, "git", "init", "-q", ".")
	}
	d.title("1. Take its values into an encrypted vault, and delete it")
	d.show(ctx, "envrun", "init", "--env", "dev,prod", "--import", ".env", "--gitignore", "--store", "file")
	d.did("rm .env", os.Remove(filepath.Join(d.dir, ".env")))
	d.title("2. Run a program with them: as variables of that one process")
	d.show(ctx, append([]string{"envrun", "--"}, program...)...)
	d.title("3. See where each comes from, without values")
	d.show(ctx, "envrun", "explain")
	d.title("4. Change one; history and roll-back come from git")
	if withGit {
		d.commit(ctx, "take the secrets into a vault")
	}
	d.did("echo new-password | envrun set --trim DB_PASSWORD", d.input(ctx, "new-password\n", "envrun", "set", "--trim", "DB_PASSWORD"))
	if withGit {
		d.show(ctx, "envrun", "history")
		d.show(ctx, "envrun", "rollback", "--to", "1")
	}
	d.title("5. Nothing of it lies on disk in clear")
	found, ferr := d.search(demoPassword)
	d.err = errors.Join(d.err, ferr)
	if len(found) > 0 {
		return fmt.Errorf("the value was found in clear in %s", strings.Join(found, ", "))
	}
	d.did("grep -r "+demoPassword+" .   # finds nothing", nil)
	d.show(ctx, "envrun", "vault", "verify")
	if d.err != nil {
		return d.err
	}
	if keep {
		t.Printf("\nThe project stays in %s\n", d.dir)
	} else {
		t.Printf("\nThat is all of it; the project is gone again. In your own:  envrun init --import .env\n")
	}
	return nil
}

// demo runs commands in its project, and stops at the first that fails.
type demo struct {
	*tool
	self, dir, home string
	err             error
}

func (d *demo) title(s string) {
	if d.err == nil {
		d.err = d.OutErr()
	}
	if d.err == nil {
		d.Printf("\n%s\n", s)
	}
}

func (d *demo) command(ctx context.Context, argv []string) *exec.Cmd {
	name := argv[0]
	if name == "envrun" {
		name = d.self
	}
	cmd := exec.CommandContext(ctx, name, argv[1:]...)
	cmd.Dir = d.dir
	for _, entry := range d.environ() {
		if !strings.HasPrefix(entry, "ENVRUN_") && !strings.HasPrefix(entry, "GIT_") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "ENVRUN_CONFIG_DIR="+filepath.Join(d.home, "config"), "ENVRUN_STATE_DIR="+filepath.Join(d.home, "state"))
	return cmd
}

// show runs a command and prints it with what it says.
func (d *demo) show(ctx context.Context, argv ...string) {
	if d.err != nil {
		return
	}
	d.Printf("$ %s\n", shellWords(argv))
	cmd := d.command(ctx, argv)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		d.Printf("  %s", strings.NewReplacer(d.dir, ".", d.home, "~").Replace(line))
	}
	if err != nil {
		d.err = fmt.Errorf("%s: %w", shellWords(argv), err)
	}
}

func (d *demo) commit(ctx context.Context, message string) {
	d.Printf("$ git add -A && git commit -m %q\n", message)
	d.quiet(ctx, "git", "add", "-A")
	d.quiet(ctx, "git", "-c", "user.name=demo", "-c", "user.email=demo@example.org", "commit", "-qm", message)
}

func (d *demo) quiet(ctx context.Context, argv ...string) {
	if d.err != nil {
		return
	}
	if out, err := d.command(ctx, argv).CombinedOutput(); err != nil {
		d.err = fmt.Errorf("%s: %w: %s", shellWords(argv), err, strings.TrimSpace(string(out)))
	}
}

func (d *demo) input(ctx context.Context, text string, argv ...string) error {
	if d.err != nil {
		return nil
	}
	cmd := d.command(ctx, argv)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", shellWords(argv), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (d *demo) did(what string, err error) {
	if d.err == nil {
		d.Printf("$ %s\n", what)
		d.err = err
	}
}

// search finds the files below the project and its identity that hold text in clear.
func (d *demo) search(text string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(filepath.Dir(d.dir), func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), text) {
			found = append(found, file)
		}
		return err
	})
	return found, err
}

func shellWords(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = a
		if strings.ContainsAny(a, " \"$'") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
