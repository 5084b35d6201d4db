package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"envrun/auth/keychain"
	"envrun/auth/passphrase"
	"envrun/auth/private"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
)

// sessions is where this person's sessions are kept on this machine. asking says
// that somebody is signing in, and a keychain may ask to be unlocked; a run asks for
// nothing but the passphrase that they chose.
func (t *tool) sessions(asking bool) (*session.Store, error) {
	state, err := t.stateDir()
	if err != nil {
		return nil, err
	}
	return &session.Store{
		Dir: filepath.Join(state, "sessions"), Now: t.now, Getenv: t.Getenv,
		Keychains: keychain.Options{
			MayForget: true, Interactive: asking && t.Interactive(), Getenv: t.Getenv,
			OnWait: func(name string) { t.warn("waiting for the keychain " + name) },
		},
		Passphrase: t.sessionPassphrase, Unlocked: &t.opened.unlocked,
		OnWait: func(what string) { t.warn("waiting: " + what) },
	}, nil
}

// openSessions is sessions for whatever reads them: one for the process, since each asks
// for the passphrase, if there is one, when it first needs the key.
func (t *tool) openSessions() (*session.Store, error) {
	t.opened.mu.Lock()
	defer t.opened.mu.Unlock()
	if t.opened.store == nil {
		store, err := t.sessions(false)
		if err != nil {
			return nil, err
		}
		t.opened.store = store
	}
	return t.opened.store, nil
}

// openedSessions is what openSessions keeps.
type openedSessions struct {
	mu       sync.Mutex
	store    *session.Store
	unlocked session.Unlocked // of the store, and of those that signing in has
}

// sessionPassphrase comes from the file that ENVRUN_STORE_PASSPHRASE_FILE names, or
// from the person; a new one twice.
func (t *tool) sessionPassphrase(ctx context.Context, prompt string, fresh bool) ([]byte, error) {
	const variable = "ENVRUN_STORE_PASSPHRASE_FILE"
	words, err := t.passphraseFrom(ctx, variable, prompt+" (not shown): ")
	if err != nil || !fresh || t.Getenv(variable) != "" {
		return words, err
	}
	again, err := t.passphraseFrom(ctx, variable, "The same again: ")
	if err == nil && !bytes.Equal(words, again) {
		err = &cli.HintError{Err: errors.New("the two passphrases differ: nothing was kept"), Code: cli.CodeFailed, Hint: "try again"}
	}
	clear(again)
	if err != nil {
		clear(words)
		return nil, err
	}
	return words, nil
}

// passphraseFrom reads the file that a variable names, or asks the person.
func (t *tool) passphraseFrom(ctx context.Context, variable, prompt string) ([]byte, error) {
	if file := t.Getenv(variable); file != "" {
		text, err := readSmall(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
		return bytes.TrimRight(text, "\r\n"), nil
	}
	if t.hidden != nil {
		return t.hidden(ctx, prompt)
	}
	return t.AskHidden(ctx, prompt, "export "+variable+"=FILE")
}

// explainSession is about sessions of a server that are kept here.
func explainSession(err error, r *cli.Report) bool {
	var damaged *session.DamagedError
	var place *session.PlaceError
	var nowhere *session.NoPlaceError
	var elsewhere *session.ElsewhereError
	var busy *session.BusyError
	var sudo *session.SudoError
	var several *session.AmbiguousError
	var unknown *session.UnknownError
	var ended *session.EndedError
	r.Code = cli.CodeAuth
	switch {
	case errors.As(err, &damaged):
		r.Code = cli.CodeTampered
		if damaged.Index {
			r.AddHint("put it away, and sign in again: mv %s %s", r.Path(damaged.File), r.Path(damaged.File+".old"))
		} else {
			r.AddHint("nothing of it was used; sign in again: envrun login")
		}
	case errors.As(err, &ended):
		r.AddHint("sign in again: %s", loginAs(ended.Account))
	case errors.Is(err, session.ErrSignIn):
		r.AddHint("sign in again: envrun login")
	case errors.As(err, &nowhere):
		for _, no := range nowhere.Rejected {
			if no.Hint != "" {
				r.AddHint("%s: %s", no.Keychain, no.Hint)
			}
		}
		r.AddHint("or keep the key in a file under a passphrase: envrun login --store %s", session.ByPassphrase)
		r.AddHint("or keep nothing, and give the token to each command: ENVRUN_TOKEN")
	case errors.As(err, &elsewhere):
		r.Code = cli.CodeConflict
		r.AddHint("one key is for all sessions; sign out of them first: envrun logout --all")
	case errors.As(err, &busy):
		r.Code = cli.CodeConflict
		r.AddHint("wait for it to end, and try again")
	case errors.As(err, &sudo):
		r.Code = cli.CodePolicy
		r.AddHint("run it without sudo, or give root a token of its own: ENVRUN_TOKEN")
	case errors.As(err, &several):
		for _, a := range several.Accounts {
			r.AddHint("--account %s  # %s", a.ID[:8], a.Name())
		}
	case errors.As(err, &unknown):
		for _, a := range unknown.Others {
			r.AddHint("there is --account %s  # %s", a.ID[:8], a.Name())
		}
		r.AddHint("sign in: envrun login")
	case errors.Is(err, session.ErrRetired), errors.Is(err, session.ErrNoAccount):
		r.AddHint("sign in: envrun login")
	case errors.As(err, &place):
		explainPlace(place, r)
	default:
		r.Code = cli.CodeFailed
		return false
	}
	return true
}

// loginAs is the command that signs an account in: a program says in which way.
func loginAs(a session.Account) string {
	if a.Method == methodOIDC || a.Method == "" {
		return "envrun login"
	}
	command := "envrun login --method " + a.Method
	role := "--role"
	if a.Method == "approle" {
		role = "--role-id"
	}
	for _, flag := range [...]struct{ name, text string }{{"--mount", a.Mount}, {role, a.Role}} {
		if flag.text != "" {
			command += " " + flag.name + " " + cli.Quote(flag.text)
		}
	}
	return command + " " + cli.Quote(a.Server)
}

// explainPlace is about the key of sessions, which is where it cannot be read now.
func explainPlace(place *session.PlaceError, r *cli.Report) {
	var needs *cli.NeedsAnswer
	var unavailable *keychain.UnavailableError
	var insecure *private.InsecureError
	switch {
	case place.Place == session.ByPassphrase || errors.Is(place, passphrase.ErrWrong) || errors.As(place, &needs):
		r.AddHint("type it on a terminal, or put it into a file: export ENVRUN_STORE_PASSPHRASE_FILE=FILE")
	case errors.As(place, &insecure):
		r.Code = cli.CodePolicy
		r.AddHint("chmod %o %s", insecure.Want, r.Path(insecure.File))
	case errors.As(place, &unavailable):
		r.AddHint("%s", unavailable.Hint)
	default:
		r.AddHint("see what is the matter: envrun doctor")
	}
	r.AddHint("nothing else is used in its stead; to leave it for another place: envrun logout --all, then envrun login --store PLACE")
}

// sessions says where they are kept, and whether their key can be read.
func (d *doctor) sessions(ctx context.Context) {
	store, err := d.tool.sessions(false)
	if err != nil {
		d.err("sessions", err)
		return
	}
	store.Passphrase = nil // a look asks for nothing
	h := store.Check(ctx)
	switch {
	case h.Place == session.ByPassphrase && errors.Is(h.Err, session.ErrNobodyToAsk):
		d.say("ok", "sessions", fmt.Sprintf("%s in %s; the key is there as well, under a passphrase", cli.Count(h.Sessions, "session"), h.Dir), "")
	case h.Err != nil:
		d.err("sessions", h.Err)
	case h.Sessions == 0:
		d.say("ok", "sessions", "none is kept here", "")
	case h.Forgets:
		d.say("ok", "sessions", fmt.Sprintf("%s in %s; the key is in the keychain %s, which forgets it at reboot", cli.Count(h.Sessions, "session"), h.Dir, h.Place), "")
	case h.Place == session.ByPassphrase:
		d.say("ok", "sessions", fmt.Sprintf("%s in %s; the key is there as well, under a passphrase", cli.Count(h.Sessions, "session"), h.Dir), "")
	default:
		d.say("ok", "sessions", fmt.Sprintf("%s in %s; the key is in the keychain %s", cli.Count(h.Sessions, "session"), h.Dir, h.Place), "")
	}
}
