package agekey_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"envrun/auth/agekey"
)

// Identities that open nothing.
const (
	classic          = "AGE-SECRET-KEY-184JMZMVQH3E6U0PSL869004Y3U2NYV7R30EU99CSEDNPH02YUVFSZW44VU" // of age's documentation
	classicRecipient = "age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqm"
	unknown          = "AGE-SECRET-KEY-NEXT-1QQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQ"
)

var pluginLine = plugin.EncodeIdentity("envruntest", []byte("0123456789abcdef"))

func hybrid(t testing.TB) *agekey.Identity {
	t.Helper()
	id, err := agekey.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func parse(t testing.TB, text string) *agekey.Identity {
	t.Helper()
	id, err := agekey.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func seal(t testing.TB, recipient, text string) []byte {
	t.Helper()
	r, err := agekey.ParseRecipient(recipient)
	if err != nil {
		t.Fatal(err)
	}
	return sealTo(t, r, text)
}

func sealing(r age.Recipient, text string) ([]byte, error) {
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r)
	if err != nil {
		return nil, err
	}
	_, _ = io.WriteString(w, text)
	err = w.Close()
	return b.Bytes(), err
}

func open(id *agekey.Identity, sealed []byte) (string, error) {
	return decryptWith(id.Unwrap()[0], sealed, id.Unwrap()[1:]...)
}

func decryptWith(id age.Identity, sealed []byte, more ...age.Identity) (string, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), append([]age.Identity{id}, more...)...)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestGenerate(t *testing.T) {
	a, b := hybrid(t), hybrid(t)
	if !a.PostQuantum() || !strings.HasPrefix(a.Recipient(), "age1pq1") || !strings.HasPrefix(a.Reveal(), "AGE-SECRET-KEY-PQ-1") {
		t.Errorf("recipient %.20s…", a.Recipient())
	}
	if a.Reveal() == b.Reveal() || a.Recipient() == b.Recipient() {
		t.Error("two identities are the same")
	}
	sealed := seal(t, a.Recipient(), "text")
	if got, err := open(a, sealed); err != nil || got != "text" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := open(b, sealed); err == nil {
		t.Error("another identity opens it")
	}
	again := parse(t, a.Reveal())
	if got, err := open(again, sealed); err != nil || got != "text" || again.Recipient() != a.Recipient() {
		t.Errorf("read again: %q, %v", got, err)
	}
}

func TestParse(t *testing.T) {
	pq := hybrid(t)
	for _, test := range []struct {
		name, text string
		recipient  string
		reveal     string
		keys, skip int
	}{
		{"classic", classic, classicRecipient, classic, 1, 0},
		{"hybrid", pq.Reveal(), pq.Recipient(), pq.Reveal(), 1, 0},
		{"as age-keygen writes", "# created: 2026-02-11T09:14:03Z\n# public key: " + classicRecipient + "\n" + classic + "\n", classicRecipient, classic, 1, 0},
		{"Windows line ends", "# x\r\n\r\n" + classic + "\r\n", classicRecipient, classic, 1, 0},
		{"blanks around", "\n  \n\t" + classic + "  \n\n", classicRecipient, classic, 1, 0},
		{"several, the first counts", classic + "\n" + pq.Reveal() + "\n", classicRecipient, classic + "\n" + pq.Reveal(), 2, 0},
		{"a wrong comment is a comment", "# public key: age1other\n" + classic, classicRecipient, classic, 1, 0},
		{"unknown kind beside a known one", unknown + "\n" + classic, classicRecipient, unknown + "\n" + classic, 1, 1},
		{"plugin", pluginLine, "", pluginLine, 1, 0},
		{"plugin with its recipient", "#    Recipient: age1envruntest1abc\n" + pluginLine, "age1envruntest1abc",
			"# recipient: age1envruntest1abc\n" + pluginLine, 1, 0},
		{"plugin with a public key", "# public key: age1abc\n#\n" + pluginLine, "age1abc", "# recipient: age1abc\n" + pluginLine, 1, 0},
		{"the comment belongs to one line", "# recipient: age1abc\n" + pluginLine + "\n" + pluginLine, "age1abc",
			"# recipient: age1abc\n" + pluginLine + "\n" + pluginLine, 2, 0},
		{"plugin, then a known kind", pluginLine + "\n" + classic, classicRecipient, pluginLine + "\n" + classic, 2, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := parse(t, test.text)
			if id.Recipient() != test.recipient {
				t.Errorf("recipient %q, want %q", id.Recipient(), test.recipient)
			}
			if id.Reveal() != test.reveal {
				t.Error("what it reveals is not what it was made of")
			}
			if n := len(id.Unwrap()); n != test.keys || id.Skipped() != test.skip {
				t.Errorf("%d keys, %d skipped", n, id.Skipped())
			}
			again := parse(t, id.Reveal())
			if again.Reveal() != id.Reveal() || again.Recipient() != id.Recipient() {
				t.Error("changes when it is read again")
			}
			exported := parse(t, id.ExportText(agekey.Facts{Member: "alice@laptop", Created: time.Now()}))
			if exported.Reveal() != id.Reveal() || exported.Recipient() != id.Recipient() {
				t.Error("changes when it is exported")
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	pq := hybrid(t).Reveal()
	for _, test := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"nothing", "", 0, "no identity"},
		{"comments only", "# a\n\n", 0, "no identity"},
		{"unknown kinds only", unknown, 0, "does not know"},
		{"cut short", classic[:len(classic)-1], 1, "cut short"},
		{"hybrid cut short", "\n" + pq[:40], 2, "cut short"},
		{"mistyped", strings.Replace(classic, "JMZ", "JMX", 1), 1, "mistyped"},
		{"small letters", strings.ToLower(classic), 1, "capital letters"},
		{"a recipient", "# x\n" + classicRecipient, 2, "public"},
		{"SSH", "# x\nssh-ed25519 AAAA", 2, "SSH public key"},
		{"a key without an end", "\n-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n", 2, "cut short"},
		{"a bad plugin", "AGE-PLUGIN-X-1QQ", 1, "AGE-PLUGIN-"},
		{"words", classic + "\nhello", 2, "neither"},
		{"two on one line", classic + " " + classic, 1, "cut short"},
		{"not text", classic + "\n\xff", 0, "UTF-8"},
		{"huge", strings.Repeat("#\n", agekey.MaxText), 0, "longer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := agekey.Parse(test.text)
			var bad *agekey.ParseError
			if !errors.As(err, &bad) || bad.Line != test.line || !strings.Contains(bad.Reason, test.want) {
				t.Fatalf("got %v, want line %d, %q", err, test.line, test.want)
			}
			// An error goes to logs: not a piece of a key may be in it.
			quoted := strings.NewReplacer("AGE-SECRET-KEY-PQ-1", "", "AGE-SECRET-KEY-1", "", "AGE-PLUGIN-", "").Replace(err.Error())
			for i := 0; i+6 <= len(test.text); i++ {
				if piece := test.text[i : i+6]; piece == strings.ToUpper(piece) && strings.Contains(strings.ToUpper(quoted), piece) {
					t.Errorf("%q quotes %q", err, piece)
				}
			}
		})
	}
	for _, text := range []string{"-----BEGIN AGE ENCRYPTED FILE-----\nabc", "\nage-encryption.org/v1\n"} {
		if _, err := agekey.Parse(text); !errors.Is(err, agekey.ErrProtected) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMasked(t *testing.T) {
	id := parse(t, classic)
	_, ci, err := agekey.ParseKey("envrun-ci-1:v_1:prod:FP:" + classic)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "id", id, "ci", *ci, "pointer", ci, "in", struct{ ID *agekey.Identity }{id})
	printed := log.String()
	for _, v := range []any{id, *id, ci, *ci, []any{id, *ci}, struct{ ID *agekey.Identity }{id},
		struct{ id agekey.Identity }{*id}, &struct{ ci agekey.CIKey }{*ci}, map[string]agekey.CIKey{"a": *ci}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
			printed += fmt.Sprintf(verb, v)
		}
		printed += fmt.Sprintln(v, struct{ unexported any }{v})
		if b, err := json.Marshal(v); err == nil {
			printed += string(b)
		}
	}
	for _, part := range []string{"184JMZ", "SZW44VU", "31383"} {
		if strings.Contains(printed, part) {
			t.Errorf("%q shows in %s", part, printed)
		}
	}
	if got := fmt.Sprint(id); got != "[identity]" {
		t.Errorf("prints as %q", got)
	}
	if got := fmt.Sprint(ci); got != "envrun-ci-1:v_1:prod:FP:[identity]" {
		t.Errorf("prints as %q", got)
	}
	for _, v := range []any{id, *id, ci, *ci} {
		if b, err := json.Marshal(v); err == nil {
			t.Errorf("%T was marshalled: %s", v, b)
		}
		if _, err := v.(encoding.TextMarshaler).MarshalText(); err == nil {
			t.Errorf("%T gives text", v)
		}
		if _, err := v.(encoding.BinaryMarshaler).MarshalBinary(); err == nil {
			t.Errorf("%T gives bytes", v)
		}
	}
}

func TestParseKey(t *testing.T) {
	pq := hybrid(t)
	for _, s := range []string{pq.Reveal(), "  " + pq.Reveal() + "\n", pq.ExportText(agekey.Facts{Member: "ci"}), pluginLine} {
		id, ci, err := agekey.ParseKey(s)
		if err != nil || ci != nil || id.Reveal() != strings.TrimSpace(id.Reveal()) {
			t.Errorf("%v", err)
		}
	}
	const fp = "7QMX-2K4D-9TRW-XB5N"
	s := "envrun-ci-1:v_5f3c1d9a7b20e4c8:prod:" + fp + ":" + pq.Reveal()
	id, ci, err := agekey.ParseKey(s + "\n")
	if err != nil || ci == nil || ci.Vault != "v_5f3c1d9a7b20e4c8" || ci.Env != "prod" || ci.Fingerprint != fp ||
		ci.Identity.Reveal() != pq.Reveal() || id.Reveal() != pq.Reveal() {
		t.Fatalf("got %v, %v", ci, err)
	}
	if ci.Reveal() != s {
		t.Error("does not give back what it was made of")
	}

	for _, test := range []struct{ s, want string }{
		{"", "empty"},
		{" \n", "empty"},
		{"hunter2-hunter2", "neither"},
		{"envrun-ci-2:v:e:f:" + classic, "newer"},
		{"envrun-ci-1", "newer"},
		{"envrun-ci-1:", "form"},
		{"envrun-ci-1:v:e:" + classic, "form"},
		{"envrun-ci-1::e:f:" + classic, "vault"},
		{"envrun-ci-1:v:e e:f:" + classic, "environment"},
		{"envrun-ci-1:v:e:f/f:" + classic, "fingerprint"},
		{"envrun-ci-1:v:e:f:", "no identity"},
		{"envrun-ci-1:v:e:f:" + classic[:60], "cut short"},
		{"envrun-ci-1:v:e:f:" + classic + "\n" + classic, "one line"},
		{"envrun-ci-1:v:e:f:" + unknown, "does not know"},
		{"envrun-ci-1:v:e:f:# recipient: age1x", "no identity"},
	} {
		_, _, err := agekey.ParseKey(test.s)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.s, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "184JMZ")) {
			t.Errorf("%q quotes the key", err)
		}
	}
}

func TestParseRecipient(t *testing.T) {
	pq := hybrid(t)
	const ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice"
	// Hardware keys: their recipients need no plugin.
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := p256.PublicKey().Bytes()
	tagged := plugin.EncodeRecipient("tag", append([]byte{2 + point[64]&1}, point[1:33]...))
	mlkem, err := mlkem.GenerateKey768()
	if err != nil {
		t.Fatal(err)
	}
	taggedPQ := plugin.EncodeRecipient("tagpq", append(mlkem.EncapsulationKey().Bytes(), point...))
	if !agekey.PostQuantum(taggedPQ) || agekey.PostQuantum(tagged) {
		t.Error("post-quantum is said wrongly")
	}
	for _, s := range []string{classicRecipient, pq.Recipient(), " " + classicRecipient + "\n", ssh, tagged, taggedPQ} {
		if r, err := agekey.ParseRecipient(s); err != nil || r == nil {
			t.Errorf("%.30s: %v", s, err)
		}
	}
	hw := plugin.EncodeRecipient("yubikey", []byte("0123456789abcdef0123456789abcdef0"))
	for _, test := range []struct{ s, want, plugin string }{
		{"", "no recipient", ""},
		{"alice", "no recipient", ""},
		{hw, "age-plugin-yubikey", "yubikey"},
		{hw[:len(hw)-1], "cut short", ""},
		{classicRecipient[:50], "cut short", ""},
		{pq.Recipient()[:500], "cut short", ""},
		{tagged[:20], "cut short", ""},
		{taggedPQ[:200], "cut short", ""},
		{"ssh-rsa AAAA", "ssh-ed25519", ""},
		{"ecdsa-sha2-nistp256 AAAA", "ssh-ed25519", ""},
		{"sk-ssh-ed25519@openssh.com AAAA", "ssh-ed25519", ""},
		{"ssh-ed25519 AAAA", "cut short", ""},
		{classic, "secret", ""},
		{"-----BEGIN OPENSSH PRIVATE KEY-----", "secret", ""},
	} {
		_, err := agekey.ParseRecipient(test.s)
		var bad *agekey.RecipientError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, test.want) || bad.Plugin != test.plugin {
			t.Errorf("%.30q: got %v, want %q", test.s, err, test.want)
		}
	}
	if !agekey.PostQuantum(pq.Recipient()) || agekey.PostQuantum(classicRecipient) || agekey.PostQuantum("") {
		t.Error("post-quantum is said wrongly")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{classic, "# created: x\n" + classic + "\n", unknown + "\n" + classic, "# recipient: age1x\n" + pluginLine + "\r\n",
		hybrid(f).Reveal(), "AGE-SECRET-KEY-1", "-----BEGIN AGE ENCRYPTED FILE-----", "\xff",
		sshKey(f), "# x\r\n" + strings.ReplaceAll(sshKey(f), "\n", "\r\n") + "\r\n" + classic, sshKey(f) + "\n" + sshKey(f), lockedSSHKey(f, "one"),
		"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := agekey.Parse(text)
		if err != nil {
			return
		}
		again, err := agekey.Parse(id.Reveal())
		if err != nil || again.Reveal() != id.Reveal() || again.Recipient() != id.Recipient() || again.Skipped() != id.Skipped() {
			t.Fatalf("changes when it is read again: %v", err)
		}
		if len(id.Unwrap()) == 0 {
			t.Fatal("opens nothing")
		}
		exported, err := agekey.Parse(id.ExportText(agekey.Facts{Member: "m", Created: time.Unix(1, 0)}))
		if err != nil || exported.Reveal() != id.Reveal() || exported.Recipient() != id.Recipient() {
			t.Fatalf("changes when it is exported: %v", err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{classic, "envrun-ci-1:v_1:prod:7QMX-2K4D-9TRW-XB5N:" + classic, "envrun-ci-1:::", "envrun-ci-9:", " " + classic,
		"envrun-ci-1:a:b:c:" + pluginLine, sshKey(f), "envrun-ci-1:a:b:c:" + sshKey(f)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ci, err := agekey.ParseKey(s)
		switch {
		case err != nil:
			if id != nil || ci != nil {
				t.Fatal("an error and a key")
			}
		case ci != nil:
			if ci.Reveal() != strings.TrimSpace(s) {
				// Blanks may stand around the identity in it.
				id2, ci2, err := agekey.ParseKey(ci.Reveal())
				if err != nil || ci2.Reveal() != ci.Reveal() || id2.Reveal() != id.Reveal() {
					t.Fatalf("changes when it is read again: %v", err)
				}
			}
		}
	})
}
