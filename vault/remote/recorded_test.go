package remote_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/remote"
)

// recording is what a real server was asked and what it answered.
type recording struct {
	Step    string
	Request struct {
		Method, Path, Query string
		Headers             map[string]string
	}
	Response struct {
		Status int
		Body   json.RawMessage
	}
}

// What Vault and OpenBao answered when it was recorded is understood: each answer
// to a request that envrun sends too is given to it, and what it makes of it is
// compared with what stands there.
func TestRecordings(t *testing.T) {
	for _, server := range []string{"vault-1.21", "openbao-2.6"} {
		t.Run(server, func(t *testing.T) {
			understood := map[string]int{}
			for _, name := range []string{"kv", "kvraw2", "lifecycle"} {
				file, err := os.ReadFile(filepath.Join("../wire/testdata", server, name+".jsonl"))
				if err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewScanner(bytes.NewReader(bytes.ReplaceAll(file, []byte(`"<TIME>"`), []byte(`"2026-11-22T10:11:12.1Z"`))))
				lines.Buffer(nil, 1<<22)
				for lines.Scan() {
					var r recording
					if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
						t.Fatal(err)
					}
					if what := understand(t, r); what != "" {
						understood[what]++
					}
				}
			}
			for _, what := range []string{"secret", "deleted", "nothing", "version", "names", "listed", "history", "sealed", "denied"} {
				if understood[what] == 0 {
					t.Errorf("no recording of %s", what)
				}
			}
			t.Log(understood)
		})
	}
}

// understand gives one recorded answer to a client, and says what it was of.
func understand(t *testing.T, r recording) string {
	t.Helper()
	mount, rest, _ := strings.Cut(strings.TrimPrefix(r.Request.Path, "/v1/"), "/")
	env := vault.Env(mount)
	if env != "prod" && env != "secret" || r.Request.Method != http.MethodGet || r.Request.Headers["X-Vault-Wrap-TTL"] != "" || bytes.Contains(r.Response.Body, []byte("__")) {
		return ""
	}
	kind, path, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	query, _ := url.ParseQuery(r.Request.Query)
	if _, err := vault.ParsePath(path); err != nil && path != "" {
		return ""
	}
	v := serve(t, func(w http.ResponseWriter, q *http.Request) {
		switch {
		case strings.HasPrefix(q.URL.Path, "/v1/sys/internal/ui/mounts/"):
			answer(200, `{"data":{"path":"`+mount+`/","type":"kv","options":{"version":"2"}}}`)(w, q)
		case strings.HasSuffix(q.URL.Path, "/lookup-self"):
			answer(200, `{"data":{}}`)(w, q)
		case strings.TrimSuffix(q.URL.Path, "/") == strings.TrimSuffix(r.Request.Path, "/") && (q.URL.Query().Get("list") == "true") == (query.Get("list") != ""):
			body := r.Response.Body
			if string(body) == "null" {
				body = nil
			}
			answer(r.Response.Status, string(body))(w, q)
		default:
			answer(403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)(w, q)
		}
	})
	var body struct {
		Data struct {
			Data     map[string]json.RawMessage
			Subkeys  map[string]json.RawMessage
			Keys     []string
			Metadata struct{ Version uint64 }
			Versions map[string]any
		}
	}
	_ = json.Unmarshal(r.Response.Body, &body)
	fail := func(err error) string {
		t.Helper()
		switch {
		case r.Response.Status == 503:
			wantTrouble(t, err, remote.Sealed, vault.KindUnavailable)
			return "sealed"
		case r.Response.Status == 403:
			if k := vault.KindOf(err); k != vault.KindDenied && k != vault.KindNoIdentity {
				t.Errorf("%s: %v", r.Step, err)
			}
			return "denied"
		case vault.KindOf(err) == vault.KindNotFound && r.Response.Status == 404:
			if body.Data.Metadata.Version > 0 {
				return "deleted"
			}
			return "nothing"
		case vault.KindOf(err) == vault.KindNoEnv && bytes.Contains(r.Response.Body, []byte("namespace not found")):
			return "nowhere"
		case r.Response.Status == 400 || r.Response.Status == 405:
			return "refused"
		default:
			t.Errorf("%s: %d is %v", r.Step, r.Response.Status, err)
			return ""
		}
	}
	switch {
	case kind == "data" && path != "" && query.Get("version") == "":
		secret, err := v.Get(t.Context(), env, vault.Path(path))
		if err != nil {
			return fail(err)
		}
		if secret.Version != body.Data.Metadata.Version || len(secret.Values) != len(body.Data.Data) {
			t.Errorf("%s: %+v", r.Step, secret.Info)
		}
		return "secret"
	case kind == "data" && path != "":
		n, err := strconv.ParseUint(query.Get("version"), 10, 64)
		if err != nil || n == 0 {
			return ""
		}
		secret, err := v.GetVersion(t.Context(), env, vault.Path(path), n)
		if err != nil {
			return fail(err)
		}
		if secret.Version != n || secret.Deleted != (r.Response.Status == 404) || len(secret.Values) != len(body.Data.Data) {
			t.Errorf("%s: %+v", r.Step, secret.Info)
		}
		return "version"
	case kind == "subkeys" && query.Get("version") == "":
		for info, err := range v.List(t.Context(), env, vault.Path(path)) {
			if err == nil && info.Path == vault.Path(path) && len(info.Fields) != len(body.Data.Subkeys) {
				t.Errorf("%s: %+v", r.Step, info)
			}
		}
		return "names"
	case kind == "metadata" && query.Get("list") != "":
		n, last := 0, error(nil)
		for _, err := range v.List(t.Context(), env, vault.Path(path)) {
			n++
			last = err
		}
		if r.Response.Status != 200 && n > 0 && vault.KindOf(last) != vault.KindDenied {
			return fail(last)
		}
		// What is below may not be read here, and each key is said to be so.
		if r.Response.Status == 200 && n < len(body.Data.Keys) {
			t.Errorf("%s: %d of %d keys", r.Step, n, len(body.Data.Keys))
		}
		return "listed"
	case kind == "metadata" && path != "":
		n := 0
		for _, err := range v.Versions(t.Context(), env, vault.Path(path)) {
			if err != nil {
				return fail(err)
			}
			n++
		}
		if n != len(body.Data.Versions) {
			t.Errorf("%s: %d of %d versions", r.Step, n, len(body.Data.Versions))
		}
		return "history"
	}
	return ""
}
