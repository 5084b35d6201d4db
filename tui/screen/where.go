package screen

import (
	"context"
	"strings"

	"envrun/tui/kit"
	"envrun/vault"
)

// An Injection is one variable that a rule of the project file makes of a field.
type Injection struct {
	Field vault.FieldName
	Var   string
	File  bool   // the variable holds the path of a file with the value
	Rule  string // where the rule is written: "envrun.toml:12"

	// Instead is what the variable gets in place of this field: "shared/stripe/KEY
	// by envrun.toml:15". Refused is why it cannot be set at all. Both empty: a
	// command gets it.
	Instead string
	Refused string
	Beats   []string // what it wins against, in the words of Instead
}

// Injections are what is known of one secret's variables.
type Injections struct {
	all   []Injection
	known bool
	off   string // why it is not known
}

// load asks what commands get of a secret.
func (n *Injections) load(p *Project, e Env, path vault.Path) Effect {
	if !p.Injects {
		return nil
	}
	var all []Injection
	return Read{
		Lane: "injected",
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			all, err = r.Injected(ctx, e.Name, path)
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				n.off, _ = p.Explain(err)
				return nil
			}
			n.all, n.known, n.off = all, true, ""
			return nil
		},
	}
}

// A fact is one line of what is known of a value.
type fact struct {
	head string
	role kit.Role
	text string
}

// lines say what becomes of a field in commands.
func (n *Injections) lines(field vault.FieldName) []fact {
	if n.off != "" {
		return []fact{{"injected", kit.Warn, "not known: " + n.off}}
	}
	if !n.known {
		return nil
	}
	var lines []fact
	for _, i := range n.all {
		if i.Field != field {
			continue
		}
		f := fact{head: "injected", text: "as " + i.Var}
		if i.File {
			f.text = "as a file whose path is in " + i.Var
		}
		f.text += ", by " + i.Rule
		switch {
		case i.Refused != "":
			f.role, f.text = kit.Danger, "not "+f.text+": "+i.Refused
		case i.Instead != "":
			f.role, f.text = kit.Warn, "not "+f.text+": "+i.Instead+" wins"
		case len(i.Beats) > 0:
			f.text += "; wins against " + strings.Join(i.Beats, ", ")
		}
		if len(lines) > 0 {
			f.head = "and"
		}
		lines = append(lines, f)
	}
	if len(lines) == 0 {
		return []fact{{"injected", kit.Dim, "nowhere: no rule of the project file takes it"}}
	}
	return lines
}
