package filevault

// These tests are inside the package: what they parse is no part of its API,
// but comes from files that anybody may have written.

import (
	"bufio"
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/seal"
)

func FuzzCommit(f *testing.F) {
	for _, text := range []string{
		"envrun-txn v1\nmove 0 envs/dev/secrets/a/b.sec\ndrop envs/prod\nend 2\n",
		"envrun-txn v1\nend 0\n",
		"envrun-txn v1\nmove 1 requests/dev/bob@desktop.req\nend 1\n",
		"envrun-txn v1\nmove 1 ../x\nend 1\n",
		"envrun-txn v1\nmove 01 envs/x\nend 1\n",
		"envrun-txn v1\r\nend 0\r\n",
		"",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		actions, err := parseCommit(raw)
		if err != nil {
			if vault.KindOf(err) != vault.KindMalformed {
				t.Errorf("kind of %v", err)
			}
			return
		}
		if again := marshalCommit(actions); !bytes.Equal(again, raw) {
			t.Errorf("%q is written as %q", raw, again)
		}
		for _, a := range actions {
			if strings.Contains(a.to+"/", "./") || strings.HasPrefix(a.to, "/") || strings.ContainsAny(a.to, "\\:\x00 ") || strings.Contains(a.from, "/") {
				t.Errorf("a journal may write %q from %q", a.to, a.from)
			}
		}
	})
}

func FuzzPins(f *testing.F) {
	key, err := seal.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	p := pin{gen: 3, fingerprint: key.Fingerprint("v_1", "dev", 3), chain: key.ChainKey(), seal: 41}
	p.remember(1, key.Fingerprint("v_1", "dev", 1))
	p.remember(2, key.Fingerprint("v_1", "dev", 2))
	p.use("/home/alice/app")
	p.use("C:\\a, \"b\" ]\n\xff")
	f.Add(marshalPins(nil))
	f.Add(marshalPins(map[vault.Env]pin{"dev": p, "a.b": {gen: 1, chain: key.ChainKey()}}))
	f.Add([]byte("format = 1\n[env.\"dev\"]\ngen = 1\n"))
	f.Add([]byte("# x\r\nformat = 1\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		pins, err := parsePins(raw)
		if err != nil {
			if k := vault.KindOf(err); k != vault.KindMalformed && k != vault.KindVersion {
				t.Errorf("kind of %v", err)
			}
			return
		}
		again, err := parsePins(marshalPins(pins))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if !maps.EqualFunc(pins, again, pin.equal) {
			t.Errorf("%q is written as %q", raw, marshalPins(pins))
		}
		for env, p := range pins {
			if _, err := vault.ParseEnv(string(env)); err != nil || p.gen == 0 || p.chain.IsZero() {
				t.Errorf("%s: %+v", env, p.gen)
			}
		}
	})
}

func FuzzGitObjects(f *testing.F) {
	const id = "b1946ac92492d2347c6235b4d2611184aaaaaaaa"
	f.Add([]byte(id + " blob 3\nabc\n" + id + " tree 1\nx\nHEAD:x missing\n"))
	f.Add([]byte(id + " blob 99999999999\nabc\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bufio.NewReader(bytes.NewReader(raw))
		for {
			_, got, err := readObject(r, 16)
			if err != nil {
				return
			}
			if len(got) > 17 {
				t.Fatalf("read %d bytes", len(got))
			}
		}
	})
}

func TestGitEnv(t *testing.T) {
	got := gitEnv([]string{"PATH=/bin", "HOME=/h", "GIT_DIR=/x", "ENVRUN_KEY=secret", "VAULT_TOKEN=secret", "AWS_SECRET_ACCESS_KEY=secret", "Path=C:\\bin", "PAGER=less", "LD_PRELOAD=x"})
	for _, want := range []string{"PATH=/bin", "HOME=/h", "Path=C:\\bin", "GIT_NO_LAZY_FETCH=1"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, kv := range got {
		if strings.Contains(kv, "secret") || strings.HasPrefix(kv, "GIT_DIR") || strings.HasPrefix(kv, "PAGER") || strings.HasPrefix(kv, "LD_") {
			t.Errorf("%s is passed on", kv)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"envrun set, process 12 on host": "envrun set, process 12 on host",
		"\x1b[31mred\x07\u202eevil\n":    "[31mredevil",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}
