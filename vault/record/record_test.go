package record_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/record"
)

var update = flag.Bool("update", false, "write the files of testdata anew")

const vaultID = "v_5f3c1d9a7b20e4c8"

var (
	morning  = time.Date(2026, 2, 11, 9, 14, 3, 0, time.UTC)
	forenoon = time.Date(2026, 2, 11, 10, 2, 11, 0, time.UTC)
)

// file is what every kind of file can do.
type file interface {
	Marshal() []byte
	Check() error
}

type withMAC interface{ MACInput() []byte }

type encoder interface{ Encode() ([]byte, error) }

func parse(kind string, raw []byte) (file, error) {
	switch kind {
	case "sec":
		return orNone(record.ParseRecord(raw))
	case "gen":
		return orNone(record.ParseGen(raw))
	case "grant":
		return orNone(record.ParseGrant(raw))
	case "seal":
		return orNone(record.ParseSeal(raw))
	case "req":
		return orNone(record.ParseRequest(raw))
	case "list":
		return orNone(record.ParseExposed(raw))
	case "toml":
		return orNone(record.ParseManifest(raw))
	}
	panic("no such kind: " + kind)
}

// orNone keeps a nil pointer from being a file.
func orNone[T any, P interface {
	*T
	file
}](f P, err error) (file, error) {
	if f == nil {
		return nil, err
	}
	return f, err
}

const armor = "-----BEGIN AGE ENCRYPTED FILE-----\n" +
	"YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBybVA5T0lsRWZ0MEg0RVo3\n" +
	"IhIP1NPW6UWZNTxT/tDGQbeQgF0CVfKzEJxCrmBZjLJ+aonUxA==\n" +
	"-----END AGE ENCRYPTED FILE-----\n"

// good is one of each, and of each that is out of the ordinary, by the name of its file.
func good() map[string]file {
	sig := []record.Sig{
		{Member: "alice@laptop", Algorithm: "ssh-ed25519", Value: "AAAAC3NzaC1lZDI1NTE5 U1NIU0lHAAAAAQ"},
		{Member: "bob", Algorithm: "ssh-ed25519", Value: "U1NIU0lH"},
	}
	extra := []record.Header{{Key: "owner", Value: "team billing"}, {Key: "a-later-key", Value: "0"}}
	first := &record.Record{
		Vault: vaultID, Env: "prod", Path: "a", Version: 1, By: "alice@laptop", At: morning,
		MAC: fill(32, 1), Gen: 1, Key: fill(60, 2),
	}
	gone := *first
	gone.Version, gone.PrevVersion, gone.PrevHash, gone.Deleted = 9223372036854775807, 9223372036854775806, record.Hash(fill(16, 3)), true
	odd := typical()
	odd.Extra, odd.Note, odd.By = extra, "ключ = 7  “quoted”, mac and key", "0._-@"
	odd.Fields[0].Name, odd.Fields[1].Name, odd.Fields[2].Name = "A", "_", "tls.crt"

	gen := &record.Gen{
		Vault: vaultID, Env: "prod", Gen: 3, After: 2, By: "alice@laptop", At: forenoon, Why: "revoke bob@desktop",
		Fingerprint: "7QMX-2K4D-9TRW-XB5N", Chain: fill(32, 4), MAC: fill(32, 5),
	}
	gen1 := &record.Gen{Vault: vaultID, Env: "prod", Gen: 1, By: "alice@laptop", At: forenoon, Fingerprint: "0123-4567-89AB-CDEF", MAC: fill(32, 5), Extra: extra, Sigs: sig}

	grant := &record.Grant{
		Vault: vaultID, Env: "prod", Gen: 3, Member: "alice@laptop", Recipient: "age1qtpa3y49ydj32ajta4x8d57xnwen58yyqmtqd67t4ke9j6cluqksyj96ec",
		By: "alice@laptop", At: forenoon, MAC: fill(32, 6), Wrapped: []byte(armor),
	}
	kms := *grant
	kms.Recipient, kms.Sealer, kms.Extra, kms.Sigs = "", "aws-kms arn:aws:kms:eu-central-1:111122223333:key/1234", extra, sig
	kms.Wrapped = []byte("-----BEGIN ENVRUN WRAPPED KEY-----\nAAAA\n-----END ENVRUN WRAPPED KEY-----\n")

	seal := &record.Seal{
		Vault: vaultID, Env: "prod", Gen: 3, Seq: 41, PrevSeq: 40, PrevHash: record.Hash(fill(16, 7)), By: "alice@laptop", At: forenoon,
		Grants:  []record.SealedGrant{{Member: "alice@laptop", Hash: record.ShortHash(fill(8, 8))}, {Member: "ci-github", Hash: record.ShortHash(fill(8, 9))}},
		Entries: []record.SealedEntry{{Path: "billing/stripe", Version: 7, Hash: record.Hash(fill(16, 10))}, {Path: "db/main", Version: 3, Hash: record.Hash(fill(16, 11))}, {Path: "old/thing", Version: 5, Hash: record.Hash(fill(16, 12)), Deleted: true}},
		MAC:     fill(32, 13),
	}
	// Secrets and members may have the names of headers.
	names := &record.Seal{
		Vault: vaultID, Env: "prod", Gen: 1, Seq: 1, By: "alice@laptop", At: forenoon, MAC: fill(32, 14), Extra: extra, Sigs: sig,
		Grants: []record.SealedGrant{{Member: "7", Hash: record.ShortHash(fill(8, 8))}, {Member: "mac", Hash: record.ShortHash(fill(8, 9))}},
	}
	for i, p := range []vault.Path{"at", "by", "deleted", "env", "gen", "grant", "mac", "mac/mac", "prev", "seq", "sig", "vault"} {
		names.Entries = append(names.Entries, record.SealedEntry{Path: p, Version: uint64(i + 1), Hash: record.Hash(fill(16, byte(i))), Deleted: i%2 == 0})
	}
	prev := *names
	prev.Seq, prev.PrevSeq, prev.Extra, prev.Grants, prev.Sigs = 9, 5, nil, nil, nil
	prev.Entries = names.Entries[8:9]
	empty := prev
	empty.Seq, empty.PrevSeq, empty.Entries = 1, 0, nil

	req := &record.Request{Vault: vaultID, Env: "prod", Member: "bob@desktop", Recipient: grant.Recipient, Reason: "on call from Monday", At: forenoon}
	req2 := *req
	req2.Reason, req2.Recipient, req2.Extra, req2.Sigs = "", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA bob@desktop", extra, sig

	list := &record.Exposed{
		Vault: vaultID, Env: "prod", Member: "bob@desktop", Gen: 2, Since: morning.AddDate(0, -3, 0), By: "alice@laptop", At: forenoon,
		Entries: []record.ExposedEntry{{"billing/stripe", 6}, {"billing/stripe", 7}, {"db/main", 3}},
	}
	list2 := *list
	list2.Extra = extra[:1]
	list2.Entries = []record.ExposedEntry{{"at", 1}, {"by", 10}, {"by", 11}}
	list3 := *list
	list3.Entries = nil

	return map[string]file{
		"stripe.sec": typical(), "first.sec": first, "gone.sec": &gone, "odd.sec": odd,
		"third.gen": gen, "first.gen": gen1,
		"alice.grant": grant, "kms.grant": &kms,
		"prod.seal": seal, "names.seal": names, "prev.seal": &prev, "empty.seal": &empty,
		"bob.req": req, "ssh.req": &req2,
		"bob.list": list, "names.list": &list2, "empty.list": &list3,
		"vault.toml": &record.Manifest{Format: 1, Vault: vaultID},
	}
}

func kindOf(name string) string { return strings.TrimPrefix(filepath.Ext(name), ".") }

func stored(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "good", name))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
}

// The files of testdata are the format: they are written byte for byte and read in full.
func TestFiles(t *testing.T) {
	for name, want := range good() {
		t.Run(name, func(t *testing.T) {
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", "good", name), want.Marshal(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			raw := stored(t, name)
			if got := want.Marshal(); !bytes.Equal(got, raw) {
				t.Errorf("is written as\n%s\nnot as\n%s", got, raw)
			}
			if err := want.Check(); err != nil {
				t.Error(err)
			}
			for _, raw := range [][]byte{raw, crlf(raw), bytes.Replace(raw, []byte("\n"), []byte("\r\n"), 2)} {
				before := bytes.Clone(raw)
				got, err := parse(kindOf(name), raw)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(raw, before) {
					t.Error("the parser changed its input")
				}
				clear(raw) // nothing of it may be kept
				if !reflect.DeepEqual(got, want) {
					t.Errorf("is read as\n%+v\nnot as\n%+v", got, want)
				}
				copy(raw, before)
			}
		})
	}
	names, err := filepath.Glob(filepath.Join("testdata", "good", "*"))
	if err != nil || len(names) != len(good()) {
		t.Errorf("testdata has %d files: %v", len(names), err)
	}
}

func crlf(raw []byte) []byte { return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")) }

func TestAboveMACAndBodyHash(t *testing.T) {
	for name, f := range good() {
		m, ok := f.(withMAC)
		if !ok || kindOf(name) == "req" {
			continue
		}
		raw := stored(t, name)
		above, err := record.AboveMAC(raw)
		if err != nil || !bytes.Equal(above, m.MACInput()) {
			t.Errorf("%s: AboveMAC and MACInput differ: %v", name, err)
		}
		rest, ok := bytes.CutPrefix(raw, above)
		if !ok || !bytes.HasPrefix(rest, []byte("mac ")) {
			t.Errorf("%s: no mac line behind %q", name, above)
		}
		line := rest[:bytes.IndexByte(rest, '\n')+1]
		sum := sha256.Sum256(append(bytes.Clone(above), line...))
		for _, raw := range [][]byte{raw, crlf(raw)} {
			h, err := record.BodyHash(raw)
			if err != nil || h != record.Hash(sum[:16]) {
				t.Errorf("%s: BodyHash is %s, not %x: %v", name, h, sum[:16], err)
			}
			if above, err := record.AboveMAC(raw); err != nil || !bytes.Equal(above, m.MACInput()) {
				t.Errorf("%s: AboveMAC with CR: %v", name, err)
			}
		}
	}
	g := good()["third.gen"].(*record.Gen)
	if !bytes.Equal(g.MACInput(), append(g.ChainInput(), "chain "+strings.SplitN(string(g.Marshal()), "\nchain ", 2)[1][:43]+"\n"...)) {
		t.Error("MACInput of a gen is not ChainInput and the chain line")
	}

	// What stands below the mac line is not in the hash; all else is.
	r := typical()
	h1, _ := record.BodyHash(r.Marshal())
	r.Gen, r.Key = 4, fill(60, 99)
	h2, _ := record.BodyHash(r.Marshal())
	r.MAC = fill(32, 99)
	h3, _ := record.BodyHash(r.Marshal())
	if h1 != h2 || h2 == h3 {
		t.Errorf("%s, with another key %s, with another MAC %s", h1, h2, h3)
	}
	for _, raw := range []string{"", "mac", "mac AAAA\n", "x\nmac AAAA", "x\nmacAAAA\n"} {
		if _, err := record.BodyHash([]byte(raw)); vault.KindOf(err) != vault.KindMalformed {
			t.Errorf("BodyHash of %q: %v", raw, err)
		}
		if _, err := record.AboveMAC([]byte(raw)); vault.KindOf(err) != vault.KindMalformed {
			t.Errorf("AboveMAC of %q: %v", raw, err)
		}
	}
	if _, err := record.BodyHash([]byte("a\n<<<<<<< HEAD\n")); vault.KindOf(err) != vault.KindUnmerged {
		t.Errorf("BodyHash of a merge: %v", err)
	}
}

// TestWithKey: another key is another last line, and nothing else.
func TestWithKey(t *testing.T) {
	for name, f := range good() {
		r, ok := f.(*record.Record)
		if !ok {
			continue
		}
		raw := stored(t, name)
		want := *r
		want.Gen, want.Key = 1<<31-1, fill(60, 77)
		for _, raw := range [][]byte{raw, crlf(raw)} {
			before := bytes.Clone(raw)
			got, err := record.WithKey(raw, want.Gen, want.Key)
			if err != nil || !bytes.Equal(got, want.Marshal()) {
				t.Errorf("%s: %q under another key is %q: %v", name, raw, got, err)
			}
			if !bytes.Equal(raw, before) {
				t.Errorf("%s: the file that was read was changed", name)
			}
			if v := record.PeekVersion(raw); v != r.Version {
				t.Errorf("%s: is of version %d, and peeking says %d", name, r.Version, v)
			}
			if gen, key, err := record.KeyOf(got); err != nil || gen != want.Gen || !bytes.Equal(key, want.Key) {
				t.Errorf("%s: the key line is %d %x: %v", name, gen, key, err)
			}
			if !record.SameBody(raw, got) {
				t.Errorf("%s: under another key it is another version", name)
			}
			for _, change := range []string{"\nby ", "\nmac "} {
				if other := bytes.Replace(raw, []byte(change), []byte(change+"x"), 1); record.SameBody(other, got) {
					t.Errorf("%s: with another %q it is the same version", name, change)
				}
			}
		}
	}
	body := "envrun-secret v1\nmac " + strings.Repeat("A", 43) + "\n"
	for name, line := range map[string]string{
		"none": "", "other": "kex 1 AAAA\n", "no number": "key AAAA\n", "zero": "key 0 " + strings.Repeat("A", 80) + "\n",
		"short": "key 1 AAAA\n", "no end": "key 1 " + strings.Repeat("A", 80), "two": "key 1 " + strings.Repeat("A", 80) + "\nkey 1 AAAA\n",
		"space": "key  1 " + strings.Repeat("A", 80) + "\n", "stray": "key 1 " + strings.Repeat("A", 79) + "=\n",
	} {
		if gen, key, err := record.KeyOf([]byte(body + line)); vault.KindOf(err) != vault.KindMalformed || key != nil {
			t.Errorf("%s: the key line is %d %x, %v", name, gen, key, err)
		}
	}
	if record.SameBody([]byte(body), []byte("nothing")) || record.SameBody([]byte("nothing"), []byte("nothing")) {
		t.Error("what has no mac line has a body")
	}
	if _, err := record.WithKey([]byte("envrun-secret v1\nversion 1\n"), 2, fill(60, 77)); vault.KindOf(err) != vault.KindMalformed {
		t.Errorf("a file without a mac line: %v", err)
	}
	for _, raw := range []string{"", "version", "version \n", "version x\n", "version 01\n", "no version 1\n"} {
		if v := record.PeekVersion([]byte(raw)); v != 0 {
			t.Errorf("%q has version %d", raw, v)
		}
	}
}

func TestParseHeader(t *testing.T) {
	for name, f := range good() {
		r, ok := f.(*record.Record)
		if !ok {
			continue
		}
		info, gen, err := record.ParseHeader(crlf(stored(t, name)))
		if err != nil || gen != r.Gen || !reflect.DeepEqual(info, r.Info()) {
			t.Errorf("%s: %+v %d %v", name, info, gen, err)
		}
		if len(info.Fields) != len(r.Fields) || info.Path != r.Path || info.Version != r.Version || info.Env != r.Env || info.Deleted != r.Deleted || info.Note != r.Note {
			t.Errorf("%s: %+v", name, info)
		}
		for i, f := range info.Fields {
			if f.Name != r.Fields[i].Name || f.Since != r.Fields[i].Since {
				t.Errorf("%s: field %d is %v", name, i, f)
			}
		}
	}
	// It is for listing: a value that is damaged is not its business, a line is.
	raw := typical().Marshal()
	raw = bytes.Replace(raw, []byte("\nmac "), []byte("\nmac !"), 1)
	if _, _, err := record.ParseHeader(raw); err != nil {
		t.Error(err)
	}
	if _, _, err := record.ParseHeader(bytes.Replace(raw, []byte("\nkey 3 "), []byte("\nkey "), 1)); vault.KindOf(err) != vault.KindMalformed {
		t.Error(err)
	}
	if _, _, err := record.ParseHeader(raw[:len(raw)-1]); vault.KindOf(err) != vault.KindMalformed {
		t.Error(err)
	}
}

// Every prefix of a file is refused, and says where it ends.
func TestCutOff(t *testing.T) {
	for name := range good() {
		raw := stored(t, name)
		lines := bytes.Count(raw, []byte("\n"))
		for n := range raw {
			if whole, err := parse(kindOf(name), raw[:n]); err == nil {
				// A list of lines may end sooner, and a signature be missing: what
				// is left is a good file, and it is the MAC that tells.
				if k := kindOf(name); (k == "list" || k == "req" || k == "gen" || k == "seal") && raw[n-1] == '\n' && bytes.Equal(whole.Marshal(), raw[:n]) {
					continue
				}
				if kindOf(name) == "toml" && n == len(raw)-1 {
					continue
				}
				t.Errorf("%s: cut off after %d of %d bytes it is taken", name, n, len(raw))
			} else if e := errorOf(t, err); e.Kind != vault.KindMalformed || e.Line > lines+1 {
				t.Errorf("%s: cut off after %d of %d bytes: %v, line %d", name, n, len(raw), err, e.Line)
			}
		}
	}
}

func errorOf(t testing.TB, err error) *vault.Error {
	t.Helper()
	var e *vault.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a *vault.Error: %v", err)
	}
	if e.Detail == "" || e.File != "" {
		t.Errorf("an error with file %q and detail %q", e.File, e.Detail)
	}
	return e
}

// A line taken out, doubled or swapped with another leaves a file that is
// refused, or that is another good file: then the MAC tells.
func TestLinesMoved(t *testing.T) {
	for name := range good() {
		raw := stored(t, name)
		lines := strings.SplitAfter(strings.TrimSuffix(string(raw), "\n"), "\n")
		lines[len(lines)-1] += "\n"
		try := func(what string, lines ...string) {
			t.Helper()
			raw := []byte(strings.Join(lines, ""))
			if f, err := parse(kindOf(name), raw); err == nil && kindOf(name) != "toml" && !bytes.Equal(f.Marshal(), raw) {
				t.Errorf("%s: %s: is written otherwise", name, what)
			} else if err != nil {
				errorOf(t, err)
			}
		}
		for i := range lines {
			try(fmt.Sprint("without line ", i+1), append(append([]string(nil), lines[:i]...), lines[i+1:]...)...)
			double := append(append([]string(nil), lines[:i+1]...), lines[i:]...)
			try(fmt.Sprint("line twice ", i+1), double...)
			// What a wrapped key says is not the business of who reads the file.
			if _, err := parse(kindOf(name), []byte(strings.Join(double, ""))); err == nil && len(lines[i]) != 65 {
				t.Errorf("%s: line %d twice is taken", name, i+1)
			}
			for j := range i {
				swapped := append([]string(nil), lines...)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				try(fmt.Sprint("lines swapped ", j+1, i+1), swapped...)
			}
		}
	}
}

// edit is a change to a stored file and what is said of it.
type edit struct {
	file string
	old  string
	new  string
	kind vault.Kind
	line int
	says string
}

func TestRefused(t *testing.T) {
	const (
		bad   = vault.KindMalformed
		newer = vault.KindVersion
		merge = vault.KindUnmerged
	)
	long := strings.Repeat("x", 5000)
	for _, e := range []edit{
		// what all have in common
		{"stripe.sec", "envrun-secret v1", "envrun-secret v2", newer, 1, "reads v1: it takes one that reads v2"},
		{"stripe.sec", "envrun-secret v1", "envrun-secret v12", newer, 1, "v12"},
		{"stripe.sec", "envrun-secret v1", "envrun-secret v01", bad, 1, `does not begin with "envrun-secret v1"`},
		{"stripe.sec", "envrun-secret v1", "envrun-secret v0", bad, 1, "does not begin"},
		{"stripe.sec", "envrun-secret v1", "envrun-secret 1", bad, 1, "does not begin"},
		{"stripe.sec", "envrun-secret v1", "envrun-secret v1.1", bad, 1, "does not begin"},
		{"stripe.sec", "envrun-secret v1", "envrun-secret", bad, 1, "does not begin"},
		{"stripe.sec", "envrun-secret v1", "envrun-grant v1", bad, 1, "is an envrun-grant file where an envrun-secret file belongs"},
		{"stripe.sec", "envrun-secret v1", "\ufeffenvrun-secret v1", bad, 1, "does not begin"},
		{"stripe.sec", "envrun-secret v1\n", "", bad, 1, "does not begin"},
		{"stripe.sec", "env prod", "env prod\r\r", bad, 3, "environment"},
		{"stripe.sec", "env prod", "env\rprod", bad, 3, "another line"},
		{"stripe.sec", "env prod", "env \xff", bad, 3, "is not UTF-8"},
		{"stripe.sec", "env prod", "env  prod", bad, 3, "a space too many"},
		{"stripe.sec", "env prod", "env prod ", bad, 3, "a space too many"},
		{"stripe.sec", "env prod", " env prod", bad, 3, `another line where "env" must stand`},
		{"stripe.sec", "env prod", "env", bad, 3, `"env" has no value`},
		{"stripe.sec", "env prod", "ENV prod", bad, 3, "another line"},
		{"stripe.sec", "env prod", "<<<<<<< HEAD\nenv prod\n=======\nenv dev\n>>>>>>> other", merge, 3, "merge"},
		{"stripe.sec", "= STRIPE_URL", "=======\n= STRIPE_URL", merge, 13, "merge"},
		{"stripe.sec", "mac ", "x\n>>>>>>> a\nmac ", merge, 16, "merge"},
		{"stripe.sec", "env prod\npath billing/stripe", "path billing/stripe\nenv prod", bad, 3, `has "path" where "env" must stand`},
		{"stripe.sec", "env prod", "env prod\nenv prod", bad, 4, `has "env" where "path" must stand`},
		{"stripe.sec", "note live", "!note live", newer, 11, `"!note"`},
		{"stripe.sec", "env prod", "!sealed yes\nenv prod", newer, 3, `"!sealed"`},
		{"stripe.sec", "mac ", "!sealed yes\nmac ", newer, 15, `"!sealed"`},
		{"stripe.sec", "key 3 ", "!x\nkey 3 ", newer, 16, `"!x"`},
		{"stripe.sec", "env prod", "!Sealed yes\nenv prod", bad, 3, "another line"},
		{"stripe.sec", "env prod", "SECRET=hunter2\nenv prod", bad, 3, "another line"},
		{"stripe.sec", "= STRIPE_KEY", "SECRET=hunter2\n= STRIPE_KEY", bad, 12, "does not belong"},
		{"stripe.sec", "= STRIPE_KEY", "hunter2 hunter2\nhunter2 hunter2\n= STRIPE_KEY", bad, 13, "twice"},
		{"stripe.sec", "vault v_", "vault V_", bad, 2, "vault's id"},
		{"stripe.sec", "vault v_5f", "vault v_5F", bad, 2, "a-z and 0-9"},
		{"stripe.sec", vaultID, "v_", bad, 2, "vault's id"},

		// records
		{"stripe.sec", "env prod", "env Prod", bad, 3, "environment"},
		{"stripe.sec", "path billing/stripe", "path ../stripe", bad, 4, "path"},
		{"stripe.sec", "path billing/stripe", "path billing/con", bad, 4, "path"},
		{"stripe.sec", "version 7", "version 0", bad, 5, "zero"},
		{"stripe.sec", "version 7", "version 07", bad, 5, "zero"},
		{"stripe.sec", "version 7", "version +7", bad, 5, "not a number"},
		{"stripe.sec", "version 7", "version 7a", bad, 5, "not a number"},
		{"stripe.sec", "version 7", "version -7", bad, 5, "not a number"},
		{"stripe.sec", "version 7", "version 7 7", bad, 5, "not a number"},
		{"stripe.sec", "version 7", "version ٧", bad, 5, "not a number"},
		{"stripe.sec", "version 7", "version 9223372036854775808", bad, 5, "larger than"},
		{"stripe.sec", "version 7", "version 18446744073709551617", bad, 5, "range"},
		{"stripe.sec", "version 7\n", "version 1\n", bad, 6, `not before "version"`},
		{"stripe.sec", "prev 6 ", "prev 7 ", bad, 6, `not before "version"`},
		{"stripe.sec", "prev 6 ", "prev 06 ", bad, 6, "zero"},
		{"stripe.sec", "prev 6 1f", "prev 6 1F", bad, 6, "32 hexadecimal digits"},
		{"stripe.sec", "prev 6 ", "prev 6 0", bad, 6, "32 hexadecimal digits"},
		{"stripe.sec", "prev 6 ", "prev ", bad, 6, `"prev"`},
		{"stripe.sec", "prev 6 1f262d343b424950575e656c737a8188\n", "", bad, 6, `has "by" where "prev" must stand`},
		{"first.sec", "by alice", "prev 1 1f262d343b424950575e656c737a8188\nby alice", bad, 6, `not before "version"`},
		{"stripe.sec", "by alice@laptop", "by Alice", bad, 7, `"by"`},
		{"stripe.sec", "by alice@laptop", "by @laptop", bad, 7, "begin"},
		{"stripe.sec", "by alice@laptop", "by ../alice", bad, 7, "begin"},
		{"stripe.sec", "by alice@laptop", "by a@b@c", bad, 7, "one @"},
		{"stripe.sec", "by alice@laptop", "by a b", bad, 7, "may hold only"},
		{"stripe.sec", "by alice@laptop", "by " + strings.Repeat("a", 65), bad, 7, "longer than 64"},
		{"stripe.sec", "09:14:03Z", "09:14:03z", bad, 8, "is not a time"},
		{"stripe.sec", "09:14:03Z", "09:14:03+00:00", bad, 8, "is not a time"},
		{"stripe.sec", "09:14:03Z", "09:14:03.0Z", bad, 8, "is not a time"},
		{"stripe.sec", "09:14:03Z", "09:14:60Z", bad, 8, "is not a time"},
		{"stripe.sec", "09:14:03Z", "24:00:00Z", bad, 8, "is not a time"},
		{"stripe.sec", "2026-02-11", "2026-02-29", bad, 8, "is not a time"},
		{"stripe.sec", "2026-02-11", "2026-13-01", bad, 8, "is not a time"},
		{"stripe.sec", "2026-02-11", "2026-00-01", bad, 8, "is not a time"},
		{"stripe.sec", "2026-02-11", "2026-2-11", bad, 8, "is not a time"},
		{"stripe.sec", "2026-02-11T", "2026-02-11 ", bad, 8, "is not a time"},
		{"stripe.sec", "rotate 90d", "rotate 90", bad, 9, `"rotate"`},
		{"stripe.sec", "rotate 90d", "rotate 090d", bad, 9, `"rotate"`},
		{"stripe.sec", "rotate 90d", "rotate 90 d", bad, 9, `"rotate"`},
		{"stripe.sec", "rotate 90d", "rotate 1234567d", bad, 9, `"rotate"`},
		{"stripe.sec", "tags payments pci", "tags pci pci", bad, 10, "twice"},
		{"stripe.sec", "tags payments pci", "tags payments  pci", bad, 10, "empty"},
		{"stripe.sec", "tags payments pci", "tags päyments", bad, 10, "tag"},
		{"stripe.sec", "tags payments pci", "tags " + strings.Repeat("a", 65), bad, 10, "longer than 64"},
		{"stripe.sec", "tags payments pci", "tags" + many(33, " t%d"), bad, 10, "more than 32"},
		{"stripe.sec", "note live keys", "note live\tkeys", bad, 11, "control"},
		{"stripe.sec", "note live keys", "note live\x1b[2Jkeys", bad, 11, "control"},
		{"stripe.sec", "note live keys", "note live\u0085keys", bad, 11, "control"},
		{"stripe.sec", "note live keys", "note live\u202ekeys", bad, 11, "control"},
		{"stripe.sec", "note live keys", "note live\u2028keys", bad, 11, "control"},
		{"stripe.sec", "note live keys", "note live\rkeys", bad, 11, "line break"},
		{"stripe.sec", "note live keys", "note " + long, bad, 11, "longer than 1024"},
		{"stripe.sec", "tags payments pci\nnote", "note x\ntags payments pci\nnote", bad, 11, `"tags" twice or out of its order`},
		{"stripe.sec", "= STRIPE_KEY", "zz\n= STRIPE_KEY", bad, 12, "does not belong"},
		{"stripe.sec", "= STRIPE_KEY", "zz " + long + "\n= STRIPE_KEY", bad, 12, "longer than 4096"},
		{"stripe.sec", "= STRIPE_KEY", "Zz 1\n= STRIPE_KEY", bad, 12, "does not belong"},
		{"stripe.sec", "= STRIPE_KEY", "z.z 1\n= STRIPE_KEY", bad, 12, "does not belong"},
		{"stripe.sec", "= STRIPE_KEY", strings.Repeat("z", 33) + " 1\n= STRIPE_KEY", bad, 12, "does not belong"},
		{"stripe.sec", "= STRIPE_KEY", many(33, "z%d 1\n") + "= STRIPE_KEY", bad, 44, "more than 32"},
		{"stripe.sec", "= STRIPE_KEY", "deleted\n= STRIPE_KEY", bad, 13, `is "deleted" and has a field`},
		{"gone.sec", "deleted", "deleted yes", bad, 9, `"deleted" has a value`},
		{"gone.sec", "deleted", "deleted\ndeleted", bad, 10, `"mac" must stand`},
		{"stripe.sec", "= STRIPE_KEY 3", "= STRIPE_URL 3", bad, 13, "sorted"},
		{"stripe.sec", "= STRIPE_KEY 3", "= STRIPE_ZZZ 3", bad, 13, "sorted"},
		{"stripe.sec", "= STRIPE_KEY 3", "= STRIPE=KEY 3", bad, 12, "not a field's name"},
		{"stripe.sec", "= STRIPE_KEY 3", "= STRIPE_KEY", bad, 12, "not a field's name"},
		{"stripe.sec", "= STRIPE_KEY 3", "= 3", bad, 12, "not a field's name"},
		{"stripe.sec", "= STRIPE_KEY 3", "= STRIPE_KEY 8", bad, 12, "after this one"},
		{"stripe.sec", "= STRIPE_KEY 3", "= STRIPE_KEY 0", bad, 12, "zero"},
		{"stripe.sec", "= STRIPE_KEY 3", "= STRIPE_KEY x", bad, 12, "not a number"},
		{"stripe.sec", "= STRIPE_KEY 3", "=STRIPE_KEY 3", bad, 12, "does not belong"},
		{"stripe.sec", "= STRIPE_KEY 3 ", "= STRIPE_KEY 3 =", bad, 12, "base64"},
		{"stripe.sec", "= STRIPE_KEY 3 ", "= STRIPE_KEY 3 -", bad, 12, "base64"},
		{"stripe.sec", "= STRIPE_KEY 3 ", "= STRIPE_KEY 3 AA ", bad, 12, "base64"},
		{"stripe.sec", "= STRIPE_KEY 3 ", "= STRIPE_KEY 3 AAAA\n= X 3 ", bad, 12, "has 3 bytes, not 92 to"},
		{"stripe.sec", "\nmac ", "\nmac A", bad, 15, "has 33 bytes, not 32"},
		{"stripe.sec", "\nmac ", "\nmac AA", bad, 15, "base64"},
		{"stripe.sec", "\nmac ", "\nmac AAAA", bad, 15, "has 35 bytes, not 32"},
		{"stripe.sec", "\nmac ", "\nnac ", bad, 15, `"mac" must stand`},
		{"stripe.sec", "\nkey 3 ", "\nkey 3 AAAA", bad, 16, "has 63 bytes, not 60"},
		{"stripe.sec", "\nkey 3 ", "\nkey 0 ", bad, 16, "zero"},
		{"stripe.sec", "\nkey 3 ", "\nkey 4294967296 ", bad, 16, "larger"},
		{"stripe.sec", "\nkey 3 ", "\nkey ", bad, 16, `"key"`},

		// generations
		{"third.gen", "envrun-gen v1", "envrun-gen v2", newer, 1, "v2"},
		{"third.gen", "after 2", "after 1", bad, 5, "generation before"},
		{"third.gen", "after 2\n", "", bad, 5, `"after" must stand`},
		{"third.gen", "gen 3\nafter 2\n", "gen 1\n", bad, 9, `"mac" must stand`},
		{"first.gen", "by alice", "after 1\nby alice", bad, 5, "generation before"},
		{"third.gen", "chain ", "xhain ", bad, 11, `"chain" must stand`},
		{"third.gen", "fp 7QMX", "fp 7qmx", bad, 9, `"fp"`},
		{"third.gen", "fp 7QMX", "fp UQMX", bad, 9, `"fp"`},
		{"third.gen", "fp 7QMX-2K4D", "fp 7QMX2K4D-", bad, 9, `"fp"`},
		{"third.gen", "fp 7QMX-", "fp ", bad, 9, `"fp"`},
		{"third.gen", "why revoke", "why \x7frevoke", bad, 8, "control"},
		{"first.gen", "sig bob", "sig aaa", bad, 12, "sorted"},
		{"first.gen", "sig bob ssh-ed25519 U1NIU0lH", "sig bob ssh-ed25519", bad, 12, "sig line"},
		{"first.gen", "sig bob", "sig Bob", bad, 12, "member of a sig line"},
		{"first.gen", "sig bob", "sjg bob", bad, 12, "goes on"},
		{"first.gen", "sig bob", "!sig bob", newer, 12, "!sig"},

		// grants
		{"alice.grant", "member alice@laptop", "member alice/laptop", bad, 5, "may hold only"},
		{"alice.grant", "member alice@laptop", "member .alice", bad, 5, "begin"},
		{"alice.grant", "recipient age1", "recipient age1\u00e9", bad, 6, "printable"},
		{"alice.grant", "recipient age1", "recipient age1  x", bad, 6, "a space too many"},
		{"alice.grant", "recipient age1", "recipient " + long, bad, 6, "longer"},
		{"alice.grant", "recipient age1", "sealer x\nrecipient age1", bad, 7, `"by" must stand`},
		{"kms.grant", "sealer aws-kms arn", "sealer aws-kms  arn", bad, 6, "a space too many"},
		{"alice.grant", "BEGIN AGE ENCRYPTED FILE", "BEGIN ENVRUN WRAPPED KEY", bad, 10, "begins"},
		{"kms.grant", "BEGIN ENVRUN WRAPPED KEY", "BEGIN key", bad, 14, "begins"},
		{"alice.grant", "END AGE", "END OGE", bad, 13, "base64 in lines"},
		{"alice.grant", "-----END AGE ENCRYPTED FILE-----\n", "", bad, 12, "no end"},
		{"alice.grant", "FILE-----\nYWdl", "FILE-----\nYWd", bad, 11, "64 letters"},
		{"alice.grant", "FILE-----\nYWdl", "FILE-----\nYWdlY", bad, 11, "64 letters"},
		{"alice.grant", "xA==\n", "xA=\n", bad, 12, "64 letters"},
		{"alice.grant", "xA==\n", "xA==\n\n", bad, 13, "64 letters"},
		{"alice.grant", "END AGE ENCRYPTED FILE-----\n", "END AGE ENCRYPTED FILE-----\n\n", bad, 14, "goes on"},
		{"alice.grant", "END AGE ENCRYPTED FILE-----\n", "END AGE ENCRYPTED FILE-----\nx\n", bad, 14, "goes on"},
		{"alice.grant", "YWdl", "YW!l", bad, 11, "base64 in lines"},
		{"alice.grant", "YWdl", "Y=dl", bad, 11, "base64 in lines"},
		{"kms.grant", "AAAA\n", "", bad, 15, "base64 in lines"},
		{"kms.grant", "AAAA\n", "====\n", bad, 15, "base64 in lines"},
		{"alice.grant", "\nmac ", "\n<<<<<<< a\nmac ", merge, 9, "merge"},

		// seals
		{"prod.seal", "seq 41", "seq 40", bad, 6, `not before "seq"`},
		{"prod.seal", "prev 40 ", "prev 41 ", bad, 6, `not before "seq"`},
		{"prod.seal", "grant ci-github", "grant aa", bad, 10, "sorted by member"},
		{"prod.seal", "grant ci-github", "grant alice@laptop", bad, 10, "sorted by member"},
		{"prod.seal", "grant ci-github ", "grant ci-github 0", bad, 10, "16 hexadecimal digits"},
		{"prod.seal", "grant ci-github ", "grant CI ", bad, 10, "member"},
		{"prod.seal", "db/main 3", "billing/stripe 3", bad, 12, "sorted by path"},
		{"prod.seal", "db/main 3", "zz 3", bad, 13, "sorted by path"},
		{"prod.seal", "db/main 3", "db/Main 3", bad, 12, "path"},
		{"prod.seal", "db/main 3", "db/main 03", bad, 12, `"mac" must stand`},
		{"prod.seal", "db/main 3", "db/main 0", bad, 12, `"mac" must stand`},
		{"prod.seal", "db/main 3", "db/main 9223372036854775808", bad, 12, `"mac" must stand`},
		{"prod.seal", "db/main 3 ", "db/main ", bad, 12, `"mac" must stand`},
		{"prod.seal", "db/main 3 ", "db/main 3 A", bad, 12, `"mac" must stand`},
		{"prod.seal", " deleted\n", " deletet\n", bad, 13, `"mac" must stand`},
		{"prod.seal", " deleted\n", " deleted deleted\n", bad, 13, `"mac" must stand`},
		{"prod.seal", "db/main 3", "<<<<<<< HEAD\ndb/main 3", merge, 12, "merge"},
		{"names.seal", "owner team", "seq team", bad, 8, "twice"},

		// requests
		{"bob.req", "member bob@desktop", "member bob@@", bad, 4, "one @"},
		{"bob.req", "reason on call", "reason \u2066on call", bad, 6, "control"},
		{"bob.req", "recipient age1", "recipient", bad, 5, ""},
		{"ssh.req", "sig bob", "by bob", bad, 10, "goes on"},

		// exposed lists
		{"bob.list", "db/main 3", "db/main 03", bad, 11, "not a path and a version"},
		{"bob.list", "db/main 3", "db/main", bad, 11, "not a path and a version"},
		{"bob.list", "db/main 3", "SECRET=hunter2", bad, 11, "not a path and a version"},
		{"bob.list", "db/main 3", "Db/main 3", bad, 11, "path"},
		{"bob.list", "db/main 3", "aa 3", bad, 11, "sorted"},
		{"bob.list", "billing/stripe 7", "billing/stripe 6", bad, 10, "sorted"},
		{"bob.list", "since 2025", "since 25", bad, 6, "is not a time"},
		{"names.list", "owner team", "mac team", bad, 9, "twice"},

		// vault.toml
		{"vault.toml", "format = 1", "format = 2", newer, 1, "one that reads format 2"},
		{"vault.toml", "format = 1", "format = 2\n}}}}", newer, 1, "format 2"},
		{"vault.toml", "format = 1", "format = \"1\"", bad, 1, `"format"`},
		{"vault.toml", "format = 1", "format = 01", bad, 1, `"format"`},
		{"vault.toml", "format = 1", "format = 1\nformat = 1", bad, 2, "twice"},
		{"vault.toml", "format = 1\n", "", bad, 1, "must come first"},
		{"vault.toml", "vault  = \"", "vault  = \"x\"\nvault = \"", bad, 2, "vault's id"},
		{"vault.toml", "\"\n", "\"\nvault = \"v_0\"\n", bad, 3, "twice"},
		{"vault.toml", "vault  = \"v_", "vault  = v_", bad, 2, "quotation marks"},
		{"vault.toml", "c8\"", "c8", bad, 2, "quotation marks"},
		{"vault.toml", "c8\"", "c8\" x", bad, 2, "quotation marks"},
		{"vault.toml", "c8\"", "c8\\u0041\"", bad, 2, "vault's id"},
		{"vault.toml", "\"\n", "\"\nverify = false\n", bad, 3, "not known"},
		{"vault.toml", "\"\n", "\"\n[table]\n", bad, 3, "not a key and a value"},
		{"vault.toml", "\"\n", "\"\nhunter2\n", bad, 3, "not a key and a value"},
		{"vault.toml", "\"\n", "\"\n# \x1b[2J\n", bad, 3, "control"},
		{"vault.toml", "format = 1", "<<<<<<< HEAD\nformat = 1", merge, 1, "merge"},
		{"vault.toml", "vault  = \"" + vaultID + "\"\n", "", bad, 0, `"vault" is missing`},
	} {
		raw := string(stored(t, e.file))
		if !strings.Contains(raw, e.old) {
			t.Errorf("%s has no %q", e.file, e.old)
			continue
		}
		raw = strings.Replace(raw, e.old, e.new, 1)
		_, err := parse(kindOf(e.file), []byte(raw))
		if err == nil {
			t.Errorf("%s: %q for %q is taken", e.file, e.new, e.old)
			continue
		}
		got := errorOf(t, err)
		if got.Kind != e.kind || got.Line != e.line || !strings.Contains(got.Detail, e.says) {
			t.Errorf("%s: %.60q for %q:\n%v, line %d: %s, not\n%v, line %d: %s", e.file, e.new, e.old, got.Kind, got.Line, got.Detail, e.kind, e.line, e.says)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats the line: %v", e.file, err)
		}
	}
}

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestManifestForms(t *testing.T) {
	for _, raw := range []string{
		"format=1\nvault=\"v_0\"",
		"# a comment\n\n  format\t= 1   # one\n\tvault =\"v_0\" # the id\n\n# the end\n",
		"format = 1\r\nvault = \"v_0\"\r\n",
		"format = 1#\nvault = \"v_0\"#\n",
	} {
		m, err := record.ParseManifest([]byte(raw))
		if err != nil || *m != (record.Manifest{Format: 1, Vault: "v_0"}) {
			t.Errorf("%q: %+v %v", raw, m, err)
		}
	}
	if _, err := record.ParseManifest(make([]byte, record.MaxManifest+1)); vault.KindOf(err) != vault.KindMalformed {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	r := typical()
	fields := func(n int) []record.Field {
		var all []record.Field
		for i := range n {
			all = append(all, record.Field{Name: vault.FieldName(fmt.Sprintf("F%03d", i)), Since: 1, Sealed: fill(92, 1)})
		}
		return all
	}
	r.Fields = fields(vault.MaxFields)
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	r.Fields = fields(vault.MaxFields + 1)
	wantInvalid(t, r.Check(), "fields")
	r.Fields = []record.Field{{Name: "F", Since: 1, Sealed: make([]byte, 1<<20+4096+28)}}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	r.Fields[0].Sealed = make([]byte, 1<<20+4096+29)
	wantInvalid(t, r.Check(), "bytes")
	r.Fields = append([]record.Field{{Name: "E", Since: 1, Sealed: make([]byte, 1<<20)}}, record.Field{Name: "F", Since: 1, Sealed: make([]byte, 1<<20)})
	wantInvalid(t, r.Check(), "at most 2097152")

	s := large(record.MaxSealLines - 2) // and two grants
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if _, err := record.SplitSeal(s.Marshal()); err != nil {
		t.Error(err)
	}
	s = large(record.MaxSealLines - 1)
	wantInvalid(t, s.Check(), "20000 lines")
	s.Entries, s.Grants = nil, nil
	for i := range record.MaxSealLines + 1 {
		s.Grants = append(s.Grants, record.SealedGrant{Member: fmt.Sprintf("m%05d", i)})
	}
	wantInvalid(t, s.Check(), "20000 lines")

	x := &record.Exposed{Vault: vaultID, Env: "prod", Member: "bob", Gen: 1, By: "alice", Since: morning, At: morning}
	for i := range record.MaxExposed + 1 {
		x.Entries = append(x.Entries, record.ExposedEntry{Path: "a", Version: uint64(i + 1)})
	}
	wantInvalid(t, x.Check(), "100000")
	x.Entries = x.Entries[:record.MaxExposed]
	if err := x.Check(); err != nil {
		t.Error(err)
	}

	// Nothing is read of what is too large.
	for kind, max := range map[string]int{
		"sec": record.MaxRecordSize, "gen": record.MaxGenSize, "grant": record.MaxGrantSize, "seal": record.MaxSealSize,
		"req": record.MaxRequestSize, "list": record.MaxExposedSize, "toml": record.MaxManifest,
	} {
		_, err := parse(kind, make([]byte, max+1))
		if e := errorOf(t, err); e.Kind != vault.KindMalformed || !strings.Contains(e.Detail, fmt.Sprintf("%d bytes", max+1)) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := record.SplitSeal(make([]byte, record.MaxSealSize+1)); vault.KindOf(err) != vault.KindMalformed {
		t.Error(err)
	}
}

func wantInvalid(t testing.TB, err error, says string) {
	t.Helper()
	if vault.KindOf(err) != vault.KindInvalid || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, not KindInvalid with %q", err, says)
	}
}

// What a struct holds can be more than a file can say: Check says so, and
// Marshal hands nothing out.
func TestCheck(t *testing.T) {
	sec := func(change func(r *record.Record)) file { r := typical(); change(r); return r }
	seal := func(change func(s *record.Seal)) file { s := large(3); change(s); return s }
	gen := func(change func(g *record.Gen)) file { g := good()["third.gen"].(*record.Gen); change(g); return g }
	grant := func(change func(g *record.Grant)) file {
		g := good()["alice.grant"].(*record.Grant)
		change(g)
		return g
	}
	req := func(change func(r *record.Request)) file {
		r := good()["bob.req"].(*record.Request)
		change(r)
		return r
	}
	list := func(change func(x *record.Exposed)) file {
		x := good()["bob.list"].(*record.Exposed)
		change(x)
		return x
	}
	for name, f := range map[string]file{
		"nothing":                   &record.Record{},
		"a line in a note":          sec(func(r *record.Record) { r.Note = "x\nzz smuggled" }),
		"a field in a note":         sec(func(r *record.Record) { r.Note += "\n= A 1 " + strings.Repeat("A", 124) }),
		"a CR in a note":            sec(func(r *record.Record) { r.Note = "x\r" }),
		"a space behind a note":     sec(func(r *record.Record) { r.Note = "x " }),
		"a tag of two words":        sec(func(r *record.Record) { r.Tags = []string{"a b"} }),
		"an empty tag":              sec(func(r *record.Record) { r.Tags = []string{""} }),
		"a line in a tag":           sec(func(r *record.Record) { r.Tags = []string{"a\nnote", "x"}; r.Note = "" }),
		"a header of ours":          sec(func(r *record.Record) { r.Note = ""; r.Extra = []record.Header{{"note", "x"}} }),
		"a header that stops":       sec(func(r *record.Record) { r.Extra = []record.Header{{"deleted", "x"}} }),
		"a header to understand":    sec(func(r *record.Record) { r.Extra = []record.Header{{"!x", "x"}} }),
		"a header without value":    sec(func(r *record.Record) { r.Extra = []record.Header{{"x", ""}} }),
		"a path of another form":    sec(func(r *record.Record) { r.Path = "A" }),
		"a line in a path":          sec(func(r *record.Record) { r.Path = "a\nversion 7"; r.Version = 7 }),
		"an environment":            sec(func(r *record.Record) { r.Env = "" }),
		"no version":                sec(func(r *record.Record) { r.Version = 0 }),
		"no former version":         sec(func(r *record.Record) { r.PrevVersion, r.PrevHash = 0, record.Hash{} }),
		"a hash of no version":      sec(func(r *record.Record) { r.PrevVersion = 0 }),
		"a former version of first": sec(func(r *record.Record) { r.Version = 1 }),
		"a tombstone with fields":   sec(func(r *record.Record) { r.Deleted = true }),
		"fields out of order":       sec(func(r *record.Record) { r.Fields[0], r.Fields[1] = r.Fields[1], r.Fields[0] }),
		"a field from later":        sec(func(r *record.Record) { r.Fields[0].Since = 8 }),
		"a field of nothing":        sec(func(r *record.Record) { r.Fields[0].Sealed = nil }),
		"no MAC":                    sec(func(r *record.Record) { r.MAC = nil }),
		"no key":                    sec(func(r *record.Record) { r.Key = nil }),
		"no generation":             sec(func(r *record.Record) { r.Gen = 0 }),
		"a year too far":            sec(func(r *record.Record) { r.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		"a rotation of hours":       sec(func(r *record.Record) { r.Rotate = "3h" }),
		"entries out of order":      seal(func(s *record.Seal) { s.Entries[0], s.Entries[1] = s.Entries[1], s.Entries[0] }),
		"grants out of order":       seal(func(s *record.Seal) { s.Grants[0], s.Grants[1] = s.Grants[1], s.Grants[0] }),
		"an entry as a header":      seal(func(s *record.Seal) { s.Extra = []record.Header{{"a", "3 " + strings.Repeat("0", 32)}} }),
		"a grant as a header":       seal(func(s *record.Seal) { s.Extra = []record.Header{{"grant", "a " + strings.Repeat("0", 16)}} }),
		"a version of zero":         seal(func(s *record.Seal) { s.Entries[0].Version = 0 }),
		"a seal without MAC":        seal(func(s *record.Seal) { s.MAC = nil }),
		"a chain in the first":      gen(func(g *record.Gen) { g.Gen, g.After = 1, 0 }),
		"no chain in the third":     gen(func(g *record.Gen) { g.After, g.Chain = 0, nil }),
		"no fingerprint":            gen(func(g *record.Gen) { g.Fingerprint = "" }),
		"a line in a why":           gen(func(g *record.Gen) { g.Why = "x\nfp 0" }),
		"a sig that is no sig":      gen(func(g *record.Gen) { g.Sigs = []record.Sig{{"alice", "a b", "c"}} }),
		"sigs out of order":         gen(func(g *record.Gen) { g.Sigs = []record.Sig{{"b", "x", "y"}, {"a", "x", "y"}} }),
		"both":                      grant(func(g *record.Grant) { g.Sealer = "x" }),
		"neither":                   grant(func(g *record.Grant) { g.Recipient = "" }),
		"nothing wrapped":           grant(func(g *record.Grant) { g.Wrapped = nil }),
		"wrapped in no armor":       grant(func(g *record.Grant) { g.Wrapped = []byte("x\n") }),
		"wrapped without newline":   grant(func(g *record.Grant) { g.Wrapped = bytes.TrimSpace(g.Wrapped) }),
		"wrapped with CR":           grant(func(g *record.Grant) { g.Wrapped = crlf(g.Wrapped) }),
		"nobody":                    req(func(r *record.Request) { r.Member = "" }),
		"no recipient":              req(func(r *record.Request) { r.Recipient = "" }),
		"a line in a reason":        req(func(r *record.Request) { r.Reason = "x\nat 2026-02-11T10:02:11Z" }),
		"a version of none":         list(func(x *record.Exposed) { x.Entries[0].Version = 0 }),
		"an entry as a header 2":    list(func(x *record.Exposed) { x.Extra = []record.Header{{"a", "3"}} }),
		"another format":            &record.Manifest{Format: 2, Vault: vaultID},
		"no id":                     &record.Manifest{Format: 1},
		"more than an id":           &record.Manifest{Format: 1, Vault: "v_0\"\nx = \""},
	} {
		if err := f.Check(); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%s: %v", name, err)
			continue
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: is marshalled", name)
				}
			}()
			f.Marshal()
		}()
		if e, ok := f.(encoder); ok {
			if raw, err := e.Encode(); vault.KindOf(err) != vault.KindInvalid || raw != nil {
				t.Errorf("%s: is encoded: %q, %v", name, raw, err)
			}
		}
	}
	for name, f := range good() {
		if e, ok := f.(encoder); ok {
			if raw, err := e.Encode(); err != nil || !bytes.Equal(raw, f.Marshal()) {
				t.Errorf("%s: is encoded as %q: %v", name, raw, err)
			}
		}
	}

	// Times are written as UTC, without what is less than a second; empty lists as none.
	r := typical()
	r.At = r.At.Add(time.Second / 2).In(time.FixedZone("", 3600))
	r.Extra, r.Tags = []record.Header{}, []string{}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	if !bytes.Contains(r.Marshal(), []byte("\nat 2026-02-11T09:14:03Z\n")) {
		t.Errorf("%s", r.Marshal())
	}
}

func TestChecksOfParts(t *testing.T) {
	for _, s := range []string{"alice@laptop", "a", "0", "a@", "ci-github", "a..b", strings.Repeat("a", 64)} {
		if err := record.CheckMember(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", ".", "..", "-a", "_a", "@", "A", "a/b", `a\b`, "a@b@", "a b", "a\n", "é", strings.Repeat("a", 65)} {
		wantInvalid(t, record.CheckMember(s), "member id")
	}
	for _, s := range []string{"", "live keys", "ключ", "a  b"} {
		if err := record.CheckNote(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{" ", " a", "a\nb", "a\x00", strings.Repeat("a", 1025)} {
		wantInvalid(t, record.CheckNote(s), "note")
	}
	for _, s := range []string{"", "1d", "90d", "12w", "6m", "99999y"} {
		if err := record.CheckRotate(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"d", "0d", "1", "1h", "-1d", "1.5d", "100000d"} {
		wantInvalid(t, record.CheckRotate(s), "rotate")
	}
	if err := record.CheckTags([]string{"a", "B", "team:x/y_z-1.2"}); err != nil {
		t.Error(err)
	}
	for _, s := range [][]string{{""}, {"a", "a"}, {"-a"}, {"a b"}, {"é"}} {
		wantInvalid(t, record.CheckTags(s), "tag")
	}
	if err := record.CheckVaultID(vaultID); err != nil {
		t.Error(err)
	}
	wantInvalid(t, record.CheckVaultID("5f3c"), "vault")
	h := record.Hash(fill(16, 1))
	if got, err := record.ParseHash(h.String()); err != nil || got != h || h.Short().String() != h.String()[:16] {
		t.Error(got, err)
	}
	for _, s := range []string{"", h.String()[:31], h.String() + "0", strings.ToUpper(h.String()), strings.Repeat("g", 32)} {
		_, err := record.ParseHash(s)
		wantInvalid(t, err, "hash")
	}
}

func TestLookupSeal(t *testing.T) {
	for _, s := range []*record.Seal{large(0), large(1), large(2), large(101), large(1000), good()["names.seal"].(*record.Seal), good()["prev.seal"].(*record.Seal), good()["empty.seal"].(*record.Seal)} {
		raw := s.Marshal()
		for _, raw := range [][]byte{raw, crlf(raw)} {
			v, err := record.SplitSeal(raw)
			if err != nil {
				t.Fatal(err)
			}
			head := *s
			head.Entries = nil
			if !reflect.DeepEqual(v.Head, head) {
				t.Errorf("the head is %+v, not %+v", v.Head, head)
			}
			if !bytes.Equal(v.MACInput(), s.MACInput()) {
				t.Error("the text above the MAC is another")
			}
			for _, e := range s.Entries {
				got, ok, err := v.Lookup(e.Path)
				if err != nil || !ok || got != e {
					t.Fatalf("%s: %+v %v %v", e.Path, got, ok, err)
				}
				for _, near := range []vault.Path{e.Path + "0", e.Path[:len(e.Path)-1], e.Path + "/a", "a", "zz", ""} {
					want := false
					for _, o := range s.Entries {
						want = want || o.Path == near
					}
					if got, ok, err := v.Lookup(near); err != nil || ok != want {
						t.Fatalf("%s: %+v %v %v", near, got, ok, err)
					}
				}
			}
			if got, ok, err := record.LookupSeal(raw, "no/such"); err != nil || ok {
				t.Errorf("%+v %v", got, err)
			}
		}
	}
}

func TestSplitSealRefuses(t *testing.T) {
	raw := string(large(3).Marshal())
	for _, bad := range []string{
		"", "\n", raw[:len(raw)-1], strings.Replace(raw, "v1", "v2", 1), strings.Replace(raw, "\nby ", "\n<<<<<<< HEAD\nby ", 1),
		strings.Replace(raw, "\nmac ", "\nmac A", 1), raw + "x\n", strings.Replace(raw, "gen 3", "gen 03", 1), "\nmac 3 9f86d081884c7d659a2feaa0c55ad015\n",
		strings.Replace(raw, "\nmac ", "\nx\nmac", 1), "\x00\nmac A\n",
	} {
		if v, err := record.SplitSeal([]byte(bad)); err == nil {
			t.Errorf("%q is taken: %+v", bad, v)
		} else {
			errorOf(t, err)
		}
	}
	_, err := record.SplitSeal([]byte(strings.Replace(raw, "\nmac ", "\nmac A", 1)))
	if e := errorOf(t, err); e.Line != 1+strings.Count(raw[:strings.Index(raw, "\nmac ")+1], "\n") {
		t.Errorf("line %d", e.Line)
	}
}

// The hot paths take a fixed number of pieces of memory.
func TestAllocations(t *testing.T) {
	sec, seal := typical().Marshal(), large(10_000)
	v, err := record.SplitSeal(seal.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	raw := seal.Marshal()
	for _, c := range []struct {
		name string
		most float64
		f    func()
	}{
		{"ParseRecord", 7, func() { _, _ = record.ParseRecord(sec) }},
		{"ParseHeader", 7, func() { _, _, _ = record.ParseHeader(sec) }},
		{"AboveMAC", 0, func() { _, _ = record.AboveMAC(sec) }},
		{"BodyHash", 0, func() { _, _ = record.BodyHash(sec) }},
		{"ParseSeal", 10, func() { _, _ = record.ParseSeal(raw) }},
		{"SplitSeal", 12, func() { _, _ = record.SplitSeal(raw) }},
		{"Lookup", 0, func() { _, _, _ = v.Lookup("team-050/service-05000") }},
	} {
		if n := testing.AllocsPerRun(20, c.f); n > c.most {
			t.Errorf("%s allocates %v times, more than %v", c.name, n, c.most)
		}
	}
}
