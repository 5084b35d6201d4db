package main

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// pair [ENVS]: alice and bob, each with an identity and a clone of host.git of
// their own. Alice has made a vault and let bob in. It ends as alice. The scripts
// merge_*.txtar are theirs: what git's branches do to a vault, and what a person
// types then.
func pair(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: pair [ENVS]")
	}
	must(ts, "git", "init", "-q", "--bare", "host.git")
	as(ts, false, []string{"bob"})
	must(ts, "envrun", "key", "new", "--member", "bob@desktop", "--store", "file")
	fact(ts, false, []string{"BOB", "recipient", "key", "show"})
	as(ts, false, []string{"alice"})
	clone(ts, false, nil)
	setup(ts, false, args)
	envs, err := os.ReadDir(filepath.Join(ts.MkAbs("."), ".envrun", "vault", "envs"))
	ts.Check(err)
	for _, env := range envs {
		must(ts, "envrun", "member", "add", "bob@desktop", ts.Getenv("BOB"), "-e", env.Name(), "--yes="+env.Name())
	}
	publish(ts, false, []string{"a vault"})
	as(ts, false, []string{"bob"})
	clone(ts, false, nil)
	as(ts, false, []string{"alice"})
}
