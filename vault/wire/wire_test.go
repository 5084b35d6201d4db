package wire_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/wire"
)

// exchange is one recorded request with what a real server answered.
type exchange struct {
	Step    string
	Request struct {
		Method, Path, Query string
		Body                json.RawMessage
	}
	Response struct {
		Status int
		Body   json.RawMessage
	}
}

// placeholders stand in the recordings for what differs from run to run.
var placeholders = strings.NewReplacer(`"<TIME>"`, `"2026-11-22T10:11:12.123456789Z"`, `"<UNIX>"`, `1795342272`)

var ttl = regexp.MustCompile(`"<TTL~(\d+)>"`)

func exchanges(t *testing.T, file string) []exchange {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []exchange
	lines := bufio.NewScanner(strings.NewReader(placeholders.Replace(ttl.ReplaceAllString(string(raw), "$1"))))
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var e exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// shapes says which type the answer to a request has. The first that matches counts.
var shapes = []struct {
	request string // method, path and query
	ok      any    // pointer to the type of a success
}{
	{`^GET /v1/[a-z]+/data/[^?]+`, new(wire.Answer[wire.Secret])},
	{`^(PUT|POST|PATCH) /v1/(prod|secret)/data/`, new(wire.Answer[wire.Version])},
	{`^GET /v1/(prod|secret)/subkeys/`, new(wire.Answer[wire.Subkeys])},
	{`^(LIST|GET) /v1/prod/metadata.*(list=true|list=1)`, new(wire.Answer[wire.Keys])},
	{`^LIST /v1/(prod/metadata|cubbyhole|auth/token/(roles|accessors))`, new(wire.Answer[wire.Keys])},
	{`^GET /v1/prod/metadata/`, new(wire.Answer[wire.Metadata])},
	{`^GET /v1/prod/config`, new(wire.Answer[wire.KVConfig])},
	{`^GET /v1/sys/health`, new(wire.Health)},
	{`^GET /v1/sys/seal-status`, new(wire.SealStatus)},
	{`^GET /v1/sys/leader`, new(wire.Leader)},
	{`^GET /v1/sys/init`, new(wire.Initialized)},
	{`^PUT /v1/sys/init`, new(wire.InitKeys)},
	{`^(PUT|POST) /v1/sys/unseal`, new(wire.SealStatus)},
	{`^GET /v1/sys/internal/ui/mounts/`, new(wire.Answer[wire.Mount])},
	{`^GET /v1/sys/internal/ui/mounts`, new(wire.Answer[wire.VisibleMounts])},
	{`^GET /v1/sys/mounts/[a-z]+/tune`, new(flat[wire.MountTuning])},
	{`^GET /v1/sys/mounts/`, new(flat[wire.Mount])},
	{`^GET /v1/sys/mounts`, new(flat[wire.Mounts])},
	{`^GET /v1/auth/token/lookup-self`, new(wire.Answer[wire.TokenInfo])},
	{`^POST /v1/auth/token/(lookup|lookup-accessor)`, new(wire.Answer[wire.TokenInfo])},
	{`^(PUT|POST) /v1/auth/token/(create|renew)`, new(wire.Answer[json.RawMessage])},
	{`^POST /v1/sys/wrapping/lookup`, new(wire.Answer[wire.WrapLookup])},
	{`^(PUT|POST) /v1/sys/wrapping/`, new(wire.Answer[json.RawMessage])},
}

// flat is an answer that Flat wrote.
type flat[T any] struct{ wire.Answer[T] }

func (f flat[T]) MarshalJSON() ([]byte, error) { return wire.Flat(f.Answer) }

// Every recorded answer of these kinds is read and written again, and is the same.
func TestRecordedAnswers(t *testing.T) {
	files, _ := filepath.Glob("testdata/*/*.jsonl")
	if len(files) != 16 {
		t.Fatalf("%d recordings", len(files))
	}
	used := map[string]int{}
	errs := 0
	for _, file := range files {
		for _, e := range exchanges(t, file) {
			body := e.Response.Body
			if len(body) == 0 || string(body) == "null" || bytes.Contains(body, []byte("__")) {
				continue // no body, or one that the recording left out
			}
			name := fmt.Sprintf("%s: %s", file, e.Step)
			if bytes.HasPrefix(body, []byte(`{"errors"`)) {
				roundTrip(t, name, body, new(wire.Errors))
				errs++
				continue
			}
			request := e.Request.Method + " " + e.Request.Path
			if e.Request.Query != "" {
				request += "?" + e.Request.Query
			}
			for _, s := range shapes {
				if !regexp.MustCompile(s.request).MatchString(request) {
					continue
				}
				if e.Response.Status == 404 && !bytes.Contains(body, []byte(`"metadata"`)) {
					roundTrip(t, name, body, new(wire.Answer[json.RawMessage])) // a warning alone
				} else {
					roundTrip(t, name, body, reflect.New(reflect.TypeOf(s.ok).Elem()).Interface())
				}
				used[s.request]++
				break
			}
		}
	}
	for _, s := range shapes {
		if used[s.request] == 0 {
			t.Errorf("no recording of %s", s.request)
		}
	}
	if errs == 0 {
		t.Error("no error in any recording")
	}
	t.Logf("%v answers, %d errors", used, errs)
}

func roundTrip(t *testing.T, name string, body []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(body, into); err != nil {
		t.Errorf("%s: %v\n%s", name, err, body)
		return
	}
	again, err := json.Marshal(into)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if d := differ("", generic(t, body), generic(t, again)); d != "" {
		t.Errorf("%s: %s\n%s\n%s", name, d, body, again)
	}
}

func generic(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// mayDiffer are keys that one of the two servers leaves out, which the other
// has as zero.
var mayDiffer = map[string]bool{
	"mount_type": true, "deleted_by": true, "build_date": true, "commit_date": true,
	"enterprise": true, "echo_duration_ms": true, "clock_skew_ms": true, "replication_primary_canary_age_ms": true, "performance_standby": true,
	"is_self": true, "active_time": true, "leader_address": true, "leader_cluster_address": true, "performance_standby_last_remote_wal": true,
}

// leftOut are facts of clusters that we neither answer nor ask.
var leftOut = map[string]bool{"removed_from_cluster": true, "raft_applied_index": true, "raft_committed_index": true, "storage_type_ha": true, "migration_in_progress": true}

func differ(at string, want, have any) string {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok {
			return at + " is no object"
		}
		for k, w := range want {
			h, ok := have[k]
			if !ok {
				if leftOut[k] || mayDiffer[k] && (w == nil || w == "") {
					continue
				}
				return at + "." + k + " is lost"
			}
			if d := differ(at+"."+k, w, h); d != "" {
				return d
			}
		}
		for k := range have {
			if _, ok := want[k]; !ok && !mayDiffer[k] {
				return at + "." + k + " is added"
			}
		}
	case []any:
		have, ok := have.([]any)
		if !ok || len(have) != len(want) {
			return at + " is another list"
		}
		for i := range want {
			if d := differ(fmt.Sprintf("%s[%d]", at, i), want[i], have[i]); d != "" {
				return d
			}
		}
	default:
		if !reflect.DeepEqual(want, have) {
			return fmt.Sprintf("%s is %v, was %v", at, have, want)
		}
	}
	return ""
}

// What the recorded statuses mean.
func TestRecordedKinds(t *testing.T) {
	for _, c := range []struct {
		file, step string
		want       vault.Kind
	}{
		{"kv", "kv put wrong cas", vault.KindConflict},
		{"kv", "kv put cas=0 on existing", vault.KindConflict},
		{"kv", "kv get missing", vault.KindNotFound},
		{"kv", "kv list missing", vault.KindNotFound},
		{"mounts", "secrets enable duplicate", vault.KindExists},
		{"mounts", "secrets enable unknown type", vault.KindInvalid},
		{"mounts", "ui mounts path missing", vault.KindDenied},
		{"kvraw2", "no mount", vault.KindNoEnv},
		{"kvraw2", "no token", vault.KindDenied},
		{"kvraw2", "bad token", vault.KindDenied},
		{"errors", "unsupported op", vault.KindUnsupported},
	} {
		for _, server := range []string{"vault-1.21", "openbao-2.6"} {
			found := false
			for _, e := range exchanges(t, filepath.Join("testdata", server, c.file+".jsonl")) {
				var errs wire.Errors
				if e.Step != c.step || e.Response.Status < 400 {
					continue
				}
				found = true
				if err := json.Unmarshal(e.Response.Body, &errs); err != nil {
					t.Fatal(err)
				}
				if got := wire.KindOf(e.Response.Status, errs.Errors); got != c.want {
					t.Errorf("%s, %s: %v, want %v", server, c.step, got, c.want)
				}
			}
			if !found {
				t.Errorf("%s: no recording of %s", server, c.step)
			}
		}
	}
	for _, status := range []int{412, 429, 472, 473, 500, 501, 502, 503, 504} {
		if got := wire.KindOf(status, nil); got != vault.KindUnavailable {
			t.Errorf("%d means %v", status, got)
		}
	}
	if got := wire.KindOf(200, nil); got != vault.KindOther {
		t.Errorf("200 means %v", got)
	}
}

// A kind that a server answers with is the kind that a client reads.
func TestKindsThereAndBack(t *testing.T) {
	texts := map[vault.Kind][]string{
		vault.KindConflict: {wire.CASMismatch},
		vault.KindExists:   {wire.InUse + "dev/"},
		vault.KindNoEnv:    {wire.NoHandler + `"dev/data/x". route entry not found.`},
	}
	for _, kind := range []vault.Kind{
		vault.KindNotFound, vault.KindNoEnv, vault.KindExists, vault.KindInvalid, vault.KindConflict,
		vault.KindDenied, vault.KindUnsupported, vault.KindUnavailable,
	} {
		status := wire.StatusOf(fmt.Errorf("reading: %w", &vault.Error{Kind: kind}))
		if got := wire.KindOf(status, texts[kind]); got != kind {
			t.Errorf("%v is %d, which is %v", kind, status, got)
		}
	}
	for _, err := range []error{errors.New("x"), &vault.Error{Kind: vault.KindTampered}, &vault.Error{Kind: vault.KindFull}} {
		if got := wire.StatusOf(err); got != 500 {
			t.Errorf("%v is %d", err, got)
		}
	}
}

func TestLenientForms(t *testing.T) {
	type all struct {
		I wire.Int      `json:"i"`
		B wire.Bool     `json:"b"`
		D wire.Duration `json:"d"`
		S wire.Strings  `json:"s"`
		N wire.Ints     `json:"n"`
		C wire.Custom   `json:"c"`
	}
	for _, text := range []string{
		`{"i":1,"b":true,"d":3600,"s":["a","b"],"n":[1,2],"c":{"k":"1","y":"true"}}`,
		`{"i":"1","b":"true","d":"3600","s":"a,b","n":"1,2","c":{"k":1,"y":true}}`,
		`{"i": "1","b":1,"d":"1h","s":"a, b,","n":["1","2"],"c":{"k":"1","y":"true"}}`,
		`{"i":1,"b":"1","d":"60m","s":["a","","b"],"n":["1",2],"c":{"k":1,"y":"true"}}`,
	} {
		var v all
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want := all{1, true, wire.Duration(time.Hour), wire.Strings{"a", "b"}, wire.Ints{1, 2}, wire.Custom{"k": "1", "y": "true"}}
		if !reflect.DeepEqual(v, want) {
			t.Errorf("%s is %+v", text, v)
		}
	}
	var v all
	if err := json.Unmarshal([]byte(`{"i":"","b":"","d":"30d","s":"","n":"","c":null}`), &v); err != nil {
		t.Error(err)
	} else if v.I != 0 || v.B || v.D != wire.Duration(30*24*time.Hour) || len(v.S) != 0 || len(v.N) != 0 || v.C != nil {
		t.Errorf("%+v", v)
	}
	for _, text := range []string{
		`{"i":1.5}`, `{"i":"s3cret"}`, `{"i":[1]}`, `{"i":9223372036854775808}`,
		`{"b":"s3cret"}`, `{"b":{}}`,
		`{"d":"s3cret"}`, `{"d":9223372036854775807}`, `{"d":"99999999999999d"}`, `{"d":"1h "}`,
		`{"s":{"a":"s3cret"}}`, `{"s":[["s3cret"]]}`, `{"n":"s3cret"}`,
		`{"c":{"a":{"s3cret":1}}}`, `{"c":["s3cret"]}`, `{"c":"s3cret"}`,
	} {
		if err := json.Unmarshal([]byte(text), new(all)); err == nil {
			t.Errorf("%s is taken", text)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error repeats it: %v", text, err)
		}
	}
}

// Whatever is printed by mistake tells nothing.
func TestMasks(t *testing.T) {
	const canary = "s3cret-canary"
	a := wire.Answer[wire.Secret]{
		Data:     &wire.Secret{Data: wire.Fields{"A": json.RawMessage(`"` + canary + `"`)}},
		Auth:     &wire.Auth{ClientToken: canary},
		WrapInfo: &wire.WrapInfo{Token: canary},
	}
	init := wire.InitKeys{Keys: []wire.Token{canary}, KeysBase64: []wire.Token{canary}, RootToken: canary}
	write := wire.SecretWrite{Data: a.Data.Data}
	for _, v := range []any{a, &a, a.Data, *a.Data, a.Data.Data, a.Auth, *a.Auth, *a.WrapInfo, init, write, wire.TokenInfo{ID: canary}, wire.TokenRef{Token: canary}, wire.Unseal{Key: canary}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, canary) || strings.Contains(out, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s of a %T: %s", verb, v, out)
			}
		}
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2026, 2, 11, 10, 14, 3, 500, time.FixedZone("", 3600))
	b, err := json.Marshal([]wire.Time{{Time: at}, {}})
	if err != nil || string(b) != `["2026-02-11T09:14:03.0000005Z",""]` {
		t.Errorf("%s, %v", b, err)
	}
	var back []wire.Time
	if err := json.Unmarshal(append(b[:len(b)-1], ",null]"...), &back); err != nil {
		t.Fatal(err)
	}
	if !back[0].Equal(at) || !back[1].IsZero() || !back[2].IsZero() {
		t.Errorf("%v", back)
	}
	if err := json.Unmarshal([]byte(`["yesterday"]`), &back); err == nil {
		t.Error("yesterday is a time")
	}
}

// Data cannot displace what the envelope says.
func TestFlat(t *testing.T) {
	data := map[string]any{"auth": "mine", "prod/": 1}
	b, err := wire.Flat(wire.Answer[map[string]any]{RequestID: "r", Data: &data})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got["auth"] != nil || got["prod/"] != 1.0 || got["data"].(map[string]any)["auth"] != "mine" {
		t.Errorf("%s", b)
	}
}

// Metadata comes as an object, and from the command line as pairs.
func TestPairs(t *testing.T) {
	for text, want := range map[string]wire.Pairs{
		`{"a":"b","n":1}`: {"a": "b", "n": "1"}, `"a=b"`: {"a": "b"}, `"a=b=c"`: {"a": "b=c"}, `["a=b","c="]`: {"a": "b", "c": ""}, `""`: {}, `null`: nil,
	} {
		var got wire.Pairs
		if err := json.Unmarshal([]byte(text), &got); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{`"a"`, `["a"]`, `[1]`, `3`, `{"a":{}}`} {
		if err := json.Unmarshal([]byte(text), new(wire.Pairs)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}
