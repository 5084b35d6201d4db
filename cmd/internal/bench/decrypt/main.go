//go:build unix

// Command decrypt opens every value of an environment and does nothing else:
// it is what checking a whole environment is measured against. It reads each
// record, unwraps its data key, checks its MAC and opens its fields, on all
// processors, with the same packages and the same patience of the collector. It
// refuses to look at anything else: no seal, no hash, no place, no order, no
// grant of others, no pin, no stray file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

func main() {
	dir := flag.String("vault", "", "folder of the vault")
	config := flag.String("config", "", "folder of the identity, which is in the file store")
	env := flag.String("env", "dev", "environment")
	least := flag.Int("least", 1, "how many records there must be")
	flag.Parse()
	debug.SetGCPercent(400)
	if err := decrypt(*dir, *config, *env, *least); err != nil {
		fmt.Fprintln(os.Stderr, "decrypt:", err)
		os.Exit(1)
	}
}

func decrypt(dir, config, env string, least int) error {
	dir = filepath.Join(dir, "envs", env)
	key, err := environmentKey(dir, config)
	if err != nil {
		return err
	}
	files, err := records(filepath.Join(dir, "secrets"))
	if err != nil {
		return err
	}
	if len(files) < least {
		return fmt.Errorf("there are only %d records", len(files))
	}
	var (
		next atomic.Int64
		wg   sync.WaitGroup
		errs = make([]error, runtime.GOMAXPROCS(0))
	)
	for i := range errs {
		wg.Go(func() {
			for errs[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(files) {
					return
				}
				errs[i] = openRecord(key, files[n])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// environmentKey opens the caller's grant of the newest generation.
func environmentKey(dir, config string) (seal.Key, error) {
	ctx := context.Background()
	home := &agekey.Home{ConfigDir: config, Now: time.Now}
	facts, err := home.Facts()
	if err != nil {
		return seal.Key{}, err
	}
	id, err := home.Load(ctx)
	if err != nil {
		return seal.Key{}, err
	}
	grants, err := filepath.Glob(filepath.Join(dir, "keys", "*", facts.Member+".grant"))
	if err != nil || len(grants) == 0 {
		return seal.Key{}, fmt.Errorf("%s has no grant (%v)", facts.Member, err)
	}
	raw, err := os.ReadFile(grants[len(grants)-1])
	if err != nil {
		return seal.Key{}, err
	}
	g, err := record.ParseGrant(raw)
	if err != nil {
		return seal.Key{}, err
	}
	return seal.AgeSealer("age", nil, id.Unwrap()).Open(ctx, g.Wrapped, seal.KeyContext(g.Vault, g.Env, g.Gen, g.Member))
}

// records are the files of all secrets in a folder and those in it.
func records(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range list {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			below, err := records(name)
			if err != nil {
				return nil, err
			}
			files = append(files, below...)
		} else if strings.HasSuffix(name, ".sec") {
			files = append(files, name)
		}
	}
	return files, nil
}

func openRecord(key seal.Key, file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	r, err := record.ParseRecord(raw)
	if err != nil {
		return err
	}
	b := seal.Binding{Vault: r.Vault, Env: r.Env, Path: r.Path, Version: r.Version, Gen: r.Gen}
	dek, err := key.UnwrapDEK(b, r.Key)
	if err != nil {
		return err
	}
	above, err := record.AboveMAC(raw)
	if err != nil {
		return err
	}
	if !dek.CheckRecordMAC(above, r.MAC) {
		return errors.New("the MAC of " + file + " is wrong")
	}
	for _, f := range r.Fields {
		var value vault.Value
		if value, err = dek.OpenField(b, f.Name, f.Sealed); err != nil {
			return err
		}
		value.Wipe()
	}
	return nil
}
