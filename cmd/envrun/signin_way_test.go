package main

import (
	"strings"
	"testing"

	"envrun/cmd/internal/cli"
)

// A server is held to the issuers that it named at first, whatever it calls the way to
// sign in, and whether or not it says that it has one.
func TestIssuerAtFirst(t *testing.T) {
	vars := map[string]string{"ENVRUN_STATE_DIR": t.TempDir()}
	tl := &tool{Streams: cli.Streams{Getenv: func(name string) string { return vars[name] }}, goos: "linux"}
	const at, issuer, evil = "https://vault.example.test", "https://id.example.test", "https://evil.example.test"
	first := way{server: at, mount: "human", issuer: issuer, clientID: "envrun"}
	if err := tl.believes(&first, ""); err != nil {
		t.Fatal(err)
	}
	if err := tl.believe(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		w    way
		good bool
	}{
		"the same":                          {first, true},
		"another issuer":                    {way{server: at, mount: "human", issuer: evil, clientID: "envrun"}, false},
		"another client":                    {way{server: at, mount: "human", issuer: issuer, clientID: "other"}, false},
		"at another mount":                  {way{server: at, mount: "people", issuer: evil, clientID: "envrun"}, false},
		"driven by the server":              {way{server: at, mount: "oidc", driven: true, issuer: evil + "/authorize", clientID: "envrun"}, false},
		"its issuer at another mount":       {way{server: at, mount: "human-prod", issuer: issuer, clientID: "envrun-prod"}, true},
		"a mount that somebody named":       {way{server: at, mount: "partners", named: true, issuer: "https://partner.test", clientID: "x"}, true},
		"what the project says":             {way{server: at, mount: "human", pinned: true, issuer: evil, clientID: "envrun"}, true},
		"another server":                    {way{server: at + ":8200", mount: "human", issuer: evil, clientID: "envrun"}, true},
		"another namespace":                 {way{server: at, namespace: "team", mount: "human", issuer: evil, clientID: "envrun"}, true},
		"a server that begins as the other": {way{server: at + "/x", mount: "human", issuer: evil, clientID: "envrun"}, true},
	} {
		err := tl.believes(&c.w, "")
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if !c.good && !strings.Contains(err.Error(), "nobody was sent there") {
			t.Errorf("%s: %v", name, err)
		}
		if err := tl.believes(&c.w, c.w.issuer); err != nil {
			t.Errorf("%s, which somebody says is right: %v", name, err)
		}
	}
}
