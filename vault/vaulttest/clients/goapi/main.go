// Command goapi does with a server what Go programs do with a Vault, and prints what each
// step gave: one line a step, without ids and times, so that the lines of two
// servers can be compared. VAULT_ADDR and VAULT_TOKEN, of root, say which server.
//
// It is built twice: with HashiCorp's client, and with OpenBao's in its place
// (openbao.mod). It is a module of its own, so that neither reaches envrun's.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

const mount = "goapi"

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "goapi:", err)
		os.Exit(1)
	}
}

// say prints a step: facts as JSON, or the error as a program sees it.
func say(step string, err error, facts ...any) {
	if err != nil {
		fmt.Printf("%s: %s\n", step, words(err))
		return
	}
	text, err := json.Marshal(facts)
	if err != nil {
		text = []byte(err.Error())
	}
	fmt.Printf("%s: %s\n", step, text)
}

func words(err error) string {
	var answer *api.ResponseError
	switch {
	case errors.As(err, &answer):
		return fmt.Sprintf("error %d %q", answer.StatusCode, answer.Errors)
	case errors.Is(err, api.ErrSecretNotFound):
		return "not found"
	}
	return "error " + err.Error()
}

func run(ctx context.Context) error {
	root, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return err
	}
	system(root)
	mounts(root)
	if err := values(ctx, root); err != nil {
		return err
	}
	policies(root)
	if err := tokens(ctx, root); err != nil {
		return err
	}
	wrapped(root)
	leases(root)
	say("unmount", root.Sys().Unmount(mount))
	_, err = root.KVv2(mount).Get(ctx, "app/db")
	say("after unmounting", err)
	return nil
}

func system(c *api.Client) {
	h, err := c.Sys().Health()
	if err != nil {
		say("health", err)
	} else {
		say("health", nil, h.Initialized, h.Sealed, h.Standby, h.Version != "", h.ClusterName != "", h.ServerTimeUTC > 0)
	}
	s, err := c.Sys().SealStatus()
	if err != nil {
		say("seal status", err)
	} else {
		say("seal status", nil, s.Type, s.Initialized, s.Sealed, s.T, s.N, s.Progress)
	}
	there, err := c.Sys().InitStatus()
	say("init status", err, there)
	l, err := c.Sys().Leader()
	if err != nil {
		say("leader", err)
	} else {
		say("leader", nil, l.HAEnabled, l.IsSelf)
	}
	k, err := c.Sys().KeyStatus()
	if err != nil {
		say("key status", err)
	} else {
		say("key status", nil, k.Term, !k.InstallTime.IsZero())
	}
	ha, err := c.Sys().HAStatus()
	if err != nil {
		say("ha status", err)
	} else {
		say("ha status", nil, len(ha.Nodes), ha.Nodes[0].ActiveNode)
	}
	audits, err := c.Sys().ListAudit()
	say("audit", err, audits != nil)
}

func mounts(c *api.Client) {
	in := &api.MountInput{Type: "kv-v2", Description: "of the test", Config: api.MountConfigInput{DefaultLeaseTTL: "1h", MaxLeaseTTL: "24h"}}
	say("mount", c.Sys().Mount(mount, in))
	say("mount again", c.Sys().Mount(mount, in))
	say("mount nothing known", c.Sys().Mount("zz", &api.MountInput{Type: "nosuch"}))
	all, err := c.Sys().ListMounts()
	if m := all[mount+"/"]; err == nil && m != nil {
		say("list mounts", nil, m.Type, m.Description, m.Options, m.Config.DefaultLeaseTTL, m.Config.MaxLeaseTTL, m.Accessor != "", m.UUID != "")
	} else {
		say("list mounts", errors.Join(err, errors.New("it is not there")))
	}
	text := "tuned"
	say("tune", c.Sys().TuneMount(mount, api.MountConfigInput{Description: &text, MaxLeaseTTL: "48h"}))
	conf, err := c.Sys().MountConfig(mount)
	if err != nil {
		say("mount config", err)
	} else {
		say("mount config", nil, conf.DefaultLeaseTTL, conf.MaxLeaseTTL)
	}
	auths, err := c.Sys().ListAuth()
	if err != nil {
		say("auth", err)
	} else {
		say("auth", nil, auths["token/"].Type, auths["token/"].Description)
	}
	say("move", c.Sys().Remount(mount, "moved"))
	say("move back", c.Sys().Remount("moved", mount))
	// What older clients know.
	say("mount version 1", c.Sys().Mount("goapi1", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}))
	say("version 1 put", c.KVv1("goapi1").Put(context.Background(), "a/b", map[string]any{"k": "v"}))
	old, err := c.KVv1("goapi1").Get(context.Background(), "a/b")
	if err != nil {
		say("version 1 get", err)
	} else {
		say("version 1 get", nil, old.Data)
	}
	_, err = c.KVv1("goapi1").Get(context.Background(), "nothing")
	say("version 1 get nothing", err)
	say("version 1 delete", c.KVv1("goapi1").Delete(context.Background(), "a/b"))
	say("unmount version 1", c.Sys().Unmount("goapi1"))
}

// version is what of a secret two servers have alike.
func version(s *api.KVSecret) []any {
	if s == nil {
		return nil
	}
	m := s.VersionMetadata
	return []any{s.Data, s.CustomMetadata, m.Version, m.Destroyed, m.DeletionTime.IsZero(), m.CreatedTime.IsZero()}
}

func values(ctx context.Context, c *api.Client) error {
	kv := c.KVv2(mount)
	s, err := kv.Put(ctx, "app/db", map[string]any{"user": "alice", "password": "s3cr3t"})
	say("put", err, version(s))
	s, err = kv.Get(ctx, "app/db")
	say("get", err, version(s))
	s, err = kv.Put(ctx, "app/db", map[string]any{"user": "bob"}, api.WithCheckAndSet(1))
	say("put with cas", err, version(s))
	_, err = kv.Put(ctx, "app/db", map[string]any{"user": "eve"}, api.WithCheckAndSet(1))
	say("put with an old cas", err)
	s, err = kv.Patch(ctx, "app/db", map[string]any{"extra": 1, "nested": map[string]any{"a": []any{1, "b", nil, true}}})
	say("patch", err, version(s))
	s, err = kv.Patch(ctx, "app/db", map[string]any{"extra": nil}, api.WithMergeMethod(api.KVMergeMethodReadWrite))
	say("patch by read and write", err, version(s))
	_, err = kv.Patch(ctx, "nothing", map[string]any{"a": "b"})
	say("patch nothing", err)
	s, err = kv.Get(ctx, "app/db")
	say("get patched", err, version(s))
	s, err = kv.GetVersion(ctx, "app/db", 1)
	say("get version 1", err, version(s))
	_, err = kv.GetVersion(ctx, "app/db", 99)
	say("get version 99", err)
	_, err = kv.Get(ctx, "nothing")
	say("get nothing", err)
	list, err := kv.GetVersionsAsList(ctx, "app/db")
	if err == nil {
		var facts []any
		for _, v := range list {
			facts = append(facts, []any{v.Version, v.Destroyed, v.DeletionTime.IsZero()})
		}
		say("versions", nil, facts)
	} else {
		say("versions", err)
	}
	say("delete", kv.Delete(ctx, "app/db"))
	s, err = kv.Get(ctx, "app/db")
	say("get deleted", err, version(s))
	say("undelete", kv.Undelete(ctx, "app/db", []int{4}))
	say("delete versions", kv.DeleteVersions(ctx, "app/db", []int{2, 3}))
	say("destroy", kv.Destroy(ctx, "app/db", []int{3}))
	s, err = kv.GetVersion(ctx, "app/db", 3)
	say("get destroyed", err, version(s))
	s, err = kv.Rollback(ctx, "app/db", 1)
	say("roll back", err, version(s))
	_, err = kv.Rollback(ctx, "app/db", 3)
	say("roll back to a destroyed one", err)

	say("put metadata", kv.PutMetadata(ctx, "app/db", api.KVMetadataPutInput{CASRequired: true, MaxVersions: 3, DeleteVersionAfter: 720 * time.Hour, CustomMetadata: map[string]any{"owner": "core", "tier": "1"}}))
	required := false
	say("patch metadata", kv.PatchMetadata(ctx, "app/db", api.KVMetadataPatchInput{CASRequired: &required, CustomMetadata: map[string]any{"tier": nil, "team": "b"}}))
	m, err := kv.GetMetadata(ctx, "app/db")
	if err != nil {
		say("get metadata", err)
	} else {
		say("get metadata", nil, m.CASRequired, m.CurrentVersion, m.CustomMetadata, m.DeleteVersionAfter, m.MaxVersions, m.OldestVersion, len(m.Versions), m.Versions["3"].Destroyed)
	}
	_, err = kv.GetMetadata(ctx, "nothing")
	say("get metadata of nothing", err)

	for _, p := range []string{"app/cache", "app/x/y", "top"} {
		if _, err := kv.Put(ctx, p, map[string]any{"k": p}); err != nil {
			return err
		}
	}
	for _, folder := range []string{"", "app", "app/", "app/x", "nothing", "top"} {
		l, err := c.Logical().List(mount + "/metadata/" + folder)
		if err != nil || l == nil {
			say("list "+folder, err, l != nil)
			continue
		}
		say("list "+folder, nil, l.Data["keys"])
	}
	l, err := c.Logical().ReadWithDataWithContext(ctx, mount+"/data/app/db", map[string][]string{"version": {"1"}})
	say("read with a parameter", err, l != nil && l.Data["data"] != nil)
	l, err = c.Logical().Read(mount + "/data/nothing")
	say("read nothing", err, l == nil)
	l, err = c.Logical().Read(mount + "/subkeys/app/db")
	if err == nil && l != nil {
		say("subkeys", nil, l.Data["subkeys"])
	} else {
		say("subkeys", err)
	}
	_, err = c.Logical().Write(mount+"/config", map[string]any{"max_versions": "5", "cas_required": "true"})
	say("write the configuration", err)
	l, err = c.Logical().Read(mount + "/config")
	if err == nil && l != nil {
		say("read the configuration", nil, l.Data)
	} else {
		say("read the configuration", err)
	}
	_, err = kv.Put(ctx, "app/new", map[string]any{"a": "b"})
	say("put where cas is required", err)
	_, err = c.Logical().Write(mount+"/config", map[string]any{"cas_required": false})
	say("write the configuration again", err)
	raw, err := c.Logical().ReadRaw(mount + "/data/app/db")
	if raw != nil {
		raw.Body.Close()
		say("read raw", err, raw.StatusCode, raw.Header.Get("Content-Type"))
	} else {
		say("read raw", err)
	}
	say("delete metadata", kv.DeleteMetadata(ctx, "app/db"))
	_, err = kv.Get(ctx, "app/db")
	say("get what is gone", err)
	_, err = c.Logical().Write(mount+"/data/app/x", map[string]any{"nodata": 1})
	say("write without data", err)
	_, err = c.Logical().Read("nowhere/data/x")
	say("read where nothing is mounted", err)
	return nil
}

const reader = `path "goapi/data/app/*" { capabilities = ["read"] }
path "goapi/metadata/*" { capabilities = ["list"] }`

func policies(c *api.Client) {
	say("put policy", c.Sys().PutPolicy("goapi-reader", reader))
	say("put policy that is none", c.Sys().PutPolicy("goapi-bad", ""))
	text, err := c.Sys().GetPolicy("goapi-reader")
	say("get policy", err, text == reader)
	text, err = c.Sys().GetPolicy("nothing")
	say("get no policy", err, text)
	names, err := c.Sys().ListPolicies()
	say("list policies", err, slices.Contains(names, "goapi-reader"), slices.Contains(names, "root"), slices.Contains(names, "default"))
	say("delete no policy", c.Sys().DeletePolicy("nothing"))
	say("delete default", c.Sys().DeletePolicy("default"))
	caps, err := c.Sys().CapabilitiesSelf(mount + "/data/app/x")
	say("capabilities of root", err, caps)
}

func tokens(ctx context.Context, c *api.Client) error {
	t := c.Auth().Token()
	made, err := t.Create(&api.TokenCreateRequest{Policies: []string{"goapi-reader"}, TTL: "1h", DisplayName: "ci", Metadata: map[string]string{"team": "core"}})
	if err != nil {
		say("create", err)
		return err
	}
	a := made.Auth
	say("create", nil, a.Policies, a.TokenPolicies, a.LeaseDuration, a.Renewable, a.Metadata, a.Orphan, a.EntityID, made.Warnings)
	limited, err := c.Clone()
	if err != nil {
		return err
	}
	limited.SetToken(a.ClientToken)
	self, err := limited.Auth().Token().LookupSelf()
	if err == nil {
		ttl, _ := self.TokenTTL()
		names, _ := self.TokenPolicies()
		can, _ := self.TokenIsRenewable()
		uses, _ := self.TokenRemainingUses()
		meta, _ := self.TokenMetadata()
		same, _ := self.TokenID()
		say("look up self", nil, ttl > 59*time.Minute && ttl <= time.Hour, names, can, uses, meta, same == a.ClientToken, self.Data["display_name"], self.Data["path"], self.Data["type"], self.Data["orphan"])
	} else {
		say("look up self", err)
	}
	for _, path := range []string{"goapi/data/app/x", "goapi/metadata/", "goapi/data/top", "sys/mounts", "auth/token/lookup-self"} {
		caps, err := limited.Sys().CapabilitiesSelf(path)
		say("capabilities of "+path, err, caps)
		of, err := c.Sys().Capabilities(a.ClientToken, path)
		say("capabilities by its token", err, slices.Equal(caps, of))
		by, err := c.Logical().Write("sys/capabilities-accessor", map[string]any{"accessor": a.Accessor, "paths": []string{path}})
		if err == nil {
			say("capabilities by its accessor", nil, by.Data[path])
		} else {
			say("capabilities by its accessor", err)
		}
	}
	_, err = limited.KVv2(mount).Get(ctx, "app/cache")
	say("read what it may", err)
	_, err = limited.KVv2(mount).Get(ctx, "top")
	say("read what it may not", err)
	_, err = limited.KVv2(mount).Put(ctx, "app/cache", map[string]any{"a": "b"})
	say("write what it may not", err)
	_, err = limited.Sys().ListMounts()
	say("list mounts without the right", err)
	_, err = limited.Auth().Token().Create(&api.TokenCreateRequest{})
	say("create without the right", err)
	renewed, err := limited.Auth().Token().RenewSelf(1800)
	if err != nil {
		say("renew self", err)
	} else {
		say("renew self", nil, renewed.Auth.LeaseDuration, renewed.Auth.ClientToken == a.ClientToken, renewed.Warnings)
	}
	by, err := t.RenewAccessor(a.Accessor, 900)
	if err != nil {
		say("renew by accessor", err)
	} else {
		say("renew by accessor", nil, by.Auth.LeaseDuration, by.Auth.ClientToken == "")
	}
	look, err := t.LookupAccessor(a.Accessor)
	say("look up by accessor", err, look != nil && look.Data["id"] == "")
	_, err = t.LookupAccessor("nothing")
	say("look up by no accessor", err)
	_, err = t.Lookup("nothing")
	say("look up no token", err)
	_, err = t.RenewSelf(0)
	say("renew root", err)

	watch(c, "renewable", &api.TokenCreateRequest{Policies: []string{"goapi-reader"}, TTL: "3s"}, true)
	watch(c, "bounded", &api.TokenCreateRequest{Policies: []string{"goapi-reader"}, TTL: "2s", ExplicitMaxTTL: "3s"}, false)

	once, err := t.Create(&api.TokenCreateRequest{Policies: []string{"goapi-reader"}, NumUses: 2})
	if err != nil {
		return err
	}
	counted, _ := c.Clone()
	counted.SetToken(once.Auth.ClientToken)
	for range 3 {
		self, err := counted.Auth().Token().LookupSelf()
		if err == nil {
			uses, _ := self.TokenRemainingUses()
			say("one of two uses", nil, uses)
		} else {
			say("one of two uses", refused(err))
		}
	}
	orphan, err := t.CreateOrphan(&api.TokenCreateRequest{Policies: []string{"goapi-reader"}, Period: "1h"})
	if err == nil {
		say("orphan", nil, orphan.Auth.Orphan, orphan.Auth.LeaseDuration)
		say("revoke orphan", t.RevokeOrphan(orphan.Auth.ClientToken))
	} else {
		say("orphan", err)
	}
	_, err = c.Logical().Write("auth/token/roles/goapi", map[string]any{"allowed_policies": "goapi-reader", "orphan": true, "token_period": "24h"})
	say("write role", err)
	byRole, err := t.CreateWithRole(&api.TokenCreateRequest{}, "goapi")
	if err == nil {
		say("create with role", nil, byRole.Auth.Policies, byRole.Auth.Orphan, byRole.Auth.LeaseDuration)
	} else {
		say("create with role", err)
	}
	_, err = t.CreateWithRole(&api.TokenCreateRequest{Policies: []string{"root"}}, "goapi")
	say("create with role what it does not allow", err)
	_, err = t.CreateWithRole(&api.TokenCreateRequest{}, "nothing")
	say("create with no role", err)
	_, err = c.Logical().Delete("auth/token/roles/goapi")
	say("delete role", err)

	say("revoke self", limited.Auth().Token().RevokeSelf(""))
	_, err = limited.Auth().Token().LookupSelf()
	say("look up after revoking", refused(err))
	say("revoke no token", t.RevokeTree("nothing"))
	say("revoke no accessor", t.RevokeAccessor("nothing"))
	return nil
}

// refused is the status of an error alone: the words for a token that is no good
// differ from server to server.
func refused(err error) error {
	var answer *api.ResponseError
	if errors.As(err, &answer) && strings.Contains(strings.Join(answer.Errors, " "), "permission denied") {
		return fmt.Errorf("%d permission denied", answer.StatusCode)
	}
	return err
}

// watch lets the client's own watcher keep a token alive.
func watch(c *api.Client, step string, in *api.TokenCreateRequest, goesOn bool) {
	made, err := c.Auth().Token().Create(in)
	if err != nil {
		say("watch "+step, err)
		return
	}
	mine, err := c.Clone()
	if err != nil {
		say("watch "+step, err)
		return
	}
	mine.SetToken(made.Auth.ClientToken)
	w, err := mine.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: made})
	if err != nil {
		say("watch "+step, err)
		return
	}
	go w.Start()
	defer w.Stop()
	renewals := 0
	for {
		select {
		case r := <-w.RenewCh():
			if renewals++; goesOn && renewals == 3 {
				say("watch "+step, nil, "renewed", r.Secret.Auth.LeaseDuration)
				return
			}
		case err := <-w.DoneCh():
			if goesOn {
				say("watch "+step, err, "done")
				return
			}
			say("watch "+step, nil, "done", renewals > 0) // it may have asked once more
			return
		case <-time.After(time.Minute):
			say("watch "+step, errors.New("nothing happened"))
			return
		}
	}
}

func wrapped(c *api.Client) {
	w, err := c.Clone()
	if err != nil {
		say("wrap", err)
		return
	}
	w.SetToken(c.Token())
	w.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	s, err := w.Logical().Read(mount + "/data/app/cache")
	if err != nil || s.WrapInfo == nil {
		say("wrap", err, "nothing was wrapped")
		return
	}
	i := s.WrapInfo
	say("wrap", nil, i.TTL, i.CreationPath, s.Data == nil, i.Token != "", i.Accessor != "")
	look, err := c.Logical().Write("sys/wrapping/lookup", map[string]any{"token": i.Token})
	if err == nil {
		say("look up", nil, look.Data["creation_path"], look.Data["creation_ttl"])
	} else {
		say("look up", err)
	}
	got, err := c.Logical().Unwrap(i.Token)
	if err == nil {
		say("unwrap", nil, got.Data["data"])
	} else {
		say("unwrap", err)
	}
	_, err = c.Logical().Unwrap(i.Token)
	say("unwrap again", err)
	s, err = w.Logical().Write("sys/wrapping/wrap", map[string]any{"a": "b", "n": 1})
	if err != nil {
		say("wrap values", err)
		return
	}
	// As a program does that has nothing but the wrapping token.
	alone, _ := c.Clone()
	alone.SetToken(s.WrapInfo.Token)
	got, err = alone.Logical().Unwrap("")
	if err == nil {
		say("unwrap with it", nil, got.Data)
	} else {
		say("unwrap with it", err)
	}
	s, err = w.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"goapi-reader"}, TTL: "10m"})
	if err != nil {
		say("wrap a token", err)
		return
	}
	got, err = c.Logical().Unwrap(s.WrapInfo.Token)
	if err == nil {
		say("unwrap a token", nil, got.Auth.Policies, got.Auth.LeaseDuration, got.Auth.Accessor == s.WrapInfo.WrappedAccessor)
	} else {
		say("unwrap a token", err)
	}
	_, err = c.Logical().Unwrap("nothing")
	say("unwrap nothing", err)
}

func leases(c *api.Client) {
	_, err := c.Sys().Lookup("database/creds/x/nothing")
	say("look up no lease", err)
	_, err = c.Sys().Renew("database/creds/x/nothing", 60)
	say("renew no lease", err)
	say("revoke no lease", c.Sys().Revoke("database/creds/x/nothing"))
	say("revoke a prefix", c.Sys().RevokePrefix("database/creds"))
	say("revoke with force", c.Sys().RevokeForce("database/creds"))
}
