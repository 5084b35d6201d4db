package project_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	toml "github.com/pelletier/go-toml/v2"

	"envrun/envrun/project"
	"envrun/vault"
)

func TestNew(t *testing.T) {
	for _, o := range []project.NewOptions{
		{},
		{Project: "billing-api", Envs: []vault.Env{"dev", "staging", "prod"}, Protected: []vault.Env{"prod"}},
		{Vault: "https://vault.example.dev", Project: "a/b", Envs: []vault.Env{"eu.prod", "dev"}, Default: "dev"},
		{Vault: `odd "path" \ here`, Envs: []vault.Env{"1"}},
	} {
		text := project.New(o)
		p := mustParse(t, string(text))
		if len(o.Envs) == 0 {
			o.Envs = []vault.Env{"dev"}
		}
		if o.Default == "" {
			o.Default = o.Envs[0]
		}
		if p.Name != o.Project || p.Default != o.Default || !slices.Equal(p.EnvNames(), o.Envs) {
			t.Errorf("%+v gives %+v", o, p)
		}
		for _, e := range p.Envs {
			if e.Protected != slices.Contains(o.Protected, e.Name) {
				t.Errorf("%s: protected is %v", e.Name, e.Protected)
			}
		}
		// The commented example is right once it is no comment.
		if strings.Count(string(text), "# [[") != 2 {
			t.Fatal("the example is gone")
		}
		at := bytes.Index(text, []byte("# [[inject]]"))
		example := strings.ReplaceAll(string(text[at:]), "# [[", "[[")
		example = strings.ReplaceAll(example, "\n# ", "\n")
		if p := mustParse(t, string(text[:at])+example); len(p.Inject) == 0 || len(p.Files) != 1 {
			t.Errorf("the example gives %+v", p)
		}
	}
}

func TestAddEnv(t *testing.T) {
	const top = "vault = 'v'\n"
	for _, c := range []struct{ name, text, want string }{
		{"among headers", top + "[env.dev]\n[env.prod]\n\n[[inject]]\npath='a'\n", top + "[env.dev]\n[env.prod]\n[env.new]\n\n[[inject]]\npath='a'\n"},
		{"after keys", top + "[env.prod]\nprotected = true\n\n[[inject]]\npath='a'\n", top + "[env.prod]\nprotected = true\n\n[env.new]\n\n[[inject]]\npath='a'\n"},
		{"after keys, at the end", top + "[env.prod]\nprotected = true\n", top + "[env.prod]\nprotected = true\n\n[env.new]\n"},
		{"after its comments", top + "[env.prod]\n# vault = 'x'\n\n# next\n[mask]\n", top + "[env.prod]\n# vault = 'x'\n\n[env.new]\n\n# next\n[mask]\n"},
		{"before another's comment", top + "[env.prod] # p\n# next\n[mask]\n", top + "[env.prod] # p\n[env.new]\n# next\n[mask]\n"},
		{"none there", top, top + "\n[env.new]\n"},
		{"none there, no newline", "vault = 'v'", "vault = 'v'\n\n[env.new]\n"},
		{"none there, blank at the end", top + "\n", top + "\n[env.new]\n"},
		{"no newline", top + "[env.a]", top + "[env.a]\n[env.new]\n"},
		{"CRLF", "vault = 'v'\r\n[env.a]\r\nmask = 'auto'\r\n", "vault = 'v'\r\n[env.a]\r\nmask = 'auto'\r\n\r\n[env.new]\r\n"},
		{"byte order mark", "\uFEFFvault = 'v'\n[env.a]\n", "\uFEFFvault = 'v'\n[env.a]\n[env.new]\n"},
		{"[env]", top + "[env]\na = {}\n", top + "[env]\na = {}\n\n[env.new]\n"},
		{"empty", "", "[env.new]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := project.AddEnv([]byte(c.text), "new", false)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got\n%q, want\n%q", got, c.want)
			}
		})
	}
	if got, err := project.AddEnv([]byte(top+"[env.a]\n"), "eu.prod", false); err != nil || string(got) != top+"[env.a]\n[env.\"eu.prod\"]\n" {
		t.Errorf("a name with a dot: %q, %v", got, err)
	}
	refuse(t, "AddEnv", func(text []byte, name vault.Env) ([]byte, error) { return project.AddEnv(text, name, false) }, []refusal{
		{top + "[env.new]\n", "new", vault.KindExists, 2},
		{top + "env = { a = {} }\n", "new", vault.KindUnsupported, 2},
		{top + "[env.a]\n", "New", vault.KindInvalid, 0},
		{"vautl = 'v'\n", "new", vault.KindInvalid, 1},
	})
}

type refusal struct {
	text string
	env  vault.Env
	kind vault.Kind
	line int
}

func refuse(t *testing.T, name string, edit func([]byte, vault.Env) ([]byte, error), cases []refusal) {
	t.Helper()
	for _, c := range cases {
		out, err := edit([]byte(c.text), c.env)
		var e *project.Error
		if !errors.As(err, &e) || e.Kind != c.kind || e.Pos.Line != c.line || out != nil {
			t.Errorf("%s(%q, %s): %v, want kind %v in line %d", name, c.text, c.env, err, c.kind, c.line)
		}
	}
}

func TestRemoveEnv(t *testing.T) {
	const top = "vault = 'v'\n"
	for _, c := range []struct{ name, text, want string }{
		{"among headers", top + "[env.a]\n[env.old]\n[env.b]\n", top + "[env.a]\n[env.b]\n"},
		{"with keys and comments", top + "[env.a]\n\n# about old\n[env.old] # here\n# inside\nprotected = true\n# vault = 'x'\n\n# next\n[[inject]]\npath='a'\n", top + "[env.a]\n\n# about old\n\n# next\n[[inject]]\npath='a'\n"},
		{"its blank line", top + "[env.a]\n\n[env.old]\nmask = 'auto'\n\n[[inject]]\npath='a'\n", top + "[env.a]\n\n[[inject]]\npath='a'\n"},
		{"the last", top + "\n[env.old]\n", top},
		{"no newline", top + "[env.old]", top},
		{"CRLF", "vault = 'v'\r\n\r\n[env.old]\r\n\r\n[mask]\r\n", "vault = 'v'\r\n\r\n[mask]\r\n"},
		{"many lines", top + "[env.old]\nrequire = [\n'A',\n'B',\n]\n[env.b]\n", top + "[env.b]\n"},
		{"quoted", top + "[ env . \"old\" ]\n", top},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := project.RemoveEnv([]byte(c.text), "old")
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got\n%q, want\n%q", got, c.want)
			}
		})
	}
	refuse(t, "RemoveEnv", project.RemoveEnv, []refusal{
		{top + "[env.a]\n", "old", vault.KindNoEnv, 0},
		{top + "default = 'old'\n[env.old]\n", "old", vault.KindInvalid, 2},
		{top + "[env.old]\n[[inject]]\npath='a'\nenv='old'\n", "old", vault.KindInvalid, 5},
		{top + "[env.old]\n[[file]]\npath='a'\nfield='f'\nvar='V'\nenv=['old']\n", "old", vault.KindInvalid, 7},
		{top + "env = { old = {} }\n", "old", vault.KindUnsupported, 2},
		{top + "env.old.protected = true\n", "old", vault.KindUnsupported, 2},
		{top + "[env]\nold = {}\n", "old", vault.KindUnsupported, 3},
		{"vautl = 'v'\n", "old", vault.KindInvalid, 1},
	})
	_, err := project.RemoveEnv([]byte(top+"[env.prod]\n"), "prdo")
	if e := (*project.Error)(nil); !errors.As(err, &e) || e.Nearest != "prod" {
		t.Errorf("nearest: %v", err)
	}
}

func TestSetDefault(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"there", "vault='v'\ndefault =  \"dev\" # why\n[env.dev]\n", "vault='v'\ndefault =  \"new\" # why\n[env.dev]\n"},
		{"there, literal", "default='dev'\n", "default=\"new\"\n"},
		{"not there", "# head\nvault='v' # v\n\n[env.dev]\n", "# head\nvault='v' # v\ndefault = \"new\"\n\n[env.dev]\n"},
		{"nothing above tables", "[env.dev]\n", "default = \"new\"\n[env.dev]\n"},
		{"no newline", "vault='v'", "vault='v'\ndefault = \"new\"\n"},
		{"byte order mark", "\uFEFF[env.dev]\n", "\uFEFFdefault = \"new\"\n[env.dev]\n"},
		{"CRLF", "vault='v'\r\n", "vault='v'\r\ndefault = \"new\"\r\n"},
		{"empty", "", "default = \"new\"\n"},
	} {
		got, err := project.SetDefault([]byte(c.text), "new")
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v, got\n%q, want\n%q", c.name, err, got, c.want)
		}
	}
	refuse(t, "SetDefault", project.SetDefault, []refusal{
		{"vautl = 'v'\n", "new", vault.KindInvalid, 1},
		{"vault = 'v'\n", "New", vault.KindInvalid, 0},
	})
}

func seeds(f *testing.F) {
	for _, s := range []string{
		"", full, small, "\uFEFF" + small, strings.ReplaceAll(small, "\n", "\r\n"), string(project.New(project.NewOptions{Project: "a"})),
		"vault='v'\nenv={a={},b={protected=true}}\n", "vault='v'\n[env]\na={}\nb.protected=true\n[env.c]\n", "env.a.mask='auto'\n[env.b]\n",
		"inject=[{path='a',rename.x='X'}]\n", "[[inject]]\npath='a'\n[inject.rename]\nx='X'\n", "[a]\n[[a]]\n", "[a.b]\n[a]\n[a.b]\n", "a.b=1\n[a]\n",
		"[env.a] # c\n# d\n\n\n[env.b]", "vault = \"\"\"\nx\"\"\"", "require=[[['A']]]", "\xff", "vault='v'\n[env.\"a.b\"]\n", "# only\n", "[env]\n",
		"mask={A=true}\nmask.B=true", "[env.a]\nrequire=[\n# c\n'A', # d\n]\n# e",
	} {
		f.Add([]byte(s))
	}
}

// FuzzParse holds the parser against go-toml's own decoder: what is taken here
// is TOML there, and nothing panics.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := project.Parse("/p/envrun.toml", text)
		if err != nil {
			var e *project.Error
			if !errors.As(err, &e) || e.Pos.File == "" || e.Pos.Line > bytes.Count(text, []byte("\n"))+1 || e.Pos.Line < 0 {
				t.Fatalf("error %#v of %q", err, text)
			}
			return
		}
		var raw struct {
			Vault, Project, Default string
			Env                     map[string]any
			Inject                  []struct{ Path string }
			File                    []struct{ Path string }
		}
		if err := toml.Unmarshal(bytes.TrimPrefix(text, []byte("\uFEFF")), &raw); err != nil {
			t.Fatalf("taken, but go-toml says %v: %q", err, text)
		}
		if string(p.Name) != raw.Project || string(p.Default) != raw.Default || len(p.Envs) != len(raw.Env) || len(p.Files) != len(raw.File) {
			t.Fatalf("%+v is not %+v", p, raw)
		}
		for i, r := range raw.Inject {
			if string(p.Inject[i].Path) != r.Path {
				t.Fatalf("rule %d is for %s, not %s", i, p.Inject[i].Path, r.Path)
			}
		}
	})
}

// FuzzEdit: an environment added is there and nothing else has changed; added
// and removed again gives the text as it was, but for blanks at its end.
func FuzzEdit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		was := bytes.Clone(text)
		added, err := project.AddEnv(text, "zz-new", false)
		if !bytes.Equal(text, was) {
			t.Fatal("the text that was given is changed")
		}
		if err == nil {
			if !inserted(text, added) {
				t.Fatalf("AddEnv(%q) = %q, which is no insertion", text, added)
			}
			if p, err := project.Parse("/p/envrun.toml", added); err == nil {
				if _, ok := p.Env("zz-new"); !ok {
					t.Fatalf("AddEnv(%q) = %q, where it is not", text, added)
				}
			}
			back, err := project.RemoveEnv(added, "zz-new")
			if err != nil {
				t.Fatalf("removing from %q: %v", added, err)
			}
			if trim := bytes.TrimRight(back, " \t\r\n"); !bytes.Equal(trim, bytes.TrimRight(text, " \t\r\n")) {
				t.Fatalf("added and removed: %q became %q", text, back)
			}
		}
		if set, err := project.SetDefault(text, "zz-new"); err == nil {
			if again, err := project.SetDefault(set, "zz-new"); err != nil || !bytes.Equal(again, set) {
				t.Fatalf("setting the default twice: %q, then %q, %v", set, again, err)
			}
		}
		p, err := project.Parse("/p/envrun.toml", text)
		if err != nil {
			return
		}
		for _, e := range p.Envs {
			out, err := project.RemoveEnv(text, e.Name)
			if err != nil {
				var e *project.Error
				if !errors.As(err, &e) {
					t.Fatalf("error %#v", err)
				}
				continue
			}
			if !inserted(out, text) {
				t.Fatalf("RemoveEnv(%q, %s) = %q, which takes out more than one piece", text, e.Name, out)
			}
			q, err := project.Parse("/p/envrun.toml", out)
			if err != nil && len(p.Envs) > 1 {
				t.Fatalf("RemoveEnv(%q, %s) = %q: %v", text, e.Name, out, err)
			}
			if err == nil && len(q.Envs) != len(p.Envs)-1 {
				t.Fatalf("RemoveEnv(%q, %s) = %q", text, e.Name, out)
			}
		}
	})
}

// inserted reports whether long is short with one piece put in.
func inserted(short, long []byte) bool {
	n := 0
	for n < len(short) && n < len(long) && short[n] == long[n] {
		n++
	}
	return len(long) >= len(short) && bytes.HasSuffix(long, short[n:])
}
