// Command envrun runs a command with a team's secrets as environment variables,
// and is how people look after those secrets.
//
// Each command is one file: flags into a struct, checks, one call, a print. It
// refuses to hold what a TUI would need too: queries, formats and requests live
// below, in envrun/, vault/ and auth/.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/envrun/run"
	"envrun/tui/clip"

	"github.com/spf13/cobra"
)

// version is set by the linker: git describe of what was built.
var version = "dev"

func main() {
	run.Begin()  // first: this process may be one that keeps a terminal for a run
	clip.Begin() // or one that looks after a clipboard
	os.Exit(runMain(os.Args[1:], time.Now))
}

func runMain(args []string, now func() time.Time) int {
	t := &tool{
		Streams: cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv},
		environ: os.Environ,
		now:     now,
		goos:    runtime.GOOS,

		releaseSignals: func() {},
	}
	ctx := context.Background()
	runs := commandOf(args) == "run"
	cli.GuardMemory(runs)
	if !runs {
		var stop context.CancelCauseFunc
		ctx, stop = context.WithCancelCause(ctx)
		defer stop(nil)
		t.catchInterrupts(stop)
	}

	t.KeepOutErr()
	// A command line that cannot be read must still be answered in the form asked for.
	if slices.Contains(args, "--error-format=json") || slices.Contains(args, "json") && slices.Contains(args, "--error-format") {
		t.flags.errorFormat = "json"
	}
	// Not cobra's own flag: its template would link text/template, a fifth more to load.
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	root := newRoot(t, args)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	t.signOut()
	if err == nil && t.OutErr() != nil {
		err = fmt.Errorf("printing: %w", t.OutErr())
	}
	if err == nil {
		return 0
	}
	status := t.fail(err)
	if sig := (interrupted{}); errors.As(context.Cause(ctx), &sig) {
		return 128 + int(sig.signal)
	}
	return status
}

// interrupted is why the context of a command ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return i.signal.String() }

// catchInterrupts lets Ctrl-C, a polite kill and a terminal that goes end what a
// command waits for, so that locks and temporary files go too. A second one ends us at once. A
// run has nothing to clean up before its command starts, and its start is a
// promise: it goes without.
func (t *tool) catchInterrupts(stop context.CancelCauseFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	t.releaseSignals = func() { signal.Stop(signals) }
	go func() {
		s, ok := (<-signals).(syscall.Signal)
		if !ok {
			return
		}
		stop(interrupted{s})
		// Whoever waits for something that cannot be called off, a pipe that
		// nobody writes to, goes all the same: what was half-written is put
		// right by the next command, as after a kill.
		select {
		case <-signals:
		case <-time.After(2 * time.Second):
		}
		os.Exit(128 + int(s))
	}()
}

// globals are the flags that every command has.
type globals struct {
	env         string
	account     string
	config      string
	json        bool
	yes         string // "" no; "*" yes to plain questions; a name: yes to that protected environment
	noInput     bool
	errorFormat string
	verbose     bool
	fresh       bool
	plugins     []string // --plugin of the commands that wrap keys
}

// commands are all commands by name. A start builds only the one it needs:
// most starts are `envrun -- CMD`, and forty commands with their flags cost
// as much as decrypting its secrets.
var commands = []struct {
	name  string
	group string
	new   func(*tool) *cobra.Command
}{
	{"run", "main", newRun},
	{"explain", "main", newExplain},
	{"init", "main", newInit},
	{"demo", "main", newDemo},
	{"tui", "main", newTUI},

	{"set", "secrets", newSet},
	{"get", "secrets", newGet},
	{"list", "secrets", newList},
	{"rm", "secrets", newRm},
	{"edit", "secrets", newEdit},
	{"history", "secrets", newHistory},
	{"rollback", "secrets", newRollback},
	{"diff", "secrets", newDiff},
	{"copy", "secrets", newCopy},
	{"import", "secrets", newImport},
	{"export", "secrets", newExport},

	{"login", "team", newLogin},
	{"logout", "team", newLogout},
	{"whoami", "team", newWhoami},

	{"env", "care", newEnv},
	{"member", "team", newMember},
	{"request", "team", newRequest},
	{"access", "team", newAccess},

	{"key", "care", newKey},
	{"vault", "care", newVault},
	{"audit", "care", newAudit},
	{"policy", "care", newPolicy},
	{"cache", "care", newCache},
	{"git", "care", newGit},
	{"doctor", "care", newDoctor},
	{"completion", "care", newCompletion},
	{"version", "care", newVersion},
}

func newRoot(t *tool, args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "envrun [flags] -- COMMAND [ARG…]",
		Short: "Run a command with your team's secrets as environment variables",
		Long: `envrun runs a command with the secrets of one environment as environment
variables. Nothing is written to a .env file: the secrets lie encrypted in the
project's git repository, and only the command gets them.

The command's exit status is passed on unchanged. envrun's own are
  125  the command was not started (settings, keys, a missing secret …)
  126  it was found but cannot be run
  127  it was not found
and for every other command of envrun: 0 done, 1 failed, 2 wrong usage.`,
		Example: `  envrun init --import .env       set a project up from what you have
  envrun -- npm start             run with the default environment's secrets
  envrun -e prod -- ./deploy.sh   run with another's
  envrun explain -- npm start     see what it would get, without values`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVarP(&t.flags.env, "env", "e", "", "environment (default: $ENVRUN_ENV, then default in envrun.toml)")
	flags.StringVar(&t.flags.account, "account", "", "which of several sessions at a server: an e-mail address, a subject or an ID (or ENVRUN_ACCOUNT)")
	flags.StringVar(&t.flags.config, "config", "", "project file, instead of the envrun.toml found upward from here")
	flags.BoolVar(&t.flags.json, "json", false, "print facts as JSON")
	flags.StringVar(&t.flags.yes, "yes", "", "answer yes; --yes=ENV,… also for protected environments")
	flags.Lookup("yes").NoOptDefVal = "*"
	flags.BoolVar(&t.flags.noInput, "no-input", false, "never ask anything")
	flags.StringVar(&t.flags.errorFormat, "error-format", "text", "how errors are printed: text or json")
	flags.BoolVar(&t.flags.fresh, "fresh", false, "refuse a vault that is older than this machine has seen (or ENVRUN_FRESH=1)")
	flags.BoolVarP(&t.flags.verbose, "verbose", "v", false, "say what is done")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		err = &cli.UsageError{Command: cmd.CommandPath(), Err: err}
		if runs(cmd) {
			err = &cli.StatusError{Exit: run.CodeFailed, Err: err}
		}
		return err
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return t.begin(cmd) }
	addRunFlags(root, t)
	root.Flags().BoolVar(&t.plain, "plain", false, "the interface in lines, for screen readers and simple terminals (or ENVRUN_PLAIN=1)")
	_ = root.RegisterFlagCompletionFunc("env", t.completeEnvs)

	only := commandOf(args)
	for _, c := range commands {
		if only == "" || only == c.name {
			cmd := c.new(t)
			cmd.GroupID = c.group
			root.AddCommand(cmd)
		}
	}
	root.AddGroup(&cobra.Group{ID: "main", Title: "The main job:"}, &cobra.Group{ID: "secrets", Title: "Secrets:"}, &cobra.Group{ID: "team", Title: "Who has access:"}, &cobra.Group{ID: "care", Title: "Environments, keys and care:"})
	root.SetHelpCommandGroupID("care")
	return root
}

// runs reports whether a command runs a command: its failures before the start are 125.
func runs(cmd *cobra.Command) bool { return cmd.Name() == "run" || !cmd.HasParent() }

// commandOf guesses which one command the arguments name: "run" when it is the
// root's own "-- CMD", and "" when it takes the whole tree to say (help,
// completion, a misspelt name).
func commandOf(args []string) string {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return "run"
		case takesWord(arg):
			i++
		case arg == "-h" || arg == "--help" || arg == "--version":
			return ""
		case strings.HasPrefix(arg, "-"):
		default:
			for _, c := range commands {
				if c.name == arg {
					return arg
				}
			}
			return ""
		}
	}
	return ""
}

// takesWord reports whether a flag of the root has its value in the next word.
func takesWord(flag string) bool {
	switch flag {
	case "-e", "--env", "--account", "--config", "--error-format",
		"-f", "--file", "--set", "--only", "--except", "--mask", "--kill-after", "--timeout", "--shell", "--status-fd":
		return true
	}
	return false
}
