package oidc

import (
	"slices"
	"strings"
)

// A platform is an issuer that gives tokens to everybody who has an account there,
// so that its signature alone says nothing.
type platform struct {
	name   string
	issuer string   // or how it begins, if it ends in a slash
	ids    []string // claims that nobody can take over, one of which a role must name
	events string   // the claim that tells what started the job; "" if none
	avoid  map[string]string
	once   bool // each request of a job gets a token of its own, so that none need be taken twice
}

var platforms = []platform{
	{
		name: "GitHub Actions", issuer: "https://token.actions.githubusercontent.com",
		ids: []string{"repository_id", "repository_owner_id", "enterprise_id"}, events: "event_name",
		avoid: map[string]string{
			"sub":              "its form changed in 2026 and can be set by each organisation; bind repository_id, environment or ref, and event_name",
			"repository":       "a name can be given up and taken by somebody else; bind repository_id",
			"repository_owner": "a name can be given up and taken by somebody else; bind repository_owner_id",
			"workflow":         "it is a text in the workflow file, which every branch can change; bind job_workflow_ref",
			"actor":            "a name can be given up and taken by somebody else; bind actor_id",
		},
		once: true,
	},
	{
		name: "GitLab", issuer: "https://gitlab.com",
		ids: []string{"project_id", "namespace_id"}, events: "pipeline_source",
		avoid: map[string]string{
			"project_path":   "a path can be given up and taken by somebody else; bind project_id",
			"namespace_path": "a path can be given up and taken by somebody else; bind namespace_id",
			"sub":            "it holds a path, which can be given up and taken by somebody else; bind project_id and ref",
		},
	},
	{
		name: "CircleCI", issuer: "https://oidc.circleci.com/",
		ids: []string{"oidc.circleci.com/project-id", "oidc.circleci.com/org-id"},
	},
	{
		name: "Buildkite", issuer: "https://agent.buildkite.com",
		ids: []string{"organization_id", "pipeline_id"}, events: "build_source",
		avoid: map[string]string{
			"organization_slug": "a slug can be given up and taken by somebody else; bind organization_id",
			"pipeline_slug":     "a slug can be given up and taken by somebody else; bind pipeline_id",
			"step_key":          "whoever writes the pipeline chooses it",
		},
		once: true,
	},
	{
		name: "Bitbucket", issuer: "https://api.bitbucket.org/",
		ids:   []string{"repositoryUuid", "deploymentEnvironmentUuid", "workspaceUuid"},
		avoid: map[string]string{"sub": "it holds the id of a step"},
	},
	{
		name: "Azure Pipelines", issuer: "https://vstoken.dev.azure.com/",
		ids:  []string{"sub"},
		once: true,
	},
	{
		name: "Google", issuer: "https://accounts.google.com",
		ids:   []string{"sub", "/google/compute_engine/project_number", "hd"},
		avoid: map[string]string{"email": "an address can be given to somebody else; bind sub"},
	},
}

func platformOf(issuer string) *platform {
	for i := range platforms {
		p := &platforms[i]
		if issuer == p.issuer || strings.HasSuffix(p.issuer, "/") && strings.HasPrefix(issuer, p.issuer) {
			return p
		}
	}
	return nil
}

// UsedOnce says whether a token of an issuer need be taken only once, because each
// request of a job gets one of its own (auth §4.4).
func UsedOnce(issuer string) bool {
	p := platformOf(issuer)
	return p != nil && p.once
}

// checkPlatform says what is wrong with a role for a platform that gives everybody
// tokens (auth §4.6): an error for one that strangers could sign in with.
func (r *Role) checkPlatform(issuer string) (warnings []string, err error) {
	p := platformOf(issuer)
	if p == nil {
		return nil, nil
	}
	bound := func(place string) bool {
		_, ok := r.BoundClaims[place]
		return ok || place == "sub" && r.Subject != ""
	}
	if !slices.ContainsFunc(p.ids, bound) {
		return nil, &StrangersError{Platform: p.name, Bind: p.ids}
	}
	for place, why := range p.avoid {
		if bound(place) {
			warnings = append(warnings, place+": "+why)
		}
	}
	if p.events != "" && !bound(p.events) {
		warnings = append(warnings, p.events+" is not bound: a job that somebody else's change started may sign in too")
	}
	return warnings, nil
}

// A StrangersError is a role that whoever has an account at the platform could
// sign in with.
type StrangersError struct {
	Platform string
	Bind     []string
}

func (e *StrangersError) Error() string {
	return e.Platform + " gives everybody tokens, and nothing binds the role to yours: bind one of " + strings.Join(e.Bind, ", ")
}
