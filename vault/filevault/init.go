package filevault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/record"
)

// InitOptions say what a new vault begins with.
type InitOptions struct {
	Options              // Identity and Member are needed; CI must be nil
	Envs     []vault.Env // its environments, empty ones
	Recovery *RecoveryTo // nil for none: then who loses the identity loses the vault
}

// RecoveryTo is a second identity, kept offline, that everything is granted to.
type RecoveryTo struct {
	Member    string // empty: RecoveryMember
	Recipient string // "age1pq1…"
}

// The files that make git leave the vault's files as they are, and its own
// traces out. An undefined merge driver falls back to git's text merge.
const (
	gitAttributes = `# envrun: these files are text with LF on every system. The first two rules are
# used where "merge" and "diff" drivers named envrun are set up, and else do nothing.
*.sec   text eol=lf merge=envrun diff=envrun
seal    text eol=lf merge=envrun
gen     text eol=lf
*.grant text eol=lf
*.req   text eol=lf
*.list  text eol=lf
vault.toml text eol=lf
`
	gitIgnore = `# envrun: locks, journals and files on their way.
.lock
.txn/
.tmp-*
`
)

// newVaultPrefix begins the name of a vault that is being built, beside the place where it goes.
const newVaultPrefix = tempPrefix + "vault-"

// Init makes a vault in o.Dir with the environments of o.Envs, each with a key
// of its own that is granted to o.Member and to o.Recovery. The vault is built
// beside its place and renamed into it: it is there whole or not at all. What
// is there already is never touched: KindExists.
func Init(ctx context.Context, o InitOptions) (*Vault, error) {
	d, err := newDisk(o.Dir, o.Place)
	if err != nil {
		return nil, err
	}
	return initDisk(ctx, d, o)
}

func initDisk(ctx context.Context, d *disk, o InitOptions) (_ *Vault, err error) {
	if err := checkInit(o); err != nil {
		return nil, err
	}
	if err := vacant(d); err != nil {
		return nil, err
	}
	parent := filepath.Dir(d.dir)
	// Whoever made the repository may have put a link there, to a place where
	// they would like a folder.
	if fi, err := os.Lstat(parent); err == nil && filepath.Base(parent) == ".envrun" {
		if why := notPlain(fi.Mode(), true); why != "" {
			return nil, &vault.Error{Kind: vault.KindInsecure, Op: "making a vault", File: parent, Detail: why}
		}
	}
	made, err := makeParents(d, parent)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, dir := range made {
				_ = os.Remove(dir) // empty ones only
			}
		}
	}()
	wait := o.LockWait
	if wait == 0 {
		wait = defaultLockWait
	}
	release, err := lockParent(ctx, d, parent, wait)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := vacant(d); err != nil {
		return nil, err
	}

	temp := &disk{dir: filepath.Join(parent, newVaultPrefix+randomName()), shown: d.shown, step: d.step}
	err = temp.do(step{Op: "mkdir", Name: "."}, func() error { return os.Mkdir(temp.dir, dirPerm) })
	if err != nil {
		return nil, d.fail("writing", "", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(temp.dir)
		}
	}()
	building, err := build(ctx, temp, o)
	if building != nil {
		defer func() {
			if err != nil {
				building.keys.pins.discard()
			}
		}()
	}
	if err != nil {
		return nil, err
	}
	err = d.do(step{Op: "rename", Name: ".", From: "../" + filepath.Base(temp.dir)}, func() error { return os.Rename(temp.dir, d.dir) })
	if err != nil {
		if verr := vacant(d); verr != nil {
			return nil, verr // somebody was quicker
		}
		return nil, d.fail("writing", "", err)
	}
	err = d.do(step{Op: "syncdir", Name: ".."}, func() error { return syncParents(parent, made) })
	if err != nil {
		_ = os.Rename(d.dir, temp.dir) // nobody knows of it yet
		return nil, d.fail("writing", "", err)
	}
	v, err := openDisk(ctx, d, o.Options)
	if err != nil {
		return nil, err
	}
	v.keys.inherit(building.keys)
	return v, nil
}

func checkInit(o InitOptions) error {
	bad := func(detail string) error {
		return &vault.Error{Kind: vault.KindInvalid, Op: "making a vault", Detail: detail}
	}
	if o.CI != nil {
		return bad("a CI key opens a vault and makes none")
	}
	if o.Member == "" {
		return bad("the member who makes it is not named")
	}
	if err := record.CheckMember(o.Member); err != nil {
		return err
	}
	if o.Recovery != nil && o.Recovery.member() == o.Member {
		return bad(fmt.Sprintf("the recovery identity needs a member id of its own, not %s", o.Member))
	}
	for i, env := range o.Envs {
		if _, err := vault.ParseEnv(string(env)); err != nil {
			return err
		}
		if slices.Contains(o.Envs[:i], env) {
			return bad(fmt.Sprintf("the environment %s is named twice", env))
		}
	}
	return nil
}

func (r *RecoveryTo) member() string {
	if r.Member == "" {
		return RecoveryMember
	}
	return r.Member
}

// vacant refuses a place where anything is.
func vacant(d *disk) error {
	_, err := os.Lstat(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return d.fail("reading", "", err)
	}
	detail := "something is there that is not a vault"
	if _, err := os.Lstat(filepath.Join(d.dir, manifestFile)); err == nil {
		detail = "there is a vault already"
	}
	return &vault.Error{Kind: vault.KindExists, Op: "making a vault", File: d.file(""), Detail: detail}
}

// makeParents makes the folder of the vault's folder and returns those that it
// made, the deepest first.
func makeParents(d *disk, dir string) (made []string, err error) {
	var missing []string
	for p := dir; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, p)
	}
	for _, p := range slices.Backward(missing) {
		if err := os.Mkdir(p, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
			for _, dir := range made {
				_ = os.Remove(dir)
			}
			return nil, d.fail("writing", "", err)
		}
		made = slices.Insert(made, 0, p)
	}
	return made, nil
}

// lockParent lets one init at a time work in a folder, and removes what killed
// ones left there. Where a folder cannot be locked (Windows, some network file
// systems) inits do not wait for each other, the last rename decides, and what
// is left goes after a day.
func lockParent(ctx context.Context, d *disk, parent string, wait time.Duration) (release func(), err error) {
	release = func() {}
	alone := false
	if dir, err := os.Open(parent); err == nil {
		err := waitLock(ctx, dir, wait)
		switch {
		case err == nil:
			alone = true
			release = func() {
				unlock(dir)
				dir.Close()
			}
		case errors.Is(err, errWaited):
			dir.Close()
			return nil, &vault.Error{Kind: vault.KindBusy, Op: "making a vault", File: d.file(""), Detail: "another process is making one"}
		default:
			dir.Close()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	list, err := os.ReadDir(parent)
	if err != nil {
		release()
		return nil, d.fail("reading", "", err)
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), newVaultPrefix) || !e.IsDir() {
			continue
		}
		fi, err := e.Info()
		if alone || err == nil && time.Since(fi.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(filepath.Join(parent, e.Name()))
		}
	}
	return release, nil
}

func randomName() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// build makes the whole vault in a folder of its own. The vault that it returns
// with an error has pins to discard.
func build(ctx context.Context, d *disk, o InitOptions) (*Vault, error) {
	m := record.Manifest{Format: 1, Vault: "v_" + randomName()}
	view, err := d.view()
	if err != nil {
		return nil, err
	}
	err = func() error {
		defer view.Close()
		for _, f := range []struct {
			name string
			data []byte
		}{
			{manifestFile, m.Marshal()},
			{".gitattributes", []byte(gitAttributes)},
			{".gitignore", []byte(gitIgnore)},
		} {
			if err := view.create(f.name, f.data, true); err != nil {
				return err
			}
		}
		return view.syncDirs(map[string]bool{"": true})
	}()
	if err != nil {
		return nil, err
	}
	v, err := openDisk(ctx, d, o.Options)
	if err != nil {
		return nil, err
	}
	grants, err := v.ownGrants(ctx)
	if err != nil {
		return v, err
	}
	if o.Recovery != nil {
		g, err := v.grantTo(o.Recovery.member(), o.Recovery.Recipient)
		if err != nil {
			return v, err
		}
		grants = append(grants, g)
	}
	for _, env := range o.Envs {
		if err := v.createEnv(ctx, env, grants); err != nil {
			return v, err
		}
	}
	// The lock file is no part of a vault, and a held one cannot be moved on Windows.
	if err := os.Remove(filepath.Join(d.dir, lockName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return v, d.fail("removing", lockName, err)
	}
	return v, nil
}

// syncParents makes the vault's name last, and those of the folders made for it.
func syncParents(parent string, made []string) error {
	dirs := []string{parent}
	for _, dir := range made {
		dirs = append(dirs, filepath.Dir(dir))
	}
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = syncDir(f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// inherit takes over the keys of the same vault that were opened before.
func (k *keyring) inherit(from *keyring) {
	from.mu.Lock()
	defer from.mu.Unlock()
	k.id, k.opened = from.id, from.opened
}
