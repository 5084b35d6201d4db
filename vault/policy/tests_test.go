package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/policy"
)

// lines are test lines of every form.
const lines = `# What the billing team may do.
who alice name=alice group=billing metadata.team=core
who "the pipeline" id=e-2 name="ci bot"

allow read         prod/data/billing/stripe
allow read,list    prod/metadata/billing       # the folder
deny  update       prod/data/billing/stripe
deny  list         prod/metadata/
allow read         dev/data/alice/db           as alice
deny  read         dev/data/alice/db
deny  read         dev/data/alice/db           as "the pipeline"
allow read         dev/data/ci bot/db          as "the pipeline"
`

func TestTestLines(t *testing.T) {
	text := strings.ReplaceAll(lines, "dev/data/ci bot/db", `"dev/data/ci bot/db"`) + `
allow update  prod/data/tagged  with options:={"cas":1} with tags:=["a","b"]
deny  update  prod/data/tagged  with tags=c
deny  update  prod/data/tagged  with tags="a b" wrap 5m
allow read    prod/data/wrapped wrap 60
deny  read    prod/data/wrapped
deny  read    prod/data/wrapped wrap 1h
allow help    anywhere
deny  delete  prod/data/tagged  with x= with y=#no-comment
`
	tests, err := policy.ParseTests("billing.test", text)
	if err != nil {
		t.Fatal(err)
	}
	policies := parse(t, rule("prod/data/billing/*", "read")+rule("prod/metadata/billing", "read", "list")+
		rule("dev/data/{{identity.entity.name}}/*", "read")+
		"path \"prod/data/tagged\" {\n capabilities = [\"update\"]\n allowed_parameters = { tags = [\"a\", \"b\"], options = [] }\n}\n"+
		"path \"prod/data/wrapped\" {\n capabilities = [\"read\"]\n min_wrapping_ttl = 60\n max_wrapping_ttl = \"10m\"\n}\n")
	results := tests.Run(only(policies), time.Now())
	if len(results) != 17 {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		if !r.Passed() {
			t.Errorf("line %d: %s %s: %s", r.Line, r.Request.Op, r.Request.Path, r.Decision)
		}
	}
	// Under other policies they fail, and say which rule is at fault.
	failed := 0
	for _, r := range tests.Run(only(parse(t, rule("*", "read"))), time.Now()) {
		if !r.Passed() {
			failed++
			if r.Decision.Allowed && (r.Decision.Pattern != "*" || r.Decision.Sources[0].Line != 1) {
				t.Errorf("line %d: %+v", r.Line, r.Decision)
			}
		}
	}
	if failed != 6 {
		t.Errorf("%d failed", failed)
	}
}

func TestTestLinesAtATime(t *testing.T) {
	tests, err := policy.ParseTests("t", "allow read s/a\n")
	if err != nil {
		t.Fatal(err)
	}
	policies := parse(t, with("s/a", `expiration = "2026-05-01T12:00:00Z"`))
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if r := tests.Run(only(policies), at.Add(-time.Second)); !r[0].Passed() {
		t.Error(r[0].Decision)
	}
	if r := tests.Run(only(policies), at); r[0].Passed() {
		t.Error(r[0].Decision)
	}
}

func TestTestLinesRefused(t *testing.T) {
	for text, says := range map[string]string{
		"alow read s/a":                         `1 no test "alow"; did you mean "allow"?`,
		"\n\nallow raed s/a":                    `3 no operation "raed"; did you mean "read"?`,
		"allow sudo s/a":                        `1 no operation "sudo"`,
		"allow read,read s/a":                   "1 named twice",
		"allow read,":                           `1 no operation ""`,
		"allow":                                 `1 no operation ""`,
		"allow read":                            "1 a path is missing",
		"allow read # s/a":                      "1 a path is missing",
		"allow read s/a b":                      `1 no word "b"`,
		"allow read s/a as bob":                 `1 no line before says who "bob"`,
		"allow read s/a as":                     "1 no line before says who",
		"allow read s/a with":                   "1 NAME=TEXT is missing",
		"allow read s/a with x":                 "1 NAME=TEXT is missing",
		"allow read s/a with =x":                "1 NAME=TEXT is missing",
		"allow read s/a with x y=1":             "1 NAME=TEXT is missing",
		"allow read s/a with x:=[1":             "1 is not JSON",
		"allow read s/a with x=1 with x=2":      `1 "x" is given twice`,
		"allow read s/a wrap soon":              "1 wrap is seconds",
		`allow read "s/a`:                       "1 a quoted text has no end",
		`allow read "s/a"b`:                     "1 goes on without a space",
		`allow read s/a with x="a"b`:            "1 goes on without a space",
		"who":                                   "1 followed by a name",
		"who a\nwho a":                          "2 no line before has",
		"who a nam=x":                           `1 no key "nam"; did you mean "name"?`,
		"who a name:=5":                         "1 name is a text",
		"who a metadata.=x":                     `1 no key "metadata."`,
		"\xff":                                  "0 is not UTF-8",
		strings.Repeat("#", 1<<20+1):            "0 at most 1048576 bytes",
		"allow read s/a\nallow read s/a as bob": "2 bob",
	} {
		_, err := policy.ParseTests("billing.test", text)
		var e *vault.Error
		if !errors.As(err, &e) {
			t.Errorf("accepted: %.100q", text)
			continue
		}
		line, want, _ := strings.Cut(says, " ")
		if e.Kind != vault.KindInvalid || e.File != "billing.test" || fmt.Sprint(e.Line) != line || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100q: %v, want %s", text, err, says)
		}
	}
}

// only are the policies of every case.
func only(policies []*policy.Policy) func([]string) []*policy.Policy {
	return func([]string) []*policy.Policy { return policies }
}

// Lines after one of policies are about a token with those.
func TestSeveralPolicies(t *testing.T) {
	tests, err := policy.ParseTests("reader.tests", `
allow read a
deny  read b
policies reader guard
deny  read a
policies other   # alone
allow read b
`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*policy.Policy{}
	for name, text := range map[string]string{"reader": rule("a", "read"), "guard": rule("a", "deny"), "other": rule("b", "read")} {
		all[name] = parse(t, text)[0]
	}
	for _, r := range tests.Run(func(names []string) (of []*policy.Policy) {
		if names == nil {
			names = []string{"reader"}
		}
		for _, name := range names {
			of = append(of, all[name])
		}
		return of
	}, time.Now()) {
		if !r.Passed() {
			t.Errorf("line %d: %s", r.Line, r.Decision)
		}
	}
	for _, text := range []string{"policies", "policies # none", "policies Root", "policies a,b", `policies "a b"`} {
		if _, err := policy.ParseTests("t", text); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}
