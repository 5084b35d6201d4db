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
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"envrun/auth/keychain/guard"
	"envrun/cmd/internal/cli"

	"github.com/spf13/cobra"
)

// version is set by the linker: git describe of what was built.
var version = "dev"

func main() {
	guard.Restore()
	os.Exit(runMain(os.Args[1:]))
}

func runMain(args []string) int {
	t := &tool{
		Streams: cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv},
		environ: os.Environ,
		now:     time.Now,
		goos:    runtime.GOOS,

		releaseSignals: func() {},
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	if commandOf(args) != "run" {
		t.catchInterrupts(stop)
	}

	cli.Explainers = explainers()
	root := newRoot(t, args)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if sig := (interrupted{}); errors.As(context.Cause(ctx), &sig) {
		return 128 + int(sig.signal)
	}
	return t.fail(err)
}

// interrupted is why the context of a command ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return i.signal.String() }

// catchInterrupts lets Ctrl-C and a polite kill end what a command waits for,
// so that locks and temporary files go too. A second one ends us at once. A
// run has nothing to clean up before its command starts, and its start is a
// promise: it goes without.
func (t *tool) catchInterrupts(stop context.CancelCauseFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	t.releaseSignals = func() { signal.Stop(signals) }
	go func() {
		s, ok := (<-signals).(syscall.Signal)
		if !ok {
			return
		}
		stop(interrupted{s})
		signal.Stop(signals)
	}()
}

// globals are the flags that every command has.
type globals struct {
	env         string
	config      string
	json        bool
	yes         string // "" no; "*" yes to plain questions; a name: yes to that protected environment
	noInput     bool
	errorFormat string
	verbose     bool
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

	{"env", "care", newEnv},
	{"key", "care", newKey},
	{"vault", "care", newVault},
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
	flags.StringVar(&t.flags.config, "config", "", "project file, instead of the envrun.toml found upward from here")
	flags.BoolVar(&t.flags.json, "json", false, "print facts as JSON")
	flags.StringVar(&t.flags.yes, "yes", "", "answer yes; --yes=ENV also for a protected environment")
	flags.Lookup("yes").NoOptDefVal = "*"
	flags.BoolVar(&t.flags.noInput, "no-input", false, "never ask anything")
	flags.StringVar(&t.flags.errorFormat, "error-format", "text", "how errors are printed: text or json")
	flags.BoolVarP(&t.flags.verbose, "verbose", "v", false, "say what is done")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &cli.UsageError{Command: cmd.CommandPath(), Err: err}
	})
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return t.begin(cmd) }
	addRunFlags(root, t)
	_ = root.RegisterFlagCompletionFunc("env", t.completeEnvs)

	only := commandOf(args)
	for _, c := range commands {
		if only == "" || only == c.name {
			cmd := c.new(t)
			cmd.GroupID = c.group
			root.AddCommand(cmd)
		}
	}
	root.AddGroup(&cobra.Group{ID: "main", Title: "The main job:"}, &cobra.Group{ID: "secrets", Title: "Secrets:"}, &cobra.Group{ID: "care", Title: "Environments, keys and care:"})
	root.SetHelpCommandGroupID("care")
	return root
}

// commandOf guesses which one command the arguments name: "run" when it is the
// root's own "-- CMD", and "" when it takes the whole tree to say (help,
// completion, a misspelt name).
func commandOf(args []string) string {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return "run"
		case arg == "-e" || arg == "--env" || arg == "--config" || arg == "--error-format":
			i++
		case strings.HasPrefix(arg, "-e") && !strings.HasPrefix(arg, "--"),
			strings.HasPrefix(arg, "--env="), strings.HasPrefix(arg, "--config="), strings.HasPrefix(arg, "--error-format="),
			arg == "--json", arg == "--yes", strings.HasPrefix(arg, "--yes="), arg == "--no-input", arg == "-v", arg == "--verbose":
		case strings.HasPrefix(arg, "-"):
			return ""
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
