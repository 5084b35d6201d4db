package vaulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"envrun/vault"
)

// Environments that a vault under test has when it is opened.
const (
	Dev  vault.Env = "dev"
	Prod vault.Env = "prod"
)

// Run is the suite that every vault passes. open returns a vault that holds
// the environments Dev and Prod, both empty, and that the caller has keys for;
// it is called once for each test, so it may use the t it is given to clean up.
func Run(t *testing.T, open func(t *testing.T) vault.Vault) {
	for _, c := range []struct {
		name string
		test func(*testing.T, vault.Vault)
	}{
		{"Empty", testEmpty},
		{"WrongEnv", testWrongEnv},
		{"SetGet", testSetGet},
		{"Merge", testMerge},
		{"Metadata", testMetadata},
		{"Unchanged", testUnchanged},
		{"Conflict", testConflict},
		{"Invalid", testInvalid},
		{"Batch", testBatch},
		{"BatchAllOrNothing", testBatchAllOrNothing},
		{"DeleteRecreate", testDeleteRecreate},
		{"GetMany", testGetMany},
		{"List", testList},
		{"EnvsApart", testEnvsApart},
		{"Values", testValues},
		{"ManyFields", testManyFields},
		{"History", testHistory},
		{"Export", testExport},
		{"Verify", testVerify},
		{"ConcurrentWriters", testConcurrentWriters},
		{"ConcurrentReaders", testConcurrentReaders},
		{"Cancelled", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Set is a field to write.
func Set(name, value string) vault.Field {
	return vault.Field{Name: vault.FieldName(name), Value: vault.NewValueString(value)}
}

// apply makes changes that must succeed.
func apply(t *testing.T, v vault.Vault, env vault.Env, changes ...vault.Change) []vault.Info {
	t.Helper()
	infos, err := v.Apply(t.Context(), env, changes)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if len(infos) != len(changes) {
		t.Fatalf("Apply returned %d infos for %d changes", len(infos), len(changes))
	}
	for i, info := range infos {
		if info.Env != env || info.Path != changes[i].Path {
			t.Fatalf("Apply: info %d is of %s %s, want %s %s", i, info.Env, info.Path, env, changes[i].Path)
		}
	}
	return infos
}

// get reads a secret that must be there.
func get(t *testing.T, v vault.Reader, env vault.Env, path vault.Path) vault.Secret {
	t.Helper()
	s, err := v.Get(t.Context(), env, path)
	if err != nil {
		t.Fatalf("Get %s %s: %v", env, path, err)
	}
	checkShape(t, s)
	return s
}

// checkShape is what holds for every secret.
func checkShape(t *testing.T, s vault.Secret) {
	t.Helper()
	if len(s.Values) != len(s.Fields) {
		t.Fatalf("%s has %d values and %d fields", s.Path, len(s.Values), len(s.Fields))
	}
	for i, f := range s.Values {
		if f.Name != s.Fields[i].Name || f.Since != s.Fields[i].Since {
			t.Fatalf("%s: value %d is %s since %d, field is %s since %d", s.Path, i, f.Name, f.Since, s.Fields[i].Name, s.Fields[i].Since)
		}
		if f.Since == 0 || f.Since > s.Version {
			t.Fatalf("%s version %d: field %s is said to be since %d", s.Path, s.Version, f.Name, f.Since)
		}
	}
	if !slices.IsSortedFunc(s.Values, func(a, b vault.Field) int { return strings.Compare(string(a.Name), string(b.Name)) }) {
		t.Fatalf("%s: fields are not sorted", s.Path)
	}
	if s.Version == 0 || s.At.IsZero() {
		t.Fatalf("%s: version %d at %v", s.Path, s.Version, s.At)
	}
}

// wantFields checks names and values, given as name, value, name, value, …
func wantFields(t *testing.T, s vault.Secret, pairs ...string) {
	t.Helper()
	if len(s.Values) != len(pairs)/2 {
		t.Errorf("%s %s has the fields %v, want %d", s.Env, s.Path, s.Fields, len(pairs)/2)
	}
	for i := 0; i < len(pairs); i += 2 {
		f, ok := s.Field(vault.FieldName(pairs[i]))
		if !ok {
			t.Errorf("%s %s has no field %s", s.Env, s.Path, pairs[i])
		} else if got := string(f.Value.Reveal()); got != pairs[i+1] {
			t.Errorf("%s %s %s = %.60q, want %.60q", s.Env, s.Path, pairs[i], got, pairs[i+1])
		}
	}
}

func wantVersion(t *testing.T, i vault.Info, version uint64) {
	t.Helper()
	if i.Version != version {
		t.Errorf("%s %s is at version %d, want %d", i.Env, i.Path, i.Version, version)
	}
}

func wantSince(t *testing.T, s vault.Secret, name vault.FieldName, since uint64) {
	t.Helper()
	if f, _ := s.Field(name); f.Since != since {
		t.Errorf("%s %s changed in version %d, want %d", s.Path, name, f.Since, since)
	}
}

func wantKind(t *testing.T, err error, kind vault.Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %v", kind)
	} else if got := vault.KindOf(err); got != kind {
		t.Errorf("error of kind %v, want %v: %v", got, kind, err)
	}
}

// list collects a listing that must go well.
func list(t *testing.T, v vault.Reader, env vault.Env, prefix vault.Path) []vault.Info {
	t.Helper()
	var infos []vault.Info
	for info, err := range v.List(t.Context(), env, prefix) {
		if err != nil {
			t.Fatalf("List %s %q: %v", env, prefix, err)
		}
		infos = append(infos, info)
	}
	return infos
}

func wantList(t *testing.T, v vault.Reader, env vault.Env, prefix vault.Path, want ...vault.Path) {
	t.Helper()
	var got []vault.Path
	for _, i := range list(t, v, env, prefix) {
		got = append(got, i.Path)
	}
	if !slices.Equal(got, want) {
		t.Errorf("List %s %q = %v, want %v", env, prefix, got, want)
	}
}

func testEmpty(t *testing.T, v vault.Vault) {
	envs, err := v.Envs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(envs, []vault.Env{Dev, Prod}) {
		t.Errorf("Envs = %v", envs)
	}
	_, err = v.Get(t.Context(), Dev, "app")
	wantKind(t, err, vault.KindNotFound)
	_, err = v.GetMany(t.Context(), Dev, []vault.Path{"app"})
	wantKind(t, err, vault.KindNotFound)
	none, err := v.GetMany(t.Context(), Dev, nil)
	if err != nil || len(none) != 0 {
		t.Errorf("GetMany of nothing = %v, %v", none, err)
	}
	wantList(t, v, Dev, "")
	wantList(t, v, Dev, "app")
	apply(t, v, Dev)
}

func testWrongEnv(t *testing.T, v vault.Vault) {
	ctx := t.Context()
	_, err := v.Get(ctx, "absent", "app")
	wantKind(t, err, vault.KindNoEnv)
	_, err = v.GetMany(ctx, "absent", []vault.Path{"app"})
	wantKind(t, err, vault.KindNoEnv)
	_, err = v.Apply(ctx, "absent", []vault.Change{{Path: "app", Set: []vault.Field{Set("A", "1")}}})
	wantKind(t, err, vault.KindNoEnv)
	n := 0
	for _, err := range v.List(ctx, "absent", "") {
		wantKind(t, err, vault.KindNoEnv)
		n++
	}
	if n != 1 {
		t.Errorf("List of an absent environment yields %d times", n)
	}
}

func testSetGet(t *testing.T, v vault.Vault) {
	info := apply(t, v, Dev, vault.Change{Path: "billing/stripe", Set: []vault.Field{Set("Z_KEY", "z"), Set("A_KEY", "a")}})[0]
	wantVersion(t, info, 1)
	s := get(t, v, Dev, "billing/stripe")
	wantVersion(t, s.Info, 1)
	wantFields(t, s, "A_KEY", "a", "Z_KEY", "z")
	if s.Deleted {
		t.Error("is deleted")
	}

	for _, path := range []vault.Path{"billing", "billing/strip", "billing/stripe/x", "stripe"} {
		_, err := v.Get(t.Context(), Dev, path)
		wantKind(t, err, vault.KindNotFound)
	}

	// A path may be a secret and hold others.
	apply(t, v, Dev, vault.Change{Path: "billing", Set: []vault.Field{Set("A", "1")}})
	wantFields(t, get(t, v, Dev, "billing"), "A", "1")
	wantFields(t, get(t, v, Dev, "billing/stripe"), "A_KEY", "a", "Z_KEY", "z")
}

func testMerge(t *testing.T, v vault.Vault) {
	apply(t, v, Dev, vault.Change{Path: "app", Set: []vault.Field{Set("A", "1"), Set("B", "2"), Set("C", "3")}})
	apply(t, v, Dev, vault.Change{Path: "app", Was: 1, Set: []vault.Field{Set("B", "two"), Set("D", "4")}, Drop: []vault.FieldName{"C", "NOT_THERE"}})
	s := get(t, v, Dev, "app")
	wantVersion(t, s.Info, 2)
	wantFields(t, s, "A", "1", "B", "two", "D", "4")
	wantSince(t, s, "A", 1)
	wantSince(t, s, "B", 2)
	wantSince(t, s, "D", 2)

	apply(t, v, Dev, vault.Change{Path: "app", Was: vault.Any, Replace: true, Set: []vault.Field{Set("A", "1"), Set("D", "four")}})
	s = get(t, v, Dev, "app")
	wantVersion(t, s.Info, 3)
	wantFields(t, s, "A", "1", "D", "four")
	wantSince(t, s, "A", 1)
	wantSince(t, s, "D", 3)

	// A field that was gone is new when it comes back, even with its old value.
	apply(t, v, Dev, vault.Change{Path: "app", Was: 3, Set: []vault.Field{Set("C", "3")}})
	wantSince(t, get(t, v, Dev, "app"), "C", 4)
}

func testMetadata(t *testing.T, v vault.Vault) {
	p := func(s string) *string { return &s }
	tags := []string{"payments", "pci"}
	apply(t, v, Dev, vault.Change{Path: "app", Set: []vault.Field{Set("A", "1")}, Note: p("live keys, owner: Zoë"), Rotate: p("90d"), Tags: &tags})
	check := func(i vault.Info, version uint64, note, rotate string, tags ...string) {
		t.Helper()
		wantVersion(t, i, version)
		if i.Note != note || i.Rotate != rotate || !slices.Equal(i.Tags, tags) {
			t.Errorf("note %q, rotate %q, tags %q; want %q, %q, %q", i.Note, i.Rotate, i.Tags, note, rotate, tags)
		}
	}
	check(get(t, v, Dev, "app").Info, 1, "live keys, owner: Zoë", "90d", "payments", "pci")
	check(list(t, v, Dev, "")[0], 1, "live keys, owner: Zoë", "90d", "payments", "pci")

	apply(t, v, Dev, vault.Change{Path: "app", Was: 1, Set: []vault.Field{Set("B", "2")}})
	check(get(t, v, Dev, "app").Info, 2, "live keys, owner: Zoë", "90d", "payments", "pci")

	// Alone they are a change too, and no field counts as changed by it.
	apply(t, v, Dev, vault.Change{Path: "app", Was: 2, Note: p("")})
	s := get(t, v, Dev, "app")
	check(s.Info, 3, "", "90d", "payments", "pci")
	wantSince(t, s, "A", 1)
	wantSince(t, s, "B", 2)
	apply(t, v, Dev, vault.Change{Path: "app", Was: 3, Rotate: p(""), Tags: &[]string{}})
	check(get(t, v, Dev, "app").Info, 4, "", "")
}

func testUnchanged(t *testing.T, v vault.Vault) {
	note, rotate, tags := "n", "30d", []string{"x"}
	set := []vault.Field{Set("A", "1"), Set("B", "")}
	apply(t, v, Dev, vault.Change{Path: "app", Set: set, Note: &note, Rotate: &rotate, Tags: &tags})
	before := get(t, v, Dev, "app").Info
	for name, c := range map[string]vault.Change{
		"same values":       {Set: []vault.Field{Set("A", "1"), Set("B", "")}},
		"one of them":       {Set: []vault.Field{Set("A", "1")}},
		"replaced by same":  {Set: []vault.Field{Set("B", ""), Set("A", "1")}, Replace: true},
		"same note":         {Note: &note},
		"same rotate, tags": {Rotate: &rotate, Tags: &tags},
		"drop of nothing":   {Drop: []vault.FieldName{"C"}},
		"nothing":           {},
	} {
		for _, was := range []uint64{1, vault.Any} {
			c.Path, c.Was = "app", was
			got := apply(t, v, Dev, c)[0]
			if got.Version != 1 || !got.At.Equal(before.At) || len(got.Fields) != 2 {
				t.Errorf("%s: wrote version %d", name, got.Version)
			}
		}
	}
	wantVersion(t, get(t, v, Dev, "app").Info, 1)

	// The version is compared all the same.
	_, err := v.Apply(t.Context(), Dev, []vault.Change{{Path: "app", Was: 7, Set: set}})
	wantKind(t, err, vault.KindConflict)

	// Nothing written to what is not there leaves it so.
	for _, c := range []vault.Change{{Path: "none"}, {Path: "none", Drop: []vault.FieldName{"A"}}, {Path: "none", Was: vault.Any, Delete: true}} {
		if got := apply(t, v, Dev, c)[0]; got.Version != 0 {
			t.Errorf("%+v on an absent secret made version %d", c, got.Version)
		}
	}
	wantList(t, v, Dev, "", "app")
}

func testConflict(t *testing.T, v vault.Vault) {
	set := []vault.Field{Set("A", "new")}
	_, err := v.Apply(t.Context(), Dev, []vault.Change{{Path: "app", Was: 1, Set: set}})
	wantKind(t, err, vault.KindConflict)
	apply(t, v, Dev, vault.Change{Path: "app", Was: 0, Set: []vault.Field{Set("A", "1")}})
	apply(t, v, Dev, vault.Change{Path: "app", Was: 1, Set: []vault.Field{Set("A", "2")}})
	for _, was := range []uint64{0, 1, 3} {
		_, err := v.Apply(t.Context(), Dev, []vault.Change{{Path: "app", Was: was, Set: set}})
		wantKind(t, err, vault.KindConflict)
		_, err = v.Apply(t.Context(), Dev, []vault.Change{{Path: "app", Was: was, Delete: true}})
		wantKind(t, err, vault.KindConflict)
	}
	s := get(t, v, Dev, "app")
	wantVersion(t, s.Info, 2)
	wantFields(t, s, "A", "2")
	apply(t, v, Dev, vault.Change{Path: "app", Was: vault.Any, Set: set})
	wantFields(t, get(t, v, Dev, "app"), "A", "new")
}

func testInvalid(t *testing.T, v vault.Vault) {
	long := strings.Repeat("n", vault.MaxNote+1)
	lines := "two\nlines"
	tag := []string{"a b"}
	for name, c := range map[string]vault.Change{
		"path":               {Path: "../x", Set: []vault.Field{Set("A", "1")}},
		"path in capitals":   {Path: "App", Set: []vault.Field{Set("A", "1")}},
		"no path":            {Set: []vault.Field{Set("A", "1")}},
		"field name":         {Path: "app", Set: []vault.Field{Set("A B", "1")}},
		"no field name":      {Path: "app", Set: []vault.Field{Set("", "1")}},
		"name to drop":       {Path: "app", Drop: []vault.FieldName{"A=B"}},
		"field twice":        {Path: "app", Set: []vault.Field{Set("A", "1"), Set("A", "2")}},
		"set and drop":       {Path: "app", Set: []vault.Field{Set("A", "1")}, Drop: []vault.FieldName{"A"}},
		"delete and set":     {Path: "app", Delete: true, Set: []vault.Field{Set("A", "1")}},
		"delete and drop":    {Path: "app", Delete: true, Drop: []vault.FieldName{"A"}},
		"delete and replace": {Path: "app", Delete: true, Replace: true},
		"long note":          {Path: "app", Note: &long},
		"note of two lines":  {Path: "app", Note: &lines},
		"rotate":             {Path: "app", Rotate: &lines},
		"tag with a space":   {Path: "app", Tags: &tag},
	} {
		c.Was = vault.Any
		_, err := v.Apply(t.Context(), Dev, []vault.Change{c})
		if vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%s: %v, want an error of kind %v", name, err, vault.KindInvalid)
		}
	}
	_, err := v.Apply(t.Context(), Dev, []vault.Change{
		{Path: "app", Was: vault.Any, Set: []vault.Field{Set("A", "1")}},
		{Path: "app", Was: vault.Any, Set: []vault.Field{Set("A", "2")}},
	})
	wantKind(t, err, vault.KindInvalid)
	wantList(t, v, Dev, "")

	// Reading what cannot be a path finds nothing, whatever it is called.
	for _, path := range []vault.Path{"", "..", "../prod/app", "a//b", "/a", "A"} {
		if _, err := v.Get(t.Context(), Dev, path); err == nil {
			t.Errorf("Get %q found something", path)
		} else if k := vault.KindOf(err); k != vault.KindInvalid && k != vault.KindNotFound {
			t.Errorf("Get %q: %v", path, err)
		}
		for info, err := range v.List(t.Context(), Dev, path) {
			if path != "" && vault.KindOf(err) != vault.KindInvalid {
				t.Errorf("List %q: %+v, %v", path, info, err)
			}
		}
	}
}

func testBatch(t *testing.T, v vault.Vault) {
	infos := apply(t, v, Dev,
		vault.Change{Path: "c", Set: []vault.Field{Set("A", "3")}},
		vault.Change{Path: "a", Set: []vault.Field{Set("A", "1")}},
		vault.Change{Path: "b", Set: []vault.Field{Set("A", "2")}},
	)
	for _, i := range infos {
		wantVersion(t, i, 1)
	}
	infos = apply(t, v, Dev,
		vault.Change{Path: "a", Was: 1, Set: []vault.Field{Set("A", "1")}}, // as it was
		vault.Change{Path: "b", Was: 1, Delete: true},
		vault.Change{Path: "c", Was: 1, Set: []vault.Field{Set("B", "4")}},
		vault.Change{Path: "d", Was: 0, Set: []vault.Field{Set("A", "5")}},
	)
	for i, want := range []uint64{1, 2, 2, 1} {
		wantVersion(t, infos[i], want)
	}
	if !infos[1].Deleted {
		t.Error("the info of a deletion does not say so")
	}
	wantList(t, v, Dev, "", "a", "c", "d")
	wantFields(t, get(t, v, Dev, "c"), "A", "3", "B", "4")
}

func testBatchAllOrNothing(t *testing.T, v vault.Vault) {
	apply(t, v, Dev,
		vault.Change{Path: "a", Set: []vault.Field{Set("A", "1")}},
		vault.Change{Path: "m", Set: []vault.Field{Set("A", "1")}},
		vault.Change{Path: "z", Set: []vault.Field{Set("A", "1")}},
	)
	change := func(path vault.Path, was uint64) vault.Change {
		return vault.Change{Path: path, Was: was, Set: []vault.Field{Set("A", "2")}}
	}
	big := vault.Change{Path: "n", Set: []vault.Field{{Name: "A", Value: vault.NewValue(make([]byte, vault.MaxValue+1))}}}
	for _, c := range []struct {
		name    string
		kind    vault.Kind
		changes []vault.Change
	}{
		{"conflict last", vault.KindConflict, []vault.Change{change("a", 1), change("m", 1), change("z", 9)}},
		{"conflict in the middle", vault.KindConflict, []vault.Change{change("a", 1), change("m", 9), change("z", 1)}},
		{"conflict first", vault.KindConflict, []vault.Change{change("a", 0), change("m", 1), change("new", 0)}},
		{"too big", vault.KindInvalid, []vault.Change{change("a", 1), change("m", 1), big, change("z", 1)}},
		{"delete and conflict", vault.KindConflict, []vault.Change{{Path: "a", Was: 1, Delete: true}, change("new", 3)}},
	} {
		_, err := v.Apply(t.Context(), Dev, c.changes)
		if vault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want an error of kind %v", c.name, err, c.kind)
		}
		wantList(t, v, Dev, "", "a", "m", "z")
		for _, path := range []vault.Path{"a", "m", "z"} {
			s := get(t, v, Dev, path)
			wantVersion(t, s.Info, 1)
			wantFields(t, s, "A", "1")
		}
	}
}

func testDeleteRecreate(t *testing.T, v vault.Vault) {
	apply(t, v, Dev, vault.Change{Path: "app", Set: []vault.Field{Set("A", "1")}, Note: ptr("n"), Tags: &[]string{"x"}})
	info := apply(t, v, Dev, vault.Change{Path: "app", Was: 1, Delete: true})[0]
	wantVersion(t, info, 2)
	if !info.Deleted || len(info.Fields) != 0 {
		t.Errorf("after the deletion: %+v", info)
	}
	_, err := v.Get(t.Context(), Dev, "app")
	wantKind(t, err, vault.KindNotFound)
	_, err = v.GetMany(t.Context(), Dev, []vault.Path{"app"})
	wantKind(t, err, vault.KindNotFound)
	wantList(t, v, Dev, "")

	// Deleting again is no change.
	wantVersion(t, apply(t, v, Dev, vault.Change{Path: "app", Was: vault.Any, Delete: true})[0], 2)

	// Who looked saw nothing, so 0 is right; the count goes on.
	wantVersion(t, apply(t, v, Dev, vault.Change{Path: "app", Was: 0, Set: []vault.Field{Set("A", "1")}})[0], 3)
	s := get(t, v, Dev, "app")
	wantVersion(t, s.Info, 3)
	wantFields(t, s, "A", "1")
	wantSince(t, s, "A", 3)
	if s.Note != "" || len(s.Tags) != 0 {
		t.Errorf("note %q and tags %q came back from before the deletion", s.Note, s.Tags)
	}
	wantList(t, v, Dev, "", "app")

	// Nor is a version from before the deletion the present one.
	_, err = v.Apply(t.Context(), Dev, []vault.Change{{Path: "app", Was: 1, Set: []vault.Field{Set("A", "9")}}})
	wantKind(t, err, vault.KindConflict)

	// The version of the tombstone is right too.
	apply(t, v, Dev, vault.Change{Path: "app", Was: 3, Delete: true})
	wantVersion(t, apply(t, v, Dev, vault.Change{Path: "app", Was: 4, Set: []vault.Field{Set("A", "1")}})[0], 5)
}

func testGetMany(t *testing.T, v vault.Vault) {
	var changes []vault.Change
	var paths []vault.Path
	for i := range 40 {
		path := vault.Path(fmt.Sprintf("s/%02d", i))
		paths = append(paths, path)
		changes = append(changes, vault.Change{Path: path, Set: []vault.Field{Set("N", strconv.Itoa(i))}})
	}
	apply(t, v, Dev, changes...)
	rand.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	paths = append(paths, paths[0]) // twice is no mistake
	secrets, err := v.GetMany(t.Context(), Dev, paths)
	if err != nil {
		t.Fatal(err)
	}
	if len(secrets) != len(paths) {
		t.Fatalf("%d secrets for %d paths", len(secrets), len(paths))
	}
	for i, s := range secrets {
		if s.Path != paths[i] {
			t.Fatalf("secret %d is %s, want %s", i, s.Path, paths[i])
		}
		checkShape(t, s)
		n, _ := strconv.Atoi(strings.TrimPrefix(string(paths[i]), "s/"))
		wantFields(t, s, "N", strconv.Itoa(n))
	}

	asked := slices.Insert(slices.Clone(paths), 17, "none/first")
	asked = append(asked, "none/second")
	got, err := v.GetMany(t.Context(), Dev, asked)
	wantKind(t, err, vault.KindNotFound)
	if got != nil {
		t.Error("a GetMany that fails returns secrets")
	}
	if e, ok := errors.AsType[*vault.Error](err); ok && e.Path != "none/first" {
		t.Errorf("the first missing path is said to be %s", e.Path)
	}

	some, ok := v.(vault.SomeReader)
	if !ok {
		return
	}
	apply(t, v, Dev, vault.Change{Path: "gone", Set: []vault.Field{Set("A", "1")}})
	apply(t, v, Dev, vault.Change{Path: "gone", Was: 1, Delete: true})
	there, err := some.GetSome(t.Context(), Dev, append(asked, "gone"))
	if err != nil {
		t.Fatal(err)
	}
	var found []vault.Path
	for _, s := range there {
		checkShape(t, s)
		found = append(found, s.Path)
	}
	if !slices.Equal(found, paths) {
		t.Errorf("of those that are there and others GetSome finds %q, want %q", found, paths)
	}
	if _, err := some.GetSome(t.Context(), "absent", paths[:1]); vault.KindOf(err) != vault.KindNoEnv {
		t.Errorf("GetSome in no environment: %v", err)
	}
	if none, err := some.GetSome(t.Context(), Dev, nil); err != nil || len(none) != 0 {
		t.Errorf("GetSome of nothing: %v, %v", none, err)
	}
}

func testList(t *testing.T, v vault.Vault) {
	all := []vault.Path{"a", "billing", "billing-old", "billing.x", "billing/paypal", "billing/stripe", "billing/stripe/test", "billingx", "z/y/x"}
	shuffled := slices.Clone(all)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for _, path := range append(shuffled, "billing/gone", "gone") {
		apply(t, v, Dev, vault.Change{Path: path, Set: []vault.Field{Set("B", "2"), Set("A", "1")}})
	}
	apply(t, v, Dev, vault.Change{Path: "billing/gone", Was: 1, Delete: true}, vault.Change{Path: "gone", Was: 1, Delete: true})

	wantList(t, v, Dev, "", all...)
	wantList(t, v, Dev, "billing", "billing", "billing/paypal", "billing/stripe", "billing/stripe/test")
	wantList(t, v, Dev, "billing/stripe", "billing/stripe", "billing/stripe/test")
	wantList(t, v, Dev, "z", "z/y/x")
	wantList(t, v, Dev, "z/y", "z/y/x")
	wantList(t, v, Dev, "bill")
	wantList(t, v, Dev, "gone")
	wantList(t, v, Dev, "billing/stripe/test/more")
	wantList(t, v, Prod, "")

	info := list(t, v, Dev, "a")[0]
	if info.Env != Dev || info.Version != 1 || info.Deleted || info.At.IsZero() ||
		!slices.Equal(info.Fields, []vault.FieldInfo{{Name: "A", Since: 1}, {Name: "B", Since: 1}}) {
		t.Errorf("listed as %+v", info)
	}

	// A walk may be left.
	n := 0
	for range v.List(t.Context(), Dev, "") {
		if n++; n == 3 {
			break
		}
	}
}

func testEnvsApart(t *testing.T, v vault.Vault) {
	apply(t, v, Dev, vault.Change{Path: "app", Set: []vault.Field{Set("A", "dev")}})
	_, err := v.Get(t.Context(), Prod, "app")
	wantKind(t, err, vault.KindNotFound)
	apply(t, v, Prod, vault.Change{Path: "app", Set: []vault.Field{Set("A", "prod")}})
	apply(t, v, Dev, vault.Change{Path: "app", Was: 1, Delete: true})
	wantFields(t, get(t, v, Prod, "app"), "A", "prod")
	wantList(t, v, Dev, "")
	wantList(t, v, Prod, "", "app")
}

func testValues(t *testing.T, v vault.Vault) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	random := make([]byte, 64<<10)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(random)
	for i, value := range [][]byte{
		{},
		{0},
		{0, 0, 0},
		{0x80},
		{0x80, 0},
		{'a', 0},
		[]byte("a\x00b"),
		[]byte("two\r\nlines\n"),
		[]byte("  spaces  "),
		[]byte("mac AAAA\nkey 1 AAAA\n"),
		[]byte("\xff\xfe not UTF-8 \xc3"),
		bytes.Repeat([]byte{'x'}, 63),
		bytes.Repeat([]byte{'x'}, 64),
		bytes.Repeat([]byte{0}, 64),
		bytes.Repeat([]byte{'x'}, 65),
		bytes.Repeat([]byte{'x'}, 4095),
		bytes.Repeat([]byte{'x'}, 4096),
		bytes.Repeat([]byte{'x'}, 4097),
		every,
		random,
		bytes.Repeat(every, vault.MaxValue/256),
	} {
		path := vault.Path(fmt.Sprintf("v/%d", i))
		apply(t, v, Dev, vault.Change{Path: path, Set: []vault.Field{{Name: "V", Value: vault.NewValue(bytes.Clone(value))}}})
		f, ok := get(t, v, Dev, path).Field("V")
		if !ok || !bytes.Equal(f.Value.Reveal(), value) {
			t.Errorf("a value of %d bytes comes back as %d other ones", len(value), f.Value.Len())
		}
	}
	_, err := v.Apply(t.Context(), Dev, []vault.Change{{Path: "big", Set: []vault.Field{{Name: "V", Value: vault.NewValue(make([]byte, vault.MaxValue+1))}}}})
	wantKind(t, err, vault.KindInvalid)
	if e, ok := errors.AsType[*vault.Error](err); ok && (e.Path != "big" || e.Field != "V") {
		t.Errorf("the error does not name the field: %v", err)
	}
	_, err = v.Get(t.Context(), Dev, "big")
	wantKind(t, err, vault.KindNotFound)
}

func testManyFields(t *testing.T, v vault.Vault) {
	var set []vault.Field
	for i := range vault.MaxFields {
		set = append(set, Set(fmt.Sprintf("F_%03d", i), strconv.Itoa(i)))
	}
	apply(t, v, Dev, vault.Change{Path: "app", Set: set})
	s := get(t, v, Dev, "app")
	if len(s.Values) != vault.MaxFields {
		t.Fatalf("%d fields come back", len(s.Values))
	}
	for i, f := range s.Values {
		if string(f.Value.Reveal()) != strconv.Itoa(i) {
			t.Fatalf("field %s holds another's value", f.Name)
		}
	}

	one := Set("ONE_MORE", "1")
	_, err := v.Apply(t.Context(), Dev, []vault.Change{{Path: "app", Was: 1, Set: []vault.Field{one}}})
	wantKind(t, err, vault.KindInvalid)
	_, err = v.Apply(t.Context(), Dev, []vault.Change{{Path: "new", Set: append(slices.Clone(set), one)}})
	wantKind(t, err, vault.KindInvalid)
	// What counts is what is there afterwards.
	apply(t, v, Dev, vault.Change{Path: "app", Was: 1, Set: []vault.Field{one}, Drop: []vault.FieldName{"F_000"}})
	long := Set("L"+strings.Repeat("o", vault.MaxFieldName-1), "1")
	apply(t, v, Dev, vault.Change{Path: "long", Set: []vault.Field{long}})
	wantFields(t, get(t, v, Dev, "long"), string(long.Name), "1")
}

func testHistory(t *testing.T, v vault.Vault) {
	h, ok := v.(vault.Historian)
	if !ok {
		t.Skip("this vault keeps no history")
	}
	apply(t, v, Dev, vault.Change{Path: "app", Set: []vault.Field{Set("A", "1")}})
	apply(t, v, Dev, vault.Change{Path: "app", Was: 1, Set: []vault.Field{Set("A", "2"), Set("B", "b")}})
	apply(t, v, Dev, vault.Change{Path: "app", Was: 2, Delete: true})
	apply(t, v, Dev, vault.Change{Path: "app", Was: 0, Set: []vault.Field{Set("A", "4")}})

	// The present one is there even without history.
	s, err := h.GetVersion(t.Context(), Dev, "app", 4)
	if err != nil {
		t.Fatal(err)
	}
	wantFields(t, s, "A", "4")
	for _, version := range []uint64{0, 5, vault.Any} {
		_, err := h.GetVersion(t.Context(), Dev, "app", version)
		if k := vault.KindOf(err); k != vault.KindNotFound && k != vault.KindUnsupported {
			t.Errorf("GetVersion %d: %v", version, err)
		}
	}

	var infos []vault.Info
	for info, err := range h.Versions(t.Context(), Dev, "app") {
		if vault.KindOf(err) == vault.KindUnsupported {
			if e, ok := errors.AsType[*vault.Error](err); !ok || e.Detail == "" {
				t.Errorf("unsupported, without a reason: %v", err)
			}
			t.Skipf("history: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	var got []uint64
	for _, i := range infos {
		got = append(got, i.Version)
		if i.Path != "app" || i.Deleted != (i.Version == 3) {
			t.Errorf("%+v", i)
		}
	}
	if !slices.Equal(got, []uint64{4, 3, 2, 1}) {
		t.Fatalf("versions %v", got)
	}
	for version, pairs := range map[uint64][]string{1: {"A", "1"}, 2: {"A", "2", "B", "b"}, 3: {}} {
		s, err := h.GetVersion(t.Context(), Dev, "app", version)
		if err != nil {
			t.Errorf("GetVersion %d: %v", version, err)
			continue
		}
		wantVersion(t, s.Info, version)
		wantFields(t, s, pairs...)
		if s.Deleted != (version == 3) {
			t.Errorf("version %d: deleted %v", version, s.Deleted)
		}
	}
	for info, err := range h.Versions(t.Context(), Dev, "none") {
		if vault.KindOf(err) != vault.KindNotFound {
			t.Errorf("versions of what never was: %+v, %v", info, err)
		}
	}
	for _, err := range h.Versions(t.Context(), "absent", "app") {
		wantKind(t, err, vault.KindNoEnv)
	}
}

func testExport(t *testing.T, v vault.Vault) {
	x, ok := v.(vault.Exporter)
	if !ok {
		t.Skip("this vault hands out no environment as a whole")
	}
	none, err := x.Export(t.Context(), Dev, false)
	if err != nil || len(none) != 0 {
		t.Errorf("Export of nothing = %v, %v", none, err)
	}
	_, err = x.Export(t.Context(), "absent", false)
	wantKind(t, err, vault.KindNoEnv)

	apply(t, v, Dev, vault.Change{Path: "app/c", Set: []vault.Field{Set("A", "1"), Set("B", "b")}, Note: ptr("first")})
	apply(t, v, Dev, vault.Change{Path: "app/c", Was: 1, Set: []vault.Field{Set("A", "2")}, Note: ptr("second")})
	apply(t, v, Dev, vault.Change{Path: "app", Set: []vault.Field{Set("N", "n")}, Tags: &[]string{"x"}, Rotate: ptr("30d")})
	apply(t, v, Dev, vault.Change{Path: "app/gone", Set: []vault.Field{Set("A", "1")}})
	apply(t, v, Dev, vault.Change{Path: "app/gone", Was: 1, Delete: true})
	apply(t, v, Prod, vault.Change{Path: "other", Set: []vault.Field{Set("A", "1")}})

	// wantExport takes what is wanted of each secret: its path and a text of each version.
	wantExport := func(former bool, want map[vault.Path][]string) {
		t.Helper()
		all, err := x.Export(t.Context(), Dev, former)
		if vault.KindOf(err) == vault.KindUnsupported && former {
			if e, ok := errors.AsType[*vault.Error](err); !ok || e.Detail == "" {
				t.Errorf("unsupported, without a reason: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(all, func(a, b vault.Kept) int { return strings.Compare(string(a.Path), string(b.Path)) }) || len(all) != len(want) {
			t.Errorf("Export: %d secrets, or not by path", len(all))
		}
		for _, k := range all {
			var got []string
			for _, s := range k.Versions {
				text := strconv.FormatUint(s.Version, 10)
				for _, f := range s.Values {
					text += fmt.Sprintf(" %s=%s", f.Name, f.Value.Reveal())
				}
				if s.Deleted {
					text += " deleted"
				} else {
					checkShape(t, s)
				}
				got = append(got, text)
			}
			if k.Err != nil || !slices.Equal(got, want[k.Path]) {
				t.Errorf("Export of %s: %q, %v, want %q", k.Path, got, k.Err, want[k.Path])
			}
			if last := k.Versions[len(k.Versions)-1]; k.Path == "app" && (last.Rotate != "30d" || !slices.Equal(last.Tags, []string{"x"})) || k.Path == "app/c" && last.Note != "second" {
				t.Errorf("%s has the note %q, rotation %q, tags %q", k.Path, last.Note, last.Rotate, last.Tags)
			}
		}
	}
	wantExport(false, map[vault.Path][]string{"app": {"1 N=n"}, "app/c": {"2 A=2 B=b"}, "app/gone": {"2 deleted"}})
	wantExport(true, map[vault.Path][]string{"app": {"1 N=n"}, "app/c": {"1 A=1 B=b", "2 A=2 B=b"}, "app/gone": {"1 A=1", "2 deleted"}})
}

func testVerify(t *testing.T, v vault.Vault) {
	w, ok := v.(vault.Verifier)
	if !ok {
		t.Skip("this vault cannot check itself")
	}
	want := []vault.Path{"a", "b/c", "gone"}
	for _, path := range want {
		apply(t, v, Dev, vault.Change{Path: path, Set: []vault.Field{Set("A", "1")}})
	}
	apply(t, v, Dev, vault.Change{Path: "gone", Was: 1, Delete: true})
	var got []vault.Path
	for f := range w.Verify(t.Context(), Dev) {
		if f.Err != nil {
			t.Errorf("%s %s: %v", f.Env, f.Path, f.Err)
		}
		if f.Env != Dev {
			t.Errorf("a finding of %q", f.Env)
		}
		if f.Path != "" {
			got = append(got, f.Path)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("verified %v, want %v", got, want)
	}
	n := 0
	for f := range w.Verify(t.Context(), "absent") {
		wantKind(t, f.Err, vault.KindNoEnv)
		n++
	}
	if n != 1 {
		t.Errorf("%d findings of an absent environment", n)
	}
}

// testConcurrentWriters is the test of filevault §3.11: without a lock held
// over reading and writing some 75 of the 200 survive.
func testConcurrentWriters(t *testing.T, v vault.Vault) {
	const writers, writes = 4, 50
	ctx := t.Context()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range writes {
				if err := increment(ctx, v, "counter"); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
	s := get(t, v, Dev, "counter")
	wantVersion(t, s.Info, writers*writes)
	wantFields(t, s, "N", strconv.Itoa(writers*writes))
}

// increment adds one to a counter by compare-and-swap.
func increment(ctx context.Context, v vault.Vault, path vault.Path) error {
	for {
		s, err := v.Get(ctx, Dev, path)
		if err != nil && vault.KindOf(err) != vault.KindNotFound {
			return err
		}
		n := 0
		if f, ok := s.Field("N"); ok {
			if n, err = strconv.Atoi(string(f.Value.Reveal())); err != nil {
				return err
			}
		}
		_, err = v.Apply(ctx, Dev, []vault.Change{{Path: path, Was: s.Version, Set: []vault.Field{Set("N", strconv.Itoa(n+1))}}})
		if vault.KindOf(err) != vault.KindConflict {
			return err
		}
	}
}

// testConcurrentReaders: a reader sees one version whole, never older than one it has seen.
func testConcurrentReaders(t *testing.T, v vault.Vault) {
	ctx := t.Context()
	write := func(n int) error {
		s := strconv.Itoa(n)
		_, err := v.Apply(ctx, Dev, []vault.Change{{Path: "app", Was: vault.Any, Set: []vault.Field{Set("A", s), Set("B", s)}}})
		return err
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for last := uint64(0); ; {
				s, err := v.Get(ctx, Dev, "app")
				if err != nil {
					t.Errorf("reading beside a writer: %v", err)
					return
				}
				a, _ := s.Field("A")
				b, _ := s.Field("B")
				if !a.Value.Equal(b.Value) || string(a.Value.Reveal()) != strconv.FormatUint(s.Version, 10) {
					t.Errorf("version %d is a blend", s.Version)
				}
				if s.Version < last {
					t.Errorf("version %d after %d", s.Version, last)
				}
				last = s.Version
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := 2; n <= 50; n++ {
		if err := write(n); err != nil {
			t.Errorf("writing: %v", err)
			break
		}
	}
	close(done)
	wg.Wait()
}

func testCancelled(t *testing.T, v vault.Vault) {
	apply(t, v, Dev, vault.Change{Path: "app", Set: []vault.Field{Set("A", "1")}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", what, err)
		}
	}
	_, err := v.Get(ctx, Dev, "app")
	want("Get", err)
	_, err = v.GetMany(ctx, Dev, []vault.Path{"app"})
	want("GetMany", err)
	_, err = v.Apply(ctx, Dev, []vault.Change{{Path: "app", Was: 1, Set: []vault.Field{Set("A", "2")}}})
	want("Apply", err)
	err = nil
	for _, err = range v.List(ctx, Dev, "") {
		if err != nil {
			break
		}
	}
	want("List", err)
	wantVersion(t, get(t, v, Dev, "app").Info, 1)
}

func ptr[T any](v T) *T { return &v }
