package auth_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"envrun/auth"
)

func TestASecretShowsOnlyByReveal(t *testing.T) {
	const canary = "canary-3f9a"
	s := auth.NewSecret(canary)
	if s.Reveal() != canary || s.Empty() || !(auth.Secret{}).Empty() || (auth.Secret{}).Reveal() != "" ||
		s != auth.NewSecret(canary) || s == auth.NewSecret("x") || auth.NewSecret("") != (auth.Secret{}) {
		t.Fatal("the text is not what was given")
	}
	within := struct {
		S auth.Secret
		P *auth.Secret
		u auth.Secret
		p *auth.Secret
		m map[string]auth.Secret
	}{s, &s, s, &s, map[string]auth.Secret{"a": s}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", []auth.Secret{s})
		fmt.Fprintf(&out, verb+"\n", map[string]auth.Secret{"a": s})
		fmt.Fprintf(&out, verb+"\n", within)
		fmt.Fprintf(&out, verb+"\n", &within)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "in", within)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "in", within)
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("it shows in %s", out.String())
	}
	if text, err := json.Marshal(within); err == nil {
		t.Errorf("it was written as %s", text)
	}
}
