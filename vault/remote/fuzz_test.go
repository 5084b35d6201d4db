package remote_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/wire"
)

// What is written is read back, whatever it is, and text is there as text.
func FuzzValue(f *testing.F) {
	const mark = "data:application/octet-stream;by=envrun;base64,"
	for _, s := range []string{"", "text", "\x00", "\xff", "<&>\u2028\u2029", mark, mark + "AAAA", "data:application/octet-stream;base64,AAAA", `["a"]`, "null", "\ufffd", strings.Repeat("\xfe", 800<<10)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, err := remote.EncodeValue(vault.NewValue(bytes.Clone(b)))
		if err != nil {
			t.Fatal(err)
		}
		// The server reads it and writes it again.
		var through any
		if err := json.Unmarshal(raw, &through); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(through)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range []json.RawMessage{raw, again} {
			if got := remote.DecodeValue(raw).Reveal(); !bytes.Equal(got, b) {
				t.Fatalf("%d bytes come back as %d others", len(b), len(got))
			}
		}
		text, isText := through.(string)
		if utf8.Valid(b) && !bytes.HasPrefix(b, []byte(mark)) && text != string(b) {
			t.Errorf("text is not there as text: %.80q", raw)
		}
		if isText && len(text) > 1<<20+len(mark) {
			t.Errorf("a string of %d bytes", len(text))
		}
	})
}

// What another tool wrote becomes some value, and changes nothing by being read.
func FuzzForeignValue(f *testing.F) {
	for _, s := range []string{`1.50`, `9007199254740993`, `true`, `null`, `{"a": [1, 2]}`, `[]`, `["data:application/octet-stream;by=envrun;base64,", "!"]`, `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		var data wire.Fields
		if err := json.Unmarshal([]byte(`{"A":`+string(raw)+`}`), &data); err != nil {
			return
		}
		once := remote.DecodeValue(data["A"]).Reveal()
		if twice := remote.DecodeValue(data["A"]).Reveal(); !bytes.Equal(once, twice) {
			t.Errorf("%q is %q, and then %q", raw, once, twice)
		}
		if trimmed := bytes.TrimSpace(raw); trimmed[0] == '{' && !json.Valid(once) {
			t.Errorf("%q is shown as %q", raw, once)
		}
	})
}

func FuzzSince(f *testing.F) {
	f.Add("7:1*3,7", uint64(7), 4)
	f.Add("1:", uint64(1), 0)
	f.Add("7:1*99999999999", uint64(7), 3)
	f.Add("7:0,8,-1,1*0", uint64(7), 4)
	f.Fuzz(func(t *testing.T, text string, version uint64, n int) {
		if n < 0 || n > vault.MaxFields {
			return
		}
		since, ok := remote.ReadSince(text, version, n)
		if !ok {
			return
		}
		if len(since) != n {
			t.Fatalf("%d for %d fields", len(since), n)
		}
		var fields []vault.FieldInfo
		for _, s := range since {
			if s == 0 || s > version {
				t.Fatalf("since %d in version %d", s, version)
			}
			fields = append(fields, vault.FieldInfo{Since: s})
		}
		again, ok := remote.ReadSince(remote.WriteSince(version, fields), version, n)
		if !ok || !slices.Equal(again, since) {
			t.Errorf("%v comes back as %v", since, again)
		}
	})
}

// A note of any length that is allowed has room, and no rest of another stays.
func FuzzParts(f *testing.F) {
	f.Add("", "x")
	f.Add(strings.Repeat("é", 512), "short")
	f.Add(strings.Repeat("a", 511)+"é", strings.Repeat("b", 512))
	f.Fuzz(func(t *testing.T, first, second string) {
		if len(first) > vault.MaxNote || len(second) > vault.MaxNote || !utf8.ValidString(first) || !utf8.ValidString(second) {
			return
		}
		c := wire.Custom{"owner": "core", "notes": "theirs"}
		for _, text := range []string{first, second, first} {
			patch := map[string]any{}
			if !remote.PatchParts(patch, c, "note", text) {
				t.Fatalf("%d bytes have no room", len(text))
			}
			for name, value := range patch {
				switch value := value.(type) {
				case nil:
					delete(c, name)
				case string:
					if value == "" || len(value) > 512 || !utf8.ValidString(value) {
						t.Fatalf("%s is %q", name, value)
					}
					c[name] = value
				}
			}
			if got := remote.JoinParts(c, "note"); got != text {
				t.Fatalf("%q comes back as %q", text, got)
			}
		}
		if c["owner"] != "core" || c["notes"] != "theirs" {
			t.Errorf("%v", c)
		}
	})
}

// Whatever a server answers, nothing breaks, and no error holds the token.
func FuzzServer(f *testing.F) {
	for _, body := range []string{
		"", "null", "[]", "{}", secretAnswer, mountAnswer, `{"errors":[]}`, `{"errors":["permission denied"]}`, `{"errors":null}`, `{"errors":"x"}`,
		`{"data":{"keys":["a","b/","../c","","/","a"]}}`, `{"data":{"keys":["` + strings.Repeat("a/", 50) + `"]}}`,
		`{"data":{"secret":{"dev/":{"type":"kv","options":{"version":"2","envrun":"environment"}}}}}`,
		`{"data":{"current_version":3,"versions":{"1":{"created_time":"2026-11-22T10:11:12Z"},"3":{"destroyed":true}}}}`,
		`{"data":{"current_version":3,"versions":{"18446744073709551615":{}}}}`,
		`{"data":{"current_version":3,"versions":{"0":{"destroyed":true}}}}`,
		`{"errors":["about ` + canary + `"]}`,
		`{"data":{"subkeys":{"A":null},"metadata":{"created_time":"2026-11-22T10:11:12Z","version":3,"custom_metadata":{"note":"\u001b[31m","envrun-since":"3:1","tags":" , ,"}}}}`,
		`{"data":{"created_time":"2026-11-22T10:11:12Z","version":1}}`,
	} {
		f.Add(200, []byte(body))
		f.Add(404, []byte(body))
		f.Add(403, []byte(body))
	}
	f.Add(307, []byte("/v1/x"))
	f.Add(101, []byte(""))
	var status atomic.Int64
	var body atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := body.Load().([]byte)
		if n := int(status.Load()); n >= 200 && n < 600 {
			if n >= 300 && n < 400 {
				w.Header().Set("Location", url.QueryEscape(string(b)))
			}
			w.WriteHeader(n)
		}
		_, _ = w.Write(b)
	}))
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, n int, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		status.Store(int64(n))
		body.Store(b)
		v, err := remote.Open(remote.Options{Address: s.URL, Token: token(canary), Pause: time.Nanosecond, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		ctx := t.Context()
		check := func(err error) {
			t.Helper()
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("it tells: %v", err)
			}
		}
		_, err = v.Envs(ctx)
		check(err)
		secret, err := v.Get(ctx, "dev", "app")
		check(err)
		if err == nil && (secret.Version == 0 || secret.Deleted || len(secret.Values) != len(secret.Fields)) {
			t.Errorf("%+v", secret)
		}
		listed := 0
		for info, err := range v.List(ctx, "dev", "") {
			check(err)
			if err == nil {
				if _, err := vault.ParsePath(string(info.Path)); err != nil || info.Version == 0 {
					t.Errorf("%+v", info)
				}
			}
			if listed++; listed > 20 {
				break
			}
		}
		for info, err := range v.Versions(ctx, "dev", "app") {
			check(err)
			if err == nil && info.Version == 0 {
				t.Errorf("%+v", info)
			}
		}
		_, err = v.Apply(ctx, "dev", []vault.Change{{Path: "app", Was: vault.Any, Set: []vault.Field{{Name: "A", Value: vault.NewValueString(canary)}}}})
		check(err)
		check(v.RemoveEnv(ctx, "dev"))
	})
}
