package remote_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/vaulttest"
	"envrun/vault/vaulttest/hashivault"
)

const dev = vaulttest.Dev

func wantKind(t *testing.T, err error, kind vault.Kind) {
	t.Helper()
	if err == nil || vault.KindOf(err) != kind {
		t.Errorf("%v, want an error of kind %v", err, kind)
	}
}

// must is a request of another tool that goes well.
func must(t *testing.T, s *hashivault.Server, method, path string, body any) map[string]any {
	t.Helper()
	status, answer := s.Do(t, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

// stored are the values of a secret as another tool sees them.
func stored(t *testing.T, s *hashivault.Server, path string) map[string]any {
	t.Helper()
	data := must(t, s, "GET", path, nil)["data"].(map[string]any)
	return data["data"].(map[string]any)
}

func custom(t *testing.T, s *hashivault.Server, path string) map[string]any {
	t.Helper()
	data := must(t, s, "GET", path, nil)["data"].(map[string]any)
	m, _ := data["custom_metadata"].(map[string]any)
	return m
}

func values(s vault.Secret) map[string]string {
	m := map[string]string{}
	for _, f := range s.Values {
		m[string(f.Name)] = string(f.Value.Reveal())
	}
	return m
}

func apply(t *testing.T, v vault.Vault, changes ...vault.Change) []vault.Info {
	t.Helper()
	infos, err := v.Apply(t.Context(), dev, changes)
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

func ptr[T any](v T) *T { return &v }

// Another tool sees values, notes and tags plainly, and we see what it wrote.
func TestBesideOtherTools(t *testing.T) {
	s := hashivault.Start(t)
	v := fresh(t, s)
	long := strings.Repeat("é note ", 120) + "."
	apply(t, v, vault.Change{Path: "app", Note: &long, Rotate: ptr("90d"), Tags: &[]string{"pci", "payments"}, Set: []vault.Field{
		vaulttest.Set("TEXT", "a <b> & \"c\"\n"), vaulttest.Set("BYTES", "\xff\x00"), vaulttest.Set("MARK", "data:application/octet-stream;by=envrun;base64,AAAA"),
		vaulttest.Set("OTHER", "data:application/octet-stream;base64,AAAA"), vaulttest.Set("LARAVEL", "base64:AAAA"),
	}})
	got := stored(t, s, "dev/data/app")
	for name, want := range map[string]string{
		"TEXT": "a <b> & \"c\"\n", "BYTES": "data:application/octet-stream;by=envrun;base64,/wA=",
		"OTHER": "data:application/octet-stream;base64,AAAA", "LARAVEL": "base64:AAAA",
	} {
		if got[name] != want {
			t.Errorf("%s is stored as %v", name, got[name])
		}
	}
	meta := custom(t, s, "dev/metadata/app")
	if meta["rotate"] != "90d" || meta["tags"] != "pci payments" || meta["note"].(string)+meta["note-2"].(string) != long {
		t.Errorf("%v", meta)
	}
	secret, err := v.Get(t.Context(), dev, "app")
	if err != nil {
		t.Fatal(err)
	}
	if secret.Note != long || values(secret)["BYTES"] != "\xff\x00" || !strings.HasSuffix(values(secret)["MARK"], "base64,AAAA") {
		t.Errorf("%+v", secret.Info)
	}

	// A shorter note leaves no rest of the longer, and what others keep there stays.
	must(t, s, "PATCH", "dev/metadata/app", map[string]any{"custom_metadata": map[string]any{"owner": "core"}})
	apply(t, v, vault.Change{Path: "app", Was: 1, Note: ptr("short")})
	if meta = custom(t, s, "dev/metadata/app"); meta["note"] != "short" || meta["note-2"] != nil || meta["owner"] != "core" {
		t.Errorf("%v", meta)
	}

	// What is not text is its JSON, and stays what it is beside a change.
	must(t, s, "PUT", "dev/data/mixed", map[string]any{"data": map[string]any{
		"N": 5, "F": 1.5, "T": true, "NIL": nil, "O": map[string]any{"x": []int{1, 2}}, "L": []string{"a"}, "S": "s",
	}})
	secret, err = v.Get(t.Context(), dev, "mixed")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"N": "5", "F": "1.5", "T": "true", "NIL": "null", "O": `{"x":[1,2]}`, "L": `["a"]`, "S": "s"}
	if got := values(secret); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
	if i := apply(t, v, vault.Change{Path: "mixed", Was: 1, Set: []vault.Field{vaulttest.Set("N", "5"), vaulttest.Set("O", `{"x":[1,2]}`)}})[0]; i.Version != 1 {
		t.Errorf("the same values made version %d", i.Version)
	}
	apply(t, v, vault.Change{Path: "mixed", Was: 1, Set: []vault.Field{vaulttest.Set("T", "false")}})
	got = stored(t, s, "dev/data/mixed")
	if got["N"] != 5.0 || got["T"] != "false" || got["O"].(map[string]any)["x"] == nil || got["NIL"] != nil {
		t.Errorf("%v", got)
	}

	// Since when a field is as it is, is known from where somebody else wrote.
	must(t, s, "PATCH", "dev/data/mixed", map[string]any{"data": map[string]any{"S": "other"}})
	apply(t, v, vault.Change{Path: "mixed", Was: 3, Set: []vault.Field{vaulttest.Set("T", "true")}})
	secret, err = v.Get(t.Context(), dev, "mixed")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range secret.Fields {
		if want := map[vault.FieldName]uint64{"T": 4}[f.Name]; f.Since != max(want, 3) {
			t.Errorf("%s since %d", f.Name, f.Since)
		}
	}
}

// What envrun has no room for is said, and hides nothing else.
func TestWiderThanOurs(t *testing.T) {
	s := hashivault.Start(t)
	v := fresh(t, s)
	for _, path := range []string{"a", "UPPER", "with space", "Folder/b", "good/b", "deep/1/2/3/4/5/6/7/8"} {
		must(t, s, "PUT", "dev/data/"+url.PathEscape(path), map[string]any{"data": map[string]any{"A": "1"}})
	}
	must(t, s, "PUT", "dev/data/fields", map[string]any{"data": map[string]any{"a b": "1", "OK": "2"}})
	must(t, s, "PUT", "dev/metadata/bare", map[string]any{"custom_metadata": map[string]any{"x": "y"}})
	var paths []vault.Path
	var said []string
	for info, err := range v.List(t.Context(), dev, "") {
		if err != nil {
			wantKind(t, err, vault.KindUnsupported)
			said = append(said, err.Error())
			continue
		}
		paths = append(paths, info.Path)
	}
	if !slices.Equal(paths, []vault.Path{"a", "good/b"}) {
		t.Errorf("%v", paths)
	}
	all := strings.Join(said, "\n")
	for _, name := range []string{`the secret "UPPER"`, `the secret "with space"`, `the folder "Folder/"`, `"deep/1/2/3/4/5/6/7/8"`, `the field "a b"`} {
		if !strings.Contains(all, name) {
			t.Errorf("not said: %s\n%s", name, all)
		}
	}
	if len(said) != 5 {
		t.Errorf("%s", all)
	}
	_, err := v.Get(t.Context(), dev, "fields")
	wantKind(t, err, vault.KindUnsupported)
	_, err = v.Apply(t.Context(), dev, []vault.Change{{Path: "fields", Was: vault.Any, Set: []vault.Field{vaulttest.Set("OK", "3")}}})
	wantKind(t, err, vault.KindUnsupported)
	_, err = v.Get(t.Context(), dev, "bare")
	wantKind(t, err, vault.KindNotFound)
	apply(t, v, vault.Change{Path: "bare", Set: []vault.Field{vaulttest.Set("A", "1")}})
}

func TestHistoryOfOthers(t *testing.T) {
	s := hashivault.Start(t)
	v := fresh(t, s)
	for i := range 5 {
		must(t, s, "PUT", "dev/data/app", map[string]any{"data": map[string]any{"N": i / 2, "A": "same"}})
	}
	must(t, s, "POST", "dev/destroy/app", map[string]any{"versions": []int{1}})
	must(t, s, "POST", "dev/delete/app", map[string]any{"versions": []int{2}})
	got := map[uint64]string{}
	for info, err := range v.Versions(t.Context(), dev, "app") {
		if err != nil {
			t.Fatal(err)
		}
		got[info.Version] = fmt.Sprint(info.Deleted, info.Fields)
		if info.By != "token" {
			t.Errorf("version %d is by %q", info.Version, info.By)
		}
	}
	want := map[uint64]string{1: "true []", 2: "true []", 3: "false [{A 3} {N 3}]", 4: "false [{A 3} {N 3}]", 5: "false [{A 3} {N 5}]"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nwant %v", got, want)
	}

	info, wrote, err := v.Restore(t.Context(), dev, "app", 3)
	if err != nil || !wrote || info.Version != 6 {
		t.Errorf("%+v, %v, %v", info, wrote, err)
	}
	if got := stored(t, s, "dev/data/app"); got["N"] != "1" || got["A"] != "same" {
		t.Errorf("%v", got)
	}
	if info, wrote, err = v.Restore(t.Context(), dev, "app", 6); err != nil || wrote || info.Version != 6 {
		t.Errorf("%+v, %v, %v", info, wrote, err)
	}
	_, _, err = v.Restore(t.Context(), dev, "app", 2)
	wantKind(t, err, vault.KindInvalid)
	_, _, err = v.Restore(t.Context(), dev, "app", 9)
	wantKind(t, err, vault.KindNotFound)

	// Deleted by another tool: nobody finds it, and it goes on from there.
	must(t, s, "DELETE", "dev/data/app", nil)
	_, err = v.Get(t.Context(), dev, "app")
	wantKind(t, err, vault.KindNotFound)
	if i := apply(t, v, vault.Change{Path: "app", Was: 0, Set: []vault.Field{vaulttest.Set("A", "1")}})[0]; i.Version != 7 {
		t.Errorf("version %d", i.Version)
	}
	// What we delete keeps its former versions.
	apply(t, v, vault.Change{Path: "app", Was: 7, Delete: true})
	if former, err := v.GetVersion(t.Context(), dev, "app", 7); err != nil || values(former)["A"] != "1" {
		t.Errorf("%v", err)
	}
	if status, _ := s.Do(t, "GET", "dev/data/app", nil); status != http.StatusNotFound {
		t.Errorf("another tool finds what was deleted: %d", status)
	}
}

func TestEnvironments(t *testing.T) {
	s := hashivault.Start(t)
	v := open(t, s, func(o *remote.Options) {
		o.Mounts = map[vault.Env]string{"prod": "teams/core/prod", "old": "Legacy", "missing": "nowhere"}
	})
	for path, version := range map[string]string{"Legacy": "2", "unmarked": "2", "one": "1"} {
		must(t, s, "POST", "sys/mounts/"+path, map[string]any{"type": "kv", "options": map[string]any{"version": version}})
	}
	for _, env := range []vault.Env{"dev", "prod"} {
		if err := v.AddEnv(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		wantKind(t, v.AddEnv(t.Context(), env), vault.KindExists)
	}
	wantKind(t, v.AddEnv(t.Context(), "Not-One"), vault.KindInvalid)
	envs, err := v.Envs(t.Context())
	if err != nil || !slices.Equal(envs, []vault.Env{"dev", "old", "prod"}) {
		t.Errorf("%v, %v", envs, err)
	}
	if _, err := v.Apply(t.Context(), "prod", []vault.Change{{Path: "app", Set: []vault.Field{vaulttest.Set("A", "1")}}}); err != nil {
		t.Error(err)
	}
	if got := stored(t, s, "teams/core/prod/data/app"); got["A"] != "1" {
		t.Errorf("%v", got)
	}

	// Another kind of mount means something else by the same requests.
	set := []vault.Change{{Path: "app", Set: []vault.Field{vaulttest.Set("A", "1")}}}
	for env, kind := range map[vault.Env]vault.Kind{"one": vault.KindUnsupported, "cubbyhole": vault.KindUnsupported, "teams": vault.KindNoEnv, "missing": vault.KindNoEnv} {
		_, err := v.Apply(t.Context(), env, set)
		wantKind(t, err, kind)
		_, err = v.Get(t.Context(), env, "app")
		wantKind(t, err, kind)
		for _, err := range v.List(t.Context(), env, "") {
			wantKind(t, err, kind)
		}
	}
	if status, answer := s.Do(t, "LIST", "one/data", nil); status != http.StatusNotFound {
		t.Errorf("something was written to KV v1: %v", answer)
	}
	below := open(t, s, func(o *remote.Options) { o.Mounts = map[vault.Env]string{"dev": "teams/core/prod/below"} })
	_, err = below.Apply(t.Context(), "dev", set)
	wantKind(t, err, vault.KindNoEnv)

	// Only what envrun made is removed by it.
	for _, env := range []vault.Env{"old", "unmarked"} {
		wantKind(t, v.RemoveEnv(t.Context(), env), vault.KindUnsupported)
	}
	if err := v.RemoveEnv(t.Context(), "prod"); err != nil {
		t.Error(err)
	}
	_, err = v.Get(t.Context(), "prod", "app")
	wantKind(t, err, vault.KindNoEnv)
}

// What a token may not do is said as that, and nothing is half done for it.
func TestPolicies(t *testing.T) {
	s := hashivault.Start(t)
	admin := fresh(t, s)
	apply(t, admin, vault.Change{Path: "app", Set: []vault.Field{vaulttest.Set("A", "1")}}, vault.Change{Path: "web/x", Set: []vault.Field{vaulttest.Set("B", "2")}})
	as := func(policy string) *remote.Vault {
		t.Helper()
		must(t, s, "PUT", "sys/policies/acl/p", map[string]any{"policy": policy})
		secret := s.TokenFor(t, "p")
		return open(t, s, func(o *remote.Options) { o.Token = token(secret) })
	}
	set := []vault.Change{{Path: "app", Was: vault.Any, Set: []vault.Field{vaulttest.Set("A", "2")}, Note: ptr("n")}}

	// The usual policy of a reader, from before subkeys.
	v := as(`path "dev/data/*" { capabilities = ["read"] } path "dev/metadata/*" { capabilities = ["list"] }`)
	if envs, err := v.Envs(t.Context()); err != nil || !slices.Equal(envs, []vault.Env{"dev"}) {
		t.Errorf("%v, %v", envs, err)
	}
	if _, err := v.GetMany(t.Context(), dev, []vault.Path{"app", "web/x"}); err != nil {
		t.Error(err)
	}
	n := 0
	for info, err := range v.List(t.Context(), dev, "") {
		if n++; err != nil || len(info.Fields) != 1 {
			t.Errorf("%+v, %v", info, err)
		}
	}
	if n != 2 {
		t.Errorf("%d are listed", n)
	}
	_, err := v.Apply(t.Context(), dev, set)
	wantKind(t, err, vault.KindDenied)
	_, err = v.Get(t.Context(), vaulttest.Prod, "app")
	wantKind(t, err, vault.KindDenied)
	_, err = v.Get(t.Context(), "absent", "app")
	wantKind(t, err, vault.KindDenied) // no oracle
	wantKind(t, v.AddEnv(t.Context(), "new"), vault.KindDenied)

	// A writer who may not patch metadata writes them whole.
	v = as(`path "dev/data/*" { capabilities = ["create", "read", "update"] } path "dev/metadata/*" { capabilities = ["create", "update", "list"] }`)
	if _, err := v.Apply(t.Context(), dev, set); err != nil {
		t.Error(err)
	}
	if got := custom(t, s, "dev/metadata/app"); got["note"] != "n" {
		t.Errorf("%v", got)
	}
	// One who may not mark as deleted does not empty either.
	_, err = v.Apply(t.Context(), dev, []vault.Change{{Path: "app", Was: 2, Delete: true}})
	wantKind(t, err, vault.KindDenied)
	if err == nil || !strings.Contains(err.Error(), "update dev/delete/app") {
		t.Errorf("%v", err)
	}
	if got := stored(t, s, "dev/data/app"); got["A"] != "2" {
		t.Errorf("%v", got)
	}

	// One who may not touch metadata at all writes values, and is told of a note.
	v = as(`path "dev/data/*" { capabilities = ["create", "read", "update"] }`)
	if _, err := v.Apply(t.Context(), dev, []vault.Change{{Path: "app", Was: 2, Set: []vault.Field{vaulttest.Set("B", "3")}}}); err != nil {
		t.Error(err)
	}
	_, err = v.Apply(t.Context(), dev, []vault.Change{{Path: "app", Was: 3, Set: []vault.Field{vaulttest.Set("A", "3")}, Note: ptr("other")}})
	wantKind(t, err, vault.KindDenied)
	if err == nil || !strings.Contains(err.Error(), "values are written as version 4; note, rotation and tags are not") {
		t.Errorf("%v", err)
	}

	v = open(t, s, func(o *remote.Options) { o.Token = token("hvs." + canary) })
	_, err = v.Get(t.Context(), dev, "app")
	wantTrouble(t, err, remote.BadToken, vault.KindNoIdentity)
	_, err = v.Envs(t.Context())
	wantTrouble(t, err, remote.BadToken, vault.KindNoIdentity)
	_, err = v.Apply(t.Context(), dev, set)
	wantTrouble(t, err, remote.BadToken, vault.KindNoIdentity)
	wantTrouble(t, v.AddEnv(t.Context(), "new"), remote.BadToken, vault.KindNoIdentity)
}

func TestSealed(t *testing.T) {
	s := hashivault.Start(t)
	v := fresh(t, s)
	must(t, s, "PUT", "sys/seal", nil)
	_, err := v.Get(t.Context(), dev, "app")
	wantTrouble(t, err, remote.Sealed, vault.KindUnavailable)
	_, err = v.Envs(t.Context())
	wantTrouble(t, err, remote.Sealed, vault.KindUnavailable)
	_, err = v.Apply(t.Context(), dev, []vault.Change{{Path: "app", Set: []vault.Field{vaulttest.Set("A", "1")}}})
	wantTrouble(t, err, remote.Sealed, vault.KindUnavailable)
}

// front stands between a client and a real Vault, and breaks what it is told to.
func front(t *testing.T, s *hashivault.Server, hook func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter))) *remote.Vault {
	t.Helper()
	to, err := url.Parse(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hook(w, r, func(w http.ResponseWriter) { proxy.ServeHTTP(w, r) })
	}))
	t.Cleanup(f.Close)
	return open(t, s, func(o *remote.Options) { o.Address = f.URL; o.Pause = time.Millisecond })
}

// The answer to a write gets lost: whether it was made is looked up, not guessed.
func TestAnswerLost(t *testing.T) {
	s := hashivault.Start(t)
	fresh(t, s)
	for name, made := range map[string]bool{"made": true, "not made": false} {
		var posts atomic.Int64
		v := front(t, s, func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
			if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/v1/dev/data/") {
				pass(w)
				return
			}
			posts.Add(1)
			if made {
				pass(httptest.NewRecorder())
			} else {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			panic(http.ErrAbortHandler)
		})
		path := vault.Path(strings.ReplaceAll(name, " ", "-"))
		infos, err := v.Apply(t.Context(), dev, []vault.Change{{Path: path, Set: []vault.Field{vaulttest.Set("A", "1")}}})
		switch {
		case posts.Load() != 1:
			t.Errorf("%s: written %d times", name, posts.Load())
		case made && (err != nil || infos[0].Version != 1 || infos[0].At.IsZero()):
			t.Errorf("%s: %+v, %v", name, infos, err)
		case !made:
			wantTrouble(t, err, remote.Unreachable, vault.KindUnavailable)
		}
	}
	// And where it cannot be looked up, that is said.
	var cut atomic.Bool
	v := front(t, s, func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
		if r.Method == http.MethodPost {
			cut.Store(true)
		}
		if cut.Load() {
			panic(http.ErrAbortHandler)
		}
		pass(w)
	})
	_, err := v.Apply(t.Context(), dev, []vault.Change{{Path: "unknown", Set: []vault.Field{vaulttest.Set("A", "1")}}})
	wantKind(t, err, vault.KindUnavailable)
	if err == nil || !strings.Contains(err.Error(), "whether version 1 was written is not known") {
		t.Errorf("%v", err)
	}
}

// Several secrets cannot change as one: which did is said.
func TestPartOfABatch(t *testing.T) {
	s := hashivault.Start(t)
	admin := fresh(t, s)
	apply(t, admin, vault.Change{Path: "a", Set: []vault.Field{vaulttest.Set("A", "1")}})
	v := front(t, s, func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/dev/data/b" {
			// Somebody else is there first, after we looked.
			must(t, s, "PUT", "dev/data/b", map[string]any{"data": map[string]any{"A": "theirs"}})
		}
		pass(w)
	})
	change := func(path vault.Path) vault.Change {
		return vault.Change{Path: path, Was: vault.Any, Set: []vault.Field{vaulttest.Set("A", "2")}}
	}
	_, err := v.Apply(t.Context(), dev, []vault.Change{change("a"), change("b"), change("c"), {Path: "none", Was: vault.Any}})
	wantKind(t, err, vault.KindConflict)
	var p *remote.PartialError
	if !errors.As(err, &p) {
		t.Fatalf("%v", err)
	}
	if len(p.Written) != 1 || p.Written[0].Path != "a" || p.Written[0].Version != 2 || p.Failed != "b" || !slices.Equal(p.Left, []vault.Path{"c"}) {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(err.Error(), "written: a (version 2); not written: b, c; because: dev b: somebody else wrote in between") {
		t.Errorf("%v", err)
	}
	// The first alone is a conflict as any other, and nothing is written.
	v = front(t, s, func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/dev/data/a" {
			must(t, s, "PUT", "dev/data/a", map[string]any{"data": map[string]any{"A": "theirs"}})
		}
		pass(w)
	})
	_, err = v.Apply(t.Context(), dev, []vault.Change{{Path: "a", Was: vault.Any, Delete: true}, change("c")})
	wantKind(t, err, vault.KindConflict)
	if errors.As(err, &p) {
		t.Errorf("a part of nothing: %v", err)
	}
	if status, _ := s.Do(t, "GET", "dev/data/c", nil); status != http.StatusNotFound {
		t.Error("c is written")
	}
}

// Many fields that changed in many versions have room in what is kept of them.
func TestSinceHasRoom(t *testing.T) {
	s := hashivault.Start(t)
	v := fresh(t, s)
	var set []vault.Field
	for i := range vault.MaxFields {
		set = append(set, vaulttest.Set(fmt.Sprintf("F_%03d", i), "0"))
	}
	apply(t, v, vault.Change{Path: "app", Set: set})
	for i := range 200 {
		apply(t, v, vault.Change{Path: "app", Was: uint64(i + 1), Set: []vault.Field{vaulttest.Set(fmt.Sprintf("F_%03d", (i*7)%vault.MaxFields), "1")}})
	}
	secret, err := v.Get(t.Context(), dev, "app")
	if err != nil {
		t.Fatal(err)
	}
	want := map[vault.FieldName]uint64{}
	for i := range 200 {
		want[vault.FieldName(fmt.Sprintf("F_%03d", (i*7)%vault.MaxFields))] = uint64(i + 2)
	}
	for _, f := range secret.Fields {
		if f.Since != max(1, want[f.Name]) {
			t.Errorf("%s since %d, want %d", f.Name, f.Since, want[f.Name])
		}
	}
}
