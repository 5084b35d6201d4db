package server_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"envrun/vault/server"
	"envrun/vault/vaulttest/recording"
)

var update = flag.Bool("update", false, "write the differences from the recordings")

// A step is one exchange that was recorded between a client and a real server.
type step struct {
	Seq     int    `json:"seq"`
	Step    string `json:"step"`
	Request struct {
		Method  string            `json:"method"`
		Path    string            `json:"path"`
		Query   string            `json:"query"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	} `json:"request"`
	Response struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body"`
	} `json:"response"`
}

func recorded(t *testing.T, server, file string) []step {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", server, file+".jsonl"))
	if os.IsNotExist(err) {
		f, err = os.Open(filepath.Join("../wire/testdata", server, file+".jsonl"))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []step
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// The exchanges that were recorded with Vault 1.21 and OpenBao 2.6 are had with our
// server: a step passes when the answer equals either's, but for ids and times. What
// does not stands in testdata/differences.txt, which docs/vault-api.md argues; a new
// difference, or one that is gone, fails.
func TestRecordings(t *testing.T) { replayAll(t, sealedWorld) }

func replayAll(t *testing.T, sealed func(testing.TB) *world) {
	var out bytes.Buffer
	w := sealed(t)
	if _, _, err := w.Init(t.Context(), server.Setup{Sealers: sealers(t)[1:], Token: "root", Open: true}); err != nil {
		t.Fatal(err)
	}
	steps, same := 0, 0
	play := func(w *world, file string) {
		bound := [2]map[string]string{{}, {}}
		theirs := [2][]step{recorded(t, "vault-1.21", file), recorded(t, "openbao-2.6", file)}
		if file == "identity" {
			accessor := w.aliasMount(t)
			for k := range theirs {
				for i := range theirs[k] {
					atMount(&theirs[k][i], accessor)
				}
			}
		}
		var shares []string // that were recorded, in the order in which they came
		for i, s := range theirs[0] {
			if _, elided := object(s.Request.Body)["__elided_keys"]; elided {
				continue // what was sent is not in the recording
			}
			steps++
			got := w.replay(s, bound[0], &shares)
			if s.Step == "secret-id list" { // theirs are in the order of their storage
				list := got.data()["keys"].([]any)
				if slices.Reverse(list); list[0] != bound[0]["<UUID-7>"] {
					slices.Reverse(list)
				}
			}
			var found [2][]string
			for k, other := range []step{s, theirs[1][i]} {
				found[k] = differ(other, got, bound[k])
			}
			if len(found[0]) == 0 || len(found[1]) == 0 {
				same++
				continue
			}
			diff := found[0]
			if len(found[1]) < len(diff) {
				diff = found[1]
			}
			fmt.Fprintf(&out, "%s %d [%s] %s %s\n", file, s.Seq, s.Step, s.Request.Method, s.Request.Path)
			for _, d := range diff {
				fmt.Fprintf(&out, "\t%s\n", d)
			}
		}
	}
	play(sealed(t), "lifecycle")
	for _, file := range []string{"status", "mounts", "policy", "kv", "kvraw2", "token", "wrapping", "leases", "audit", "errors", "identity", "approle"} {
		play(w, file)
	}
	t.Logf("%d of %d steps answer as one of the two servers", same, steps)

	const golden = "testdata/differences.txt"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != string(want) {
		for line := range strings.Lines(got) {
			if !strings.Contains(string(want), line) {
				t.Errorf("new difference: %s", line)
			}
		}
		t.Error("the differences from the recordings have changed: if that is meant, go test ./vault/server -run Recordings -update, and say why in docs/vault-api.md")
	}
}

// aliasMount makes the way to sign in that stands for the userpass method of the
// recordings, which is not here: aliases need some.
func (w *world) aliasMount(t *testing.T) (accessor string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public, _ := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	w.must(204, "root", "POST", "sys/auth/userpass", `{"type":"jwt"}`)
	w.must(204, "root", "POST", "auth/userpass/config", fmt.Sprintf(`{"jwt_validation_pubkeys":%s,"bound_issuer":"https://issuer.test"}`, public))
	return w.accessor("userpass")
}

var userpassAccessor = regexp.MustCompile(`auth_userpass_[0-9a-f]{8}`)

// atMount puts our mount in the place of theirs.
func atMount(s *step, accessor string) {
	for _, raw := range []*json.RawMessage{&s.Request.Body, &s.Response.Body} {
		text := userpassAccessor.ReplaceAll(*raw, []byte(accessor))
		*raw = bytes.ReplaceAll(text, []byte(`"mount_type": "userpass"`), []byte(`"mount_type": "jwt"`))
	}
}

func object(raw json.RawMessage) map[string]any {
	var m map[string]any
	_ = json.Unmarshal(raw, &m) // what is no object has no keys
	return m
}

// replay sends what was recorded, with our ids in the place of theirs.
func (w *world) replay(s step, bound map[string]string, shares *[]string) said {
	fill := func(text string) string {
		return recording.Placeholder.ReplaceAllStringFunc(text, func(p string) string {
			if v, ok := bound[p]; ok {
				return v
			}
			return p
		})
	}
	body := ""
	if raw, ok := object(s.Request.Body)["__raw"].(string); ok {
		body = raw
	} else if b := string(s.Request.Body); b != "null" {
		body = b
	}
	if key, ok := object(s.Request.Body)["key"].(string); ok && len(key) > 40 && w.shares != nil {
		if !slices.Contains(*shares, key) {
			*shares = append(*shares, key)
		}
		body = strings.ReplaceAll(body, key, w.shares[slices.Index(*shares, key)])
	}
	var headers []string
	token := ""
	for name, text := range s.Request.Headers {
		if text = fill(text); name == "X-Vault-Token" {
			token = text
		} else {
			headers = append(headers, name+": "+text)
		}
	}
	path, ok := strings.CutPrefix(s.Request.Path, "/v1/")
	if !ok {
		path = "../" + strings.TrimPrefix(s.Request.Path, "/")
	}
	escaped := fill(path)
	if s.Step == "encoded slash" {
		escaped = strings.Replace(escaped, "app/db", "app%2Fdb", 1)
	} else {
		escaped = (&url.URL{Path: escaped}).EscapedPath()
	}
	got := w.send(token, s.Request.Method, escaped, s.Request.Query, fill(body), headers...)
	if strings.HasSuffix(s.Request.Path, "sys/init") && got.status == 200 && s.Request.Method == "PUT" {
		for _, k := range got.body["keys_base64"].([]any) {
			w.shares = append(w.shares, k.(string))
		}
	}
	return got
}

// differ says in what an answer differs from one that was recorded.
func differ(s step, got said, bound map[string]string) []string {
	var out []string
	if s.Response.Status != got.status {
		out = append(out, fmt.Sprintf("status %d, not %d", got.status, s.Response.Status))
	}
	for _, name := range []string{"Cache-Control", "Content-Type"} {
		if want := s.Response.Headers[name]; want != "" && want != got.header.Get(name) {
			out = append(out, fmt.Sprintf("header %s %q, not %q", name, got.header.Get(name), want))
		}
	}
	var want any
	d := json.NewDecoder(bytes.NewReader(s.Response.Body))
	d.UseNumber()
	if err := d.Decode(&want); err != nil {
		return append(out, "the recording cannot be read")
	}
	if m, ok := want.(map[string]any); ok {
		if raw, ok := m["__raw"].(string); ok {
			if raw != got.raw {
				out = append(out, fmt.Sprintf("body %q, not %q", got.raw, raw))
			}
			return out
		}
		if _, ok := m["__elided_keys"]; ok {
			return out
		}
	}
	if want == nil {
		if strings.TrimSpace(got.raw) != "" {
			out = append(out, "a body, where there was none: "+strings.TrimSpace(got.raw))
		}
		return out
	}
	return append(out, recording.Compare("", want, any(got.body), bound)...)
}
