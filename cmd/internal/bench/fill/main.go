//go:build unix

// Command fill makes what the bench reads: many secrets in a vault that
// `envrun init` has made, and an age identity for other programs. A process for
// each write would take an hour, so it calls the vault itself. It is a program
// of its own because the memory of whoever starts a program counts into that
// program's peak: the bench, which measures peaks, must stay small. It refuses
// to hold anything worth keeping: its values are random.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/filevault"

	"filippo.io/age"
)

func main() {
	var o options
	flag.StringVar(&o.dir, "vault", "", "folder of the vault")
	flag.StringVar(&o.config, "config", "", "folder of the identity, which is in the file store")
	flag.StringVar(&o.state, "state", "", "folder of the pins")
	flag.StringVar(&o.project, "project", "bench", "path of the project's own secret")
	flag.IntVar(&o.own, "own", 0, "fields of the project's own secret; 0: it is not written")
	flag.IntVar(&o.secrets, "secrets", 0, "how many other secrets there are to be")
	flag.IntVar(&o.fields, "fields", 3, "how many fields each of those has")
	flag.StringVar(&o.age, "age", "", "make an X25519 identity in this new file, print its recipient, and do nothing else")
	flag.Parse()
	run := fill
	if o.age != "" {
		run = identity
	}
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, config, state, project, age string
	own, secrets, fields             int
}

const (
	env    = vault.Env("dev")
	perDir = 100 // secrets of each folder
	batch  = 500 // secrets written at once
)

func fill(ctx context.Context, o options) error {
	home := &agekey.Home{ConfigDir: o.config, Now: time.Now}
	facts, err := home.Facts()
	if err != nil {
		return fmt.Errorf("reading the identity: %w", err)
	}
	v, err := filevault.Open(ctx, filevault.Options{
		Dir: o.dir, StateDir: o.state, Member: facts.Member, Identity: home.Load, Now: time.Now,
	})
	if err != nil {
		return err
	}
	var changes []vault.Change
	if o.own > 0 {
		changes = append(changes, change(o.project, "SECRET", o.own))
	}
	for i := range o.secrets {
		changes = append(changes, change(fmt.Sprintf("team-%02d/service-%02d", i/perDir, i%perDir), fmt.Sprintf("S%04d", i), o.fields))
	}
	for len(changes) > 0 {
		n := min(batch, len(changes))
		if _, err := v.Apply(ctx, env, changes[:n]); err != nil {
			return fmt.Errorf("writing secrets: %w", err)
		}
		changes = changes[n:]
	}
	return v.Seal(ctx, env)
}

// change sets the fields PREFIX_01… of one secret to values of 40 characters.
func change(path, prefix string, fields int) vault.Change {
	c := vault.Change{Path: vault.Path(path), Was: vault.Any}
	for i := range fields {
		var b [20]byte
		rand.Read(b[:])
		c.Set = append(c.Set, vault.Field{
			Name:  vault.FieldName(fmt.Sprintf("%s_%02d", prefix, i+1)),
			Value: vault.NewValueString(hex.EncodeToString(b[:])),
		})
	}
	return c
}

func identity(_ context.Context, o options) error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.age, []byte(id.String()+"\n"), 0o600); err != nil {
		return err
	}
	_, err = fmt.Println(id.Recipient())
	return err
}
