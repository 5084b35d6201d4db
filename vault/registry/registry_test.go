package registry_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/registry"
)

func TestOpen(t *testing.T) {
	opened := ""
	as := func(name string) registry.Opener {
		return func(_ context.Context, address string) (vault.Vault, error) {
			opened = name + " " + address
			return nil, errors.New("no more than that")
		}
	}
	r := registry.Registry{"": as("file"), "https": as("server")}
	for address, want := range map[string]string{
		".envrun/vault":             "file .envrun/vault",
		"/a/b":                      "file /a/b",
		`C:\a\b`:                    `file C:\a\b`,
		"https://vault.example.dev": "server https://vault.example.dev",
		"HTTPS://vault.example.dev": "server HTTPS://vault.example.dev",
	} {
		if _, err := r.Open(t.Context(), address); err == nil || opened != want {
			t.Errorf("%s: %s, %v", address, opened, err)
		}
	}
	opened = ""
	_, err := r.Open(t.Context(), "awssm://eu-central-1")
	if vault.KindOf(err) != vault.KindUnsupported || opened != "" || !strings.Contains(err.Error(), "awssm") || !strings.Contains(err.Error(), "a folder, https://") {
		t.Errorf("%v, opened %q", err, opened)
	}
}
