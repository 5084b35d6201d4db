package audit_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"envrun/vault"
	"envrun/vault/audit"
)

var hasher = audit.NewHasher(bytes.Repeat([]byte{7}, 32))

func u64(n uint64) *uint64 { return &n }

// full is an entry with something in every field.
func full() audit.Entry {
	h := hasher.Hash("hvs.token")
	auth := audit.Auth{
		Accessor: h, ClientToken: h, DisplayName: "oidc-ann", EntityID: "e1",
		Metadata: map[string]string{"mail": "ann@example.dev", "groups": "ops,dev"}, MetadataDropped: 2, Policies: []string{"default", "prod-read"},
		PolicyResults: &audit.PolicyResults{Allowed: true, GrantingPolicies: []audit.GrantingPolicy{{Name: "prod-read", Type: "acl"}, {Name: "b", Type: "acl"}}},
		RemainingUses: 3, TokenTTL: 3600, TokenType: "service",
	}
	data := &audit.Data{
		AccessRequest: "r1", Accessor: h, Algorithm: "ES256", CAS: u64(0), Count: 12, DatabaseUser: "v-ann-ro-1", Entity: "e1", Environment: "prod", FromVersion: 3, GrantID: "g1", Group: "ops",
		Issuer: "https://id.example.dev", KeyID: "k1", Subject: h, TokenID: h,
		Keys: []string{"DB_URL", "API_KEY"}, LeaseID: "database/creds/ro/x", MetadataKeys: []string{"owner"}, MountPoint: "stage/", Paths: []string{"prod/data/a", "prod/data/b"}, Policies: []string{"a"}, Policy: "prod-read",
		PolicySHA256: strings.Repeat("ab", 32), Read: []int64{3, -1}, Reason: "incident 7", Role: "ro", TTL: 60, Ticket: "OPS-1", Type: "kv", Version: 4, Versions: []uint64{1, 2}, VersionsDropped: 5,
	}
	return audit.Entry{
		Auth: auth, Error: "permission denied", Heads: []audit.StoreHead{{Changes: 7, Digest: "ab", ID: "m1"}, {Changes: 8, Digest: "cd", ID: "sys"}},
		Request: audit.Request{ClientToken: h, Data: data, Headers: &audit.Headers{UserAgent: []string{"vault/1.21", "x"}}, ID: "5f0e", MountAccessor: "kv_1", MountPoint: "prod/", MountType: "kv",
			Operation: "update", Path: "prod/data/billing", RemoteAddress: "10.0.0.9", RemotePort: 41860, WrapTTL: 300},
		Response: &audit.Response{Auth: &auth, Data: data, Secret: &audit.Secret{LeaseID: "database/creds/ro/x"},
			WrapInfo: &audit.WrapInfo{Accessor: h, CreationPath: "prod/data/billing", Token: h, TTL: 300}},
		Status: 403, Time: time.Date(2026, 11, 23, 3, 4, 5, 678900000, time.UTC), Type: audit.Outcome,
	}
}

// fill puts s into every string of v and makes its lists long.
func fill(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(s)
		}
	case reflect.Pointer:
		fill(v.Elem(), s)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), s)
			}
		}
	case reflect.Slice:
		if v.CanSet() {
			one := v.Index(0)
			v.Set(reflect.MakeSlice(v.Type(), 300, 300))
			for i := range v.Len() {
				v.Index(i).Set(one)
				fill(v.Index(i), s)
			}
		}
	case reflect.Map:
		for i := range 300 {
			v.SetMapIndex(reflect.ValueOf(s+strings.Repeat("k", i)), reflect.ValueOf(s))
		}
	case reflect.Int, reflect.Int64:
		v.SetInt(-1 << 31)
	case reflect.Uint64:
		v.SetUint(1<<64 - 1)
	}
}

func TestLineSaysEveryField(t *testing.T) {
	e := full()
	line := e.Line().String()
	back, err := audit.Parse([]byte(line))
	if err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	if !reflect.DeepEqual(back, e) {
		t.Errorf("read back\n%+v\nof\n%+v", back, e)
	}
	// encoding/json knows the fields by reflection: what it would write and the line does not is forgotten there.
	var have, want any
	if err := json.Unmarshal([]byte(line), &have); err != nil {
		t.Fatal(err)
	}
	all, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(all, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("the line\n%s\nsays other than\n%s", line, all)
	}
	// Marshalling a map sorts its keys: the line is that already.
	sorted, err := json.Marshal(have)
	if err != nil {
		t.Fatal(err)
	}
	if string(sorted) != line {
		t.Errorf("the keys are not in their order:\n%s\nwant\n%s", line, sorted)
	}
}

func TestLineOfAnEmptyEntry(t *testing.T) {
	e := audit.Entry{Type: audit.Intent, Time: time.Unix(0, 0)}
	const want = `{"auth":{},"request":{},"time":"1970-01-01T00:00:00Z","type":"request"}`
	if got := e.Line().String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if back, err := audit.Parse([]byte(want)); err != nil || back.Line().String() != want {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestLineIsBounded(t *testing.T) {
	for _, s := range []string{"", "x", strings.Repeat("a", 1<<16), strings.Repeat("\n", 9000), strings.Repeat("\"\\", 500), strings.Repeat("\xff\xfe", 4000), strings.Repeat("ü€\u202e😀", 400)} {
		e := full()
		fill(reflect.ValueOf(&e).Elem(), s)
		line := e.Line()
		if n := len(line.String()); n > audit.MaxLine {
			t.Errorf("a line of %d bytes with strings of %.10q: more than %d", n, s, audit.MaxLine)
		}
		if again := line.Entry().Line().String(); again != line.String() {
			t.Errorf("cut twice, it is another line:\n%s\n%s", line, again)
		}
		if back, err := audit.Parse([]byte(line.String())); err != nil || back.Line().String() != line.String() {
			t.Errorf("%.10q: %v", s, err)
		}
	}
}

func TestWhatIsCutIsTold(t *testing.T) {
	path := func(s string) string {
		return audit.Entry{Request: audit.Request{Path: s}, Type: audit.Intent}.Line().Entry().Request.Path
	}
	long := "prod/data/" + strings.Repeat("a", 5000)
	one, two := path(long+"1"), path(long+"2")
	if one == two || !strings.HasPrefix(one, "prod/data/aaaa") || !strings.Contains(one, " bytes, sha256 ") || len(one) > 1024 {
		t.Errorf("%q\n%q", one, two)
	}
	if got := path("prod/data/\xff\xfe"); got != `prod/data/\xff\xfe` {
		t.Errorf("%q", got)
	}
	many := make([]string, 500)
	for i := range many {
		many[i] = "FIELD"
	}
	e := audit.Entry{Request: audit.Request{Data: &audit.Data{Keys: many}}}.Line().Entry()
	keys := e.Request.Data.Keys
	if last := keys[len(keys)-1]; last != "+"+itoa(500-len(keys)+1)+" more" {
		t.Errorf("%d keys, the last %q", len(keys), last)
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestLineKeepsNothingOfItsEntry(t *testing.T) {
	e := full()
	line := e.Line()
	e.Auth.Metadata["mail"], e.Request.Data.Versions[0], *e.Request.Data.CAS, e.Response.Data.Keys[0] = "x", 9, 9, "x"
	if got := line.Entry(); !reflect.DeepEqual(got, full()) {
		t.Errorf("%+v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	good := full().Line().String()
	for name, c := range map[string]struct {
		line string
		kind vault.Kind
	}{
		"empty":         {"", vault.KindMalformed},
		"not JSON":      {"x", vault.KindMalformed},
		"null":          {"null", vault.KindMalformed},
		"two":           {good + good, vault.KindMalformed},
		"space":         {good + " ", vault.KindMalformed},
		"newline":       {good + "\n", vault.KindMalformed},
		"cut":           {good[:len(good)-1], vault.KindMalformed},
		"order":         {`{"request":{},"auth":{},"time":"1970-01-01T00:00:00Z","type":"request"}`, vault.KindMalformed},
		"twice":         {`{"auth":{},"auth":{},"request":{},"time":"1970-01-01T00:00:00Z","type":"request"}`, vault.KindMalformed},
		"capital":       {strings.Replace(good, `"auth"`, `"Auth"`, 1), vault.KindMalformed},
		"escape":        {strings.Replace(good, `oidc`, `\u006fidc`, 1), vault.KindMalformed},
		"zone":          {`{"auth":{},"request":{},"time":"1970-01-01T01:00:00+01:00","type":"request"}`, vault.KindMalformed},
		"raw token":     {strings.Replace(good, hasher.Hash("hvs.token").String(), "hvs.token", 1), vault.KindMalformed},
		"newer":         {strings.Replace(good, `"status":403`, `"status":403,"stratum":1`, 1), vault.KindVersion},
		"newer, deeper": {strings.Replace(good, `"remote_port":41860`, `"remote_port":41860,"tls":"1.3"`, 1), vault.KindVersion},
		"long":          {`{"auth":{},"error":"` + strings.Repeat("a", audit.MaxLine) + `"}`, vault.KindMalformed},
	} {
		if _, err := audit.Parse([]byte(c.line)); vault.KindOf(err) != c.kind || err == nil {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}

func TestHasher(t *testing.T) {
	h := hasher.Hash("hvs.a")
	// printf hvs.a | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…
	const want = "hmac-sha256:b99033e728a85418fb29b3be259ea31e3ccf5563e91448a0ffc704f6f2e3de49"
	if h.String() != want || h == hasher.Hash("hvs.b") || h == audit.NewHasher(bytes.Repeat([]byte{8}, 32)).Hash("hvs.a") || !hasher.Hash("").IsZero() {
		t.Errorf("%s", h)
	}
	defer func() {
		if recover() == nil {
			t.Error("a hasher with a short key")
		}
	}()
	audit.NewHasher([]byte("short"))
}

func FuzzLine(f *testing.F) {
	f.Add("prod/data/x", "ann", "k", []byte("v"), int64(1), uint64(2))
	f.Add("a\nb\r\u2028\u202e\x00\x7f\u009f", "\xff\"\\", "…(+5 bytes, sha256 0)", bytes.Repeat([]byte("\n"), 2000), int64(-1), uint64(0))
	f.Fuzz(func(t *testing.T, path, who, key string, long []byte, n int64, u uint64) {
		e := full()
		e.Request.Path, e.Auth.DisplayName, e.Error = path, who, string(long)
		e.Auth.Metadata = map[string]string{key: who, who: string(long), path: key}
		e.Request.Data = &audit.Data{Keys: []string{key, string(long), path, key}, CAS: &u, Count: n, Versions: []uint64{u, 0}}
		e.Type, e.Status = audit.Type(key), int(n)
		e.Time = time.Unix(n%(1<<37), int64(u%1e9))
		line := e.Line()
		text := line.String()
		if len(text) > audit.MaxLine || !utf8.ValidString(text) {
			t.Fatalf("%d bytes", len(text))
		}
		for _, r := range text {
			if r < ' ' || 0x7f <= r && r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0x202e {
				t.Fatalf("a raw %U in %s", r, text)
			}
		}
		back, err := audit.Parse([]byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !reflect.DeepEqual(back, line.Entry()) || back.Line().String() != text {
			t.Fatalf("read back\n%+v\nof\n%+v", back, line.Entry())
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full().Line().String()))
	f.Add([]byte(`{"auth":{},"request":{},"time":"1970-01-01T00:00:00Z","type":"request"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := audit.Parse(b); err == nil && e.Line().String() != string(b) {
			t.Fatalf("%q was read, and is written as %q", b, e.Line())
		}
	})
}
