package project_test

import (
	"testing"

	"envrun/envrun/project"
)

// An environment says of a pipeline what the project does not, or says it anew.
func TestCI(t *testing.T) {
	p, err := project.Parse("envrun.toml", []byte(`vault = "https://v.example.test"
[ci]
role = "app"
audience = "a"
[env.dev]
[env.prod]
vault = "https://prod.example.test"
ci = { role = "app-prod", mount = "ci/prod" }
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]project.CI{"dev": {Role: "app", Audience: "a"}, "prod": {Role: "app-prod", Mount: "ci/prod", Audience: "a"}} {
		for _, e := range p.Envs {
			if string(e.Name) == name && (e.CI.Role != want.Role || e.CI.Mount != want.Mount || e.CI.Audience != want.Audience) {
				t.Errorf("%s: %+v, want %+v", name, e.CI, want)
			}
		}
	}
}

// An environment says of people's sign-in what the project does not, or says it anew;
// what is no issuer, scope or flow is refused.
func TestSignIn(t *testing.T) {
	p, err := project.Parse("envrun.toml", []byte(`vault = "https://v.example.test"
[sign_in]
mount = "human"
issuer = "https://id.example.test/"
client_id = "envrun"
scopes = ["profile", "groups"]
[env.dev]
[env.prod]
sign_in = { mount = "human-prod", role = "prod", flow = "device", hosts = ["id.example.net:8443"] }
`))
	if err != nil {
		t.Fatal(err)
	}
	prod, _ := p.Env("prod")
	if s := prod.SignIn; s.Mount != "human-prod" || s.Role != "prod" || s.Issuer != "https://id.example.test/" || s.ClientID != "envrun" || len(s.Scopes) != 2 || len(s.Hosts) != 1 || s.Flow != "device" {
		t.Errorf("%+v", s)
	}
	if dev, _ := p.Env("dev"); dev.SignIn.Mount != "human" || dev.SignIn.Role != "" || dev.SignIn.Flow != "" {
		t.Errorf("%+v", dev.SignIn)
	}
	for _, bad := range []string{`issuer = "http://id.example.test"`, `issuer = "id.example.test"`, `scopes = ["a b"]`, `hosts = ["https://x"]`, `hosts = ["x/y"]`, `hosts = ["u@x"]`, `flow = "none"`, `role = "a/b"`, `mount = "../x"`, `secret = "x"`, `ca = "https://x"`} {
		if _, err := project.Parse("envrun.toml", []byte("vault = \"https://v.example.test\"\n[env.dev]\n[sign_in]\n"+bad+"\n")); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
