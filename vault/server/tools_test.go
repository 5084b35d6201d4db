package server_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestTools(t *testing.T) {
	w := newWorld(t)
	data := func(path, body, name string) string {
		t.Helper()
		s, _ := w.must(200, "root", "POST", path, body).data()[name].(string)
		return s
	}
	for _, c := range []struct {
		path, body string
		bytes      int
	}{
		{"sys/tools/random", ``, 32},
		{"sys/tools/random", `{"bytes":"5"}`, 5},
		{"sys/tools/random/7", ``, 7},
		{"sys/tools/random/platform", `{"bytes":3}`, 3},
		{"sys/tools/random/platform/9", `{"bytes":3}`, 9},
	} {
		if b, err := base64.StdEncoding.DecodeString(data(c.path, c.body, "random_bytes")); err != nil || len(b) != c.bytes {
			t.Errorf("%s %s: %d bytes, %v", c.path, c.body, len(b), err)
		}
	}
	if b, err := hex.DecodeString(data("sys/tools/random", `{"format":"hex"}`, "random_bytes")); err != nil || len(b) != 32 {
		t.Errorf("as hex: %d bytes, %v", len(b), err)
	}
	if once := data("sys/tools/random", ``, "random_bytes"); once == data("sys/tools/random", ``, "random_bytes") {
		t.Error("the same bytes twice")
	}
	for _, body := range []string{`{"bytes":0}`, `{"bytes":-1}`, `{"bytes":131073}`, `{"format":"text"}`, `{"source":"dice"}`} {
		w.must(400, "root", "POST", "sys/tools/random", body)
	}
	w.must(400, "root", "POST", "sys/tools/random/platform/many", ``)

	// Of the empty input and of "abc": FIPS 180-4 and FIPS 202 have them as examples.
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	const abc = "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"
	if got := data("sys/tools/hash", ``, "sum"); got != empty {
		t.Errorf("sha2-256 of nothing: %s", got)
	}
	if got := data("sys/tools/hash/sha3-256", `{"input":"YWJj"}`, "sum"); got != abc {
		t.Errorf("sha3-256: %s", got)
	}
	for _, name := range []string{"sha2-224", "sha2-384", "sha2-512", "sha3-224", "sha3-384", "sha3-512"} {
		size := map[string]int{"224": 28, "384": 48, "512": 64}[name[5:]]
		if got, _ := base64.StdEncoding.DecodeString(data("sys/tools/hash", `{"algorithm":"`+name+`","input":"YWJj","format":"base64"}`, "sum")); len(got) != size {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
	for _, body := range []string{`{"algorithm":"md5"}`, `{"input":"not base64, a canary"}`} {
		if s := w.must(400, "root", "POST", "sys/tools/hash", body); strings.Contains(s.raw, "canary") {
			t.Errorf("the answer repeats what was sent: %s", s.raw)
		}
	}
	if strings.Contains(w.log.text(), "YWJj") {
		t.Error("what was hashed stands in the audit log")
	}
}

// What the mount of tokens is tuned to holds for tokens.
func TestTokenTimes(t *testing.T) {
	w := newWorld(t)
	ttl := func(s said) int64 {
		n, err := s.body["auth"].(map[string]any)["lease_duration"].(json.Number).Int64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	made := func(body string) said {
		t.Helper()
		return w.must(200, "root", "POST", "auth/token/create", body)
	}
	w.must(204, "root", "POST", "sys/mounts/auth/token/tune", `{"default_lease_ttl":"2h","max_lease_ttl":"4h"}`)
	if got := ttl(made(`{"policies":["default"]}`)); got != 7200 {
		t.Errorf("a token has %v s", got)
	}
	s := made(`{"policies":["default"],"ttl":"10h"}`)
	if got := ttl(s); got != 4*3600 || s.body["warnings"] == nil {
		t.Errorf("one that asks for more has %v s, %v", got, s.body["warnings"])
	}
	text := s.body["auth"].(map[string]any)["client_token"].(string)
	w.now = w.now.Add(time.Hour)
	if got := ttl(w.must(200, text, "POST", "auth/token/renew-self", `{"increment":"10h"}`)); got != 3*3600 {
		t.Errorf("renewed, it has %v s", got)
	}
	if got := ttl(made(`{"policies":["default"],"period":"6h"}`)); got != 6*3600 {
		t.Errorf("a periodic one has %v s", got)
	}
	if got := ttl(made(`{}`)); got != 0 {
		t.Errorf("root's has %v s", got)
	}
}
