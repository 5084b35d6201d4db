package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"envrun/auth/keychain"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/cache"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

func newCache(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "What is kept of servers for when they cannot be reached",
		Long: `What a run read from a server is kept, encrypted, where the project and the server
allow it, and used by the same run while the server cannot be reached. The key is
in the keychain of this machine, or is your own identity.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(&cobra.Command{
		Use: "ls", Short: "List what is kept, and until when",
		Args: cli.ExactArgs(0),
		RunE: func(*cobra.Command, []string) error { return runCacheLs(t) },
	}, &cobra.Command{
		Use: "clear [ENV]", Short: "Remove what is kept: of an environment of this project, or everything",
		Long: `Removes what is kept of one environment of this project. Without ENV everything of
every project goes, and so does the key in the keychain, without which no copy of
it can be opened.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runCacheClear(cmd.Context(), t, args) },
	})
	return cmd
}

// cacheFlags are those of commands that read for a run.
type cacheFlags struct{ offline, none bool }

func addCacheFlags(cmd *cobra.Command, t *tool) {
	cmd.Flags().BoolVar(&t.cache.offline, "offline", false, "do not ask the server: use what was kept of it")
	cmd.Flags().BoolVar(&t.cache.none, "no-cache", false, "keep nothing of what the server says, and use nothing that was kept")
	cmd.MarkFlagsMutuallyExclusive("offline", "no-cache")
}

// caches is where what is kept lies.
func (t *tool) caches() (*cache.Store, error) {
	state, err := t.stateDir()
	if err != nil {
		return nil, err
	}
	dir, err := t.cacheDir()
	if err != nil {
		return nil, err
	}
	home, err := t.home()
	if err != nil {
		return nil, err
	}
	state = filepath.Join(state, "offline")
	return &cache.Store{
		Dir: filepath.Join(dir, "offline"), StateDir: state, Now: t.now,
		Keys: &cache.Keys{
			Dir: state, Home: home, Now: t.now,
			Keychains: keychain.Options{Deadline: time.Second},
			Asking:    keychain.Options{Interactive: t.Interactive()},
		},
	}, nil
}

// cacheDir is for what can be made again.
func (t *tool) cacheDir() (string, error) {
	below := ".cache"
	if t.goos == "darwin" {
		below = "Library/Caches"
	}
	dir, err := t.userDir("ENVRUN_CACHE_DIR", "XDG_CACHE_HOME", below, "LOCALAPPDATA")
	if t.goos == "windows" {
		dir = filepath.Join(dir, "cache") // the state is there as well
	}
	return dir, err
}

// withdrawn reports whether a server, or the issuer whose word it takes, has said that
// what was asked for is not, or no longer, for whoever asked.
func withdrawn(err error) bool {
	ended := (*session.EndedError)(nil)
	return errors.As(err, &ended) || remote.Withdrawn(err)
}

// reader reads the secrets of a run: from a server with what was kept of it. whole
// says that all is asked for that runs in the environment ask for.
func (t *tool) reader(s selected, whole bool) (vault.Reader, error) {
	v, ok := s.vault.(*remote.Vault)
	job := ""
	if ci := t.CI(); ci != "" {
		job = ci + " is set"
	} else if p, pod := t.platform(s.env); pod { // its token ends with the run, and with it the use of what was kept
		job = "this is " + p.Title
	}
	if ok && job != "" && t.cache.offline {
		return nil, &cli.HintError{Err: fmt.Errorf("nothing of %s is kept here: %s, and a pipeline keeps nothing", s.env.Name, job), Code: cli.CodeOffline, Hint: "leave out --offline"}
	}
	if !ok || job != "" {
		return s.vault, nil
	}
	store, err := t.caches()
	if err != nil {
		if t.cache.offline {
			return nil, err
		}
		return s.vault, nil // nowhere to keep anything
	}
	return cache.New(v, cache.Options{
		Store: store, Place: cachePlace(s.Project, s.env, v),
		Token: func(ctx context.Context) (string, error) { return t.token(ctx, s.env, v) },
		Away:  remote.Away, Withdrawn: withdrawn,
		Told: func() (time.Time, *time.Duration) {
			told := v.Told(s.env.Name)
			return told.Date, told.Cache
		},
		Limit: s.env.CacheFor,
		Whole: whole, Offline: t.cache.offline, Off: t.cache.none,
		Using: func(f cache.Facts) {
			t.stale = &f
			why := "cannot be reached"
			if t.cache.offline {
				why = "is not asked"
			}
			t.Notef("%s %s: using what was read of %s on %s; it ends on %s", f.Server, why, f.Env, clock(f.Fetched), clock(f.Expires))
		},
		Unkept: func(err error) {
			if t.flags.verbose {
				t.Notef("nothing is kept of %s: %s", s.env.Name, cli.Printable(err.Error()))
			}
		},
		Undropped: func(err error) {
			t.Notef("what was kept of %s was to go, and is still there: %s", s.env.Name, cli.Printable(err.Error()))
		},
	}), nil
}

func clock(at time.Time) string { return at.Local().Format("2006-01-02 15:04 MST") }

func cachePlace(p *project.Project, env project.Env, v *remote.Vault) cache.Place {
	name := string(p.Name)
	if name == "" {
		name = p.Dir
	}
	return cache.Place{Server: v.Address(), Namespace: v.Namespace(), Mount: env.MountName(), Project: name, Env: env.Name}
}

// staleness is what JSON says of an answer that is not the server's present one.
type staleness struct {
	Stale   bool       `json:"stale"`
	Fetched *time.Time `json:"fetched,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

func (t *tool) staleness() *staleness {
	if t.stale == nil {
		return nil
	}
	return &staleness{true, &t.stale.Fetched, &t.stale.Expires}
}

func runCacheLs(t *tool) error {
	store, err := t.caches()
	if err != nil {
		return err
	}
	entries, err := store.List()
	if t.flags.json {
		if writeErr := cli.WriteJSON(t.Out, append([]cache.Entry{}, entries...)); writeErr != nil {
			return writeErr
		}
		return err
	}
	table := cli.NewTable(t.Streams)
	for _, e := range entries {
		until := "until " + clock(e.Expires)
		if e.Expired {
			until = "ended " + clock(e.Expires)
		}
		table.Row(string(e.Env), cli.Printable(e.Project), cli.Printable(e.Server), "read "+clock(e.Fetched), until)
	}
	if flushErr := table.Flush(); flushErr != nil {
		return flushErr
	}
	return err
}

func runCacheClear(ctx context.Context, t *tool, args []string) error {
	store, err := t.caches()
	if err != nil {
		return err
	}
	var choose func(cache.Facts) bool
	if len(args) == 1 {
		p, err := t.project()
		if err != nil {
			return err
		}
		env, err := named(p, args[0])
		if err != nil {
			return err
		}
		if !env.Remote() {
			return fmt.Errorf("nothing of %s is kept: its vault is no server", env.Name)
		}
		v, err := t.server(p, env)
		if err != nil {
			return err
		}
		place := cachePlace(p, env, v)
		choose = func(f cache.Facts) bool { return f.Place == place }
	}
	n, err := store.Clear(ctx, choose)
	if n > 0 || err == nil {
		t.Notef("removed %s", cli.Count(n, "cache"))
	}
	return err
}

// caches says where caches are, and whether one can be.
func (d *doctor) caches(p *project.Project) {
	if ci := d.CI(); ci != "" {
		d.say("ok", "offline cache", "off: "+ci+" is set", "")
		return
	}
	store, err := d.tool.caches()
	if err != nil {
		d.err("offline cache", err)
		return
	}
	if err := store.Check(); err != nil {
		d.say("note", "offline cache", "off: "+err.Error(), "export ENVRUN_CACHE_DIR=FOLDER, outside of any repository")
		return
	}
	where, known, err := store.Keys.Where()
	switch {
	case err != nil:
		d.err("offline cache", err)
		return
	case where == "identity" && known:
		where = "your identity opens it: no keychain could be used"
	case where != "" && known:
		where = "its key is in the keychain " + where
	case known:
		d.say("note", "offline cache", "off: there is no keychain that can be used here, and no identity", "envrun key new")
		return
	default:
		where = "the next run looks for a keychain to keep its key in"
	}
	for _, env := range p.Envs {
		if !env.Remote() {
			continue
		}
		text := "off for " + string(env.Name) + ", unless the server allows it"
		switch limit := env.CacheFor(nil); {
		case limit > 0:
			text = fmt.Sprintf("%s: up to %s, if the server allows that; %s", env.Name, strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(limit.String()), where)
		case env.Cache.Pos.File != "":
			text = fmt.Sprintf("off for %s, by %s", env.Name, env.Cache.Pos)
		}
		d.say("ok", "offline cache", text, "")
	}
}
