package main

import (
	"slices"
	"testing"

	"envrun/envrun/project"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/vaulttest"
)

// What commands get of a field is said by the rules that give it to them, and
// to know it no value is read.
func TestWhere(t *testing.T) {
	const file = `vault = ".envrun/vault"
project = "app"
inherit_wins = ["PORT"]
[env.dev]
[[inject]]
path = "app"
[[inject]]
path = "shared"
rename = { token = "TOKEN" }
only = ["token"]
[[file]]
path = "gcp"
field = "account"
var = "ACCOUNT"
`
	p, err := project.Parse("/somewhere/envrun.toml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	v := vaulttest.New(t, "dev")
	for path, fields := range map[vault.Path][]vault.FieldName{
		"app": {"TOKEN", "PORT", "URL", "bad.name", "LD_PRELOAD"}, "shared": {"token", "unused"}, "gcp": {"account"}, "elsewhere": {"X"},
	} {
		c := vault.Change{Path: path, Was: vault.Any}
		for _, f := range fields {
			c.Set = append(c.Set, vault.Field{Name: f, Value: vault.NewValueString("FAKE-" + string(f))})
		}
		if _, err := v.Apply(t.Context(), "dev", []vault.Change{c}); err != nil {
			t.Fatal(err)
		}
	}
	reads := 0
	v.Memory.FailWith(func(c vaulttest.Call) error {
		if c.Op == "Head" {
			reads++
		}
		return nil
	})
	tl := &tool{goos: "linux", environ: func() []string { return []string{"PORT=80", "URL=http://localhost"} }}
	for path, want := range map[vault.Path][]screen.Injection{
		"app": {
			{Field: "LD_PRELOAD", Var: "LD_PRELOAD", Rule: "envrun.toml:5", Refused: "?"},
			{Field: "PORT", Var: "PORT", Rule: "envrun.toml:5", Instead: "the caller's own value, by envrun.toml:3,"},
			{Field: "TOKEN", Var: "TOKEN", Rule: "envrun.toml:5", Instead: "shared/token by envrun.toml:7"},
			{Field: "URL", Var: "URL", Rule: "envrun.toml:5", Beats: []string{"the caller's own value"}},
			{Field: "bad.name", Var: "bad.name", Rule: "envrun.toml:5", Refused: "?"},
		},
		"shared":    {{Field: "token", Var: "TOKEN", Rule: "envrun.toml:7", Beats: []string{"app/TOKEN by envrun.toml:5"}}},
		"gcp":       {{Field: "account", Var: "ACCOUNT", File: true, Rule: "envrun.toml:11"}},
		"elsewhere": nil,
	} {
		got, err := tl.where(t.Context(), p, "dev", v, path)
		if err != nil {
			t.Fatal(err)
		}
		same := slices.EqualFunc(got, want, func(a, b screen.Injection) bool {
			why := b.Refused == "" && a.Refused == "" || b.Refused != "" && a.Refused != ""
			return a.Field == b.Field && a.Var == b.Var && a.File == b.File && a.Rule == b.Rule && a.Instead == b.Instead && why && slices.Equal(a.Beats, b.Beats)
		})
		if !same {
			t.Errorf("of %s:\n got %+v\nwant %+v", path, got, want)
		}
	}
	if reads > 0 {
		t.Errorf("%d values were read", reads)
	}
}

// A vault that does not answer is an error, not "nowhere".
func TestWhereOffline(t *testing.T) {
	p, err := project.Parse("/somewhere/envrun.toml", []byte("vault = \".envrun/vault\"\nproject = \"app\"\n[env.dev]\n"))
	if err != nil {
		t.Fatal(err)
	}
	v := vaulttest.New(t, "dev")
	v.Memory.FailWith(func(vaulttest.Call) error { return &vault.Error{Kind: vault.KindUnavailable, Env: "dev"} })
	tl := &tool{goos: "linux", environ: func() []string { return nil }}
	if _, err := tl.where(t.Context(), p, "dev", v, "app"); vault.KindOf(err) != vault.KindUnavailable {
		t.Errorf("got %v", err)
	}
}
