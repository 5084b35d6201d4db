package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// The tests of this file hold keys and files together, as whoever changes a
// file in the repository without a key meets them: nothing but the bytes that
// were written, at the place they were written for, may open.

// world is one generation of one environment.
type world struct {
	vault string
	env   vault.Env
	gen   uint32
	key   seal.Key
}

var noon = time.Date(2026, 2, 11, 12, 0, 0, 0, time.UTC)

func (w world) binding(path vault.Path, version uint64) seal.Binding {
	return seal.Binding{Vault: w.vault, Env: w.env, Path: path, Version: version, Gen: w.gen}
}

// write makes the file of one version.
func (w world) write(t testing.TB, r record.Record, values map[vault.FieldName]string) []byte {
	t.Helper()
	r.Vault, r.Env, r.Gen, r.At = w.vault, w.env, w.gen, noon
	if r.By == "" {
		r.By = "alice@laptop"
	}
	if r.Version > 1 {
		r.PrevVersion, r.PrevHash = r.Version-1, record.Hash{1, 2, 3}
	}
	b := w.binding(r.Path, r.Version)
	dek := newDEK(t)
	for i, f := range r.Fields {
		sealed, err := dek.SealField(b, f.Name, secretValue(values[f.Name]))
		if err != nil {
			t.Fatal(err)
		}
		r.Fields[i].Sealed = sealed
	}
	r.MAC = dek.RecordMAC(r.MACInput())
	wrapped, err := w.key.WrapDEK(b, dek)
	if err != nil {
		t.Fatal(err)
	}
	r.Key = wrapped
	return r.Marshal()
}

// read opens a file that was found where the secret at path is kept.
func (w world) read(path vault.Path, raw []byte) (map[vault.FieldName]string, error) {
	r, err := record.ParseRecord(raw)
	if err != nil {
		return nil, err
	}
	if r.Vault != w.vault || r.Env != w.env || r.Path != path || r.Gen != w.gen {
		return nil, fmt.Errorf("is for another place")
	}
	b := w.binding(r.Path, r.Version)
	dek, err := w.key.UnwrapDEK(b, r.Key)
	if err != nil {
		return nil, err
	}
	input, err := record.AboveMAC(raw)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(input, r.MACInput()) {
		return nil, fmt.Errorf("the text above the MAC and MACInput differ")
	}
	if !dek.CheckRecordMAC(input, r.MAC) {
		return nil, fmt.Errorf("the MAC is wrong")
	}
	values := make(map[vault.FieldName]string)
	for _, f := range r.Fields {
		v, err := dek.OpenField(b, f.Name, f.Sealed)
		if err != nil {
			return nil, err
		}
		values[f.Name] = string(v.Reveal())
	}
	return values, nil
}

func stripe() record.Record {
	return record.Record{
		Path: "billing/stripe", Version: 7, Rotate: "90d", Tags: []string{"payments", "pci"}, Note: "live keys, owner team-billing",
		Extra:  []record.Header{{Key: "owner", Value: "team billing"}},
		Fields: []record.Field{{Name: "STRIPE_KEY", Since: 7}, {Name: "STRIPE_URL", Since: 1}, {Name: "STRIPE_WEBHOOK_SECRET", Since: 3}},
	}
}

var stripeValues = map[vault.FieldName]string{"STRIPE_KEY": "sk_live_1", "STRIPE_URL": "https://api.stripe.com", "STRIPE_WEBHOOK_SECRET": "whsec_1"}

func newWorld(t testing.TB) world {
	return world{"v_5f3c1d9a7b20e4c8", "prod", 3, newKey(t)}
}

// everyFlip calls refused for raw with each single bit of each byte turned,
// and with each byte put in the place of another kind: a CR, a space, a NUL.
func everyFlip(raw []byte, refused func(changed []byte, what string)) {
	for i := range raw {
		was := raw[i]
		tried := map[byte]bool{was: true}
		for _, c := range []byte{was ^ 1, was ^ 2, was ^ 4, was ^ 8, was ^ 16, was ^ 32, was ^ 64, was ^ 128, '\r', '\n', ' ', 0, 'A', '='} {
			if tried[c] {
				continue
			}
			tried[c] = true
			raw[i] = c
			refused(raw, fmt.Sprintf("byte %d changed from %q to %q", i, was, c))
		}
		raw[i] = was
	}
}

// everyEdit adds to that: cut off, byte taken out, byte doubled, lines swapped, taken out, doubled.
func everyEdit(raw []byte, refused func(changed []byte, what string)) {
	everyFlip(bytes.Clone(raw), refused)
	for i := range raw {
		refused(raw[:i], fmt.Sprintf("cut off after %d bytes", i))
		refused(raw[i+1:], fmt.Sprintf("begun after %d bytes", i+1))
		refused(append(bytes.Clone(raw[:i]), raw[i+1:]...), fmt.Sprintf("byte %d taken out", i))
		refused(append(bytes.Clone(raw[:i+1]), raw[i:]...), fmt.Sprintf("byte %d doubled", i))
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
	lines[len(lines)-1] = append(lines[len(lines)-1], '\n')
	join := func(parts ...[][]byte) []byte {
		var all []byte
		for _, p := range parts {
			all = append(all, bytes.Join(p, nil)...)
		}
		return all
	}
	for i := range lines {
		refused(join(lines[:i], lines[i+1:]), fmt.Sprintf("line %d taken out", i+1))
		refused(join(lines[:i+1], lines[i:]), fmt.Sprintf("line %d doubled", i+1))
		for j := range i {
			swapped := append([][]byte(nil), lines...)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			if !bytes.Equal(lines[i], lines[j]) {
				refused(join(swapped), fmt.Sprintf("lines %d and %d swapped", j+1, i+1))
			}
		}
	}
	refused(append(bytes.Clone(raw), '\n'), "a line added")
	refused(append(bytes.Clone(raw), raw...), "doubled")
	refused(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\r\n")), "two CR on each line")
}

func TestRecordEveryEditIsRefused(t *testing.T) {
	w := newWorld(t)
	raw := w.write(t, stripe(), stripeValues)
	check := func(raw []byte) {
		t.Helper()
		got, err := w.read("billing/stripe", raw)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(stripeValues) {
			t.Fatalf("the good one: %v %v", got, err)
		}
	}
	check(raw)
	check(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))) // a checkout with autocrlf
	check(bytes.Replace(raw, []byte("\n"), []byte("\r\n"), 3))
	everyEdit(raw, func(changed []byte, what string) {
		if values, err := w.read("billing/stripe", changed); err == nil {
			t.Errorf("%s: opens as %v", what, values)
		}
	})
	gone := w.write(t, record.Record{Path: "old/thing", Version: 5, Deleted: true}, nil)
	if got, err := w.read("old/thing", gone); err != nil || len(got) != 0 {
		t.Fatalf("the tombstone: %v %v", got, err)
	}
	everyEdit(gone, func(changed []byte, what string) {
		if values, err := w.read("old/thing", changed); err == nil {
			t.Errorf("tombstone, %s: opens as %v", what, values)
		}
	})
}

// Two records written by people who hold the key do not blend into a third.
func TestRecordsDoNotBlend(t *testing.T) {
	w := newWorld(t)
	a := strings.SplitAfter(string(w.write(t, stripe(), stripeValues)), "\n")
	b := strings.SplitAfter(string(w.write(t, stripe(), map[vault.FieldName]string{"STRIPE_KEY": "sk_live_2"})), "\n")
	if len(a) != len(b) {
		t.Fatal("the records differ in their lines")
	}
	var differ []int
	for i := range a {
		if a[i] != b[i] {
			differ = append(differ, i)
		}
	}
	if len(differ) != 5 { // three fields, the MAC, the key
		t.Fatalf("%d lines differ", len(differ))
	}
	for n := range 1 << len(differ) {
		mixed := append([]string(nil), a...)
		for bit, i := range differ {
			if n>>bit&1 == 1 {
				mixed[i] = b[i]
			}
		}
		whole := n == 0 || n == 1<<len(differ)-1
		if _, err := w.read("billing/stripe", []byte(strings.Join(mixed, ""))); (err == nil) != whole {
			t.Errorf("%05b of the lines of the other: %v", n, err)
		}
	}
}

// A record opens in the vault, environment, path, version and generation it was written for.
func TestRecordMoved(t *testing.T) {
	w := newWorld(t)
	b := w.binding("billing/stripe", 7)
	dek := newDEK(t)
	wrapped, err := w.key.WrapDEK(b, dek)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := dek.SealField(b, "STRIPE_KEY", secretValue("sk_live_1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.key.UnwrapDEK(b, wrapped); err != nil {
		t.Fatal(err)
	}
	if _, err := dek.OpenField(b, "STRIPE_KEY", sealed); err != nil {
		t.Fatal(err)
	}
	for name, move := range map[string]func(b *seal.Binding){
		"vault":           func(b *seal.Binding) { b.Vault = "v_5f3c1d9a7b20e4c9" },
		"environment":     func(b *seal.Binding) { b.Env = "dev" },
		"path":            func(b *seal.Binding) { b.Path = "billing/stripe2" },
		"version":         func(b *seal.Binding) { b.Version = 8 },
		"generation":      func(b *seal.Binding) { b.Gen = 2 },
		"parts joined":    func(b *seal.Binding) { b.Env, b.Path = "prodbilling", "stripe" },
		"parts rejoined":  func(b *seal.Binding) { b.Vault, b.Env = b.Vault+"prod", "" },
		"digits rejoined": func(b *seal.Binding) { b.Path, b.Version = b.Path+"7", 0 },
	} {
		moved := b
		move(&moved)
		if _, err := w.key.UnwrapDEK(moved, wrapped); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("another %s: its key opens: %v", name, err)
		}
		_, err := dek.OpenField(moved, "STRIPE_KEY", sealed)
		if name == "generation" { // a rotation leaves values alone
			if err != nil {
				t.Errorf("after a rotation: %v", err)
			}
		} else if vault.KindOf(err) != vault.KindTampered {
			t.Errorf("another %s: its value opens: %v", name, err)
		}
	}
	if _, err := dek.OpenField(b, "STRIPE_URL", sealed); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("another field: its value opens: %v", err)
	}
	if _, err := newDEK(t).OpenField(b, "STRIPE_KEY", sealed); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("another data key: its value opens: %v", err)
	}
	if _, err := newKey(t).UnwrapDEK(b, wrapped); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("another environment key: its key opens: %v", err)
	}
	for n := range sealed {
		if _, err := dek.OpenField(b, "STRIPE_KEY", sealed[:n]); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("cut off after %d bytes: its value opens: %v", n, err)
		}
	}
	for n := range wrapped {
		if _, err := w.key.UnwrapDEK(b, wrapped[:n]); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("cut off after %d bytes: its key opens: %v", n, err)
		}
	}

	// As files: each written for one place and read at another.
	raw := w.write(t, stripe(), stripeValues)
	for _, other := range []world{
		{"v_0", w.env, w.gen, w.key}, {w.vault, "dev", w.gen, w.key}, {w.vault, w.env, 4, w.key}, {w.vault, w.env, w.gen, newKey(t)},
	} {
		if _, err := other.read("billing/stripe", raw); err == nil {
			t.Errorf("opens in %s %s %d", other.vault, other.env, other.gen)
		}
		// The lines that say so changed too, which the MAC and the bindings notice.
		r, err := record.ParseRecord(raw)
		if err != nil {
			t.Fatal(err)
		}
		r.Vault, r.Env, r.Gen = other.vault, other.env, other.gen
		if _, err := other.read("billing/stripe", r.Marshal()); err == nil {
			t.Errorf("opens in %s %s %d with its lines changed", other.vault, other.env, other.gen)
		}
	}
	if _, err := w.read("billing/stripe2", raw); err == nil {
		t.Error("opens at another path")
	}
	r, err := record.ParseRecord(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(r *record.Record){
		func(r *record.Record) { r.Path = "billing/stripe2" },
		func(r *record.Record) { r.Version = 8 },
		func(r *record.Record) { r.By = "mallory" },
		func(r *record.Record) { r.At = r.At.Add(time.Second) },
		func(r *record.Record) {
			r.Fields[0].Sealed, r.Fields[1].Sealed = r.Fields[1].Sealed, r.Fields[0].Sealed
		},
		func(r *record.Record) { r.Fields[0].Since = 1 },
		func(r *record.Record) { r.Fields = r.Fields[1:] },
		func(r *record.Record) { r.Fields, r.Deleted = nil, true },
		func(r *record.Record) { r.Extra = nil },
		func(r *record.Record) { r.PrevVersion = 5 },
		func(r *record.Record) { r.Note = "" },
	} {
		changed := *r
		changed.Fields = append([]record.Field(nil), r.Fields...)
		change(&changed)
		if _, err := w.read(changed.Path, changed.Marshal()); err == nil {
			t.Errorf("opens changed: %q", changed.Marshal())
		}
	}
}

// A rotation wraps the data key anew, and changes one line of the file and not its hash.
func TestRotationChangesOneLine(t *testing.T) {
	w := newWorld(t)
	raw := w.write(t, stripe(), stripeValues)
	r, err := record.ParseRecord(raw)
	if err != nil {
		t.Fatal(err)
	}
	next := world{w.vault, w.env, w.gen + 1, newKey(t)}
	dek, err := w.key.UnwrapDEK(w.binding(r.Path, r.Version), r.Key)
	if err != nil {
		t.Fatal(err)
	}
	if r.Key, err = next.key.WrapDEK(next.binding(r.Path, r.Version), dek); err != nil {
		t.Fatal(err)
	}
	r.Gen = next.gen
	rotated := r.Marshal()
	got, err := next.read("billing/stripe", rotated)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(stripeValues) {
		t.Fatalf("after the rotation: %v %v", got, err)
	}
	was, now := strings.SplitAfter(string(raw), "\n"), strings.SplitAfter(string(rotated), "\n")
	for i := range was {
		if (was[i] == now[i]) == strings.HasPrefix(was[i], "key ") {
			t.Errorf("line %d: %q, then %q", i+1, was[i], now[i])
		}
	}
	h1, err1 := record.BodyHash(raw)
	h2, err2 := record.BodyHash(rotated)
	if err1 != nil || err2 != nil || h1 != h2 {
		t.Errorf("the hash changed: %v %v", err1, err2)
	}
}

// armored is an age file of any plaintext.
func armored(t testing.TB, to age.Recipient, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (w world) grant(t testing.TB, member, recipient string, to age.Recipient) []byte {
	t.Helper()
	wrapped, err := seal.AgeSealer(member, to, nil).Seal(context.Background(), w.key, seal.KeyContext(w.vault, w.env, w.gen, member))
	if err != nil {
		t.Fatal(err)
	}
	g := record.Grant{Vault: w.vault, Env: w.env, Gen: w.gen, Member: member, Recipient: recipient, By: "alice@laptop", At: noon, Wrapped: wrapped}
	g.MAC = w.key.MAC(seal.GrantMAC, g.MACInput())
	return g.Marshal()
}

// openGrant is what a reader does: take the key out, then check the grant under it.
func openGrant(raw []byte, member string, w world, id age.Identity) (seal.Key, error) {
	g, err := record.ParseGrant(raw)
	if err != nil {
		return seal.Key{}, err
	}
	if g.Vault != w.vault || g.Env != w.env || g.Gen != w.gen || g.Member != member {
		return seal.Key{}, fmt.Errorf("is for another place")
	}
	key, err := seal.AgeSealer(member, nil, []age.Identity{id}).Open(context.Background(), g.Wrapped, seal.KeyContext(w.vault, w.env, w.gen, member))
	if err != nil {
		return seal.Key{}, err
	}
	input, err := record.AboveMAC(raw)
	if err != nil || !bytes.Equal(input, g.MACInput()) {
		return seal.Key{}, fmt.Errorf("the text above the MAC and MACInput differ: %w", err)
	}
	if !key.CheckMAC(seal.GrantMAC, input, g.MAC) {
		return seal.Key{}, fmt.Errorf("the MAC is wrong")
	}
	return key, nil
}

func TestGrantEveryEditIsRefused(t *testing.T) {
	w := newWorld(t)
	x, _ := identities(t)
	raw := w.grant(t, "alice@laptop", x.Recipient().String(), x.Recipient())
	for _, raw := range [][]byte{raw, bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))} {
		if key, err := openGrant(raw, "alice@laptop", w, x); err != nil || !key.Equal(w.key) {
			t.Fatalf("the good one: %v", err)
		}
	}
	everyEdit(raw, func(changed []byte, what string) {
		if _, err := openGrant(changed, "alice@laptop", w, x); err == nil {
			t.Errorf("%s: opens", what)
		}
	})

	// Wrapped to the right person by somebody without the key: it opens, but is not the key.
	forged := world{w.vault, w.env, w.gen, newKey(t)}
	g, err := record.ParseGrant(raw)
	if err != nil {
		t.Fatal(err)
	}
	f, err := record.ParseGrant(forged.grant(t, "alice@laptop", x.Recipient().String(), x.Recipient()))
	if err != nil {
		t.Fatal(err)
	}
	g.Wrapped = f.Wrapped
	if _, err := openGrant(g.Marshal(), "alice@laptop", w, x); err == nil {
		t.Error("another key under the MAC of the first opens")
	}
}

func (w world) genFile(after *world) *record.Gen {
	g := &record.Gen{Vault: w.vault, Env: w.env, Gen: w.gen, By: "alice@laptop", At: noon, Why: "revoke bob@desktop",
		Fingerprint: w.key.Fingerprint(w.vault, w.env, w.gen).String()}
	if after != nil {
		g.After = after.gen
		g.Chain = after.key.ChainMAC(g.ChainInput())
	}
	g.MAC = w.key.MAC(seal.GenMAC, g.MACInput())
	return g
}

func checkGen(raw []byte, w, before world) error {
	g, err := record.ParseGen(raw)
	if err != nil {
		return err
	}
	if g.Vault != w.vault || g.Env != w.env || g.Gen != w.gen || g.Fingerprint != w.key.Fingerprint(w.vault, w.env, w.gen).String() {
		return fmt.Errorf("is for another place")
	}
	if g.After != before.gen || !before.key.CheckChainMAC(g.ChainInput(), g.Chain) || !before.key.ChainKey().CheckMAC(g.ChainInput(), g.Chain) {
		return fmt.Errorf("the chain is wrong")
	}
	input, err := record.AboveMAC(raw)
	if err != nil || !bytes.Equal(input, g.MACInput()) {
		return fmt.Errorf("the text above the MAC and MACInput differ: %w", err)
	}
	if !w.key.CheckMAC(seal.GenMAC, input, g.MAC) {
		return fmt.Errorf("the MAC is wrong")
	}
	return nil
}

func TestGenEveryEditIsRefused(t *testing.T) {
	w := newWorld(t)
	before := world{w.vault, w.env, w.gen - 1, newKey(t)}
	raw := w.genFile(&before).Marshal()
	if err := checkGen(raw, w, before); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	everyEdit(raw, func(changed []byte, what string) {
		if err := checkGen(changed, w, before); err == nil {
			t.Errorf("%s: is taken", what)
		}
	})
	// A key of one's own, chained from a key of one's own.
	mine, other := world{w.vault, w.env, w.gen, newKey(t)}, world{w.vault, w.env, w.gen - 1, newKey(t)}
	if err := checkGen(mine.genFile(&other).Marshal(), mine, before); err == nil {
		t.Error("a generation that does not chain from the one before is taken")
	}
}

func checkSeal(raw []byte, w world) error {
	s, err := record.ParseSeal(raw)
	if err != nil {
		return err
	}
	v, err := record.SplitSeal(raw)
	if err != nil {
		return fmt.Errorf("ParseSeal takes it, SplitSeal does not: %w", err)
	}
	if s.Vault != w.vault || s.Env != w.env || s.Gen != w.gen {
		return fmt.Errorf("is for another place")
	}
	if !bytes.Equal(v.MACInput(), s.MACInput()) {
		return fmt.Errorf("the text above the MAC and MACInput differ")
	}
	if !w.key.CheckMAC(seal.SealMAC, v.MACInput(), v.Head.MAC) {
		return fmt.Errorf("the MAC is wrong")
	}
	return nil
}

func (w world) sealFile() []byte {
	s := record.Seal{
		Vault: w.vault, Env: w.env, Gen: w.gen, Seq: 41, PrevSeq: 40, PrevHash: record.Hash{9}, By: "alice@laptop", At: noon,
		Grants:  []record.SealedGrant{{Member: "alice@laptop", Hash: record.ShortHash{1}}, {Member: "ci-github", Hash: record.ShortHash{2}}},
		Entries: []record.SealedEntry{{Path: "billing/stripe", Version: 7, Hash: record.Hash{3}}, {Path: "db/main", Version: 3, Hash: record.Hash{4}}, {Path: "old/thing", Version: 5, Hash: record.Hash{5}, Deleted: true}},
	}
	s.MAC = w.key.MAC(seal.SealMAC, s.MACInput())
	return s.Marshal()
}

func TestSealEveryEditIsRefused(t *testing.T) {
	w := newWorld(t)
	raw := w.sealFile()
	if err := checkSeal(raw, w); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	everyEdit(raw, func(changed []byte, what string) {
		if err := checkSeal(changed, w); err == nil {
			t.Errorf("%s: is taken", what)
		}
		// The short way must not take what the long way refuses, but for the
		// entries, which it does not read before the MAC is checked.
		if v, err := record.SplitSeal(changed); err == nil && w.key.CheckMAC(seal.SealMAC, v.MACInput(), v.Head.MAC) && v.Head.Vault == w.vault && v.Head.Env == w.env && v.Head.Gen == w.gen {
			t.Errorf("%s: SplitSeal takes it", what)
		}
	})
}

// TestSealedFiles opens files that were written once and must open for ever.
func TestSealedFiles(t *testing.T) {
	dir := filepath.Join("testdata", "sealed")
	if *update {
		writeSealed(t, dir)
	}
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	}
	x, err := age.ParseX25519Identity(strings.TrimSpace(string(read("x25519.identity"))))
	if err != nil {
		t.Fatal(err)
	}
	pq, err := age.ParseHybridIdentity(strings.TrimSpace(string(read("hybrid.identity"))))
	if err != nil {
		t.Fatal(err)
	}
	w := world{"v_5f3c1d9a7b20e4c8", "prod", 2, seal.Key{}}
	key, err := openGrant(read("alice@laptop.grant"), "alice@laptop", w, pq)
	if err != nil {
		t.Fatal(err)
	}
	again, err := openGrant(read("ci-github.grant"), "ci-github", w, x)
	if err != nil || !again.Equal(key) {
		t.Fatalf("the second grant: %v", err)
	}
	w.key = key
	before := world{w.vault, w.env, 1, seal.Key{}}
	if before.key, err = openGrant(read("before.grant"), "alice@laptop", before, pq); err != nil {
		t.Fatal(err)
	}
	if err := checkGen(read("gen"), w, before); err != nil {
		t.Error(err)
	}
	if err := checkSeal(read("seal"), w); err != nil {
		t.Error(err)
	}
	var values map[vault.Path]map[vault.FieldName]string
	if err := json.Unmarshal(read("values.json"), &values); err != nil {
		t.Fatal(err)
	}
	if len(values) == 0 {
		t.Error("there are no values")
	}
	for path, want := range values {
		raw := read(strings.ReplaceAll(string(path), "/", "-") + ".sec")
		got, err := w.read(path, raw)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %v", path, got, err)
		}
		e, ok, err := record.LookupSeal(read("seal"), path)
		hash, _ := record.BodyHash(raw)
		if err != nil || !ok || e.Hash != hash {
			t.Errorf("%s: is not what the seal says: %v", path, err)
		}
	}
}

func writeSealed(t *testing.T, dir string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, raw []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x, pq := identities(t)
	before, w := newWorld(t), newWorld(t)
	before.gen, w.gen = 1, 2
	write("x25519.identity", []byte(x.String()+"\n"))
	write("hybrid.identity", []byte(pq.String()+"\n"))
	write("before.grant", before.grant(t, "alice@laptop", pq.Recipient().String(), pq.Recipient()))
	write("alice@laptop.grant", w.grant(t, "alice@laptop", pq.Recipient().String(), pq.Recipient()))
	write("ci-github.grant", w.grant(t, "ci-github", x.Recipient().String(), x.Recipient()))
	write("gen", w.genFile(&before).Marshal())
	values := map[vault.Path]map[vault.FieldName]string{
		"billing/stripe": stripeValues,
		"old/thing":      {},
		"tls/edge":       {"tls.crt": strings.Repeat("-----BEGIN CERTIFICATE-----\n", 100), "EMPTY": "", "BINARY": "\x00\u0080\x00"},
	}
	files := map[vault.Path][]byte{
		"billing/stripe": w.write(t, stripe(), stripeValues),
		"old/thing":      w.write(t, record.Record{Path: "old/thing", Version: 5, Deleted: true}, nil),
		"tls/edge": w.write(t, record.Record{Path: "tls/edge", Version: 1,
			Fields: []record.Field{{Name: "BINARY", Since: 1}, {Name: "EMPTY", Since: 1}, {Name: "tls.crt", Since: 1}}}, values["tls/edge"]),
	}
	s := record.Seal{Vault: w.vault, Env: w.env, Gen: w.gen, Seq: 1, By: "alice@laptop", At: noon}
	for _, path := range []vault.Path{"billing/stripe", "old/thing", "tls/edge"} {
		hash, err := record.BodyHash(files[path])
		if err != nil {
			t.Fatal(err)
		}
		r, err := record.ParseRecord(files[path])
		if err != nil {
			t.Fatal(err)
		}
		s.Entries = append(s.Entries, record.SealedEntry{Path: path, Version: r.Version, Hash: hash, Deleted: r.Deleted})
		write(strings.ReplaceAll(string(path), "/", "-")+".sec", files[path])
	}
	s.MAC = w.key.MAC(seal.SealMAC, s.MACInput())
	write("seal", s.Marshal())
	raw, err := json.MarshalIndent(values, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	write("values.json", append(raw, '\n'))
}
