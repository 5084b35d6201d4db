package policy_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"envrun/vault/policy"
)

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		was, now string
		want     []string // "PATTERN +GAINED -LOST"
	}{
		{rule("prod/data/*", "read"), rule("prod/data/*", "read"), nil},
		{rule("prod/data/*", "read"), "# more said\n" + rule("prod/data/*", "read"), nil},
		{rule("prod/data/*", "read"), rule("prod/data/*", "read", "update"), []string{"prod/data/* +update"}},
		{rule("prod/data/*", "read", "update"), rule("prod/data/*", "read"), []string{"prod/data/* -update"}},
		{"", rule("prod/data/a", "read"), []string{"prod/data/a +read"}},
		{rule("prod/data/a", "read"), "", []string{"prod/data/a -read"}},
		{rule("prod/metadata/*", "list"), rule("prod/metadata/*", "read"), []string{"prod/metadata/* +read -list"}},
		// What a broader rule comes to when a closer one goes, and the other way round.
		{rule("prod/data/*", "read") + rule("prod/data/root/*", "deny"), rule("prod/data/*", "read"), []string{"prod/data/root/* +read"}},
		{rule("prod/data/*", "read"), rule("prod/data/*", "read") + rule("prod/data/root/*", "deny"), []string{"prod/data/root/* -read"}},
		{rule("s/+/b", "read") + rule("s/a*", "update"), rule("s/+/b", "read"), []string{"s/a* -update", "s/a…/b +read -update"}},
		// No change where a rule that goes gave nothing anyway.
		{rule("prod/data/*", "deny"), "", nil},
		{rule("prod/data/x"), rule("prod/data/x", "deny"), nil},
		{rule("prod/*", "read") + rule("prod/+/x/*", "deny"), rule("prod/*", "read"), nil},
		// Other conditions.
		{rule("a", "update"), "path \"a\" {\n capabilities = [\"update\"]\n required_parameters = [\"x\"]\n}", []string{"a conditions"}},
		{"path \"a\" {\n capabilities = [\"update\"]\n expiration = \"2030-01-01T00:00:00Z\"\n}", rule("a", "update"), []string{"a conditions"}},
		{"path \"a\" {\n capabilities = [\"deny\"]\n comment = \"x\"\n}", rule("a", "deny"), nil},
		// Templates stand for themselves.
		{rule("dev/data/{{identity.entity.name}}/*", "read"), rule("dev/data/{{identity.entity.name}}/*", "read", "delete"), []string{"dev/data/{{identity.entity.name}}/* +delete"}},
		{rule("dev/data/{{identity.entity.name}}/*", "read"), rule("dev/data/{{identity.entity.id}}/*", "read"), []string{"dev/data/{{identity.entity.id}}/* +read", "dev/data/{{identity.entity.name}}/* -read"}},
	} {
		changes, complete := policy.Compare(parse(t, test.was), parse(t, test.now))
		if !complete {
			t.Error("not complete")
		}
		var have []string
		for _, c := range changes {
			s := c.Pattern
			if g := c.Gained(); g != 0 {
				s += " +" + g.String()
			}
			if l := c.Lost(); l != 0 {
				s += " -" + l.String()
			}
			if c.Conditions {
				s += " conditions"
			}
			have = append(have, s)
		}
		if !slices.Equal(have, test.want) {
			t.Errorf("%s→\n%shave %q, want %q", test.was, test.now, have, test.want)
		}
	}
}

// changeExpression is the pattern of a change as a regular expression.
func changeExpression(pattern string) *regexp.Regexp {
	e := strings.ReplaceAll(expression(pattern), "…", "[^/]*")
	return regexp.MustCompile(e)
}

// TestCompareTellsAll compares policies made at random with the reference: what
// changes for any path is told, with the right capabilities, and what is told
// happens on a path.
func TestCompareTellsAll(t *testing.T) {
	r := newRandom(t)
	n := 1500
	if testing.Short() {
		n = 150
	}
	changed, told := 0, 0
	for range n {
		was := r.policies()
		now := slices.Clone(was)
		if r.IntN(3) == 0 {
			now = r.policies()
		} else {
			// One rule more, or the last policy gone.
			if r.IntN(3) == 0 {
				now = now[:len(now)-1]
			}
			now = append(now, rule(r.pattern(), r.caps()...))
		}
		before, after := parse(t, was...), parse(t, now...)
		refWas, refNow := newReference(before), newReference(after)
		changes, complete := policy.Compare(before, after)
		if !complete {
			t.Fatal("not complete")
		}
		// effect is what can be done at a path: list for a folder, else all but list.
		effect := func(ref reference, path string) policy.Caps {
			folder := strings.HasSuffix(path, "/")
			caps, _ := ref.caps(path, folder)
			switch {
			case caps.Has(policy.Deny):
				return 0
			case folder:
				return caps & policy.List
			}
			return caps &^ policy.List
		}
		happens := func(c policy.Change, path string) bool {
			mask := policy.List
			if !strings.HasSuffix(path, "/") {
				mask = ^policy.List
			}
			a, b := effect(refWas, path), effect(refNow, path)
			return b&^a == c.Gained()&mask && a&^b == c.Lost()&mask
		}
		show := func() string {
			return fmt.Sprintf("%+v\nwas:\n%s\nnow:\n%s", changes, strings.Join(was, "\n"), strings.Join(now, "\n"))
		}
		for range 120 {
			path := r.path()
			if effect(refWas, path) == effect(refNow, path) {
				continue
			}
			changed++
			bare := strings.TrimSuffix(path, "/")
			if !slices.ContainsFunc(changes, func(c policy.Change) bool {
				e := changeExpression(c.Pattern)
				return (e.MatchString(path) || e.MatchString(bare)) && happens(c, path)
			}) {
				t.Fatalf("%s changes from %s to %s, which is not told\n%s", path, effect(refWas, path), effect(refNow, path), show())
			}
		}
		for _, c := range changes {
			told++
			if c.Conditions {
				t.Fatalf("conditions change, and there are none\n%s", show())
			}
			for _, want := range []policy.Caps{(c.Gained() | c.Lost()) & policy.List, (c.Gained() | c.Lost()) &^ policy.List} {
				if want == 0 {
					continue
				}
				if !slices.ContainsFunc(instances(c.Pattern, want == policy.List), func(path string) bool { return happens(c, path) }) {
					t.Fatalf("%+v happens nowhere\n%s", c, show())
				}
			}
		}
	}
	if changed < n || told < n {
		t.Errorf("%d paths changed and %d changes were told: the test looks at little", changed, told)
	}
}

// instances are paths that a pattern fits, with names that no rule has.
func instances(pattern string, folder bool) []string {
	plain := strings.ReplaceAll(strings.ReplaceAll("/"+pattern, "/+", "/zz"), "…", "zz")
	plain = strings.TrimPrefix(strings.ReplaceAll(plain, "/zza", "/+a"), "/") // a + inside a word is none
	all := []string{plain}
	if before, star := strings.CutSuffix(plain, "*"); star {
		all = []string{before, before + "zz"}
		for range 7 {
			all = append(all, all[len(all)-1]+"/zz")
		}
	}
	if !folder {
		return all
	}
	for _, s := range all {
		if !strings.HasSuffix(s, "/") {
			all = append(all, s+"/")
		}
	}
	return all
}
