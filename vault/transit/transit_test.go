package transit_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/seal"
	"envrun/vault/transit"
	"envrun/vault/vaulttest/hashivault"
)

func open(t *testing.T, address, token string) *remote.Vault {
	t.Helper()
	v, err := remote.Open(remote.Options{Address: address, Timeout: 5 * time.Second, Pause: time.Millisecond,
		Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func TestSealer(t *testing.T) {
	real := hashivault.Start(t)
	if status, answer := real.Do(t, http.MethodPost, "sys/mounts/keys/transit", map[string]any{"type": "transit"}); status != 204 {
		t.Fatal(status, answer)
	}
	for _, name := range []string{"envrund", "other"} {
		if status, answer := real.Do(t, http.MethodPost, "keys/transit/keys/"+name, map[string]any{}); status >= 300 {
			t.Fatal(status, answer)
		}
	}
	root := open(t, real.Addr, real.Token)
	s := &transit.Sealer{Name: "main", Engine: root, Mount: "keys/transit", Key: "envrund"}
	if s.ID() != "transit:main" {
		t.Error(s.ID())
	}
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	bound := seal.KeyContext("s_1", "root", 0, s.ID())
	blob, err := s.Seal(t.Context(), key, bound)
	if err != nil || !strings.HasPrefix(string(blob), "vault:v1:") {
		t.Fatalf("%s %v", blob, err)
	}
	if got, err := s.Open(t.Context(), blob, bound); err != nil || !got.Equal(key) {
		t.Fatal(err)
	}
	// The key of the engine is rotated: what was wrapped before opens.
	if status, answer := real.Do(t, http.MethodPost, "keys/transit/keys/envrund/rotate", map[string]any{}); status >= 300 {
		t.Fatal(status, answer)
	}
	if got, err := s.Open(t.Context(), blob, bound); err != nil || !got.Equal(key) {
		t.Error(err)
	}
	if again, err := s.Seal(t.Context(), key, bound); err != nil || !strings.HasPrefix(string(again), "vault:v2:") {
		t.Errorf("%s %v", again, err)
	}
	if status, answer := real.Do(t, http.MethodPut, "sys/policies/acl/opens", map[string]any{"policy": `path "keys/transit/decrypt/envrund" { capabilities = ["update"] }`}); status >= 300 {
		t.Fatal(status, answer)
	}
	opens := open(t, real.Addr, real.TokenFor(t, "opens"))
	for what, c := range map[string]struct {
		s     *transit.Sealer
		bound []byte
		blob  string
		kind  vault.Kind // 0: it opens
	}{
		"a token that may decrypt":  {&transit.Sealer{Name: "main", Engine: opens, Mount: "keys/transit", Key: "envrund"}, bound, "", 0},
		"another key":               {&transit.Sealer{Name: "main", Engine: root, Mount: "keys/transit", Key: "other"}, bound, "", -1},
		"another context":           {s, seal.KeyContext("s_2", "root", 0, s.ID()), "", -1},
		"edited":                    {s, bound, string(blob[:len(blob)-4]) + "AAA=", -1},
		"no ciphertext":             {s, bound, "vault:v9:AAAA", vault.KindInvalid},
		"a token that is none":      {&transit.Sealer{Name: "main", Engine: open(t, real.Addr, "hvs.none"), Mount: "keys/transit", Key: "envrund"}, bound, "", vault.KindNoIdentity},
		"a token without a right":   {&transit.Sealer{Name: "main", Engine: opens, Mount: "keys/transit", Key: "other"}, bound, "", vault.KindDenied},
		"no engine":                 {&transit.Sealer{Name: "main", Engine: root, Mount: "nowhere", Key: "envrund"}, bound, "", vault.KindNoEnv},
		"a path for a key":          {&transit.Sealer{Name: "main", Engine: root, Mount: "keys/transit", Key: "a/b"}, bound, "", vault.KindInvalid},
		"a Vault that is not there": {&transit.Sealer{Name: "main", Engine: open(t, "http://127.0.0.1:1", "x"), Mount: "keys/transit", Key: "envrund"}, bound, "", vault.KindUnavailable},
	} {
		text := []byte(c.blob)
		if c.blob == "" {
			text = blob
		}
		got, err := c.s.Open(t.Context(), text, c.bound)
		switch {
		case c.kind == 0 && (err != nil || !got.Equal(key)),
			c.kind != 0 && err == nil,
			c.kind > 0 && vault.KindOf(err) != c.kind:
			t.Errorf("%s: %v (%v)", what, err, vault.KindOf(err))
		case err != nil && (strings.Contains(err.Error(), real.Token) || !got.IsZero()):
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := (&transit.Sealer{Name: "main", Engine: opens, Mount: "keys/transit", Key: "envrund"}).Seal(t.Context(), key, bound); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("wrapping with a token that may only unwrap: %v", err)
	}
	if _, err := s.Seal(t.Context(), seal.Key{}, bound); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("no key: %v", err)
	}
}
