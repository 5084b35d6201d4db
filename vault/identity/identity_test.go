package identity_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/identity"
)

// memory is a store that works, and fails on command.
type memory struct {
	all  map[string][]byte
	left int // puts and deletes until one fails; 0: none does
}

func (m *memory) Get(kind, name string, v any) (bool, error) {
	raw, ok := m.all[kind+"/"+name]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(raw, v)
}

func (m *memory) Put(kind, name string, v any) error {
	raw, err := json.Marshal(v)
	if err == nil {
		err = m.step()
	}
	if err == nil {
		m.all[kind+"/"+name] = raw
	}
	return err
}

func (m *memory) Delete(kind, name string) error {
	delete(m.all, kind+"/"+name)
	return m.step()
}

func (m *memory) step() error {
	if m.left--; m.left == 0 {
		return fmt.Errorf("full")
	}
	return nil
}

func (m *memory) Names(kind string) ([]string, error) {
	var names []string
	for key := range m.all {
		if name, ok := strings.CutPrefix(key, kind+"/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func load(t *testing.T, s identity.Store) *identity.Groups {
	t.Helper()
	gs, err := identity.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return gs
}

func alias(name string) identity.Key {
	return identity.Key{Accessor: "auth_jwt_1", Issuer: "https://issuer", Name: name}
}

// keep writes a group.
func keep(t *testing.T, s identity.Store, g *identity.Group) *identity.Group {
	t.Helper()
	if err := g.Keep(s, load(t, s), now); err != nil {
		t.Fatal(err)
	}
	return g
}

func group(name string, policies ...string) *identity.Group {
	g := identity.NewGroup(now)
	g.Name, g.Policies = name, policies
	return g
}

func TestSignIn(t *testing.T) {
	s := &memory{all: map[string][]byte{}}
	eng, ops := group("eng", "eng"), group("ops", "ops")
	for _, g := range []*identity.Group{eng, ops} {
		g.External, g.Alias = true, identity.NewAlias(alias(g.Name), now)
		keep(t, s, g)
	}
	other := group("elsewhere", "far")
	other.External = true
	other.Alias = identity.NewAlias(identity.Key{Accessor: "auth_jwt_1", Issuer: "https://other", Name: "eng"}, now)
	keep(t, s, other)
	first := ""
	for _, c := range []struct {
		name    string
		groups  []string
		changed bool
		given   string
	}{
		{"the first time", []string{"eng", "nothing"}, false, "[eng]"},
		{"the same", []string{"eng", "sales"}, false, "[eng]"},
		{"one more", []string{"eng", "ops"}, true, "[eng ops]"},
		{"another", []string{"ops"}, true, "[ops]"},
		{"in another letter case", []string{"OPS", "Eng"}, true, "[]"},
		{"none", nil, false, "[]"},
	} {
		gs := load(t, s)
		e, changed, err := identity.SignIn(s, gs, identity.Visit{Alias: alias("alice"), Groups: c.groups}, now)
		if err != nil {
			t.Fatal(c.name, err)
		}
		p, err := gs.Person(e)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if first == "" {
			first = e.ID
		}
		if kept, err := identity.Find(s, e.ID); err != nil || !maps.Equal(kept.External, e.External) {
			t.Errorf("%s: kept is %v, %v", c.name, kept, err)
		}
		if e.ID != first || changed != c.changed || fmt.Sprint(p.Given) != c.given {
			t.Errorf("%s: changed %t, given %v", c.name, changed, p.Given)
		}
	}
	// One name at two ways to sign in, or of two issuers, is two people.
	for _, key := range []identity.Key{{Accessor: "auth_jwt_2", Issuer: "https://issuer", Name: "alice"}, {Accessor: "auth_jwt_1", Issuer: "https://other", Name: "alice"}, {Accessor: "auth_jwt_1", Name: "alice"}} {
		if e, _, err := identity.SignIn(s, load(t, s), identity.Visit{Alias: key}, now); err != nil || e.ID == first {
			t.Errorf("%v is the same person: %v", key, err)
		}
	}
}

// Groups give what they give by every way, each once, and never by a circle.
func TestNested(t *testing.T) {
	s := &memory{all: map[string][]byte{}}
	e := identity.New(now)
	e.Policies = []string{"own"}
	if err := e.Keep(s, nil, now); err != nil {
		t.Fatal(err)
	}
	a, b, c, d := group("a", "a", "all"), group("b", "b", "all"), group("c", "c"), group("d", "d")
	a.Members = []string{e.ID, e.ID}
	keep(t, s, a)
	for _, g := range []*identity.Group{b, c} {
		g.Groups = []string{a.ID}
		keep(t, s, g)
	}
	d.Groups = []string{b.ID, c.ID}
	keep(t, s, d)
	p, err := load(t, s).Person(e)
	if err != nil || fmt.Sprint(p.Given) != "[a all b c d own]" || len(p.Direct) != 1 || len(p.Inherited) != 3 {
		t.Errorf("%v, %d and %d groups, %v", p.Given, len(p.Direct), len(p.Inherited), err)
	}
	loop := *a
	loop.Groups = []string{d.ID}
	if err := loop.Keep(s, load(t, s), now); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("a circle: %v", err)
	}
	if err := b.Remove(s, load(t, s), now); err != nil {
		t.Fatal(err)
	}
	if p, err = load(t, s).Person(e); err != nil || fmt.Sprint(p.Given) != "[a all c d own]" {
		t.Errorf("without b: %v, %v", p.Given, err)
	}
	if err := e.Remove(s, load(t, s), now); err != nil || len(load(t, s).ByID(a.ID).Members) != 0 {
		t.Errorf("removed, and still a member: %v", err)
	}
}

func TestPolicies(t *testing.T) {
	for _, bad := range []string{"root", "ROOT", " Root\t", "response-wrapping", "Response-Wrapping ", "a b", "a,b", "root\u200b", "ro\x00ot", strings.Repeat("x", 129)} {
		if got, err := identity.Policies([]string{"dev", bad}); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
	got, err := identity.Policies([]string{" DEV", "dev", "", "Ops"})
	if err != nil || fmt.Sprint(got) != "[dev ops]" {
		t.Errorf("%v, %v", got, err)
	}
}

// Whatever is done in any order, each name and each alias finds exactly the entity that
// has it, and nothing is left of one that is gone.
func TestIndices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := &memory{all: map[string][]byte{}}
	for range 3000 {
		gs := load(t, s)
		all, err := identity.All(s)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("n", r.IntN(8))
		switch k := r.IntN(5); {
		case k == 0 || len(all) == 0:
			if _, _, err := identity.SignIn(s, gs, identity.Visit{Alias: alias(name)}, now); err != nil {
				t.Fatal(err)
			}
		case k == 1:
			if err := all[r.IntN(len(all))].Remove(s, gs, now); err != nil {
				t.Fatal(err)
			}
		case k == 2:
			was := all[r.IntN(len(all))]
			e := *was
			e.Name = []string{name, strings.ToUpper(name)}[r.IntN(2)]
			// A conflict must leave all as it was, as a transaction does.
			before := maps.Clone(s.all)
			if err := e.Keep(s, was, now); vault.KindOf(err) == vault.KindExists {
				s.all = before
			} else if err != nil {
				t.Fatal(err)
			}
		case k == 3:
			was := all[r.IntN(len(all))]
			e := *was
			e.Aliases = nil
			if err := e.Keep(s, was, now); err != nil {
				t.Fatal(err)
			}
		default:
			if r.IntN(40) == 0 {
				if err := identity.Forget(s, gs, "auth_jwt_1", now); err != nil {
					t.Fatal(err)
				}
			}
		}
		check(t, s)
	}
}

func check(t *testing.T, s *memory) {
	t.Helper()
	all, err := identity.All(s)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, e := range all {
		want += 2 + 2*len(e.Aliases)
		if found, err := identity.ByName(s, strings.ToUpper(e.Name)); err != nil || found == nil || found.ID != e.ID {
			t.Fatalf("the name %s finds %v, %v", e.Name, found, err)
		}
		for _, a := range e.Aliases {
			if found, err := identity.ByAlias(s, a.Key); err != nil || found == nil || found.ID != e.ID {
				t.Fatalf("the alias %v finds %v, %v", a.Key, found, err)
			}
			if found, err := identity.ByAliasID(s, a.ID); err != nil || found == nil || found.ID != e.ID || found.Alias(a.ID) == nil {
				t.Fatalf("the id of an alias finds %v, %v", found, err)
			}
		}
	}
	if len(s.all) != want {
		t.Fatalf("%d records for %d entities, want %d", len(s.all), len(all), want)
	}
}

// What the store does not take is not said to be done.
func TestStoreFails(t *testing.T) {
	for n := 1; n <= 4; n++ {
		s := &memory{all: map[string][]byte{}, left: n}
		if _, _, err := identity.SignIn(s, load(t, s), identity.Visit{Alias: alias("a")}, now); err == nil {
			t.Errorf("signed in while write %d failed", n)
		}
	}
}
