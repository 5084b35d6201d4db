package approle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/approle"
)

// memory is a Store without transactions.
type memory map[approle.ID]approle.Row

func (m memory) SecretIDRow(id approle.ID) (approle.Row, bool, error) {
	row, there := m[id]
	return row, there, nil
}

func (m memory) SecretIDRowByAccessor(role, accessor string) (approle.Row, bool, error) {
	for _, row := range m {
		if row.Role == role && row.Accessor == accessor {
			return row, true, nil
		}
	}
	return approle.Row{}, false, nil
}

func (m memory) PutSecretIDRow(row approle.Row) error {
	row.Body = bytes.Clone(row.Body)
	m[row.ID] = row
	return nil
}

func (m memory) DeleteSecretIDRow(id approle.ID) error {
	delete(m, id)
	return nil
}

func (m memory) DeleteSecretIDsOf(role string) error {
	for id, row := range m {
		if row.Role == role {
			delete(m, id)
		}
	}
	return nil
}

func (m memory) SecretIDAccessors(role string) (all []string, err error) {
	for _, row := range m {
		if row.Role == role {
			all = append(all, row.Accessor)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (m memory) SecretIDsExpired(now time.Time) (bool, error) { panic("nothing here asks for it") }

func (m memory) ForgetSecretIDs(now time.Time, limit int) (int, error) {
	panic("nothing here asks for it")
}

// world is a store, the secret ids in it, and a clock that only moves when told.
type world struct {
	*testing.T
	memory
	*approle.Secrets
	now time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, memory: memory{}, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	var err error
	if w.Secrets, err = approle.New(bytes.Repeat([]byte{7}, 32), func() time.Time { return w.now }); err != nil {
		t.Fatal(err)
	}
	return w
}

// add keeps a secret id that is called as its accessor is.
func (w *world) add(sec approle.Secret) *approle.Secret {
	w.Helper()
	if fresh, err := w.Add(w.memory, "text of "+sec.Accessor, &sec); err != nil || !fresh {
		w.Fatal(fresh, err)
	}
	return &sec
}

// found is the reason why one of a role is refused, "" if it is good.
func (w *world) found(role, accessor string) approle.Reason {
	w.Helper()
	sec, err := w.Find(w.memory, role, "text of "+accessor)
	also, other := w.ByAccessor(w.memory, role, accessor)
	if (err == nil) != (other == nil) || err == nil && (sec.ID != also.ID || sec.Accessor != accessor || sec.Role != role) {
		w.Errorf("%s: %+v (%v) by its text, %+v (%v) by its accessor", accessor, sec, err, also, other)
	}
	if r := (*approle.Refusal)(nil); errors.As(err, &r) {
		return r.Reason
	}
	if err != nil {
		w.Fatal(err)
	}
	return ""
}

func TestKeyLength(t *testing.T) {
	if _, err := approle.New(make([]byte, 31), time.Now); err == nil {
		t.Error("a key of 31 bytes is taken")
	}
}

func TestText(t *testing.T) {
	a, b := approle.Text(), approle.Text()
	if a == b || len(a) != len(approle.Prefix)+26 || !strings.HasPrefix(a, approle.Prefix) {
		t.Errorf("%q, %q", a, b)
	}
}

// A secret id is good for its role alone, and its text is nowhere in the store.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	w.add(approle.Secret{Accessor: "a", Role: "one", Meta: map[string]string{"host": "h1"}})
	if fresh, err := w.Add(w.memory, "text of a", &approle.Secret{Accessor: "b", Role: "one"}); fresh || err != nil {
		t.Errorf("the same text again is taken: %v", err)
	}
	if fresh, err := w.Add(w.memory, "text of a", &approle.Secret{Accessor: "a", Role: "two"}); !fresh || err != nil {
		t.Errorf("another role's of the same text: %t %v", fresh, err)
	}
	for _, c := range []struct {
		role, accessor string
		want           approle.Reason
	}{{"one", "a", ""}, {"two", "a", ""}, {"one", "b", approle.ReasonUnknown}, {"three", "a", approle.ReasonUnknown}, {"", "a", approle.ReasonUnknown}} {
		if got := w.found(c.role, c.accessor); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.accessor, c.role, got, c.want)
		}
	}
	// Role and text do not run into each other.
	if w.Hash("one", "text") == w.Hash("onet", "ext") || w.Hash("one", "text") == w.Hash("two", "text") {
		t.Error("two of them have one hash")
	}
	for _, row := range w.memory {
		if bytes.Contains(row.Body, []byte("text of")) || strings.Contains(row.Role+row.Accessor, "text of") {
			t.Errorf("the row has its text: %q", row.Body)
		}
	}
	all, err := w.SecretIDAccessors("one")
	if err != nil || len(all) != 1 || all[0] != "a" {
		t.Errorf("role one has %q, %v", all, err)
	}
}

// The same text under another server's key is another secret id, and its rows are not
// this one's.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	w.add(approle.Secret{Accessor: "a", Role: "one"})
	other, err := approle.New(bytes.Repeat([]byte{8}, 32), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if other.Hash("one", "text of a") == w.Hash("one", "text of a") {
		t.Error("the hash does not depend on the key")
	}
	if _, err := other.ByAccessor(w.memory, "one", "a"); !errors.Is(err, approle.ErrTampered) {
		t.Errorf("another server's row: %v", err)
	}
}

// Each use counts, the last one removes it, and what has any number of them stays.
func TestUses(t *testing.T) {
	w := newWorld(t)
	w.add(approle.Secret{Accessor: "three", Role: "r", Uses: 3})
	w.add(approle.Secret{Accessor: "any", Role: "r"})
	for left := 3; left > 0; left-- {
		w.now = w.now.Add(time.Second)
		sec, err := w.Find(w.memory, "r", "text of three")
		if err != nil || sec.Uses != left {
			t.Fatalf("%d are left: %+v, %v", left, sec, err)
		}
		if err := w.Use(w.memory, sec); err != nil {
			t.Fatal(err)
		}
		if left > 1 && !sec.Updated.Equal(w.now) {
			t.Errorf("it was changed at %v", sec.Updated)
		}
	}
	if got := w.found("r", "three"); got != approle.ReasonUnknown {
		t.Errorf("a fourth time: %q", got)
	}
	for range 100 {
		sec, err := w.Find(w.memory, "r", "text of any")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Use(w.memory, sec); err != nil || sec.Uses != 0 {
			t.Fatal(sec.Uses, err)
		}
	}
	if len(w.memory) != 1 {
		t.Errorf("%d rows are left", len(w.memory))
	}
}

// It is good until its end and not at it; a use makes it no longer.
func TestEnd(t *testing.T) {
	w := newWorld(t)
	sec := w.add(approle.Secret{Accessor: "minute", Role: "r", TTL: time.Minute, Uses: 10})
	w.add(approle.Secret{Accessor: "ever", Role: "r"})
	end := w.now.Add(time.Minute)
	if !sec.Expires.Equal(end) {
		t.Errorf("it ends at %v", sec.Expires)
	}
	w.now = end.Add(-time.Nanosecond)
	if got := w.found("r", "minute"); got != "" {
		t.Errorf("a moment before: %q", got)
	}
	found, err := w.Find(w.memory, "r", "text of minute")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Use(w.memory, found); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{end, end.Add(time.Nanosecond), end.AddDate(100, 0, 0)} {
		w.now = at
		if got := w.found("r", "minute"); got != approle.ReasonExpired {
			t.Errorf("at %v: %q", at, got)
		}
		if got := w.found("r", "ever"); got != "" {
			t.Errorf("one without an end, at %v: %q", at, got)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		networks, addr string
		want           bool
	}{
		{"", "203.0.113.9", true},
		{"", "2001:db8::1", true},
		{"203.0.113.0/24", "203.0.113.9", true},
		{"203.0.113.0/24", "203.0.114.9", false},
		{"203.0.113.0/24 10.0.0.0/8", "10.255.255.255", true},
		{"203.0.113.9/32", "203.0.113.9", true},
		{"203.0.113.9/32", "203.0.113.8", false},
		{"203.0.113.0/24", "::ffff:203.0.113.9", true},
		{"203.0.113.0/24", "2001:db8::1", false},
		{"2001:db8::/32", "2001:db8::1", true},
		{"2001:db8::/32", "2001:db9::1", false},
		{"2001:db8::/32", "203.0.113.9", false},
		{"fe80::/10", "fe80::1%eth0", true},
		{"0.0.0.0/0", "203.0.113.9", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "2001:db8::1", true},
		// What is no network holds nobody.
		{"203.0.113.9", "203.0.113.9", false},
		{"x", "203.0.113.9", false},
	} {
		addr := netip.MustParseAddr(c.addr)
		sec := approle.Secret{CIDRs: strings.Fields(c.networks)}
		if got := sec.From(addr); got != c.want {
			t.Errorf("%s from %q: %t", c.addr, c.networks, got)
		}
	}
	if approle.Within([]string{"0.0.0.0/0", "::/0"}, netip.Addr{}) {
		t.Error("no address at all is within them")
	}
}

// A row that this server did not write is refused as such, however it came about, by
// its text and by its accessor. It is no secret id that is not there.
func TestTampered(t *testing.T) {
	end := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	body := func(change func(map[string]any)) func(w *world, row, other *approle.Row) {
		return func(w *world, row, _ *approle.Row) {
			var all map[string]any
			if err := json.Unmarshal(row.Body[32:], &all); err != nil {
				w.Fatal(err)
			}
			change(all)
			text, err := json.Marshal(all)
			if err != nil {
				w.Fatal(err)
			}
			row.Body = append(bytes.Clone(row.Body[:32]), text...)
		}
	}
	for name, change := range map[string]func(w *world, row, other *approle.Row){
		"more uses":         body(func(all map[string]any) { all["uses"] = 100 }),
		"any number":        body(func(all map[string]any) { delete(all, "uses") }),
		"no end":            body(func(all map[string]any) { delete(all, "expires") }),
		"from anywhere":     body(func(all map[string]any) { delete(all, "cidrs") }),
		"other metadata":    body(func(all map[string]any) { all["meta"] = map[string]string{"host": "root"} }),
		"a later end":       func(_ *world, row, _ *approle.Row) { row.Expires = end.Add(time.Hour) },
		"no end, beside it": func(_ *world, row, _ *approle.Row) { row.Expires = time.Time{} },
		"another's body":    func(_ *world, row, other *approle.Row) { row.Body = bytes.Clone(other.Body) },
		"nothing":           func(_ *world, row, _ *approle.Row) { row.Body = nil },
		"half of it":        func(_ *world, row, _ *approle.Row) { row.Body = row.Body[:len(row.Body)/2] },
		"the code alone":    func(_ *world, row, _ *approle.Row) { row.Body = row.Body[:32] },
		"no code":           func(_ *world, row, _ *approle.Row) { row.Body = row.Body[32:] },
		"something behind":  func(_ *world, row, _ *approle.Row) { row.Body = append(bytes.Clone(row.Body), ' ') },
	} {
		w := newWorld(t)
		sec := w.add(approle.Secret{Accessor: "a", Role: "r", Uses: 2, TTL: time.Hour, CIDRs: []string{"203.0.113.0/24"}, Meta: map[string]string{"host": "h1"}})
		other := w.add(approle.Secret{Accessor: "b", Role: "r", TTL: time.Hour})
		row, o := w.memory[sec.ID], w.memory[other.ID]
		change(w, &row, &o)
		w.memory[sec.ID] = row
		for way, find := range map[string]func() (*approle.Secret, error){
			"text":     func() (*approle.Secret, error) { return w.Find(w.memory, "r", "text of a") },
			"accessor": func() (*approle.Secret, error) { return w.ByAccessor(w.memory, "r", "a") },
		} {
			if got, err := find(); !errors.Is(err, approle.ErrTampered) {
				t.Errorf("%s, by its %s: %+v, %v", name, way, got, err)
			}
		}
	}
	// One that was moved to another's hash, role or accessor.
	for name, move := range map[string]func(w *world, row *approle.Row) (role, accessor string){
		"another role's": func(w *world, row *approle.Row) (string, string) {
			row.ID, row.Role = w.Hash("admin", "text of a"), "admin"
			return "admin", "a"
		},
		"another text's": func(w *world, row *approle.Row) (string, string) {
			row.ID = w.Hash("r", "text of b")
			return "r", "b"
		},
		"another accessor's": func(_ *world, row *approle.Row) (string, string) {
			row.Accessor = "b"
			return "r", "a"
		},
	} {
		w := newWorld(t)
		sec := w.add(approle.Secret{Accessor: "a", Role: "r"})
		row := w.memory[sec.ID]
		delete(w.memory, sec.ID)
		role, accessor := move(w, &row)
		w.memory[row.ID] = row
		if got, err := w.Find(w.memory, role, "text of "+accessor); !errors.Is(err, approle.ErrTampered) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if got, err := w.ByAccessor(w.memory, row.Role, row.Accessor); !errors.Is(err, approle.ErrTampered) {
			t.Errorf("%s, by its accessor: %+v, %v", name, got, err)
		}
	}
	// A store that answers with another's row than it was asked for.
	w := newWorld(t)
	w.add(approle.Secret{Accessor: "a", Role: "r"})
	if got, err := w.Find(lying{w.memory}, "r", "nobody's text"); got != nil || err == nil {
		t.Errorf("another's row: %+v, %v", got, err)
	}
}

// lying answers with a row for whatever is asked for.
type lying struct{ memory }

func (l lying) SecretIDRow(approle.ID) (approle.Row, bool, error) {
	for _, row := range l.memory {
		return row, true, nil
	}
	return approle.Row{}, false, nil
}
