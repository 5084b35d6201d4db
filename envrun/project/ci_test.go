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
