package server_test

import (
	"fmt"
	"strings"
	"testing"

	"envrun/vault/wire"
)

// How long secrets may be kept by clients is said of a mount, in every answer with
// a value of it, and to who sets it what it means.
func TestCachePolicy(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/plain", `{"type":"kv-v2"}`)
	s := w.must(200, "root", "POST", "sys/mounts/dev", `{"type":"kv","options":{"version":"2","envrun-cache":"24h"}}`)
	if !strings.Contains(s.raw, "whoever loses access can use that until then") || !strings.Contains(s.raw, "24h") {
		t.Errorf("the one who sets it is told %s", s.raw)
	}
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv","options":{"version":"2","envrun-cache":"off"}}`)
	for _, mount := range []string{"plain", "dev", "prod"} {
		w.must(200, "root", "POST", mount+"/data/app", `{"data":{"A":"1"}}`)
	}
	want := func(got []string, want ...string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the header is %q, want %q", got, want)
		}
	}
	of := func(s said) []string { return s.header.Values(wire.CacheHeader) }
	want(of(w.must(200, "root", "GET", "plain/data/app", "")))
	want(of(w.must(200, "root", "GET", "dev/data/app", "")), "86400 dev")
	want(of(w.must(200, "root", "GET", "prod/data/app", "")), "0 prod")
	want(of(w.must(200, "root", "POST", "sys/bundle", bundleOf("dev/data/app", "plain/data/app", "prod/data/app"))), "86400 dev", "0 prod")
	want(of(w.must(403, w.token(`path "x" { capabilities = ["read"] }`), "GET", "dev/data/app", "")))

	if s := w.must(200, "root", "POST", "sys/mounts/plain/tune", `{"options":{"envrun-cache":"90m"}}`); !strings.Contains(s.raw, "1h30m") {
		t.Errorf("%s", s.raw)
	}
	want(of(w.must(200, "root", "GET", "plain/data/app", "")), "5400 plain")
	w.must(204, "root", "POST", "sys/mounts/plain/tune", `{"options":{"envrun-cache":"off"}}`)
	want(of(w.must(200, "root", "GET", "plain/data/app", "")), "0 plain")
	for _, bad := range []string{"", "always", "-1h", "0s", "1.5s", "721h"} {
		w.must(400, "root", "POST", "sys/mounts/plain/tune", fmt.Sprintf(`{"options":{"envrun-cache":%q}}`, bad))
		w.must(400, "root", "POST", "sys/mounts/new", fmt.Sprintf(`{"type":"kv-v2","options":{"envrun-cache":%q}}`, bad))
	}
	want(of(w.must(200, "root", "GET", "plain/data/app", "")), "0 plain")
}
