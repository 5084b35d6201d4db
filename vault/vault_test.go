package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"envrun/vault"
)

const canary = "canary-9f31c07be2"

func TestValueNeverPrints(t *testing.T) {
	v := vault.NewValueString(canary)
	in := struct {
		Pub  vault.Value
		priv vault.Value
		ptr  *vault.Value
		list []vault.Value
		any  any
		m    map[string]vault.Value
	}{v, v, &v, []vault.Value{v}, v, map[string]vault.Value{"k": v}}
	secret := vault.Secret{Values: []vault.Field{{Name: "A", Value: v}}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%w", "%!", "%10.3s"} {
		for _, arg := range []any{v, &v, in, &in, secret, &secret, []any{v}, map[string]any{"v": v}, errors.Join(fmt.Errorf("x %v", v))} {
			got := fmt.Sprintf(verb, arg)
			for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))} {
				if strings.Contains(got, strings.Trim(form, "[]")) {
					t.Errorf("%s of %T shows the value: %s", verb, arg, got)
				}
			}
		}
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "v", v, "p", &v, "s", secret, "in", in)
	}
	if strings.Contains(log.String(), canary) {
		t.Errorf("slog shows the value: %s", log.String())
	}
	if b, err := json.Marshal(secret); err == nil {
		t.Errorf("a secret was marshalled as JSON: %s", b)
	}
}

func TestValueReveal(t *testing.T) {
	var zero vault.Value
	if zero.Len() != 0 || zero.Reveal() != nil || !zero.Equal(vault.NewValueString("")) {
		t.Error("the zero Value is not the empty one")
	}
	v := vault.NewValueString(canary)
	if string(v.Reveal()) != canary || v.Len() != len(canary) {
		t.Error("Reveal does not give the bytes back")
	}
	if v.Equal(vault.NewValueString(canary+"x")) || v.Equal(zero) || !v.Equal(vault.NewValueString(canary)) {
		t.Error("Equal is wrong")
	}
	v.Wipe()
	if bytes.Contains(v.Reveal(), []byte("canary")) {
		t.Error("Wipe left the bytes")
	}
}

func TestParsePath(t *testing.T) {
	long := strings.Repeat("a", vault.MaxSegment)
	allow := []string{"billing", "billing/stripe", "a.b/c_d/e-f", "0", long, "a/b/c/d/e/f/g/h", "console", "com10", "null"}
	deny := map[string]string{
		"":                              "empty",
		"/a":                            "empty segment",
		"a//b":                          "empty segment",
		"a/":                            "empty segment",
		"..":                            "may hold only",
		"a/../b":                        "may hold only",
		".git":                          "may hold only",
		"-rf":                           "may hold only",
		"a b":                           "may hold only",
		"a\\b":                          "may hold only",
		"a\x00":                         "may hold only",
		"ä":                             "may hold only",
		"Billing":                       `"billing"`,
		"a.":                            "ends with a dot",
		"con":                           "Windows",
		"a/nul.sec":                     "Windows",
		"lpt1":                          "Windows",
		long + "a":                      "longer than 64",
		"a/b/c/d/e/f/g/h/i":             "deeper than 8",
		strings.Repeat(long+"/", 4)[1:]: "",
	}
	for _, s := range allow {
		if p, err := vault.ParsePath(s); err != nil || string(p) != s {
			t.Errorf("ParsePath(%q) = %q, %v", s, p, err)
		}
	}
	for s, why := range deny {
		_, err := vault.ParsePath(s)
		if err == nil {
			t.Errorf("ParsePath(%q) is allowed", s)
			continue
		}
		if vault.KindOf(err) != vault.KindInvalid || !strings.Contains(err.Error(), why) {
			t.Errorf("ParsePath(%q) says %q, want %q in it", s, err, why)
		}
	}
}

func TestParseNames(t *testing.T) {
	for _, s := range []string{"A", "STRIPE_KEY", "_x", "tls.crt", "a-b", "9lives", strings.Repeat("N", 128)} {
		if _, err := vault.ParseFieldName(s); err != nil {
			t.Errorf("ParseFieldName(%q): %v", s, err)
		}
	}
	for _, s := range []string{"", "A=B", "A B", "a/b", ".a", "-a", "A\n", "é", strings.Repeat("N", 129)} {
		if _, err := vault.ParseFieldName(s); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("ParseFieldName(%q): %v", s, err)
		}
	}
	for _, s := range []string{"", "a/b", "Prod", "aux", "..", strings.Repeat("e", 65)} {
		if _, err := vault.ParseEnv(s); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("ParseEnv(%q): %v", s, err)
		}
	}
}

func TestError(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("around: %w", &vault.Error{Kind: vault.KindTampered, Op: "reading", File: "x.sec", Line: 3, Env: "prod", Path: "a/b", Field: "K", Detail: "the mac does not match", Err: cause})
	if got, want := err.Error(), "around: reading: x.sec:3: prod a/b K: the mac does not match: cause"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if vault.KindOf(err) != vault.KindTampered || !errors.Is(err, cause) || vault.KindOf(cause) != vault.KindOther || vault.KindOf(nil) != vault.KindOther {
		t.Error("kind or cause is lost")
	}
	seen := map[string]vault.Kind{}
	for k := vault.KindOther; k <= vault.KindUnavailable; k++ {
		if old, ok := seen[k.String()]; ok {
			t.Errorf("kinds %d and %d are both called %q", old, k, k)
		}
		seen[k.String()] = k
	}
}
