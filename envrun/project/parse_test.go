package project_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"envrun/envrun/project"
	"envrun/vault"
)

// full has every key there is.
const full = `# the whole of it
vault   = ".envrun/vault"
project = "billing-api"
default = "dev"
allow_names  = ["NODE_OPTIONS"]
inherit_wins = [
  "PORT",
  "DEBUG", # a comment
]
require = ["DATABASE_URL"]

[mask]
LOG_LEVEL = false
SHORT_PIN = true

[env.dev]
[env.staging]
mask = "always"
[env.prod]
vault     = "https://vault-prod.example.dev/"
protected = true
require   = ["SENTRY_DSN"]

[[inject]]
path = "billing-api"
except = ["OLD_*"]
[[inject]]
path   = "shared/stripe"
rename = { secret_key = "STRIPE_SECRET_KEY" }
only   = ["secret_key", "public_*"]
prefix = "STRIPE_"
transform = "upper"
optional = true
env = ["staging", "prod"]
mask = true
[[file]]
path = "shared/gcp"
field = "service_account_json"
var  = "GOOGLE_APPLICATION_CREDENTIALS"
optional = true
env = "prod"
mask = false
`

func mustParse(t *testing.T, text string) *project.Project {
	t.Helper()
	p, err := project.Parse(root("p/envrun.toml"), []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return p
}

// root makes an absolute path on any system.
func root(rel string) string {
	abs, err := filepath.Abs("/")
	if err != nil {
		panic(err)
	}
	return filepath.Join(abs, filepath.FromSlash(rel))
}

func TestParseFull(t *testing.T) {
	p := mustParse(t, full)
	if p.Vault != root("p/.envrun/vault") || p.VaultPos.Line != 2 {
		t.Errorf("vault %q, line %d", p.Vault, p.VaultPos.Line)
	}
	if p.Name != "billing-api" || p.NamePos.Line != 3 || p.Default != "dev" || p.DefaultPos.Line != 4 {
		t.Errorf("project %q %d, default %q %d", p.Name, p.NamePos.Line, p.Default, p.DefaultPos.Line)
	}
	if got := names(p.Allow); got != "NODE_OPTIONS:5" {
		t.Errorf("allow_names %s", got)
	}
	if got := names(p.InheritWins); got != "PORT:7 DEBUG:8" {
		t.Errorf("inherit_wins %s", got)
	}
	if got := names(p.Require); got != "DATABASE_URL:10" {
		t.Errorf("require %s", got)
	}
	if len(p.Mask) != 2 || p.Mask[0].Name != "LOG_LEVEL" || p.Mask[0].Mask || p.Mask[1].Pos.Line != 14 || !p.Mask[1].Mask {
		t.Errorf("mask %v", p.Mask)
	}
	var envs []string
	for _, e := range p.Envs {
		envs = append(envs, string(e.Name)+":"+e.Vault+":"+string(e.Mask)+":"+names(e.Require))
	}
	want := "dev:" + p.Vault + ":auto:|staging:" + p.Vault + ":always:|prod:https://vault-prod.example.dev:auto:SENTRY_DSN:22"
	if got := strings.Join(envs, "|"); got != want {
		t.Errorf("environments\n got %s\nwant %s", got, want)
	}
	prod, _ := p.Env("prod")
	if !prod.Protected || !prod.Remote() || prod.Pos.Line != 19 || prod.VaultPos.Line != 20 {
		t.Errorf("prod %+v", prod)
	}
	if dev, _ := p.Env("dev"); dev.Remote() || dev.Protected {
		t.Errorf("dev %+v", dev)
	}
	if len(p.Inject) != 2 || len(p.Files) != 1 {
		t.Fatalf("%d rules, %d files", len(p.Inject), len(p.Files))
	}
	a, b, f := p.Inject[0], p.Inject[1], p.Files[0]
	if a.Path != "billing-api" || a.Pos.Line != 24 || a.Default || a.Mask != nil || a.Optional || names(a.Except) != "OLD_*:26" {
		t.Errorf("first rule %+v", a)
	}
	if b.Path != "shared/stripe" || b.Pos.Line != 27 || !b.Optional || b.Mask == nil || !*b.Mask || names(b.Only) != "secret_key:30 public_*:30" || names(b.Envs) != "staging:34 prod:34" {
		t.Errorf("second rule %+v", b)
	}
	if len(b.Rename) != 1 || b.Rename[0].Field != "secret_key" || b.Rename[0].To != "STRIPE_SECRET_KEY" || b.Rename[0].Pos.Line != 29 {
		t.Errorf("rename %+v", b.Rename)
	}
	if f.Path != "shared/gcp" || f.Field != "service_account_json" || f.Var != "GOOGLE_APPLICATION_CREDENTIALS" || !f.Optional || f.Mask == nil || *f.Mask || f.Pos.Line != 36 || names(f.Envs) != "prod:41" {
		t.Errorf("file %+v", f)
	}
}

func names(in []project.Name) string {
	var out []string
	for _, n := range in {
		out = append(out, n.Name+":"+strconv.Itoa(n.Pos.Line))
	}
	return strings.Join(out, " ")
}

func TestParseForms(t *testing.T) {
	const top = "vault = 'v'\n"
	for name, text := range map[string]string{
		"byte order mark":      "\uFEFF" + top + "[env.dev]\n",
		"CRLF":                 "vault = 'v'\r\n\r\n[env.dev]\r\n# end\r\n",
		"no newline at end":    top + "[env.dev]",
		"inline table":         top + "env = { dev = {} }\n",
		"dotted":               top + "env.dev.protected = true\n",
		"table of tables":      top + "[env]\ndev = {}\n",
		"header of the parent": top + "[env.dev]\n[env]\n",
		"quoted":               "\"vault\" = 'v'\n[env.\"dev\"]\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := mustParse(t, text)
			if len(p.Envs) != 1 || p.Envs[0].Name != "dev" || p.Vault != root("p/v") {
				t.Errorf("%+v", p)
			}
		})
	}
	p := mustParse(t, top+"[env.dev]\n[[inject]]\npath='a'\n[inject.rename]\nx = 'X'\n[[inject]]\npath='b'\nrename.y = 'Y'\n")
	if len(p.Inject) != 2 || p.Inject[0].Rename[0].To != "X" || p.Inject[1].Rename[0].To != "Y" || p.Inject[1].Pos.Line != 7 {
		t.Errorf("rules %+v", p.Inject)
	}
	p = mustParse(t, top+"inject = [{ path = 'a' },\n { path = 'b' }]\n[env.\"eu.prod\"]\n")
	if len(p.Inject) != 2 || p.Inject[1].Path != "b" || p.Envs[0].Name != "eu.prod" {
		t.Errorf("rules %+v, environments %+v", p.Inject, p.Envs)
	}
}

// The law of what is refused, with the line and what the message must say.
func TestParseRefuses(t *testing.T) {
	const top = "vault = 'v'\n" // line 1
	for _, c := range []struct {
		name, text string
		line       int
		key, says  string
		nearest    string
	}{
		{"unknown key", top + "defualt = 'dev'", 2, "defualt", `unknown key "defualt"`, "default"},
		{"unknown key, nothing near", top + "zebra = 1", 2, "zebra", `unknown key "zebra"`, ""},
		{"unknown table", top + "[envs.dev]", 2, "envs", `unknown key "envs"`, "env"},
		{"unknown key of an environment", top + "[env.prod]\nprotcted = true", 3, "env.prod.protcted", "in env.prod", "protected"},
		{"unknown key of a rule", top + "[[inject]]\npaht = 'a'", 3, "inject.paht", "in inject", "path"},
		{"unknown key of a file", top + "[[file]]\nfeild = 'a'", 3, "file.feild", "in file", "field"},
		{"unknown key of ci", top + "[ci]\nrol = 'a'", 3, "ci.rol", "in ci", "role"},
		{"unknown key of an environment's ci", top + "[env.dev]\nci.audiense = 'a'", 3, "env.dev.ci.audiense", "in env.dev.ci", "audience"},
		{"ci that is no table", top + "ci = 'a'", 2, "ci", "must be a table", ""},
		{"a role with a slash", top + "[ci]\nrole = 'a/b'", 3, "ci.role", "name of a role", ""},
		{"a way to sign in with a step up", top + "[ci]\nmount = '../x'", 3, "ci.mount", "", ""},

		{"a number for a string", "vault = 3", 1, "vault", "must be a string, not a number", ""},
		{"a date for a string", "vault = 1979-05-27", 1, "vault", "must be a string, not a date", ""},
		{"a list for a string", "vault = ['a']", 1, "vault", "must be a string, not a list", ""},
		{"a string for true", top + "[env.a]\nprotected = 'yes'", 3, "env.a.protected", "must be true or false, not a string", ""},
		{"a string for a list", top + "require = 'A'", 2, "require", "must be a list of strings, not a string", ""},
		{"a number in a list", top + "require = [\n'A',\n1]", 4, "require", "list of strings", ""},
		{"a string for env", top + "env = 'dev'", 2, "env", "[env.NAME]", ""},
		{"a string for an environment", top + "env.dev = 'x'", 2, "env.dev", "must be a table, not a string", ""},
		{"[inject]", top + "[inject]\npath = 'a'", 2, "inject", "[[inject]]", ""},
		{"a list in inject", top + "inject = ['a']", 2, "inject", "[[inject]]", ""},
		{"a list of tables for a table", top + "[[env]]\n", 2, "env", "must be a table", ""},

		{"twice the same key", top + "vault = 'w'", 2, "vault", "in line 1", ""},
		{"twice the same table", top + "[env.a]\n[env.b]\n[env.a]", 4, "a", "in line 2", ""},
		{"twice in an inline table", top + "env = { a = {}, a = {} }", 2, "a", "there already", ""},
		{"a table into an inline one", top + "env = { a = {} }\n[env.b]", 3, "env", "in line 2", ""},
		{"a table after a value", top + "[vault.x]", 2, "vault", "in line 1", ""},
		{"a table after a list of tables", top + "[[inject]]\npath='a'\n[inject]", 4, "inject", "[[inject]]", ""},
		{"twice in a list", top + "require = ['A',\n'A']", 3, "require", `"A" twice`, ""},
		{"one variable for two fields", top + "[[inject]]\npath='a'\nrename={x='X', y='X'}", 4, "inject.rename", `both "x" and "y" to "X"`, ""},

		{"no vault", "[env.a]", 1, "vault", "no vault for a", ""},
		{"no vault, no environment", "project = 'a'", 0, "vault", "names no vault", ""},
		{"empty vault", "vault = ''", 1, "vault", "is empty", ""},
		{"home in vault", "vault = '~/v'", 1, "vault", "neither ~ nor variables", ""},
		{"variable in vault", "vault = '$HOME/v'", 1, "vault", "neither ~ nor variables", ""},
		{"NUL in vault", `vault = "a\u0000"`, 1, "vault", "control character", ""},
		{"plain http", "vault = 'http://vault.example.dev'", 1, "vault", "https://", ""},
		{"other scheme", "vault = 'postgres://x'", 1, "vault", `"postgres"`, ""},
		{"login in the address", "vault = 'https://me:pw@x.dev'", 1, "vault", "login", ""},
		{"query in the address", "vault = 'https://x.dev/?token=1'", 1, "vault", "without ? and #", ""},
		{"no host", "vault = 'https:///x'", 1, "vault", "not an address", ""},

		{"bad project", top + "project = 'Billing'", 2, "project", `"billing"`, ""},
		{"bad environment", top + "[env.Prod]", 2, "env", `"prod"`, ""},
		{"bad default", top + "default = 'a/b'", 2, "default", "may hold only", ""},
		{"default that is not there", top + "default = 'prd'\n[env.prod]", 2, "default", "no [env.prd]", "prod"},
		{"rule for no environment of ours", top + "[env.prod]\n[[inject]]\npath='a'\nenv='prdo'", 5, "inject.env", "no [env.prdo]", "prod"},
		{"file for no environment of ours", top + "[env.prod]\n[[file]]\npath='a'\nfield='f'\nvar='V'\nenv=['prod',\n'x']", 8, "file.env", "no [env.x]", ""},
		{"bad path", top + "[[inject]]\npath = '/a'", 3, "inject.path", "empty segment", ""},
		{"no path", top + "[[inject]]\nonly = ['a']", 2, "inject.path", "has no path", ""},
		{"empty only", top + "[[inject]]\npath='a'\nonly = []", 4, "inject.only", "inject nothing", ""},
		{"empty env", top + "[[inject]]\npath='a'\nenv = []", 4, "inject.env", "no environment", ""},
		{"bad pattern", top + "[[inject]]\npath='a'\nonly = ['[a']", 4, "inject.only", "not a pattern", ""},
		{"bad field", top + "[[inject]]\npath='a'\nonly = ['a b']", 4, "inject.only", "goes on with a character", ""},
		{"rename to no name", top + "[[inject]]\npath='a'\nrename={x='a-b'}", 4, "inject.rename", "not a variable's name", ""},
		{"rename of what is left out", top + "[[inject]]\npath='a'\nonly=['y']\nrename={x='X'}", 5, "inject.rename", "only leaves out", ""},
		{"rename of an exception", top + "[[inject]]\npath='a'\nexcept=['x*']\nrename={x='X'}", 5, "inject.rename", "except leaves out", ""},
		{"bad prefix", top + "[[inject]]\npath='a'\nprefix='1_'", 4, "inject.prefix", "not a variable's name", ""},
		{"bad transform", top + "[[inject]]\npath='a'\ntransform='lower'", 4, "inject.transform", `"upper"`, ""},
		{"file without field", top + "[[file]]\npath='a'\nvar='V'", 2, "file.field", "which field", ""},
		{"file without var", top + "[[file]]\npath='a'\nfield='V'", 2, "file.var", "which variable", ""},
		{"bad mask mode", top + "[env.a]\nmask='on'", 3, "env.a.mask", `"always"`, ""},
		{"bad variable in mask", top + "[mask]\n'a-b' = true", 3, "mask", "not a variable's name", ""},
		{"pin that is none", "vault = 'https://v'\npin = 'sha1/AAAA'\n[env.a]", 2, "pin", "sha256/", ""},
		{"pins of which one is none", "vault = 'https://v'\npin = ['" + pinA + "', 'sha256/AAAA']\n[env.a]", 2, "pin", "sha256/", ""},
		{"ca at an address", "vault = 'https://v'\nca = 'https://v/ca'\n[env.a]", 2, "ca", "not an address", ""},
		{"namespace", "vault = 'https://v'\nnamespace = 'a//b'\n[env.a]", 2, "namespace", "joined by /", ""},
		{"mount", "vault = 'https://v'\n[env.a]\nmount = '../sys'", 3, "env.a.mount", "joined by /", ""},
		{"one mount for two", "vault = 'https://v'\n[env.a]\n[env.b]\nmount = 'a'", 3, "env.b", "both the mount a", ""},
		{"pin of a folder", top + "pin = '" + pinA + "'\n[env.a]", 2, "vault", "about a server", ""},
		{"mount in a folder", top + "[env.a]\nmount = 'b'", 2, "env.a", "about a server", ""},
		{"cache in a folder", top + "[env.a]\ncache = '1h'", 2, "env.a", "about a server", ""},
		{"cache of no length", "vault = 'https://v'\n[env.a]\ncache = 'always'", 3, "env.a.cache", `or "off"`, ""},
		{"cache for too long", "vault = 'https://v'\n[env.a]\ncache = '721h'", 3, "env.a.cache", "up to 720h", ""},
		{"allowing ours", top + "allow_names = ['ENVRUN_TOKEN']", 2, "allow_names", "envrun's own", ""},

		{"not TOML", top + "vault: v", 2, "", "not TOML", ""},
		{"not ended", top + "\nrequire = ['A'", 3, "", "not TOML", ""},
		{"conflict marks", top + "<<<<<<< HEAD\n", 2, "", "not TOML", ""},
		{"not UTF-8", top + "# ok\n# \xff", 3, "", "not UTF-8", ""},
		{"nested deeply", top + "require = " + strings.Repeat("[", 100) + strings.Repeat("]", 100), 2, "require", "nested too deeply", ""},
		{"extends by itself", top + "extends = '../envrun.toml'", 2, "extends", "cannot be read by itself", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := project.Parse(root("p/envrun.toml"), []byte(c.text))
			var e *project.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want an *Error", err)
			}
			if e.Pos.Line != c.line || e.Pos.File != root("p/envrun.toml") || e.Key != c.key || e.Nearest != c.nearest {
				t.Errorf("line %d, key %q, nearest %q; want %d, %q, %q", e.Pos.Line, e.Key, e.Nearest, c.line, c.key, c.nearest)
			}
			if !strings.Contains(e.Error(), c.says) {
				t.Errorf("error %q does not say %q", e, c.says)
			}
			if k := vault.KindOf(err); k != vault.KindInvalid && k != vault.KindUnsupported {
				t.Errorf("kind %v", k)
			}
		})
	}
}

func TestParseSizes(t *testing.T) {
	if _, err := project.Parse("envrun.toml", []byte("#"+strings.Repeat(" ", project.MaxSize))); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("a file over the limit: %v", err)
	}
	var b strings.Builder
	for i := range 2000 {
		b.WriteString("k" + strconv.Itoa(i) + "=1\n")
	}
	if _, err := project.Parse("envrun.toml", []byte(b.String())); err == nil || !strings.Contains(err.Error(), "1000 keys") {
		t.Errorf("2000 keys: %v", err)
	}
}

func TestLocations(t *testing.T) {
	for in, want := range map[string]string{
		"v":                      root("p/v"),
		"../v":                   root("v"),
		"./a/":                   root("p/a"),
		"https://x.dev":          "https://x.dev",
		"https://x.dev:8200/ns/": "https://x.dev:8200/ns",
		"http://localhost":       "http://localhost",
		"http://127.0.0.1:8200/": "http://127.0.0.1:8200",
		"http://[::1]:8200":      "http://[::1]:8200",
	} {
		if p := mustParse(t, "vault = '"+in+"'\n[env.a]\n"); p.Vault != want || p.Envs[0].Vault != want {
			t.Errorf("%s: %s, want %s", in, p.Vault, want)
		}
	}
	abs := root("abs/vault")
	if p := mustParse(t, "vault = '"+abs+"'\n[env.a]\n"); p.Vault != abs {
		t.Errorf("absolute: %s", p.Vault)
	}
	for _, in := range []string{"http://localhost.evil.dev", "http://127.0.0.1.evil.dev", "http://localhost@evil.dev", "http://[::1].evil.dev:80"} {
		if _, err := project.Parse("envrun.toml", []byte("vault = '"+in+"'\n[env.a]\n")); err == nil {
			t.Errorf("%s is taken", in)
		}
	}
}

const pinA = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

const pinB = "sha256/BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="

// How a server is known goes with the server.
func TestServers(t *testing.T) {
	p, err := project.Parse(root("p/envrun.toml"), []byte(`
vault = "https://vault.example.dev"
ca = "ca.pem"
pin = "`+pinA+`"
namespace = "team/"
[env.dev]
[env.stage]
mount = "teams/core/stage"
pin = ["`+pinA+`", "`+pinB+`"]
[env.prod]
vault = "https://vault-prod.example.dev"
pin = "`+pinB+`"
[env.local]
vault = ".envrun/vault"
`))
	if err != nil {
		t.Fatal(err)
	}
	ca := root("p/ca.pem")
	for name, want := range map[vault.Env]string{
		"dev":   "https://vault.example.dev dev " + ca + " [" + pinA + "] team/",
		"stage": "https://vault.example.dev teams/core/stage " + ca + " [" + pinA + " " + pinB + "] team/",
		"prod":  "https://vault-prod.example.dev prod  [" + pinB + "] ",
		"local": root("p/.envrun/vault") + " local  [] ",
	} {
		e, _ := p.Env(name)
		if got := fmt.Sprint(e.Vault, " ", e.MountName(), " ", e.Server.CA, " ", e.Server.Pins, " ", e.Server.Namespace); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestDefaultRule(t *testing.T) {
	const top = "vault='v'\nproject='p'\n[env.a]\n"
	p := mustParse(t, top)
	if len(p.Inject) != 1 || !p.Inject[0].Default || p.Inject[0].Path != "p" || p.Inject[0].Pos.Line != 2 {
		t.Errorf("without rules: %+v", p.Inject)
	}
	p = mustParse(t, top+"[[inject]]\npath='q'\n")
	if len(p.Inject) != 1 || p.Inject[0].Default || p.Inject[0].Path != "q" {
		t.Errorf("with a rule: %+v", p.Inject)
	}
	if p = mustParse(t, "vault='v'\n[env.a]\n"); len(p.Inject) != 0 {
		t.Errorf("without a project: %+v", p.Inject)
	}
}

func TestInjectNames(t *testing.T) {
	p := mustParse(t, `vault='v'
[env.a]
[[inject]]
path = 'a'
except = ["old_*"]
rename = { "tls.crt" = "CERT" }
prefix = "X_"
transform = "upper"
`)
	r := p.Inject[0]
	for field, want := range map[vault.FieldName]string{"tls.crt": "CERT", "tls.key": "X_TLS_KEY", "a-b": "X_A_B", "C": "X_C"} {
		if got := r.Variable(field); got != want || !r.Takes(field) {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
	if r.Takes("old_one") {
		t.Error("takes what except leaves out")
	}
	if !r.For("a") || !r.For("b") {
		t.Error("a rule without env is for all")
	}
}

func TestSelect(t *testing.T) {
	p := mustParse(t, "vault='v'\ndefault='dev'\n[env.dev]\n[env.staging]\n[env.prod]\n")
	for _, c := range []struct{ flag, variable, want string }{
		{"", "", "dev"}, {"", "staging", "staging"}, {"prod", "staging", "prod"}, {"prod", "nonsense", "prod"},
	} {
		if e, err := p.Select(c.flag, c.variable); err != nil || string(e.Name) != c.want {
			t.Errorf("Select(%q, %q) = %s, %v; want %s", c.flag, c.variable, e.Name, err, c.want)
		}
	}
	for _, c := range []struct {
		flag, variable string
		from           project.Origin
		nearest        string
	}{
		{"prd", "", project.FromFlag, "prod"},
		{"production", "", project.FromFlag, "prod"},
		{"PROD", "dev", project.FromFlag, "prod"},
		{"", "stagign", project.FromVariable, "staging"},
		{"zzz", "", project.FromFlag, ""},
	} {
		_, err := p.Select(c.flag, c.variable)
		var e *project.EnvError
		if !errors.As(err, &e) || vault.KindOf(err) != vault.KindNoEnv {
			t.Fatalf("Select(%q, %q): %v", c.flag, c.variable, err)
		}
		if e.From != c.from || e.Nearest != c.nearest || len(e.Known) != 3 || !strings.Contains(e.Error(), "dev, staging, prod") {
			t.Errorf("Select(%q, %q): %+v", c.flag, c.variable, e)
		}
	}
	p = mustParse(t, "vault='v'\n[env.dev]\n")
	if _, err := p.Select("", ""); vault.KindOf(err) != vault.KindNoEnv || !strings.Contains(err.Error(), "names no default") {
		t.Errorf("nothing chosen: %v", err)
	}
	p = mustParse(t, "vault='v'\n")
	if _, err := p.Select("dev", ""); vault.KindOf(err) != vault.KindNoEnv || !strings.Contains(err.Error(), "no environments") {
		t.Errorf("none there: %v", err)
	}
}

func TestCacheFor(t *testing.T) {
	p, err := project.Parse(root("p/envrun.toml"), []byte(`vault = "https://v"
[env.dev]
[env.dev-eu]
[env.devil]
[env.local]
protected = true
[env.staging]
cache = "8h"
[env.prod]
[env.test]
cache = "off"
`))
	if err != nil {
		t.Fatal(err)
	}
	hours := func(n time.Duration) *time.Duration { n *= time.Hour; return &n }
	for _, c := range []struct {
		env    vault.Env
		server *time.Duration
		want   time.Duration
	}{
		{"dev", nil, 24}, {"dev-eu", nil, 24}, {"devil", nil, 0}, {"local", nil, 0}, {"prod", nil, 0},
		{"staging", nil, 8}, {"test", nil, 0},
		{"dev", hours(0), 0}, {"dev", hours(72), 72}, {"prod", hours(1), 1},
		{"staging", hours(4), 4}, {"staging", hours(72), 8}, {"test", hours(72), 0},
	} {
		e, _ := p.Env(c.env)
		if got := e.CacheFor(c.server); got != c.want*time.Hour {
			t.Errorf("%s: %v, want %dh", c.env, got, c.want)
		}
	}
}
