package agekey_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"envrun/auth/agekey"
)

// marshalSSH is a private key as ssh-keygen writes it.
func marshalSSH(t testing.TB, private crypto.PrivateKey, passphrase string) string {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "bob@laptop")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "bob@laptop", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(pem.EncodeToMemory(block)))
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func sshKey(t testing.TB) string { return marshalSSH(t, newEd25519(t), "") }

func lockedSSHKey(t testing.TB, passphrase string) string {
	return marshalSSH(t, newEd25519(t), passphrase)
}

// keygen runs ssh-keygen and returns the private key and the public one.
func keygen(t *testing.T, args ...string) (private, public string) {
	t.Helper()
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("suite ssh-keygen skipped: no ssh-keygen here")
	}
	file := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command(program, append([]string{"-q", "-C", "bob@laptop", "-f", file}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %q: %v: %s", args, err, out)
	}
	a, err1 := os.ReadFile(file)
	b, err2 := os.ReadFile(file + ".pub")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return string(a), strings.TrimSpace(string(b))
}

func TestSSHKeygen(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		pass string
	}{
		{"without a passphrase", []string{"-t", "ed25519", "-N", ""}, ""},
		{"with one", []string{"-t", "ed25519", "-N", "correct horse"}, "correct horse"},
		{"with one of many rounds", []string{"-t", "ed25519", "-N", "x y z", "-a", "20"}, "x y z"},
		{"in another cipher", []string{"-t", "ed25519", "-N", "abcde", "-Z", "aes256-cbc"}, "abcde"},
	} {
		t.Run(test.name, func(t *testing.T) {
			private, public := keygen(t, test.args...)
			var id *agekey.Identity
			if test.pass == "" {
				id = parse(t, private)
			} else {
				if _, err := agekey.Parse(private); !errors.Is(err, agekey.ErrProtected) {
					t.Fatalf("without its passphrase: %v", err)
				}
				for _, wrong := range []string{"", "wrong"} {
					if _, err := agekey.ParseProtected(private, []byte(wrong)); !errors.Is(err, agekey.ErrPassphrase) {
						t.Fatalf("with the passphrase %q: %v", wrong, err)
					}
				}
				var err error
				if id, err = agekey.ParseProtected(private, []byte(test.pass)); err != nil {
					t.Fatal(err)
				}
			}
			recipient := strings.TrimSuffix(public, " bob@laptop")
			if id.Recipient() != recipient || agekey.CanonicalRecipient(" "+public+"\n") != recipient || id.PostQuantum() {
				t.Errorf("recipient %q, want %q", id.Recipient(), recipient)
			}
			if text := id.Reveal(); !strings.HasPrefix(text, "-----BEGIN OPENSSH PRIVATE KEY-----\n") || !strings.HasSuffix(text, "\n-----END OPENSSH PRIVATE KEY-----") {
				t.Error("what it reveals is no SSH key")
			}
			if parse(t, id.Reveal()).Reveal() != id.Reveal() {
				t.Error("changes when it is read again")
			}

			// It opens what age seals to the public key, and age opens with it
			// what was sealed here.
			theirs, err := agessh.ParseRecipient(public)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := open(id, sealTo(t, theirs, "from age")); err != nil || got != "from age" {
				t.Errorf("got %q, %v", got, err)
			}
			exported := id.ExportText(agekey.Facts{Member: "bob@laptop", Created: created})
			ageIdentity, err := agessh.ParseIdentity([]byte(exported))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decryptWith(ageIdentity, seal(t, id.Recipient(), "to age")); err != nil || got != "to age" {
				t.Errorf("age got %q, %v", got, err)
			}

			// ssh-keygen reads what is exported.
			file := filepath.Join(t.TempDir(), "exported")
			if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("ssh-keygen", "-y", "-P", "", "-f", file).Output()
			if err != nil || !strings.HasPrefix(string(out), recipient) {
				t.Errorf("ssh-keygen reads %q, %v", out, err)
			}
		})
	}
}

// Kinds that ssh-keygen makes and that cannot open anything are refused with
// their name, and before their passphrase is asked for.
func TestSSHKeygenRefused(t *testing.T) {
	for _, test := range []struct {
		args  []string
		want  string
		fault agekey.SSHFault
	}{
		{[]string{"-t", "rsa", "-b", "2048", "-N", ""}, "ssh-rsa", agekey.SSHKind},
		{[]string{"-t", "rsa", "-b", "2048", "-N", "passphrase"}, "ssh-rsa", agekey.SSHKind},
		{[]string{"-t", "ecdsa", "-N", ""}, "ecdsa-sha2-nistp256", agekey.SSHKind},
		{[]string{"-t", "ecdsa", "-b", "521", "-N", "passphrase"}, "ecdsa-sha2-nistp521", agekey.SSHKind},
		{[]string{"-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"}, "old PEM", agekey.SSHKind},
		{[]string{"-t", "rsa", "-b", "2048", "-N", "passphrase", "-m", "PEM"}, "old PEM", agekey.SSHKind},
		{[]string{"-t", "ecdsa", "-N", "", "-m", "PEM"}, "old PEM", agekey.SSHKind},
		{[]string{"-t", "ecdsa", "-N", "passphrase", "-m", "PKCS8"}, "old PEM", agekey.SSHKind},
		{[]string{"-t", "ed25519", "-N", "passphrase", "-Z", "aes256-gcm@openssh.com"}, "cipher", agekey.SSHCipher},
		{[]string{"-t", "ed25519", "-N", "passphrase", "-Z", "chacha20-poly1305@openssh.com"}, "cipher", agekey.SSHCipher},
		{[]string{"-t", "ed25519", "-N", "passphrase", "-Z", "aes128-ctr"}, "cipher", agekey.SSHCipher},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			private, public := keygen(t, test.args...)
			for _, passphrase := range [][]byte{nil, []byte("passphrase")} {
				_, err := agekey.Parse(private)
				if passphrase != nil {
					_, err = agekey.ParseProtected(private, passphrase)
				}
				var bad *agekey.ParseError
				if !errors.As(err, &bad) || bad.Line != 1 || bad.SSH != test.fault || !strings.Contains(bad.Reason, test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			}
			var bad *agekey.ParseError
			if _, err := agekey.Parse(public); !errors.As(err, &bad) || !strings.Contains(bad.Reason, "public") {
				t.Errorf("the public key: %v", err)
			}
		})
	}
}

func sealTo(t testing.TB, r age.Recipient, text string) []byte {
	t.Helper()
	sealed, err := sealing(r, text)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSSH(t *testing.T) {
	key := newEd25519(t)
	text := marshalSSH(t, key, "")
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	recipient := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
	pq := hybrid(t)
	for _, test := range []struct {
		name, text string
		recipient  string
		reveal     string
		keys, skip int
	}{
		{"alone", text, recipient, text, 1, 0},
		{"between blanks", "\n\n  " + strings.ReplaceAll(text, "\n", "  \n\t") + "\n\n", recipient, text, 1, 0},
		{"Windows line ends", strings.ReplaceAll(text, "\n", "\r\n") + "\r\n", recipient, text, 1, 0},
		{"between comments", "# bob\n" + text + "\n# bob\n", recipient, text, 1, 0},
		{"a comment with a recipient is not its own", "# recipient: age1x\n" + text, recipient, text, 1, 0},
		{"before another", text + "\n" + pq.Reveal() + "\n", recipient, text + "\n" + pq.Reveal(), 2, 0},
		{"after another", unknown + "\n" + pq.Reveal() + "\n" + text, pq.Recipient(), unknown + "\n" + pq.Reveal() + "\n" + text, 2, 1},
		{"two", text + "\n" + text, recipient, text + "\n" + text, 2, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := parse(t, test.text)
			if id.Recipient() != test.recipient || id.Reveal() != test.reveal || len(id.Unwrap()) != test.keys || id.Skipped() != test.skip {
				t.Errorf("recipient %q, %d keys, %d skipped", id.Recipient(), len(id.Unwrap()), id.Skipped())
			}
			if got, err := open(id, seal(t, recipient, "x")); err != nil || got != "x" {
				t.Errorf("got %q, %v", got, err)
			}
			f := agekey.Facts{Member: "bob@laptop", Created: created}
			exported := parse(t, id.ExportText(f))
			if exported.Reveal() != id.Reveal() || exported.Recipient() != id.Recipient() {
				t.Error("changes when it is exported")
			}
			if !strings.Contains(id.ExportText(f), "# member: bob@laptop\n") {
				t.Error("the facts are not exported")
			}
			if k, ci, err := agekey.ParseKey("\n" + test.text + "\n"); err != nil || ci != nil || k.Reveal() != id.Reveal() {
				t.Errorf("as ENVRUN_KEY: %v", err)
			}
		})
	}
}

func TestSSHRefuses(t *testing.T) {
	key := newEd25519(t)
	text := marshalSSH(t, key, "")
	lines := strings.Split(text, "\n")
	block, _ := pem.Decode([]byte(text))
	pemOf := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	flipped := func(at int) string {
		b := bytes.Clone(block.Bytes)
		b[at] ^= 1
		return pemOf("OPENSSH PRIVATE KEY", b)
	}
	// Offsets of the public half: in clear, in the private part as itself, and
	// as the second half of the private key.
	pub := []byte(key.Public().(ed25519.PublicKey))
	first := bytes.Index(block.Bytes, pub)
	second := first + 1 + bytes.Index(block.Bytes[first+1:], pub)
	third := second + 1 + bytes.Index(block.Bytes[second+1:], pub)
	if first < 0 || second <= first || third <= second {
		t.Fatal("the public half is not where it was")
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	// Keys in tokens, which no software makes: what stands in the clear part.
	sk := func(kind string) string {
		str := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
		public := append(str(kind), str(string(pub))...)
		b := append([]byte("openssh-key-v1\x00"), str("none")...)
		b = append(append(append(b, str("none")...), str("")...), 0, 0, 0, 1)
		return pemOf("OPENSSH PRIVATE KEY", append(append(b, str(string(public))...), str("private")...))
	}
	two := bytes.Replace(block.Bytes, append(make([]byte, 4), 0, 0, 0, 1), append(make([]byte, 4), 0, 0, 0, 2), 1)
	if bytes.Equal(two, block.Bytes) {
		t.Fatal("the number of keys is not where it was")
	}
	for _, test := range []struct {
		name, text string
		line       int
		want       string
		fault      agekey.SSHFault
	}{
		{"nothing inside", "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----", 1, "cut short", 0},
		{"other text inside", "# x\n-----BEGIN OPENSSH PRIVATE KEY-----\nhello\n-----END OPENSSH PRIVATE KEY-----", 2, "cut short", 0},
		{"a line is missing", strings.Join(append(lines[:2:2], lines[3:]...), "\n"), 1, "cut short", 0},
		{"no end", "\n" + strings.Join(lines[:len(lines)-1], "\n"), 2, "cut short", 0},
		{"another end", strings.Join(lines[:len(lines)-1], "\n") + "\n-----END RSA PRIVATE KEY-----", 1, "cut short", 0},
		{"twice begun", lines[0] + "\n" + text, 1, "cut short", 0},
		{"on one line", strings.Join(lines, " "), 1, "line ends", 0},
		{"on one line, escaped", strings.Join(lines, `\n`), 1, "line ends", 0},
		{"on one line, joined", classic + "\n" + strings.Join(lines, ""), 2, "line ends", 0},
		{"the magic is damaged", flipped(0), 1, "damaged", 0},
		{"the public half in clear is another", flipped(first), 1, "damaged", 0},
		{"the private key's public half is another", flipped(third), 1, "damaged", 0},
		{"the private key is another", flipped(third - 1), 1, "damaged", 0},
		{"several keys", pemOf("OPENSSH PRIVATE KEY", two), 1, "damaged", 0},
		{"RSA", marshalSSH(t, rsaKey, ""), 1, "kind ssh-rsa", agekey.SSHKind},
		{"RSA with a passphrase", "\n" + marshalSSH(t, rsaKey, "x"), 2, "kind ssh-rsa", agekey.SSHKind},
		{"ECDSA", marshalSSH(t, ecKey, ""), 1, "kind ecdsa-sha2-nistp384", agekey.SSHKind},
		{"a token", sk("sk-ssh-ed25519@openssh.com"), 1, "security token (sk-ssh-ed25519@openssh.com), which signs", agekey.SSHKind},
		{"an ECDSA token", sk("sk-ecdsa-sha2-nistp256@openssh.com"), 1, "security token", agekey.SSHKind},
		{"a certificate", sk("ssh-ed25519-cert-v01@openssh.com"), 1, "another kind", agekey.SSHKind},
		{"a kind of somebody's", sk("hunter2-hunter2"), 1, "another kind", agekey.SSHKind},
		{"PKCS 1", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), 1, "old PEM", agekey.SSHKind},
		{"PKCS 8, though it is ed25519", pemOf("PRIVATE KEY", pkcs8), 1, "old PEM", agekey.SSHKind},
		{"PKCS 8 with a passphrase", pemOf("ENCRYPTED PRIVATE KEY", pkcs8), 1, "old PEM", agekey.SSHKind},
		{"a certificate in PEM", pemOf("CERTIFICATE", pkcs8), 1, "no identity", 0},
		{"a protected file within", classic + "\n" + pemOf("AGE ENCRYPTED FILE", pkcs8), 2, "no identity", 0},
		{"PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", 1, "PuTTY", agekey.SSHKind},
		{"a public key", "ssh-ed25519 AAAA bob", 1, "public key", 0},
		{"a public key of a token", "sk-ssh-ed25519@openssh.com AAAA bob", 1, "public key", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := agekey.Parse(test.text)
			var bad *agekey.ParseError
			if !errors.As(err, &bad) || bad.Line != test.line || bad.SSH != test.fault || !strings.Contains(bad.Reason, test.want) {
				t.Fatalf("got %v, want line %d, %q", err, test.line, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), lines[1][:10]) {
				t.Errorf("%q quotes the key", err)
			}
		})
	}
	if _, _, err := agekey.ParseKey("envrun-ci-1:v:e:f:" + text); err == nil || !strings.Contains(err.Error(), "one line") {
		t.Errorf("in a key string: %v", err)
	}
}

// ParseProtected reads what Parse finds to be protected, of both kinds.
func TestParseProtected(t *testing.T) {
	locked := lockedSSHKey(t, "one")
	id, err := agekey.ParseProtected("# x\n"+locked+"\n"+classic+"\n", []byte("one"))
	if err != nil || len(id.Unwrap()) != 2 {
		t.Fatal(err)
	}
	if strings.Contains(id.Reveal(), strings.Split(locked, "\n")[2]) || parse(t, id.Reveal()).Reveal() != id.Reveal() {
		t.Error("it still has its passphrase")
	}
	if _, err := agekey.ParseProtected(classic, []byte("one")); err != nil {
		t.Errorf("without a passphrase after all: %v", err)
	}

	h, _ := newHome(t)
	create(t, h, "file")
	want := load(t, h).Reveal()
	if err := h.Protect(t.Context(), []byte("two")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(h.File())
	if err != nil {
		t.Fatal(err)
	}
	if id, err = agekey.ParseProtected("\n"+string(text), []byte("two")); err != nil || id.Reveal() != want {
		t.Errorf("an age file: %v", err)
	}
	for _, wrong := range []string{"", "one"} {
		if _, err := agekey.ParseProtected(string(text), []byte(wrong)); !errors.Is(err, agekey.ErrPassphrase) {
			t.Errorf("passphrase %q: %v", wrong, err)
		}
	}
	var bad *agekey.ParseError
	if _, err := agekey.ParseProtected(string(text)+strings.Repeat("\n", agekey.MaxText), []byte("two")); !errors.As(err, &bad) {
		t.Errorf("a huge one: %v", err)
	}
}

// An SSH key is kept, moved and protected as any other identity.
func TestSSHHome(t *testing.T) {
	locked := lockedSSHKey(t, "one")
	id, err := agekey.ParseProtected(locked, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	h, c := newHome(t)
	f, err := h.Import(t.Context(), id, "bob@laptop", "file")
	if err != nil || f.Recipient != id.Recipient() || !strings.HasPrefix(f.Recipient, "ssh-ed25519 AAAA") {
		t.Fatalf("got %+v, %v", f, err)
	}
	same := func(when string) {
		t.Helper()
		got := load(t, h)
		facts, err := h.Facts()
		if err != nil || got.Reveal() != id.Reveal() || facts.Recipient != id.Recipient() || facts.Member != "bob@laptop" || !facts.Created.Equal(f.Created) {
			t.Errorf("%s: it is another one: %+v, %v", when, facts, err)
		}
	}
	same("imported")
	if err := h.Protect(t.Context(), []byte("two")); err != nil {
		t.Fatal(err)
	}
	h.Passphrase = passphrase("two", new(int))
	same("protected")
	if text, err := os.ReadFile(h.File()); err != nil || bytes.Contains(text, []byte("OPENSSH")) {
		t.Errorf("it lies there in clear, %v", err)
	}
	if err := h.Unprotect(t.Context()); err != nil {
		t.Fatal(err)
	}
	same("unprotected")
	for _, store := range []string{"pass", "secret-service", "file"} {
		if _, err := h.Move(t.Context(), store); err != nil {
			t.Fatal(err)
		}
		same("moved to " + store)
	}
	for _, key := range c.Holds(t) {
		if !strings.HasPrefix(key, "kernel/") {
			t.Errorf("a copy is left in %s", key)
		}
	}
	// As from a backup: the file alone.
	if err := os.Remove(filepath.Join(h.ConfigDir, "identity.toml")); err != nil {
		t.Fatal(err)
	}
	same("alone")
}

// An SSH key copied into its place by hand works, unless it has a passphrase,
// which only an import takes off.
func TestSSHFileAlone(t *testing.T) {
	h, _ := newHome(t)
	if err := os.MkdirAll(h.ConfigDir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, h.File(), sshKey(t)+"\n")
	if got, f := load(t, h), (agekey.Facts{}); got.Recipient() == f.Recipient {
		t.Error("it has no recipient")
	}
	write(t, h.File(), lockedSSHKey(t, "one")+"\n")
	var file *agekey.FileError
	if _, err := h.Load(t.Context()); !errors.As(err, &file) || !errors.Is(err, agekey.ErrProtected) {
		t.Errorf("with a passphrase: %v", err)
	}
}

func TestCanonicalRecipient(t *testing.T) {
	for s, want := range map[string]string{
		"":                                 "",
		" age1x\n":                         "age1x",
		"ssh-ed25519 AAAA":                 "ssh-ed25519 AAAA",
		"ssh-ed25519 AAAA ":                "ssh-ed25519 AAAA",
		"ssh-ed25519  AAAA":                "ssh-ed25519 AAAA",
		"ssh-ed25519 AAAA bob and\tothers": "ssh-ed25519 AAAA",
		"ssh-rsa AAAA bob":                 "ssh-rsa AAAA",
		"age1x age1y":                      "age1x age1y",
	} {
		if got := agekey.CanonicalRecipient(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}
