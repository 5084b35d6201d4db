package token_test

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/token"
)

// memory is a Store without transactions.
type memory map[token.ID]token.Row

func (m memory) TokenRow(id token.ID) (token.Row, bool, error) {
	row, there := m[id]
	return row, there, nil
}

func (m memory) TokenRowByAccessor(a string) (token.Row, bool, error) {
	for _, row := range m {
		if row.Accessor == a {
			return row, true, nil
		}
	}
	return token.Row{}, false, nil
}

func (m memory) PutTokenRow(row token.Row) error {
	row.Body = bytes.Clone(row.Body)
	m[row.ID] = row
	return nil
}

func (m memory) DeleteTokenRow(id token.ID) error {
	delete(m, id)
	return nil
}

func (m memory) TokenChildren(id token.ID) ([]token.ID, error) {
	var ids []token.ID
	for _, row := range m {
		if row.Parent == id {
			ids = append(ids, row.ID)
		}
	}
	return ids, nil
}

func (m memory) TokensOfMount(mount string, limit int) (ids []token.ID, err error) {
	for _, r := range m {
		if r.Mount == mount && len(ids) < limit {
			ids = append(ids, r.ID)
		}
	}
	return ids, nil
}

func (m memory) TokenAccessors() ([]string, error) {
	var out []string
	for _, row := range m {
		out = append(out, row.Accessor)
	}
	slices.Sort(out)
	return out, nil
}

func (m memory) TokensExpired(at time.Time, limit int) ([]token.ID, error) {
	var ids []token.ID
	for _, row := range m {
		if !row.Expires.IsZero() && !row.Expires.After(at) && len(ids) < limit {
			ids = append(ids, row.ID)
		}
	}
	return ids, nil
}

// world is a store, the tokens in it, and a clock that only moves when told.
type world struct {
	*testing.T
	memory
	*token.Tokens
	now time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, memory: memory{}, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	var err error
	if w.Tokens, err = token.New(bytes.Repeat([]byte{7}, 32)); err != nil {
		t.Fatal(err)
	}
	w.Now = func() time.Time { return w.now }
	return w
}

func (w *world) make(spec token.Spec) (string, token.Token) {
	w.Helper()
	text, made, _, err := w.Create(w.memory, spec)
	if err != nil {
		w.Fatal(err)
	}
	return text, made
}

func (w *world) good(text string) bool {
	w.Helper()
	_, err := w.Lookup(w.memory, text)
	if err != nil && !errors.Is(err, token.ErrInvalid) {
		w.Fatal(err)
	}
	return err == nil
}

func TestCreate(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name    string
		spec    token.Spec
		left    time.Duration
		warning string
	}{
		{"default", token.Spec{Policies: []string{"dev"}}, 768 * time.Hour, ""},
		{"asked", token.Spec{Policies: []string{"dev"}, TTL: time.Hour}, time.Hour, ""},
		{"too long", token.Spec{Policies: []string{"dev"}, TTL: 100000 * time.Hour}, 768 * time.Hour,
			`TTL of "100000h" exceeded the effective max_ttl of "768h"; TTL value is capped accordingly`},
		{"explicit", token.Spec{Policies: []string{"dev"}, TTL: 4 * time.Hour, ExplicitMax: time.Hour}, time.Hour,
			`TTL of "4h" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly`},
		{"explicit without a time", token.Spec{Policies: []string{"dev"}, ExplicitMax: time.Hour}, time.Hour, ""},
		{"explicit too long", token.Spec{Policies: []string{"dev"}, ExplicitMax: 1000 * time.Hour}, 768 * time.Hour,
			`Explicit max TTL of "1000h" is greater than system/mount allowed value; value is being capped to "768h"`},
		{"period", token.Spec{Policies: []string{"dev"}, Period: 24 * time.Hour, TTL: time.Minute}, 24 * time.Hour, ""},
		{"period longer than the server's", token.Spec{Policies: []string{"dev"}, Period: 1000 * time.Hour}, 1000 * time.Hour, ""},
		{"root", token.Spec{Policies: []string{"root"}}, 0, ""},
		{"root that ends", token.Spec{Policies: []string{"root"}, TTL: time.Minute}, time.Minute, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, made, warnings, err := w.Create(w.memory, c.spec)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(warnings, "\n"); got != c.warning {
				t.Errorf("warned %q, want %q", got, c.warning)
			}
			if got := made.Left(w.now); got != c.left || made.Expires.IsZero() != (c.left == 0) {
				t.Errorf("good for %v, want %v", got, c.left)
			}
			if !token.Genuine(text) || token.Genuine(text[:len(text)-1]+"!") || token.Genuine("evr_s_"+text) {
				t.Errorf("the form of %d bytes is not checked", len(text))
			}
			found, err := w.Lookup(w.memory, text)
			if err != nil || found.Accessor != made.Accessor || found.ID != made.ID {
				t.Errorf("not found by its text: %v", err)
			}
			if _, err := w.ByAccessor(w.memory, made.Accessor); err != nil {
				t.Errorf("not found by its accessor: %v", err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	_, ends := w.make(token.Spec{Policies: []string{"root"}, TTL: time.Minute})
	var many []string
	for n := range token.MaxPolicies + 1 {
		many = append(many, strings.Repeat("p", n+1))
	}
	w.make(token.Spec{Text: "chosen", Policies: []string{"root"}})
	for name, spec := range map[string]token.Spec{
		"root and more":               {Policies: []string{" ROOT ", "dev"}},
		"negative":                    {TTL: -1},
		"uses":                        {Uses: -1},
		"many policies":               {Policies: many},
		"long metadata":               {Meta: map[string]string{"k": strings.Repeat("x", token.MaxMetaText+1)}},
		"endless root from an ending": {Policies: []string{"root"}, Parent: &ends},
		"text that is taken":          {Text: "chosen", Policies: []string{"dev"}},
	} {
		before := len(w.memory)
		if _, _, _, err := w.Create(w.memory, spec); err == nil || len(w.memory) != before {
			t.Errorf("%s: made, err %v", name, err)
		}
	}
}

func TestPoliciesAreCompared(t *testing.T) {
	got := token.Policies([]string{" Dev", "ROOT", "dev ", "", " "})
	if !slices.Equal(got, []string{"dev", "root"}) {
		t.Errorf("got %q", got)
	}
}

// What lies in the store is neither a token nor enough to make one.
func TestStored(t *testing.T) {
	w := newWorld(t)
	text, made := w.make(token.Spec{Policies: []string{"dev"}, TTL: time.Hour})
	row := w.memory[made.ID]
	if bytes.Contains(row.Body, []byte(text)) || bytes.Contains(row.ID[:], []byte(text)) {
		t.Fatal("the text of a token is stored")
	}
	rich, other := w.make(token.Spec{Policies: []string{"root"}})

	change := map[string]func(*token.Row){
		"body":     func(r *token.Row) { r.Body = bytes.Replace(r.Body, []byte("dev"), []byte("adm"), 1) },
		"swapped":  func(r *token.Row) { r.Body = w.memory[other.ID].Body },
		"parent":   func(r *token.Row) { r.Parent = other.ID },
		"expires":  func(r *token.Row) { r.Expires = r.Expires.Add(time.Hour) },
		"accessor": func(r *token.Row) { r.Accessor = "mine" },
		"short":    func(r *token.Row) { r.Body = r.Body[:10] },
		"empty":    func(r *token.Row) { r.Body = nil },
	}
	for name, do := range change {
		bad := row
		bad.Body = bytes.Clone(row.Body)
		do(&bad)
		w.memory[made.ID] = bad
		if _, err := w.Lookup(w.memory, text); !errors.Is(err, token.ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.memory[made.ID] = row

	// Another server, with another key, knows none of them.
	elsewhere, err := token.New(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{text, rich} {
		if _, err := elsewhere.Lookup(w.memory, text); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("another key: %v", err)
		}
	}
	if _, err := elsewhere.Open(row); !errors.Is(err, token.ErrTampered) {
		t.Errorf("another key opens a row: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	w := newWorld(t)
	text, made := w.make(token.Spec{Policies: []string{"dev"}, TTL: time.Hour})
	child, _ := w.make(token.Spec{Policies: []string{"dev"}, TTL: 10 * time.Hour, Parent: &made})
	w.now = w.now.Add(time.Hour - 1)
	if !w.good(text) {
		t.Error("ended early")
	}
	w.now = w.now.Add(1)
	if w.good(text) {
		t.Error("did not end")
	}
	if n, err := w.Sweep(w.memory, 10); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if w.good(child) || len(w.memory) != 0 {
		t.Error("the child of a token that expired lives on")
	}
}

func TestTree(t *testing.T) {
	w := newWorld(t)
	a, tokA := w.make(token.Spec{Policies: []string{"root"}})
	b, tokB := w.make(token.Spec{Policies: []string{"dev"}, Parent: &tokA})
	c, tokC := w.make(token.Spec{Policies: []string{"dev"}, Parent: &tokB})
	orphan, _ := w.make(token.Spec{Policies: []string{"dev"}})
	if tokC.Orphan() || !tokA.Orphan() {
		t.Error("who is an orphan is wrong")
	}
	if err := w.RevokeOrphan(w.memory, tokB.ID); err != nil {
		t.Fatal(err)
	}
	if w.good(b) || !w.good(c) || !w.good(a) {
		t.Error("revoking alone took the wrong ones")
	}
	found, err := w.Lookup(w.memory, c)
	if err != nil || !found.Orphan() {
		t.Errorf("the child is no orphan: %v", err)
	}
	d, tokD := w.make(token.Spec{Policies: []string{"dev"}, Parent: &tokA})
	e, _ := w.make(token.Spec{Policies: []string{"dev"}, Parent: &tokD})
	if err := w.Revoke(w.memory, tokA.ID); err != nil {
		t.Fatal(err)
	}
	if w.good(a) || w.good(d) || w.good(e) || !w.good(c) || !w.good(orphan) {
		t.Error("revoking a tree took the wrong ones")
	}
	if err := w.Revoke(w.memory, tokA.ID); err != nil {
		t.Errorf("revoking again: %v", err)
	}
}

func TestUses(t *testing.T) {
	w := newWorld(t)
	text, _ := w.make(token.Spec{Policies: []string{"dev"}, Uses: 2})
	for _, want := range []int{1, token.LastUse} {
		tok, err := w.Lookup(w.memory, text)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Use(w.memory, &tok); err != nil || tok.Uses != want {
			t.Fatalf("%d uses left, want %d, %v", tok.Uses, want, err)
		}
	}
	// Also when the caller never came to revoke it.
	if w.good(text) {
		t.Error("used more often than allowed")
	}
	any, _ := w.make(token.Spec{Policies: []string{"dev"}})
	tok, err := w.Lookup(w.memory, any)
	if err == nil {
		err = w.Use(w.memory, &tok)
	}
	if err != nil || tok.Uses != 0 {
		t.Errorf("a token with any number of uses: %d, %v", tok.Uses, err)
	}
}

func TestRenew(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  token.Spec
		after time.Duration
		ask   time.Duration
		left  time.Duration
		err   error
	}{
		{"as made", token.Spec{TTL: time.Hour, Renewable: true}, 30 * time.Minute, 0, time.Hour, nil},
		{"from now, not added", token.Spec{TTL: time.Hour, Renewable: true}, 0, 20 * time.Minute, 20 * time.Minute, nil},
		{"more than the server's", token.Spec{TTL: time.Hour, Renewable: true}, 30 * time.Minute, 2000 * time.Hour, 768*time.Hour - 30*time.Minute, nil},
		{"explicit", token.Spec{TTL: time.Hour, ExplicitMax: 90 * time.Minute, Renewable: true}, 59 * time.Minute, 0, 31 * time.Minute, nil},
		{"period", token.Spec{Period: time.Hour, Renewable: true}, 30 * time.Minute, 9 * time.Hour, time.Hour, nil},
		{"period and explicit", token.Spec{Period: time.Hour, ExplicitMax: 90 * time.Minute, Renewable: true}, 59 * time.Minute, 0, 31 * time.Minute, nil},
		{"the maker's maximum", token.Spec{TTL: time.Hour, MaxTTL: 90 * time.Minute, Renewable: true}, 59 * time.Minute, 0, 31 * time.Minute, nil},
		{"not renewable", token.Spec{TTL: time.Hour}, 0, 0, time.Hour, token.ErrNotRenewable},
		{"root", token.Spec{Policies: []string{"root"}, Renewable: true}, 0, 0, 0, token.ErrNotRenewable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			text, made := w.make(c.spec)
			w.now = w.now.Add(c.after)
			if _, err := w.Renew(w.memory, &made, c.ask); !errors.Is(err, c.err) {
				t.Fatal(err)
			}
			found, err := w.Lookup(w.memory, text)
			if err != nil || found.Left(w.now) != c.left {
				t.Errorf("good for %v, want %v (%v)", found.Left(w.now), c.left, err)
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	tok := token.Token{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}
	for addr, want := range map[string]bool{"10.1.2.3": true, "10.2.0.1": false, "fd00::1": true, "fe80::1%eth0": false, "::ffff:10.1.2.3": true, "127.0.0.1": false} {
		if got := tok.From(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if !new(token.Token).From(netip.Addr{}) || tok.From(netip.Addr{}) {
		t.Error("an unknown address")
	}
}

func TestDepth(t *testing.T) {
	w := newWorld(t)
	_, tok := w.make(token.Spec{Policies: []string{"dev"}})
	for n := 0; ; n++ {
		_, next, _, err := w.Create(w.memory, token.Spec{Policies: []string{"dev"}, Parent: &tok})
		if err != nil {
			if n < 10 || n > token.MaxDepth {
				t.Errorf("refused after %d", n)
			}
			return
		}
		tok = next
	}
}

// All that signed in at a mount ends with it, and what was made with those.
func TestRevokeMount(t *testing.T) {
	w := newWorld(t)
	in := token.Login{Mount: "m1", Role: "ci", Stamp: "1"}
	a, made := w.make(token.Spec{Policies: []string{"dev"}, Login: in})
	child, _ := w.make(token.Spec{Policies: []string{"dev"}, Parent: &made})
	b, _ := w.make(token.Spec{Policies: []string{"dev"}, Login: in})
	other, _ := w.make(token.Spec{Policies: []string{"dev"}, Login: token.Login{Mount: "m2"}})
	if n, err := w.RevokeMount(w.memory, "m1", 1); n != 1 || err != nil {
		t.Fatalf("%d revoked, %v", n, err)
	}
	if n, err := w.RevokeMount(w.memory, "m1", 100); n != 1 || err != nil {
		t.Fatalf("%d revoked, %v", n, err)
	}
	for _, text := range []string{a, b, child} {
		if _, err := w.Lookup(w.memory, text); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("a token of the mount: %v", err)
		}
	}
	if _, err := w.Lookup(w.memory, other); err != nil {
		t.Errorf("one of another mount: %v", err)
	}
	// Whoever moves a token to another mount in the table is noticed.
	for id, r := range w.memory {
		r.Mount = "m3"
		w.memory[id] = r
	}
	if _, err := w.Lookup(w.memory, other); !errors.Is(err, token.ErrTampered) {
		t.Errorf("a token whose mount was changed: %v", err)
	}
}
