package near_test

import (
	"strings"
	"testing"

	"envrun/vault/near"
)

func TestNearest(t *testing.T) {
	known := []string{"vault", "project", "protected", "staging", "DATABASE_URL"}
	for in, want := range map[string]string{
		"valut": "vault", "vautl": "vault", "VAULT": "vault", "projct": "project", "protectd": "protected",
		"stag": "staging", "DATABSE_URL": "DATABASE_URL", "database-url": "DATABASE_URL",
		"x": "", "": "", "zebra": "", "vault": "",
	} {
		if got := near.Nearest(in, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
	if got := near.Names("a_key", []string{"b_key", "a_kye", "zzz", "A_KEY"}, 2); strings.Join(got, " ") != "A_KEY b_key" {
		t.Errorf("Names: %q", got)
	}
	if got := near.Nearest(strings.Repeat("a", 1<<20), []string{strings.Repeat("a", 1<<20-1)}); got != "" {
		t.Error("a long name is compared")
	}
}
