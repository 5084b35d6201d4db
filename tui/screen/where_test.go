package screen_test

import (
	"context"
	"testing"

	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
)

// told is a project file as the interface is told of it.
func told(err error) func(context.Context, vault.Env, vault.Path) ([]screen.Injection, error) {
	return func(_ context.Context, env vault.Env, path vault.Path) ([]screen.Injection, error) {
		if path != stripe {
			return nil, err
		}
		return []screen.Injection{
			{Field: "STRIPE_SECRET_KEY", Var: "STRIPE_KEY", Rule: "envrun.toml:12", Beats: []string{"app/STRIPE_KEY by envrun.toml:8"}},
			{Field: "STRIPE_SECRET_KEY", Var: "STRIPE_FILE", File: true, Rule: "envrun.toml:20"},
			{Field: "STRIPE_WEBHOOK_KEY", Var: "HOOK", Rule: "envrun.toml:12", Instead: "shared/hook/KEY by envrun.toml:16"},
		}, err
	}
}

func TestWhereAFieldIsInjected(t *testing.T) {
	tuitest.Golden(t, "secret-injected", func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		w.Config.Where = told(nil)
		d := tuitest.New(t, w)
		d.Press("j", "enter")
		return d
	})
	w := tuitest.NewWorld(t)
	w.Config.Where = told(nil)
	d := tuitest.New(t, w)
	d.Press("j", "enter")
	d.Has("as STRIPE_KEY, by envrun.toml:12; wins against app/STRIPE_KEY by envrun.toml:8", "as a file whose path is in STRIPE_FILE")
	d.Press("j")
	d.Has("not as HOOK, by envrun.toml:12: shared/hook/KEY by envrun.toml:16 wins")
	d.Press("esc", "g", "enter")
	d.Has("nowhere: no rule of the project file takes it")
}

// That it is not known is said, and is no reason to show less of the rest.
func TestWhereIsNotKnown(t *testing.T) {
	w := tuitest.NewWorld(t)
	w.Config.Where = told(&vault.Error{Kind: vault.KindUnavailable, Detail: "the project file cannot be read"})
	d := tuitest.New(t, w)
	d.Press("enter")
	d.Has("not known: ", "the project file cannot be read", "changed")
	w = tuitest.NewWorld(t)
	d = tuitest.New(t, w)
	d.Press("enter")
	d.Lacks("injected")
}
