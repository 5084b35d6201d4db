package screen

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"envrun/tui/kit"
	"envrun/vault"
)

// askCopy has somebody choose where a field, or its whole secret, is copied to,
// looks at what is there, and asks before it is copied. after, which may be nil,
// is done when it was.
func askCopy(p *Project, from Env, info vault.Info, field vault.FieldName, after func() Effect) Effect {
	type choice struct {
		to     Env
		fields []vault.FieldName
	}
	var choices []choice
	var names kit.Names
	every := make([]vault.FieldName, len(info.Fields))
	for i, f := range info.Fields {
		every[i] = f.Name
	}
	for _, to := range p.Envs {
		if to.Name == from.Name {
			continue
		}
		choices = append(choices, choice{to, []vault.FieldName{field}})
		names = append(names, string(field)+" to "+label(to))
	}
	if len(choices) == 0 {
		return Say{kit.Notice{Text: "There is no other environment to copy to."}}
	}
	if len(every) > 1 {
		for _, to := range p.Envs {
			if to.Name != from.Name {
				choices = append(choices, choice{to, every})
				names = append(names, fmt.Sprintf("all %d fields of %s to %s", len(every), info.Path, label(to)))
			}
		}
	}
	box := kit.NewPick("Copy from "+label(from), names, nil)
	return Ask{Dialog: box, Then: func() Effect {
		row, ok := box.Taken()
		if !ok {
			return nil
		}
		return lookAndCopy(p, from, choices[row].to, info, choices[row].fields, after)
	}}
}

// lookAndCopy finds out what a copy would replace.
func lookAndCopy(p *Project, from, to Env, info vault.Info, fields []vault.FieldName, after func() Effect) Effect {
	var there vault.Info
	var ours, theirs []Facts
	return Read{
		Lane: "copyto", What: "looking at " + string(to.Name),
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			there, err = r.Info(ctx, to.Name, info.Path)
			switch {
			case vault.KindOf(err) == vault.KindNotFound:
				there = vault.Info{}
				return nil
			case err != nil || !p.FreeFacts:
				return err
			}
			// Whether the values differ is worth knowing, and no reason to stop.
			if ours, err = r.Facts(ctx, from.Name, info.Path, 0); err == nil {
				theirs, err = r.Facts(ctx, to.Name, info.Path, there.Version)
			}
			if err != nil && ctx.Err() == nil {
				ours, theirs = nil, nil
				return nil
			}
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				what, next := p.Explain(err)
				return Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not copied: " + what, Details: what + "\n" + next}}
			}
			return confirmCopy(p, from, to, info, there, fields, replaced(fields, there, ours, theirs), after)
		},
	}
}

// replaced are the fields that a copy gives another value; those whose values
// could not be compared are among them.
func replaced(fields []vault.FieldName, there vault.Info, ours, theirs []Facts) []string {
	var names []string
	for _, name := range fields {
		if !slices.ContainsFunc(there.Fields, func(f vault.FieldInfo) bool { return f.Name == name }) {
			continue
		}
		is := func(f Facts) bool { return f.Name == name }
		i, j := slices.IndexFunc(ours, is), slices.IndexFunc(theirs, is)
		if i < 0 || j < 0 || ours[i].Print != theirs[j].Print {
			names = append(names, string(name))
		}
	}
	return names
}

func confirmCopy(p *Project, from, to Env, info, there vault.Info, fields []vault.FieldName, lost []string, after func() Effect) Effect {
	what := string(fields[0])
	if len(fields) > 1 {
		what = plural(len(fields), "field")
	}
	was := there.Version
	facts := []string{fmt.Sprintf("Copies %s of %s from %s to %s. No value is shown.", what, info.Path, label(from), label(to))}
	switch {
	case was == 0:
		facts = append(facts, label(to)+" has no "+string(info.Path)+" yet: it is made there.")
	case len(lost) > 0:
		who := by(there.By)
		if who != "" {
			who = "," + who
		}
		facts = append(facts, fmt.Sprintf("Replaces what %s has for %s (version %d%s). The old values stay in its history where it is kept.", label(to), strings.Join(lost, ", "), was, who))
	default:
		facts = append(facts, fmt.Sprintf("Writes version %d in %s; nothing there is replaced.", was+1, label(to)))
	}
	if from.Protected {
		facts = append(facts, "What is in "+label(from)+" can then be read by everybody who may read "+label(to)+".")
	}
	// Something that others have is replaced; or it is protected here or there,
	// and then a name is typed, as the commands ask for it.
	harm := kit.Writes
	if len(lost) > 0 || to.Protected {
		harm = kit.Destroys
	}
	box := Confirmation(to, harm, fmt.Sprintf("Copy %s from %s to %s?", what, label(from), label(to)), "copy", facts...)
	if from.Protected && box.Type == "" {
		box.Type, box.What, box.Role = string(from.Name), "the environment's name", kit.Protected
	}
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		var got vault.Info
		return Write{
			Consent: box.Consent(), Harm: harm, Env: to.Name, What: "copying " + what + " to " + string(to.Name),
			Do: func(ctx context.Context, w Writing) (err error) {
				got, err = w.CopyFrom(ctx, from.Name, info.Path, fields, was)
				return err
			},
			Done: func(err error) Effect {
				switch {
				case vault.KindOf(err) == vault.KindConflict:
					return Say{kit.Notice{Role: kit.Warn, Sticky: true, Text: "Not copied: " + string(info.Path) + " was changed in " + string(to.Name) + " meanwhile. c looks again."}}
				case err != nil:
					text, next := p.Explain(err)
					return Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not copied: " + text, Details: text + "\n" + next}}
				}
				said := Say{kit.Notice{Role: kit.OK, Text: fmt.Sprintf("Copied %s to %s, which has version %d now.", what, to.Name, got.Version)}}
				if got.Version == was {
					said = Say{kit.Notice{Text: string(to.Name) + " had the same already: nothing to do."}}
				}
				if after == nil {
					return said
				}
				return All{after(), said}
			},
		}
	}}
}
