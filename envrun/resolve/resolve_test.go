package resolve_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"envrun/envrun/environ"
	"envrun/envrun/project"
	"envrun/envrun/resolve"
	"envrun/vault"
)

// law is one case: what is in the project file (after head), in the vault and
// on the command line, and what the command gets.
type law struct {
	name    string
	rules   string // TOML
	secrets string
	o       resolve.Options
	env     vault.Env // "": dev

	gets    string // NAME=value of Plan.Environ without the marks, sorted
	files   string // VAR=path/field
	absent  string // of the plan, one word each
	stopped string // of the plan's problems: Missing, Refused, Invalid
}

func (l law) plan(t *testing.T) (*resolve.Plan, error) {
	t.Helper()
	if l.env == "" {
		l.env = "dev"
	}
	if l.o.GOOS == "" {
		l.o.GOOS = "linux"
	}
	return resolve.Resolve(context.Background(), parse(t, head+l.rules), l.env, load(l.secrets), l.o)
}

func (l law) hold(t *testing.T) {
	t.Helper()
	p, err := l.plan(t)
	if p == nil {
		t.Fatalf("Resolve: %v", err)
	}
	if got := problems(p); got != l.stopped {
		t.Errorf("stopped by %q, want %q", got, l.stopped)
	}
	if got := missing(p.Absent); got != l.absent {
		t.Errorf("absent %q, want %q", got, l.absent)
	}
	var files []string
	for _, f := range p.Files {
		files = append(files, fmt.Sprintf("%s=%s/%s", f.Var, f.Path, f.Field))
	}
	if got := strings.Join(files, " "); got != l.files {
		t.Errorf("files %q, want %q", got, l.files)
	}
	e, eerr := p.Environ(false)
	if l.stopped != "" {
		var pe *resolve.ProblemError
		if !errors.As(err, &pe) || !errors.As(eerr, &pe) || e != nil {
			t.Errorf("a plan with problems: Resolve says %v, Environ %v", err, eerr)
		}
		return
	}
	if err != nil || eerr != nil {
		t.Fatalf("Resolve: %v, Environ: %v", err, eerr)
	}
	if got := gets(e); got != l.gets {
		t.Errorf("gets\n%s, want\n%s", got, l.gets)
	}
}

func gets(e *environ.Environ) string {
	var out []string
	for _, entry := range e.List() {
		if name, _, _ := strings.Cut(entry, "="); name != environ.MarkRun && name != environ.MarkEnv && name != resolve.MarkInjected {
			out = append(out, entry)
		}
	}
	return strings.Join(out, " ")
}

func missing(in []resolve.Missing) string {
	var out []string
	for _, m := range in {
		out = append(out, strings.Trim(fmt.Sprintf("%s:%s/%s%s@%d", m.What, m.Path, m.Field, m.Name, m.Pos.Line), "/"))
	}
	return strings.Join(out, " ")
}

func problems(p *resolve.Plan) string {
	var out []string
	if m := missing(p.Missing); m != "" {
		out = append(out, m)
	}
	for _, r := range p.Refused {
		out = append(out, "refused:"+r.Name)
	}
	for _, i := range p.Invalid {
		if i.NUL {
			out = append(out, "nul:"+i.Name)
		} else {
			out = append(out, "name:"+i.Name+"→"+i.Suggest)
		}
	}
	return strings.Join(out, " ")
}

func TestLaw(t *testing.T) {
	for _, l := range []law{
		{
			name:    "without rules, every field of the project",
			secrets: "dev app A 1\n dev app B 2\n dev other C 3\n prod app A 9",
			gets:    "A=1 B=2",
		}, {
			name:    "the environment asked for, and no other",
			secrets: "dev app A 1\n prod app A 9", env: "prod",
			gets: "A=9",
		}, {
			name:    "with rules, the rules alone",
			rules:   "[[inject]]\npath='other'",
			secrets: "dev app A 1\n dev other C 3",
			gets:    "C=3",
		}, {
			name:    "only, except and rename",
			rules:   "[[inject]]\npath='app'\nonly=['A*','x']\nexcept=['AB']\nrename={x='X'}",
			secrets: "dev app A 1\n dev app AB 2\n dev app AC 3\n dev app x 4\n dev app y 5",
			gets:    "A=1 AC=3 X=4",
		}, {
			name:    "prefix and transform spare what is renamed",
			rules:   "[[inject]]\npath='app'\nprefix='P_'\ntransform='upper'\nrename={b='bee'}",
			secrets: "dev app a.key 1\n dev app b 2",
			gets:    "P_A_KEY=1 bee=2",
		}, {
			name:    "of two rules the later wins",
			rules:   "[[inject]]\npath='app'\n[[inject]]\npath='other'\n",
			secrets: "dev app A 1\n dev app B 1\n dev other A 2",
			gets:    "A=2 B=1",
		}, {
			name:    "a rule for other environments does not count, nor is its secret asked for",
			rules:   "[[inject]]\npath='app'\n[[inject]]\npath='gone'\nenv='prod'\n",
			secrets: "dev app A 1",
			gets:    "A=1",
		},

		// Missing.
		{
			name:    "no secret",
			secrets: "dev other A 1", stopped: "secret:app/@2",
		}, {
			name:    "all that is missing is said at once",
			rules:   "require=['R']\n[[inject]]\npath='app'\nonly=['A',\n'B']\nrename={B='B2'}\n[[inject]]\npath='gone'\n[[inject]]\npath='lost'\n[[file]]\npath='app'\nfield='f'\nvar='F'\n",
			secrets: "dev app A 1",
			stopped: "field:app/B@10 secret:gone/@12 secret:lost/@14 field:app/f@16",
		}, {
			name:    "what rename names must be there",
			rules:   "[[inject]]\npath='app'\nrename={x='X'}",
			secrets: "dev app A 1", stopped: "field:app/x@8",
		}, {
			name:    "a pattern must take something",
			rules:   "[[inject]]\npath='app'\nonly=['A','B_*']",
			secrets: "dev app A 1", stopped: "pattern:app/B_*@8",
		}, {
			name:    "optional",
			rules:   "[[inject]]\npath='gone'\noptional=true\n[[inject]]\npath='app'\nonly=['A','B','C*']\noptional=true\n[[file]]\npath='lost'\nfield='f'\nvar='F'\noptional=true\n",
			secrets: "dev app A 1", gets: "A=1", absent: "secret:gone/@6 field:app/B@11 pattern:app/C*@11 secret:lost/@13",
		}, {
			name:    "one rule needs what another may lack",
			rules:   "[[inject]]\npath='gone'\noptional=true\n[[inject]]\npath='gone'\n",
			secrets: "dev app A 1", stopped: "secret:gone/@9", absent: "secret:gone/@6",
		}, {
			name:    "require",
			rules:   "[env.test]\nrequire=['T']\n",
			secrets: "test app A 1", env: "test", stopped: "variable:/T@7",
		}, {
			name:    "what is inherited does not meet require",
			rules:   "[env.test]\nrequire=['T']\n",
			secrets: "test app A 1", env: "test", o: resolve.Options{Parent: parent("T=old")}, stopped: "variable:/T@7",
		}, {
			name:    "unless it is kept",
			rules:   "[env.test]\nrequire=['T']\n",
			secrets: "test app A 1", env: "test", o: resolve.Options{Parent: parent("T=old"), Keep: []string{"T"}}, gets: "A=1 T=old",
		}, {
			name:    "require is met by a dotenv file and by --set",
			rules:   "[env.test]\nrequire=['T','U','A']\n",
			secrets: "test app A 1", env: "test",
			o:    resolve.Options{Dotenv: []resolve.Overlay{{File: ".env", Entries: entries("T=2")}}, Set: entries("U=3")},
			gets: "A=1 T=2 U=3",
		},

		// --only and --except.
		{
			name:    "--only",
			rules:   "[[inject]]\npath='app'\n[[inject]]\npath='gone'\nonly=['X']\n[[file]]\npath='lost'\nfield='f'\nvar='F'\n",
			secrets: "dev app A 1\n dev app B 2", o: resolve.Options{Only: []string{"A"}}, gets: "A=1",
		}, {
			name:    "--except counts after --only, and dotenv files are not chosen from",
			secrets: "dev app AA 1\n dev app AB 2\n dev app B 3", o: resolve.Options{Only: []string{"A*"}, Except: []string{"?B"}, Set: entries("B=9")}, gets: "AA=1 B=9",
		}, {
			name:    "--only that chooses nothing",
			secrets: "dev app AA 1", o: resolve.Options{Only: []string{"AB", "AA"}}, stopped: "selection:/AB@0",
		}, {
			name:    "--except leaves out what may not be set",
			secrets: "dev app A 1\n dev app LD_PRELOAD 2\n dev app tls.crt 3", o: resolve.Options{Except: []string{"LD_*", "tls.*"}}, gets: "A=1",
		}, {
			name:    "what is left out is not required",
			rules:   "[env.test]\nrequire=['T']\n[[inject]]\npath='app'\nonly=['A','T']\n",
			secrets: "test app A 1", env: "test", o: resolve.Options{Except: []string{"T"}}, gets: "A=1",
		},

		// Names and values.
		{
			name:    "a name that steers other programs",
			secrets: "dev app NODE_OPTIONS x\n dev app ENVRUN_TOKEN y", stopped: "refused:ENVRUN_TOKEN refused:NODE_OPTIONS",
		}, {
			name:    "unless the command line says it",
			secrets: "dev app EDITOR vi", o: resolve.Options{Set: entries("EDITOR=nano")}, gets: "EDITOR=nano",
		}, {
			name:    "or a dotenv file that the command line names",
			secrets: "dev app A 1", o: resolve.Options{Dotenv: []resolve.Overlay{{File: ".env", Entries: entries("NODE_OPTIONS=x")}}}, gets: "A=1 NODE_OPTIONS=x",
		}, {
			name:    "but nobody sets envrun's own",
			secrets: "dev app A 1", o: resolve.Options{Dotenv: []resolve.Overlay{{File: ".env", Entries: entries("ENVRUN_KEY=x")}}, Set: entries("ENVRUN=x")}, stopped: "refused:ENVRUN refused:ENVRUN_KEY",
		}, {
			name:    "a token for the command's own use, and ours taken away",
			secrets: "dev app VAULT_TOKEN theirs", o: resolve.Options{Parent: parent("VAULT_TOKEN=ours", "ENVRUN_KEY=ours", "VAULT_ADDR=x")}, gets: "VAULT_ADDR=x VAULT_TOKEN=theirs",
		}, {
			name:    "names that no environment can hold",
			secrets: "dev app tls.crt 1\n dev app 2nd 2\n dev app OK 3", stopped: "name:2nd→_2ND name:tls.crt→TLS_CRT",
		}, {
			name:    "NUL in a value",
			secrets: `dev app A a\0b`, stopped: "nul:A",
		}, {
			name:    "NUL in a file",
			rules:   "[[file]]\npath='app'\nfield='bin'\nvar='BIN'",
			secrets: `dev app bin a\0b`, files: "BIN=app/bin",
		},

		// Files.
		{
			name:    "a field delivered as a file is no variable by the way",
			rules:   "[[file]]\npath='app'\nfield='tls.crt'\nvar='CERT'",
			secrets: "dev app tls.crt 1\n dev app A 2", gets: "A=2", files: "CERT=app/tls.crt",
		}, {
			name:    "but is when a rule names it",
			rules:   "[[inject]]\npath='app'\nonly=['a']\n[[file]]\npath='app'\nfield='a'\nvar='CERT'",
			secrets: "dev app a 1", gets: "a=1", files: "CERT=app/a",
		}, {
			name:    "a file wins over a variable, and the inherited value goes",
			rules:   "[[file]]\npath='app'\nfield='f'\nvar='A'",
			secrets: "dev app f 1\n dev app A 2", o: resolve.Options{Parent: parent("A=old")}, files: "A=app/f",
		}, {
			name:    "--set wins over a file",
			rules:   "[[file]]\npath='app'\nfield='f'\nvar='A'",
			secrets: "dev app f 1", o: resolve.Options{Set: entries("A=3")}, gets: "A=3",
		},

		// A run inside a run.
		{
			name:    "for the same environment",
			secrets: "dev app A 1",
			o:       resolve.Options{Parent: parent("ENVRUN=1", "ENVRUN_ENV=dev", "ENVRUN_INJECTED=dev:A,B", "A=0", "B=2", "HOME=h")},
			gets:    "A=1 B=2 HOME=h",
		}, {
			name:    "for another environment: nothing of the outer one is left",
			secrets: "dev app A 1",
			o:       resolve.Options{Parent: parent("ENVRUN=1", "ENVRUN_ENV=prod", "ENVRUN_INJECTED=prod:A,B", "A=0", "B=2", "HOME=h"), KeepAll: true},
			gets:    "A=1 HOME=h",
		}, {
			name:    "even when ENVRUN_ENV was changed in between",
			secrets: "dev app A 1",
			o:       resolve.Options{Parent: parent("ENVRUN=1", "ENVRUN_ENV=dev", "ENVRUN_INJECTED=prod:A,B", "A=0", "B=2")},
			gets:    "A=1",
		},

		// Windows.
		{
			name:    "names without regard to case",
			rules:   "[[inject]]\npath='app'\n[[inject]]\npath='other'\nonly=['token']",
			secrets: "dev app Token 1\n dev other token 2", o: resolve.Options{GOOS: "windows", Parent: environ.FromList([]string{"TOKEN=0"}, "windows")},
			gets: "token=2",
		},
	} {
		t.Run(l.name, l.hold)
	}
}

func TestAllowNames(t *testing.T) {
	law{
		rules:   "[[inject]]\npath='app'\n[[file]]\npath='ca'\nfield='pem'\nvar='SSL_CERT_FILE'",
		secrets: "dev app A 1\n dev ca pem x", stopped: "refused:SSL_CERT_FILE",
	}.hold(t)
	p := parse(t, "allow_names=['SSL_CERT_FILE','NODE_OPTIONS']\n"+head+"[[inject]]\npath='app'\n[[file]]\npath='ca'\nfield='pem'\nvar='SSL_CERT_FILE'")
	plan, err := resolve.Resolve(context.Background(), p, "dev", load("dev app NODE_OPTIONS 1\n dev ca pem x"), resolve.Options{GOOS: "linux"})
	if err != nil || len(plan.Variables) != 1 || len(plan.Files) != 1 {
		t.Errorf("allowed: %v %+v", err, plan)
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// TestPrecedence is the order of C1, with every winner and loser, as a golden file.
func TestPrecedence(t *testing.T) {
	p := parse(t, "inherit_wins=['KEPT', 'KEPT_SET', 'KEPT_DOTENV', 'NOT_THERE']\n"+head+`[[inject]]
path = "app"
[[inject]]
path = "shared"
[[file]]
path  = "shared"
field = "pem"
var   = "BY_FILE"
`)
	m := load(`
dev app ALL app
dev app BY_RULE app
dev app BY_FIRST app
dev app BY_FILE app
dev app BY_DOTENV app
dev app KEPT app
dev app KEPT_SET app
dev app KEPT_DOTENV app
dev app NOT_THERE app
dev app FLAG_KEPT app
dev app EQUAL same
dev shared ALL shared
dev shared BY_RULE shared
dev shared KEPT shared
dev shared pem PEM
dev shared EQUAL same
`)
	plan, err := resolve.Resolve(context.Background(), p, "dev", m, resolve.Options{
		GOOS: "linux",
		Parent: parent("ALL=parent", "BY_RULE=parent", "BY_FILE=parent", "KEPT=parent", "KEPT_SET=parent", "KEPT_DOTENV=parent",
			"FLAG_KEPT=parent", "EQUAL=same", "PLAIN=parent"),
		Dotenv: []resolve.Overlay{
			{File: "a.env", Entries: entries("ALL=a", "BY_DOTENV=a", "KEPT_DOTENV=a")},
			{File: "b.env", Entries: entries("ALL=b", "BY_DOTENV=b")},
		},
		Set:  entries("ALL=set1", "ALL=set2", "KEPT_SET=set"),
		Keep: []string{"FLAG_KEPT", "PLAIN"},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := plan.Environ(false)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	show := func(s resolve.Source) string {
		out := string(s.From)
		if s.Path != "" {
			out += " " + string(s.Path) + "/" + string(s.Field)
		}
		if s.AsFile {
			out += " as a file"
		}
		if s.Pos.File != "" {
			out += " " + s.Pos.Short()
		}
		if s.Same {
			out += " (the same)"
		}
		return out
	}
	losers := func(in []resolve.Source) {
		for _, s := range in {
			b.WriteString("    over " + show(s) + "\n")
		}
	}
	for _, v := range plan.Variables {
		got, _ := e.Get(v.Name)
		fmt.Fprintf(&b, "%s = %s from %s\n", v.Name, got, show(resolve.Source{From: v.From, Path: v.Path, Field: v.Field, Pos: v.Pos}))
		losers(v.Losers)
	}
	for _, f := range plan.Files {
		_, set := e.Get(f.Var)
		fmt.Fprintf(&b, "%s = file of %s/%s, set before it is written: %v\n", f.Var, f.Path, f.Field, set)
		losers(f.Losers)
	}
	for _, k := range plan.Kept {
		got, _ := e.Get(k.Name)
		fmt.Fprintf(&b, "%s = %s kept by %q\n", k.Name, got, k.Why.Short())
		losers(k.Losers)
	}
	mark, _ := e.Get(resolve.MarkInjected)
	fmt.Fprintf(&b, "%s=%s\n", resolve.MarkInjected, mark)
	golden(t, "precedence.txt", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s differs; got\n%s", file, got)
	}
}

func TestOneCall(t *testing.T) {
	p := parse(t, head+"[[inject]]\npath='a'\n[[inject]]\npath='b'\n[[inject]]\npath='a'\nonly=['A']\n[[file]]\npath='c'\nfield='f'\nvar='F'\n")
	m := load("dev a A 1\n dev b B 2\n dev c f 3")
	if _, err := resolve.Resolve(context.Background(), p, "dev", m, resolve.Options{}); err != nil {
		t.Fatal(err)
	}
	if m.many != 1 || m.lists != 0 || !slices.Equal(m.asked[0], []vault.Path{"a", "b", "c"}) {
		t.Errorf("%d calls, %d lists, asked for %v", m.many, m.lists, m.asked)
	}
	// An optional one that is missing costs a second call and no list.
	p = parse(t, head+"[[inject]]\npath='a'\n[[inject]]\npath='gone'\noptional=true\n")
	m = load("dev a A 1")
	if _, err := resolve.Resolve(context.Background(), p, "dev", m, resolve.Options{}); err != nil || m.many != 2 || m.lists != 0 {
		t.Errorf("%v, %d calls, %d lists", err, m.many, m.lists)
	}
}

func TestHints(t *testing.T) {
	p := parse(t, "require = ['DATABASE_ULR', 'SENTRY_DSN']\n"+head+`[[inject]]
path = "billing/strpe"
[[inject]]
path = "app"
only = ["DATABASE_URL", "STRIPE_KEYS", "ONLY_PROD"]
[env.other]
vault = "elsewhere"
`)
	m := load(`
dev app DATABASE_URL x
dev app STRIPE_KEY x
dev billing/stripe STRIPE_KEYS x
dev observability SENTRY_DSN x
prod billing/strpe A x
prod app ONLY_PROD x
prod app SENTRY_DSN x
other app ONLY_PROD x
`)
	plan, err := resolve.Resolve(context.Background(), p, "dev", m, resolve.Options{GOOS: "linux"})
	var pe *resolve.ProblemError
	if !errors.As(err, &pe) || vault.KindOf(err) != vault.KindNotFound || len(pe.Missing) != len(plan.Missing) {
		t.Fatalf("error %v", err)
	}
	want := []string{
		"secret billing/strpe near=[billing/stripe] at=[] elsewhere=[prod]",
		"field app STRIPE_KEYS near=[STRIPE_KEY] at=[billing/stripe] elsewhere=[]",
		"field app ONLY_PROD near=[] at=[] elsewhere=[prod]", // not other: that is another vault
		"variable DATABASE_ULR near=[DATABASE_URL] at=[] elsewhere=[]",
		"variable SENTRY_DSN near=[] at=[observability] elsewhere=[prod]",
	}
	var got []string
	for _, m := range pe.Missing {
		what := strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", m.What, m.Path, m.Field, m.Name)), " ")
		got = append(got, fmt.Sprintf("%s near=%v at=%v elsewhere=%v", what, m.Near, m.At, m.Elsewhere))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, says := range []string{"secret billing/strpe is not in dev (envrun.toml:", "app has no field ONLY_PROD", "required variable DATABASE_ULR"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("error %q does not say %q", err, says)
		}
	}
}

func TestErrors(t *testing.T) {
	p := parse(t, head)
	run := func(p *project.Project, env vault.Env, m *memory, o resolve.Options) error {
		plan, err := resolve.Resolve(context.Background(), p, env, m, o)
		if plan != nil {
			t.Errorf("a plan comes with %v", err)
		}
		return err
	}
	var ee *project.EnvError
	if err := run(p, "prd", load("dev app A 1"), resolve.Options{}); !errors.As(err, &ee) || ee.Nearest != "prod" {
		t.Errorf("an environment the project does not have: %v", err)
	}
	if err := run(p, "", load("dev app A 1"), resolve.Options{}); vault.KindOf(err) != vault.KindNoEnv {
		t.Errorf("no environment: %v", err)
	}
	if err := run(p, "prod", load("dev app A 1"), resolve.Options{}); vault.KindOf(err) != vault.KindNoEnv {
		t.Errorf("an environment the vault does not have: %v", err)
	}
	denied := &vault.Error{Kind: vault.KindDenied, Env: "dev"}
	m := load("dev app A 1")
	m.fail = denied
	if err := run(p, "dev", m, resolve.Options{}); !errors.Is(err, denied) || m.lists != 0 {
		t.Errorf("no access: %v, and %d lists", err, m.lists)
	}
	m.fail = &vault.Error{Kind: vault.KindNotFound} // names no path of ours: nothing to go on with
	if err := run(p, "dev", m, resolve.Options{}); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("not found, without a path: %v", err)
	}
	if err := run(p, "dev", load("dev app A 1"), resolve.Options{Only: []string{"[a"}}); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("a malformed pattern: %v", err)
	}
	none := parse(t, "vault='v'\n[env.dev]\n")
	if err := run(none, "dev", load("dev app A 1"), resolve.Options{}); vault.KindOf(err) != vault.KindInvalid || !strings.Contains(err.Error(), "names no project") {
		t.Errorf("a project without a name or rules: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := resolve.Resolve(ctx, p, "dev", load("dev app A 1"), resolve.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestMask(t *testing.T) {
	p := parse(t, head+`[mask]
A = false
F = true
SET = true
[[inject]]
path = "app"
mask = true
[[inject]]
path = "plain"
[[file]]
path = "plain"
field = "f"
var = "F"
mask = false
`)
	plan, err := resolve.Resolve(context.Background(), p, "dev", load("dev app A 1\n dev app B 2\n dev plain C 3\n dev plain f 4"),
		resolve.Options{GOOS: "linux", Set: entries("SET=1", "OTHER=2")})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "false", "B": "true", "C": "nil", "SET": "true", "OTHER": "nil"}
	for _, v := range plan.Variables {
		if got := ptr(v.Mask); got != want[v.Name] {
			t.Errorf("%s: %s, want %s", v.Name, got, want[v.Name])
		}
	}
	if len(plan.Variables) != len(want) || ptr(plan.Files[0].Mask) != "true" {
		t.Errorf("%d variables; F: %s", len(plan.Variables), ptr(plan.Files[0].Mask))
	}
}

func ptr(b *bool) string {
	if b == nil {
		return "nil"
	}
	return fmt.Sprint(*b)
}

func TestMarks(t *testing.T) {
	p := parse(t, head)
	m := load("dev app A 1\n prod app B 2")
	inside := func(env vault.Env, from *environ.Environ, passAuth bool) (*resolve.Plan, *environ.Environ) {
		plan, err := resolve.Resolve(context.Background(), p, env, m, resolve.Options{GOOS: "linux", Parent: from, Set: entries("MINE=x")})
		if err != nil {
			t.Fatal(err)
		}
		e, err := plan.Environ(passAuth)
		if err != nil {
			t.Fatal(err)
		}
		return plan, e
	}
	start := parent("HOME=h", "ENVRUN_KEY=k", "VAULT_TOKEN=t")
	plan, outer := inside("dev", start, false)
	if plan.Nested || strings.Join(outer.List(), " ") != "A=1 ENVRUN=1 ENVRUN_ENV=dev ENVRUN_INJECTED=dev:A HOME=h MINE=x" {
		t.Errorf("outer run: %v, %v", plan.Nested, outer.List())
	}
	if v, _ := start.Get("ENVRUN_KEY"); v != "k" || start.Len() != 3 {
		t.Error("the parent's environment was changed")
	}
	plan, inner := inside("prod", outer, false)
	if !plan.Nested || plan.Outer != "dev" || !slices.Equal(plan.Dropped, []string{"A"}) || strings.Join(inner.List(), " ") != "B=2 ENVRUN=1 ENVRUN_ENV=prod ENVRUN_INJECTED=prod:B HOME=h MINE=x" {
		t.Errorf("inner run: %+v, %v", plan.Dropped, inner.List())
	}
	// Back again, in the third: dev's names are known as such, prod's are gone.
	_, third := inside("dev", inner, false)
	if got := gets(third); got != "A=1 HOME=h MINE=x" {
		t.Errorf("third run: %s", got)
	}
	_, again := inside("dev", outer, false)
	if got, _ := again.Get(resolve.MarkInjected); got != "dev:A" {
		t.Errorf("the same again: %s", got)
	}
	_, auth := inside("dev", start, true)
	if v, _ := auth.Get("ENVRUN_KEY"); v != "k" {
		t.Error("--pass-auth does not pass")
	}
}

// TestExplain: facts and lengths, and nowhere a value.
func TestExplain(t *testing.T) {
	const canary = "canary-3f9d1c"
	p := parse(t, "require=['GONE']\ninherit_wins=['KEPT']\n"+head+"[[inject]]\npath='app'\n[[inject]]\npath='more'\noptional=true\n[[file]]\npath='app'\nfield='f'\nvar='F'\n")
	m := load(strings.ReplaceAll("dev app A C1\n dev app B C1\n dev app D C2\n dev app KEPT C3\n dev app bad.name C4\n dev app NUL C5\\0\n dev app LD_PRELOAD C6\n dev app f C7\n prod app GONE C8", " C", " "+canary+"-"))
	plan, err := resolve.Resolve(context.Background(), p, "dev", m, resolve.Options{
		GOOS: "linux", Parent: parent("A="+canary+"-1", "KEPT="+canary+"-9", "VAULT_TOKEN="+canary),
		Dotenv: []resolve.Overlay{{File: "x.env", Entries: entries("D=" + canary + "-10")}},
	})
	if err == nil || strings.Contains(err.Error(), canary) || strings.Contains(fmt.Sprintf("%+v %#v", plan, err), canary) {
		t.Fatalf("error %v, or a value in what is printed", err)
	}
	x := plan.Explain([]byte("key"))
	out, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), canary) || strings.Contains(fmt.Sprintf("%+v", *x), canary) {
		t.Fatalf("a value in %s", out)
	}
	var back map[string]any
	if err := json.Unmarshal(out, &back); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"variables", "kept", "stripped", "absent", "missing", "refused", "invalid", "dropped"} {
		if _, ok := back[key].([]any); !ok {
			t.Errorf("%s is %v, not a list", key, back[key])
		}
	}
	var pretty []byte
	if pretty, err = json.MarshalIndent(x, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "explain.json", string(pretty)+"\n")

	if a, b := x.Variables[0], x.Variables[1]; a.Fingerprint != b.Fingerprint || a.Fingerprint == x.Variables[2].Fingerprint {
		t.Error("fingerprints do not tell equal values from others")
	}
	if one, two := plan.Explain(nil), plan.Explain(nil); one.Variables[0].Fingerprint == two.Variables[0].Fingerprint {
		t.Error("fingerprints without a key are alike in two explanations")
	}
}

func BenchmarkResolve(b *testing.B) {
	var lines strings.Builder
	for i := range 40 {
		fmt.Fprintf(&lines, "dev app VARIABLE_%d value-%d\n", i, i)
	}
	m := load(lines.String() + "dev shared X 1")
	p := parse(b, head+"[[inject]]\npath='app'\n[[inject]]\npath='shared'\n")
	var inherited []string
	for i := range 60 {
		inherited = append(inherited, fmt.Sprintf("INHERITED_%d=some value of it", i))
	}
	from := environ.FromList(inherited, "linux")
	b.ReportAllocs()
	for b.Loop() {
		plan, err := resolve.Resolve(context.Background(), p, "dev", m, resolve.Options{Parent: from})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := plan.Environ(false); err != nil {
			b.Fatal(err)
		}
	}
}
