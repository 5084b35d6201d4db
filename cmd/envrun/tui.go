package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"envrun/auth/agekey"
	"envrun/cmd/internal/cli"
	"envrun/envrun/editor"
	"envrun/envrun/project"
	"envrun/tui"
	"envrun/tui/clip"
	"envrun/tui/plain"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/filevault"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

func newTUI(t *tool) *cobra.Command {
	var o tuiOptions
	cmd := &cobra.Command{
		Use: "tui", Short: "Browse, reveal, copy and change in the terminal (the same as envrun alone)",
		Long: `Opens the interface: the environments, their secrets, and what you may do with
them. No value is on the screen before you ask for it, and then one, for some
seconds. Nothing of it stays in the terminal's scrollback or in a file.

While somebody watches, share mode (P, --share or ENVRUN_SHARE=1) shows no value,
and with P again or ENVRUN_SHARE=names no name of a secret either. It is on by
itself where asciinema or script records the terminal.

? shows the keys that work where you are, and : finds any action by name.

With --plain, with ENVRUN_PLAIN=1 and on a terminal of type "dumb" it is the same
in lines: numbered rows and menus and questions, and nothing but printable text,
for whoever uses a screen reader.`,
		Example: "  envrun\n  envrun tui -e prod --share\n  envrun --plain",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runTUI(cmd.Context(), t, o) },
	}
	o.flags(cmd)
	return cmd
}

// tuiOptions are the flags of the interface.
type tuiOptions struct {
	share, ascii, plain bool
	theme               string
}

func (o *tuiOptions) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.share, "share", false, "begin in share mode: somebody is watching, no value is shown")
	cmd.Flags().BoolVar(&o.ascii, "ascii", false, "draw with ASCII characters alone")
	cmd.Flags().BoolVar(&o.plain, "plain", false, "in lines, without drawing: for screen readers and simple terminals (or ENVRUN_PLAIN=1)")
	cmd.Flags().StringVar(&o.theme, "theme", "", "auto, dark, light, contrast or mono")
}

func runTUI(ctx context.Context, t *tool, o tuiOptions) error {
	o.plain = o.plain || t.inLines()
	if !t.Interactive() || o.plain && !cli.IsTerminal(t.Out) {
		return &cli.HintError{Err: errors.New("the interface needs a terminal and somebody at it"), Code: cli.CodeUsage, Hint: "envrun list, envrun get, envrun set …"}
	}
	switch o.theme {
	case "", "auto", "dark", "light", "contrast", "mono":
	default:
		return cli.Usagef("envrun tui", "--theme is auto, dark, light, contrast or mono, not %q", o.theme)
	}
	p, err := t.project()
	if err != nil {
		return err
	}
	if len(p.Envs) == 0 {
		return &cli.HintError{Err: fmt.Errorf("%s names no environment", p.File), Code: cli.CodeConfig, Hint: "envrun env add dev"}
	}
	first := vault.Env("")
	if name := t.flags.env; name != "" || t.Getenv("ENVRUN_ENV") != "" {
		env, err := p.Select(name, t.Getenv("ENVRUN_ENV"))
		if err != nil {
			return err
		}
		first = env.Name
	}
	for _, env := range p.Envs {
		if env.Remote() {
			// Whether a server may be shown a token is asked before there is a screen.
			// What comes of it is remembered, and said where it matters.
			v, err := t.server(p, env)
			if err != nil {
				continue // opening it says why
			}
			if _, err := t.token(ctx, env, v); errors.Is(err, cli.ErrInterrupted) || ctx.Err() != nil {
				return err
			}
		}
	}
	bell := tui.NewBell()
	t.notice = bell.Say
	t.hidden = func(ctx context.Context, prompt string) ([]byte, error) {
		words, err := bell.Ask(ctx, tui.Question{From: "your sessions", Text: prompt, Hidden: true})
		if errors.Is(err, tui.ErrLent) {
			return t.AskHidden(ctx, prompt, "")
		}
		return words, err
	}
	open, who, err := t.openers(p, bell)
	if err != nil {
		return err
	}
	state := ""
	if dir, err := t.stateDir(); err == nil {
		state = filepath.Join(dir, "tui.toml")
	}
	c := tui.Config{
		Project: string(p.Name), Who: who, First: first, StateFile: state,
		// Whoever opens a vault of files writes that down nowhere; a server does.
		FreeFacts: !slices.ContainsFunc(p.Envs, project.Env.Remote),
		Open:      open.vault,
		Bell:      bell,
		Explain:   t.sentence,
		Look:      tui.Look{Theme: o.theme, ASCII: o.ascii || asciiOnly(t.Getenv), NoColor: t.Getenv("NO_COLOR") != ""},
		Now:       t.now,
	}
	recorder := ""
	if c.Share, c.HideNames, recorder = t.sharing(o.share); recorder != "" {
		c.Hello = recorder + " records this terminal: share mode is on, and no value is shown. P changes that."
	}
	c.Where = func(ctx context.Context, env vault.Env, path vault.Path) ([]screen.Injection, error) {
		v, err := open.vault(ctx, env)
		if err != nil {
			return nil, err
		}
		return t.where(ctx, p, env, v, path)
	}
	if slices.ContainsFunc(p.Envs, func(e project.Env) bool { return !e.Remote() }) {
		c.Gate = newGate(t, open)
	} // else who can open what is the server's to say
	if slices.ContainsFunc(p.Envs, project.Env.Remote) {
		c.Watch = open.watch
		c.SignIns = &signer{t, open}
	}
	c.Runner = lineRunner{t, open.selected}
	line := editor.Choose(t.Getenv)
	c.EditorLine = line
	c.Editor = &editor.Command{Line: line, RuntimeDir: t.Getenv("XDG_RUNTIME_DIR"), Environ: t.environ(), GOOS: t.goos, Stdin: t.In, Stdout: t.Out, Stderr: t.Err}
	c.Path = p.Name
	if home, err := os.UserHomeDir(); err == nil {
		c.Home = home
	}
	if program, err := os.Executable(); err == nil {
		c.Clipboard = clip.New(clip.Options{Program: program, Environ: t.environ(), Terminal: t.drawn(o.plain)})
	}
	for _, e := range p.Envs {
		c.Envs = append(c.Envs, screen.Env{Name: e.Name, Protected: e.Protected})
	}
	t.releaseSignals() // the interface takes them: it blanks the screen first
	var end tui.End
	if o.plain {
		end, err = plain.Run(ctx, c, t.talk())
	} else {
		end, err = tui.Run(ctx, c, tui.Terminal{In: t.In, Out: t.Out, Environ: t.environ()})
	}
	if err != nil {
		return err
	}
	if end.Crash != nil {
		t.Notef("%v", end.Crash)
		t.Sayf("%s", end.Crash.Stack)
		return cli.ErrShown
	}
	if end.Clip > 0 {
		t.Notef("a copied value leaves the clipboard in %.0f s", end.Clip.Seconds())
	}
	if sig, ok := end.Signal.(syscall.Signal); ok {
		os.Exit(128 + int(sig))
	}
	return nil
}

// asciiOnly reports whether the locale says that a terminal cannot show more.
func asciiOnly(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			v = strings.ToUpper(v)
			return !strings.Contains(v, "UTF-8") && !strings.Contains(v, "UTF8")
		}
	}
	return false
}

// sentence is an error as the interface shows it: what, and what to do.
func (t *tool) sentence(err error) (what, next string) {
	r := t.explain(err)
	return r.Message, strings.Join(r.Hints, "; ")
}

// openers are the vaults of a project, each opened once.
type openers struct {
	t       *tool
	project *project.Project
	bell    *tui.Bell
	id      func(context.Context) (*agekey.Identity, error)

	mu      sync.Mutex
	open    map[string]*filevault.Vault
	servers map[vault.Env]*remote.Vault
}

// openers prepares the vaults for the interface, in which nothing else can ask
// at the terminal: all questions go through the bell.
func (t *tool) openers(p *project.Project, bell *tui.Bell) (*openers, string, error) {
	who, err := t.me()
	if err != nil {
		return nil, "", err
	}
	o := &openers{t: t, project: p, bell: bell, open: map[string]*filevault.Vault{}, servers: map[vault.Env]*remote.Vault{}, id: who.identity}
	ui := t.bellUI(bell)
	if t.Getenv("ENVRUN_KEY") != "" {
		o.id = func(ctx context.Context) (*agekey.Identity, error) {
			id, err := who.identity(ctx)
			if err == nil {
				id = id.WithPluginUI(ui)
			}
			return id, err
		}
	} else if home, err := t.home(); err == nil {
		home.PluginUI = ui
		o.id = once(func(ctx context.Context) (*agekey.Identity, error) {
			for again := false; ; again = true {
				home.Passphrase = t.bellPassphrase(bell, again)
				id, err := home.Load(ctx)
				if !errors.Is(err, agekey.ErrPassphrase) || t.Getenv("ENVRUN_PASSPHRASE_FILE") != "" {
					return id, err
				}
			}
		})
	}
	return o, who.member, nil
}

// once loads an identity until that has worked. Who wants it while it is loaded
// gets the same answer: nobody is asked twice at a time.
func once(load func(context.Context) (*agekey.Identity, error)) func(context.Context) (*agekey.Identity, error) {
	type attempt struct {
		done chan struct{}
		id   *agekey.Identity
		err  error
	}
	var mu sync.Mutex
	var last *attempt
	return func(ctx context.Context) (*agekey.Identity, error) {
		mu.Lock()
		a := last
		if a == nil {
			a = &attempt{done: make(chan struct{})}
			last = a
			go func() {
				// Not of the one who came first: the others wait for it too.
				a.id, a.err = load(context.WithoutCancel(ctx))
				mu.Lock()
				if a.err != nil {
					last = nil
				}
				mu.Unlock()
				close(a.done)
			}()
		}
		mu.Unlock()
		select {
		case <-a.done:
			return a.id, a.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// vault opens the vault of an environment.
func (o *openers) vault(ctx context.Context, name vault.Env) (vault.Vault, error) {
	return o.store(ctx, name)
}

func (o *openers) store(ctx context.Context, name vault.Env) (store, error) {
	env, ok := o.project.Env(name)
	if !ok || !env.Remote() {
		return o.file(ctx, name)
	}
	return o.remote(env)
}

// remote opens the vault of an environment that is on a server.
func (o *openers) remote(env project.Env) (*remote.Vault, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if v, ok := o.servers[env.Name]; ok {
		return v, nil
	}
	v, err := o.t.server(o.project, env)
	if err != nil {
		return nil, err
	}
	o.servers[env.Name] = v
	return v, nil
}

// watch tells when somebody writes in an environment, where its server does.
func (o *openers) watch(ctx context.Context, name vault.Env) iter.Seq2[vault.Notice, error] {
	return func(yield func(vault.Notice, error) bool) {
		if env, ok := o.project.Env(name); !ok || !env.Remote() {
			return
		}
		v, err := o.vault(ctx, name)
		if err != nil {
			return // whoever reads there says it
		}
		if w, ok := v.(vault.Watcher); ok {
			w.Watch(ctx, name)(yield)
		}
	}
}

// selected is an environment and its vault, as a command has it.
func (o *openers) selected(ctx context.Context, name vault.Env) (selected, error) {
	v, err := o.store(ctx, name)
	if err != nil {
		return selected{}, err
	}
	env, _ := o.project.Env(name)
	return selectIn(o.project, env, v), nil
}

func (o *openers) file(ctx context.Context, name vault.Env) (*filevault.Vault, error) {
	env, ok := o.project.Env(name)
	if !ok {
		return nil, &vault.Error{Kind: vault.KindNoEnv, Env: name}
	}
	if env.Remote() {
		return nil, onServer(env.Vault)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if v, ok := o.open[env.Vault]; ok {
		return v, nil
	}
	options, err := o.t.vaultOptions(env.Vault)
	if err != nil {
		return nil, err
	}
	options.Identity = o.id
	// Nothing may write beside the interface, nor ask on its terminal. A key that is
	// not known yet is shown as that, and accepted on a screen.
	options.FirstContact = nil
	options.PluginUI, options.Notice = o.t.bellUI(o.bell), o.bell.Say
	v, err := filevault.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	if options.Member == "" && options.CI == nil {
		// Of whoever brings a bare key a grant says who they are, and none does yet
		// where they cannot open the environment: then it is asked again.
		if options.Member, err = v.Mine(ctx, name); err != nil {
			return v, nil
		}
		if v, err = filevault.Open(ctx, options); err != nil {
			return nil, err
		}
	}
	o.open[env.Vault] = v
	return v, nil
}
