package redact_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"envrun/envrun/redact"
	"envrun/vault"
)

func one(value string) *redact.Masker {
	return redact.New([]redact.Secret{{Name: "S", Value: vault.NewValueString(value)}})
}

// samples are values with what encoders treat in special ways.
func samples() []string {
	return []string{
		"plainvalue",
		"sk_live_51H8aXyZ0123456789",
		"wJalrXUtnFEMI/K7MDENG+bPxRfiCY==",
		"p@ss w0rd!",
		`it's "quoted" \ and $VALUE`,
		"~tilde#hash=1",
		"#hash~tilde&a<b>c`d`",
		"a,b;c:d?e[f]g{h}i|j^k*l(m)n%o",
		"grüße-€-𝄞-日本",
		"tab\tand\x1besc\x7fdel\x01",
		"postgres://app:s3cr3t@w0rd@db.internal:5432/app?sslmode=require",
		"line one of it\nline two of it\nlast line",
		"dos one of it\r\ndos two of it\r\nlast line",
		pemKey(seeded("sample"), 300),
		`{"user":"someone-else","list":["first-element","second/element"],"n":{"deep":"deep value here"}}`,
	}
}

// expectMasked asks that encoded, inside other text, is masked as a whole.
func expectMasked(t *testing.T, value, how, encoded string) {
	t.Helper()
	const before, after = "x=<", "> and more\n"
	got := string(one(value).Bytes([]byte(before + encoded + after)))
	if got != before+"[S]"+after {
		t.Errorf("%s of %.60q is %.200q: masked as %.200q", how, value, encoded, got)
	}
}

func TestFormsOfGo(t *testing.T) {
	for _, v := range samples() {
		v = strings.TrimSpace(v)
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		expectMasked(t, v, "json.Marshal", strings.Trim(string(j), `"`))
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		plain := strings.TrimSpace(b.String())
		expectMasked(t, v, "json.Encoder", plain[1:len(plain)-1])
		twice, err := json.Marshal(plain[1 : len(plain)-1])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.ContainsAny(v, "<>&") {
			expectMasked(t, v, "JSON in JSON", string(twice[1:len(twice)-1]))
		}
		expectMasked(t, v, "url.QueryEscape", url.QueryEscape(v))
		expectMasked(t, v, "url.PathEscape", url.PathEscape(v))
		user := url.UserPassword("me", v).String()
		expectMasked(t, v, "url.UserPassword", strings.TrimPrefix(user, "me:"))
		if !strings.Contains(v, "://") {
			u := url.URL{Scheme: "https", Host: "h", Path: "/" + v}
			expectMasked(t, v, "url.URL", strings.TrimPrefix(u.String(), "https://h/"))
		}
		expectMasked(t, v, "html.EscapeString", html.EscapeString(v))
		if q := strconv.Quote(v); !strings.Contains(q, `\u`) {
			expectMasked(t, v, "strconv.Quote", q[1:len(q)-1])
		}
		expectMasked(t, v, "hex", hex.EncodeToString([]byte(v)))
		expectMasked(t, v, "HEX", strings.ToUpper(hex.EncodeToString([]byte(v))))
		expectMasked(t, v, "lower percent", lowerPercent(url.QueryEscape(v)))
	}
}

// lowerPercent makes the hex digits of percent-encoding lower case.
func lowerPercent(v string) string {
	b := []byte(v)
	for i, c := range b {
		if c == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// Base64 of a value that stands anywhere in the data: at most one character on
// either side of the token may be of the value.
func TestBase64(t *testing.T) {
	encodings := map[string]*base64.Encoding{
		"std": base64.StdEncoding, "raw std": base64.RawStdEncoding, "url": base64.URLEncoding, "raw url": base64.RawURLEncoding,
	}
	for _, v := range append(samples(), "\xfb\xff\xbf\xfe\x00\x01binary\xff\xff", "12345678") {
		v = strings.TrimSpace(v)
		m := one(v)
		for name, enc := range encodings {
			for before := range 7 {
				for after := range 4 {
					head, tail := "user:xyz"[:before], "\n\r;"[:after]
					text := enc.EncodeToString([]byte(head + v + tail))
					got := string(m.Bytes([]byte(text)))
					left, right, ok := strings.Cut(got, "[S]")
					if !ok || len(left) != (8*before+5)/6 || len(strings.TrimRight(right, "=")) > (8*after+5)/6+1 {
						t.Fatalf("%s of %q+%.40q+%q: %.200q masked as %.200q", name, head, v, tail, text, got)
					}
					if after == 0 && right != "" {
						t.Fatalf("%s of %q+%.40q: %q is left behind", name, head, v, right)
					}
				}
			}
		}
	}
}

func TestWrappedBase64(t *testing.T) {
	key := pemKey(seeded("wrapped"), 900)
	m := one(key)
	for _, v := range []string{key, strings.TrimSpace(key)} {
		for _, width := range []int{64, 76} {
			text := base64.StdEncoding.EncodeToString([]byte(v))
			for ; text != ""; text = text[min(width, len(text)):] {
				line := text[:min(width, len(text))]
				if len(line) < 8 {
					continue
				}
				if got := string(m.Bytes([]byte(line + "\r\n"))); got != "[S]\r\n" {
					t.Errorf("width %d: %q masked as %q", width, line, got)
				}
			}
		}
	}
}

func TestLinesAndLeaves(t *testing.T) {
	key := pemKey(seeded("lines"), 300)
	account, err := json.MarshalIndent(map[string]any{
		"type": "service_account", "project_id": "my-project-1", "private_key": key, "short": "abc", "n": 12345678,
		"nested": []any{"string in a list", map[string]any{"k": "nested string", "number-key": 1}},
		"again":  `{"inner":"a string of inner JSON","url":"https://u:inner-password@h/"}`,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(key), "\n")
	tests := []struct{ name, value, text, want string }{
		{"a line alone", key, "> " + lines[2] + "\n", "> [S]\n"},
		{"each line, indented", key, "  " + strings.Join(lines, "\n  "), "  " + lines[0] + strings.Repeat("\n  [S]", len(lines)-2) + "\n  " + lines[len(lines)-1]},
		{"whole", key, key, "[S]\n"},
		{"as a terminal has it", key, strings.ReplaceAll(key, "\n", "\r\n"), "[S]\r\n"},
		{"armour of another key", key, "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\n"},
		{"with spaces", key, strings.Join(lines[1:4], " "), "[S] [S] [S]"},
		{"CRLF value, LF text", strings.ReplaceAll(key, "\n", "\r\n"), key, "[S]\n"},
		{"short lines are only masked together", "ab\ncd\nef\ngh", "ab cd ab\ncd\nef\ngh", "ab cd [S]"},
		{"a common line", "production\nsome-secret-line", "production some-secret-line", "production [S]"},
		{"blanks around", "  some secret \n", "(some secret)", "([S])"},
		{"JSON whole", string(account), string(account), "[S]"},
		{"JSON string", string(account), `string in a list, nested string`, `[S], [S]`},
		{"JSON key, number, short and common strings", string(account), `number-key 12345678 abc service_account "nested": {`, `number-key 12345678 abc service_account "nested": {`},
		{"line in a JSON string", string(account), lines[1], "[S]"},
		{"JSON in JSON", string(account), "a string of inner JSON", "[S]"},
		{"password in a URL in JSON in JSON", string(account), "inner-password", "[S]"},
		{"a JSON string", `"just a string"`, "just a string", "[S]"},
		{"almost JSON", `{"a":"some string",}`, "some string", "some string"},
		{"URL password", "postgres://me:p%40ssw0rd-x@h:5432/d", "p%40ssw0rd-x p@ssw0rd-x me h:5432", "[S] [S] me h:5432"},
		{"common URL password", "postgres://me:postgres@h:5432/d", "postgres", "postgres"},
		{"no password", "https://example.com/a@b:c-and-more", "c-and-more", "c-and-more"},
	}
	for _, tt := range tests {
		if got := string(one(tt.value).Bytes([]byte(tt.text))); got != tt.want {
			t.Errorf("%s: %q masked as %q, want %q", tt.name, tt.text, got, tt.want)
		}
	}
}

// What other programs make of values, asked of those that are here.
func TestFormsOfPrograms(t *testing.T) {
	each := func(do string) []string {
		return []string{"bash", "-c", `for ((i = 0; i < N; i++)); do v=V$i; V=${!v}; ` + do + `; echo; done`}
	}
	programs := map[string][]string{
		"printf %q":    each(`printf %q "$V"; echo; LC_ALL=C printf %q "$V"`),
		"declare -p":   each(`declare -p V; export -p | grep -a -A9 "V$i"`),
		"set":          each(`set | grep -a -A9 ^V=`),
		"set -x":       {"bash", "-c", `exec 2>&1; set -x; for ((i = 0; i < N; i++)); do v=V$i; : "${!v}"; done`},
		"sh export -p": {"sh", "-c", `export -p`},
		"base64":       each(`printf %s "$V" | base64; echo "$V" | base64`),
		"openssl":      each(`printf %s "$V" | openssl base64`),
		"python": {"python3", "-c", `
import os, json, shlex, html, base64, urllib.parse as u
for i in range(int(os.environ["N"])):
    v = os.environ["V%d" % i]
    d = {"k": v}
    print(v); print(repr(v)); print(d); print(os.fsencode(v)); print(json.dumps(d)); print(json.dumps(d, ensure_ascii=False)); print(json.dumps(json.dumps(d, ensure_ascii=False), ensure_ascii=False))
    print(shlex.quote(v)); print(html.escape(v)); print(html.escape(v, quote=False)); print(u.quote(v)); print(u.quote(v, safe="")); print(u.quote_plus(v)); print(u.urlencode(d))
    print(base64.encodebytes(v.encode()).decode()); print(base64.urlsafe_b64encode(v.encode())); print(v.encode().hex())`},
		"node": {"node", "-e", `
for (let i = 0; i < process.env.N; i++) {
    const v = process.env["V" + i], p = console.log
    p(v); p(JSON.stringify({v})); p(JSON.stringify(JSON.stringify({v}))); p(encodeURIComponent(v)); p(encodeURI(v)); p(String(new URLSearchParams({v})))
    p(Buffer.from(v).toString("base64")); p(Buffer.from("x" + v).toString("base64url")); p(Buffer.from(v).toString("hex"))
}`},
		"jq": {"jq", "-nr", `env | to_entries[] | select(.key | startswith("V")) | .value | ., @json, @uri, @html, @sh, @base64, (tojson|tojson)`},
	}
	var secrets []redact.Secret
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "PYTHONUTF8=1", "LC_ALL=C.UTF-8"}
	for i, v := range samples() {
		v = strings.TrimSpace(v)
		secrets = append(secrets, redact.Secret{Name: "S", Value: vault.NewValueString(v)})
		env = append(env, fmt.Sprintf("V%d=%s", i, v))
	}
	env = append(env, fmt.Sprintf("N=%d", len(secrets)))
	m := redact.New(secrets)
	for name, argv := range programs {
		t.Run(name, func(t *testing.T) {
			for _, need := range []string{argv[0], strings.Fields(name)[0]} {
				if _, err := exec.LookPath(need); err != nil && (need == argv[0] || need == "openssl") {
					t.Skip(err)
				}
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = env
			out, err := cmd.CombinedOutput()
			if err != nil && len(out) == 0 {
				t.Skipf("%s does not run here: %v", argv[0], err)
			}
			masked := m.Bytes(out)
			if n := bytes.Count(masked, []byte("[S]")); n < len(secrets) {
				t.Errorf("%d values, %d masks in %s", len(secrets), n, masked)
			}
			for line := range bytes.Lines(masked) {
				for _, s := range secrets {
					for _, w := range leftovers(string(s.Value.Reveal())) {
						if bytes.Contains(line, []byte(w)) {
							t.Errorf("%q is left in %q", w, line)
						}
					}
				}
			}
		})
	}
}

// leftovers are words of v that must not be seen.
func leftovers(v string) []string {
	if strings.Contains(v, "-----BEGIN") {
		v = strings.Split(v, "\n")[1]
	}
	var list []string
	for _, w := range strings.FieldsFunc(v, func(r rune) bool { return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') }) {
		if len(w) >= 4 {
			list = append(list, w)
		}
	}
	return list
}

func ExampleMasker_Bytes() {
	m := redact.New([]redact.Secret{
		{Name: "API_KEY", Value: vault.NewValueString("sk-1234-abcd")},
		{Name: "MODE", Value: vault.NewValueString("production")},
	})
	fmt.Printf("%s\n", m.Bytes([]byte("production uses sk-1234-abcd, or c2stMTIzNC1hYmNk in base64")))
	for _, s := range m.Skipped() {
		fmt.Printf("%s is not masked: %s\n", s.Name, s.Reason)
	}
	// Output:
	// production uses [API_KEY], or [API_KEY] in base64
	// MODE is not masked: the value is a common word
}
