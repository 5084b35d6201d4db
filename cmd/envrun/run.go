package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/envrun/environ"
	"envrun/envrun/project"
	"envrun/envrun/redact"
	"envrun/envrun/resolve"
	"envrun/envrun/run"
	"envrun/vault"
	"envrun/vault/near"

	"github.com/spf13/cobra"
)

// runOptions are the flags of a run, which the root command has too.
type runOptions struct {
	dotenv     []string
	set        []string
	only       []string
	except     []string
	keepEnv    string
	clean      bool
	passAuth   bool
	mask       string
	exec       bool
	supervise  bool
	memfd      bool
	killAfter  time.Duration
	timeout    time.Duration
	shell      string
	explain    bool
	statusFD   int
	strictExit bool
}

func addRunFlags(cmd *cobra.Command, t *tool) {
	o := &t.runFlags
	f := cmd.Flags()
	f.SetInterspersed(false) // the first word that is no flag begins the command
	f.StringArrayVarP(&o.dotenv, "file", "f", nil, "lay a dotenv file over the secrets; may be repeated")
	f.StringArrayVar(&o.set, "set", nil, "set NAME=VALUE over everything, visible in ps like any argument; may be repeated")
	f.StringSliceVar(&o.only, "only", nil, "inject only the variables that match these globs")
	f.StringSliceVar(&o.except, "except", nil, "do not inject the variables that match these globs")
	f.StringVar(&o.keepEnv, "keep-env", "", "the caller's variables win: all, or --keep-env=NAME,…")
	f.Lookup("keep-env").NoOptDefVal = "*"
	f.BoolVar(&o.clean, "clean", false, "inherit only PATH, HOME, TERM and the like")
	f.BoolVar(&o.passAuth, "pass-auth", false, "let the command inherit envrun's own credentials")
	f.StringVar(&o.mask, "mask", "", "mask values in the command's output: auto, always or never")
	f.BoolVar(&o.exec, "exec", false, "fail rather than stay behind the command as its supervisor")
	f.BoolVar(&o.supervise, "supervise", false, "stay behind the command as its supervisor")
	f.BoolVar(&o.memfd, "memfd", false, "deliver files as sealed memory (Linux); only the command itself can open them")
	f.DurationVar(&o.killAfter, "kill-after", 0, "kill the command this long after it was told to end")
	f.DurationVar(&o.timeout, "timeout", 0, "end the command after this long, with status 124")
	f.StringVar(&o.shell, "shell", "", "run this string with /bin/sh -c (cmd /c on Windows)")
	f.BoolVar(&o.explain, "explain", false, "say what would be injected from where, and run nothing")
	f.IntVar(&o.statusFD, "status-fd", -1, "write one line of JSON about the start or failure to this descriptor")
	f.BoolVar(&o.strictExit, "strict-exit", false, "exit 125 if cleaning up fails after the command ended")
	addCacheFlags(cmd, t)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.HasSubCommands() && cmd.ArgsLenAtDash() != 0 && o.shell == "" {
			// The root without "--": a misspelt command, or nothing at all.
			if len(args) == 0 && o.explain {
				return runExplain(cmd.Context(), t, *o, args)
			}
			if len(args) == 0 && (t.Interactive() || t.plain) {
				err := runTUI(cmd.Context(), t, tuiOptions{plain: t.plain})
				if none := (*project.NoProjectError)(nil); !errors.As(err, &none) {
					return err
				} // where there is nothing to show, how to begin is shown
			}
			if len(args) == 0 {
				return t.short(cmd)
			}
			return t.unknownCommand(cmd, args)
		}
		if t.plain {
			return t.runStatus(cli.Usagef("envrun", "--plain is for the interface, and takes no command"))
		}
		if o.explain {
			return runExplain(cmd.Context(), t, *o, args)
		}
		return t.runStatus(runRun(cmd.Context(), t, *o, args))
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault
	}
}

func newRun(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [flags] [--] COMMAND [ARG…]",
		Short: "Run a command with an environment's secrets; the same as envrun -- COMMAND",
		Long: `Runs a command with the secrets of one environment as environment variables. The
words after the first that is no flag belong to the command, byte for byte.

Where a name is given twice the later of these wins: the caller's environment,
the rules of envrun.toml in order, -f files in order, --set. --keep-env turns the
first around. envrun explain shows who won.

On Linux and macOS envrun becomes the command (exec): same process, signals,
terminal and status. It stays behind as a supervisor only for what needs one:
masked output, [[file]] deliveries to remove, a timeout.`,
		Example: `  envrun run npm start
  envrun run -e prod --yes=prod -- ./migrate.sh
  envrun run --mask always -- make test
  envrun run --shell 'echo "$DATABASE_URL" | cut -d@ -f2'`,
		Args: cobra.ArbitraryArgs,
	}
	addRunFlags(cmd, t)
	return cmd
}

// runStatus makes errors before the start of a command exit with 125, 126 or 127.
func (t *tool) runStatus(err error) error {
	if err == nil {
		return nil
	}
	exit := run.CodeFailed
	var e *run.Error
	if errors.As(err, &e) {
		exit = e.Code
	}
	if errors.Is(err, cli.ErrInterrupted) || errors.Is(err, context.Canceled) {
		exit = t.explain(err).Exit
	}
	err = &cli.StatusError{Exit: exit, Err: err}
	t.writeStatus(map[string]any{"started": false, "exit": exit, "code": t.explain(err).Code})
	return err
}

// writeStatus writes facts to the descriptor that --status-fd names; of several
// lines the last counts.
func (t *tool) writeStatus(facts map[string]any) {
	if t.statusFile != nil {
		_ = cli.WriteJSONLine(t.statusFile, facts)
	}
}

// openStatus takes the descriptor of --status-fd, which the command does not inherit.
func (t *tool) openStatus(fd int) error {
	if fd < 0 {
		return nil
	}
	bad := cli.Usagef("envrun run", "--status-fd %d is no open descriptor above 2", fd)
	if fd < 3 {
		return bad
	}
	f := os.NewFile(uintptr(fd), "status-fd")
	if f == nil {
		return bad
	}
	if _, err := f.Stat(); err != nil {
		return bad
	}
	run.CloseOnExec(f)
	t.statusFile = f
	return nil
}

func runRun(ctx context.Context, t *tool, o runOptions, argv []string) error {
	if len(argv) == 0 && o.shell == "" {
		return cli.Usagef("envrun run", "no command to run: envrun -- COMMAND [ARG…]")
	}
	if err := t.openStatus(o.statusFD); err != nil {
		return err
	}
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	if err := t.allow(ctx, s.env, "was run"); err != nil {
		return err
	}
	plan, err := t.resolve(ctx, s, o)
	if err != nil {
		return err
	}
	command, err := t.command(s, plan, o, argv)
	if err != nil {
		return err
	}
	p, err := command.Plan()
	if err != nil {
		return err
	}
	t.sayRun(s, plan, p)
	t.addMasks(plan)
	t.signOut() // the command takes this process's place, and nobody needs the token any more
	if err := ctx.Err(); err != nil {
		return err
	}
	facts := map[string]any{"started": true, "env": s.env.Name, "variables": len(plan.Variables), "files": len(plan.Files), "supervised": p.Supervise}
	if t.stale != nil {
		facts["stale"], facts["fetched"], facts["expires"] = true, t.stale.Fetched, t.stale.Expires
	}
	t.writeStatus(facts)
	t.releaseSignals()
	status, err := run.Run(ctx, command)
	for _, w := range status.Warnings {
		t.Notef("%s", cli.Printable(w.Error()))
	}
	if err != nil {
		return err
	}
	if o.strictExit && len(status.Warnings) > 0 {
		return errors.New("cleaning up after the command failed")
	}
	status.Exit()
	return nil
}

// resolve works out what a command gets.
func (t *tool) resolve(ctx context.Context, s selected, o runOptions) (*resolve.Plan, error) {
	parent := environ.FromList(t.environ(), t.goos)
	if o.clean {
		parent = parent.Clean()
	}
	if !o.passAuth {
		for _, name := range t.credentials(s.env) {
			parent.Unset(name)
		}
	}
	opts := resolve.Options{Parent: parent, GOOS: t.goos, Only: o.only, Except: o.except}
	switch o.keepEnv {
	case "":
	case "*":
		opts.KeepAll = true
	default:
		opts.Keep = strings.Split(o.keepEnv, ",")
	}
	for _, file := range o.dotenv {
		quiet := !t.flags.verbose // a run that goes well prints nothing
		entries, err := t.readImport(importOptions{format: string(environ.Dotenv), quiet: quiet}, file)
		if err != nil {
			return nil, err
		}
		opts.Dotenv = append(opts.Dotenv, resolve.Overlay{File: shown(file), Entries: entries})
	}
	for _, set := range o.set {
		name, value, ok := strings.Cut(set, "=")
		if !ok {
			return nil, cli.Usagef("envrun run", "--set takes NAME=VALUE")
		}
		opts.Set = append(opts.Set, environ.Entry{Name: name, Value: vault.NewValueString(value)})
	}
	r, err := t.reader(s, len(o.only)+len(o.except) == 0)
	if err != nil {
		return nil, err
	}
	return resolve.Resolve(ctx, s.Project, s.env.Name, r, opts)
}

// command is what run needs to know.
func (t *tool) command(s selected, plan *resolve.Plan, o runOptions, argv []string) (run.Command, error) {
	env, err := plan.Environ(o.passAuth)
	if err != nil {
		return run.Command{}, err
	}
	mask, err := maskOf(o, s.env)
	if err != nil {
		return run.Command{}, err
	}
	c := run.Command{
		Argv: argv, Shell: o.shell, Env: env,
		Stdin: t.In, Stdout: t.Out, Stderr: t.Err,
		MemFD: o.memfd, RuntimeDir: t.Getenv("XDG_RUNTIME_DIR"),
		Mask: mask, Masker: func() *redact.Masker { return masker(plan) },
		Sensitive: s.env.Protected || t.CI() != "" || t.Agent() != "",
		Timeout:   o.timeout, KillAfter: o.killAfter,
		ForceExec: o.exec, ForceSupervise: o.supervise,
	}
	for _, f := range plan.Files {
		c.Files = append(c.Files, run.FileVar{Var: f.Var, Value: f.Value})
	}
	return c, nil
}

// maskOf is --mask, else what envrun.toml says of the environment.
func maskOf(o runOptions, env project.Env) (run.Mask, error) {
	text := o.mask
	if text == "" {
		text = string(env.Mask)
	}
	if text == "" {
		return run.MaskAuto, nil
	}
	mask, err := run.ParseMask(text)
	if err != nil {
		return mask, cli.Usagef("envrun run", "--mask is auto, always or never, not %q", text)
	}
	return mask, nil
}

func masker(plan *resolve.Plan) *redact.Masker {
	var secrets []redact.Secret
	for _, v := range plan.Variables {
		if v.From == resolve.FromVault {
			secrets = append(secrets, redact.Secret{Name: v.Name, Value: v.Value, Mask: v.Mask})
		}
	}
	for _, f := range plan.Files {
		secrets = append(secrets, redact.Secret{Name: f.Var, Value: f.Value, Mask: f.Mask})
	}
	return redact.New(secrets)
}

// sayRun prints what must always be said, and with -v the one line of facts.
func (t *tool) sayRun(s selected, plan *resolve.Plan, p run.Plan) {
	for _, m := range plan.Absent {
		if m.Pos != s.NamePos { // not the rule that nobody wrote
			t.Notef("optional: %s", m)
		}
	}
	if s.env.Protected && cli.IsTerminal(t.Err) {
		if t.Getenv("NO_COLOR") == "" {
			fmt.Fprintf(t.Err, "\x1b[1;37;41m envrun: %s \x1b[0m\n", s.env.Name)
		} else {
			t.Notef("*** %s ***", s.env.Name)
		}
	}
	if t.flags.verbose {
		mode := "exec"
		if p.Supervise {
			mode = "supervised for " + strings.Join(p.Reasons, ", ")
		}
		t.Notef("%d variables and %d files of %s from %s; %s", len(plan.Variables), len(plan.Files), s.env.Name, s.env.Vault, mode)
	}
}

// addMasks tells GitHub's runner which values to hide in its log (runner T9).
// It reads them from our stderr; nothing is told when that is a file or a
// terminal, where the values would stay.
func (t *tool) addMasks(plan *resolve.Plan) {
	if t.Getenv("GITHUB_ACTIONS") != "true" || t.Getenv("GITHUB_RUN_ID") == "" {
		return
	}
	if info, err := t.Err.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	var values []vault.Value
	for _, v := range plan.Variables {
		if v.From == resolve.FromVault && (v.Mask == nil || *v.Mask) {
			values = append(values, v.Value)
		}
	}
	_ = run.AddMasks(t.Err, values)
}

func newExplain(t *tool) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "explain [flags] [-- COMMAND [ARG…]]",
		Short: "Say what a command would get from where, without values",
		Long: `Shows each variable with the secret and the rule that it comes from, what it wins
against, its length, and a fingerprint by which equal values can be told within
this output. With a command it also says whether envrun would become it or
supervise it, and why.`,
		Example: `  envrun explain
  envrun explain -e prod --json -- npm start`,
		Args: cobra.ArbitraryArgs,
	}
	addRunFlags(cmd, t)
	for _, name := range []string{"explain", "status-fd", "strict-exit"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o = t.runFlags
		return runExplain(cmd.Context(), t, o, args)
	}
	return cmd
}

// explanation is what explain --json prints.
type explanation struct {
	*resolve.Explanation
	*staleness
	Mode    string   `json:"mode,omitempty"` // exec or supervise
	Reasons []string `json:"reasons,omitempty"`
	Program string   `json:"program,omitempty"` // the file that would be run
}

func runExplain(ctx context.Context, t *tool, o runOptions, argv []string) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	plan, problem := t.resolve(ctx, s, o)
	if plan == nil {
		return problem
	}
	x := explanation{Explanation: plan.Explain(nil), staleness: t.staleness()}
	var startErr error
	if problem == nil && (len(argv) > 0 || o.shell != "") {
		command, err := t.command(s, plan, o, argv)
		if err != nil {
			return err
		}
		p, err := command.Plan()
		startErr = err
		if err == nil {
			x.Program, x.Mode, x.Reasons = p.Path, "exec", p.Reasons
			if p.Supervise {
				x.Mode = "supervise"
			}
		}
	}
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, x); err != nil {
			return err
		}
	} else if err := t.printExplanation(x); err != nil {
		return err
	}
	if problem != nil {
		return problem
	}
	return startErr
}

func (t *tool) printExplanation(x explanation) error {
	t.Printf("%s from %s, by %s\n", x.Env, cli.Printable(x.Vault), cli.Printable(x.File))
	table := cli.NewTable(t.Streams)
	for _, v := range x.Variables {
		as := ""
		if v.As == "file" {
			as = "as a file"
		}
		table.Row("  "+v.Name, sourceText(v.ExplainedSource), strconv.Itoa(v.Length)+" bytes", v.Fingerprint, as)
		for _, l := range v.Losers {
			same := ""
			if l.Same {
				same = ", which is the same"
			}
			table.Row("", "  wins against "+sourceText(l)+same)
		}
	}
	for _, k := range x.Kept {
		table.Row("  "+k.Name, "kept from the caller, by "+k.Why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"not handed on to the command", x.Stripped}, {"dropped, from a run around this one for " + x.Outer, x.Dropped}} {
		if len(list.names) > 0 {
			t.Printf("%s: %s\n", list.what, strings.Join(list.names, ", "))
		}
	}
	for _, m := range x.Absent {
		t.Printf("optional and not there: %s\n", strings.Trim(strings.Join(slices.DeleteFunc([]string{m.Path, m.Field, m.Name}, func(s string) bool { return s == "" }), "/"), "/"))
	}
	t.Printf("%s of variables in all\n", cli.Count(x.Bytes, "byte"))
	switch x.Mode {
	case "exec":
		t.Printf("envrun becomes %s (exec)\n", cli.Printable(x.Program))
	case "supervise":
		t.Printf("envrun stays behind %s: %s\n", cli.Printable(x.Program), strings.Join(x.Reasons, ", "))
	}
	return nil
}

func sourceText(s resolve.ExplainedSource) string {
	text := string(s.From)
	switch {
	case s.Path != "":
		text = fmt.Sprintf("%s/%s v%d", s.Path, s.Field, s.Version)
		if s.At != "" {
			text += " (" + s.At + ")"
		}
	case s.At != "":
		text += " " + s.At
	}
	return text
}

// short is what envrun alone prints where there is no command to run: exit 2.
func (t *tool) short(cmd *cobra.Command) error {
	t.Sayf("%s\n\nUsage:\n  envrun [flags] -- COMMAND [ARG…]\n  envrun COMMAND-OF-ENVRUN\n\n%s\n\nAll commands: envrun help", cmd.Short, cmd.Example)
	return &cli.StatusError{Exit: cli.ExitUsage, Err: cli.ErrShown}
}

// unknownCommand is a first word that is no command of envrun.
func (t *tool) unknownCommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if t.flags.yes == "*" && slices.Contains(os.Args, "--yes") {
		return &cli.StatusError{Exit: run.CodeFailed, Err: &cli.HintError{Err: fmt.Errorf("envrun has no command %q", args[0]), Code: cli.CodeUsage, Hint: "if it is an environment: --yes=" + args[0]}}
	}
	if t.runFlags.keepEnv == "*" {
		return &cli.StatusError{Exit: run.CodeFailed, Err: &cli.HintError{Err: fmt.Errorf("envrun has no command %q", args[0]), Code: cli.CodeUsage, Hint: "if it is a variable: --keep-env=" + args[0]}}
	}
	nearest := near.Nearest(args[0], names)
	err := error(&cli.HintError{
		Err:  fmt.Errorf("envrun has no command %q", args[0]),
		Code: cli.CodeUsage, Hint: "to run it with your secrets: envrun -- " + cli.Printable(strings.Join(args, " ")),
	})
	if nearest != "" {
		err = cli.Near(err, "envrun "+nearest)
	}
	return &cli.StatusError{Exit: cli.ExitUsage, Err: err}
}
