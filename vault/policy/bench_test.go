package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"envrun/vault/policy"
)

// team is a policy of n rules as a team has them: for each service what
// it reads, lists and writes, and some segments of any name among them.
func team(n int) string {
	var b strings.Builder
	for i := range n {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "path \"prod/data/service-%d/*\" {\n  capabilities = [\"read\"]\n}\n", i)
		case 1:
			fmt.Fprintf(&b, "path \"prod/metadata/service-%d/*\" {\n  capabilities = [\"list\", \"read\"]\n}\n", i)
		case 2:
			fmt.Fprintf(&b, "path \"staging/data/service-%d/config\" {\n  capabilities = [\"create\", \"read\", \"update\"]\n}\n", i)
		case 3:
			fmt.Fprintf(&b, "path \"+/data/service-%d/shared/+\" {\n  capabilities = [\"read\"]\n}\n", i)
		default:
			fmt.Fprintf(&b, "path \"dev/+/service-%d/*\" {\n  capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"]\n}\n", i)
		}
	}
	return b.String()
}

var decision policy.Decision

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		acl := policy.Compile(parse(b, team(n)), policy.Facts{})
		last := (n - 1) / 5 * 5 // the number of the last service with each kind of rule
		for _, test := range []struct {
			name string
			req  policy.Request
		}{
			{"prefix", policy.Request{Path: fmt.Sprintf("prod/data/service-%d/stripe", last), Op: policy.OpRead}},
			{"exact", policy.Request{Path: fmt.Sprintf("staging/data/service-%d/config", max(last-3, 2)), Op: policy.OpUpdate, Params: map[string]any{"data": map[string]any{}, "options": map[string]any{}}}},
			{"segment", policy.Request{Path: fmt.Sprintf("eu/data/service-%d/shared/key", max(last-2, 3)), Op: policy.OpRead}},
			{"list", policy.Request{Path: fmt.Sprintf("dev/metadata/service-%d/", max(last-1, 4)), Op: policy.OpList}},
			{"none", policy.Request{Path: "prod/data/service-none/stripe", Op: policy.OpRead}},
		} {
			b.Run(fmt.Sprintf("rules=%d/%s", n, test.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					decision = acl.Decide(test.req)
				}
			})
		}
	}
}

// What Decide would cost if it looked at every rule.
func BenchmarkMatching(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		acl := policy.Compile(parse(b, team(n)), policy.Facts{})
		path := fmt.Sprintf("prod/data/service-%d/stripe", (n-1)/5*5)
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			for b.Loop() {
				acl.Matching(path, policy.OpRead)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	text := team(1000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse("p", text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		policies := parse(b, team(n))
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				policy.Compile(policies, policy.Facts{})
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	p := parse(b, team(1000))[0]
	for b.Loop() {
		policy.Check(p, policy.Known{Mounts: mounts, All: true})
	}
}
