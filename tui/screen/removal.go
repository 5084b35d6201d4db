package screen

import (
	"context"
	"fmt"

	"envrun/tui/kit"
	"envrun/vault"
)

// removal asks before a field of a secret is deleted, or, with whole or if there
// is no other field, all of it. gone is called when it is done, and told whether
// the secret is gone with it; again reads anew what was shown.
func removal(p *Project, e Env, info vault.Info, field vault.FieldName, whole bool, gone func(whole bool) Effect, again func() Effect) Effect {
	whole = whole || len(info.Fields) <= 1
	name := string(field)
	fact := fmt.Sprintf("Writes version %d of %s without %s.", info.Version+1, info.Path, field)
	change := vault.Change{Path: info.Path, Was: info.Version, Drop: []vault.FieldName{field}}
	if whole {
		switch n := len(info.Fields); n {
		case 1:
			fact = fmt.Sprintf("%s is the only field of %s: the secret is deleted with it.", field, info.Path)
		default:
			name = string(info.Path)
			fact = fmt.Sprintf("The secret is deleted with all its %d fields.", n)
		}
		change = vault.Change{Path: info.Path, Was: info.Version, Delete: true}
	}
	facts := []string{fact, "Earlier versions stay where the vault keeps them. Whoever has read the value still has it."}
	if d := p.Drafts.Get(e.Name, info.Path); d != nil {
		facts = append(facts, "Your changes to it that were not sent are kept.")
	}
	box := Confirmation(e, kit.Destroys, "Delete "+name+" from "+label(e)+"?", "delete", facts...)
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		return Write{
			Consent: box.Consent(), Harm: kit.Destroys, Env: e.Name, What: "deleting " + name,
			Do: func(ctx context.Context, w Writing) error {
				_, err := w.Apply(ctx, []vault.Change{change})
				return err
			},
			Done: func(err error) Effect {
				if vault.KindOf(err) == vault.KindConflict {
					return All{Say{kit.Notice{Role: kit.Warn, Sticky: true, Text: "Not deleted: " + string(info.Path) + " was changed meanwhile. Look at it again."}}, again()}
				}
				if err != nil {
					what, next := p.Explain(err)
					return Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not deleted: " + what, Details: what + "\n" + next}}
				}
				return All{gone(whole), Say{kit.Notice{Role: kit.OK, Text: "Deleted " + name + " from " + string(e.Name) + "."}}}
			},
		}
	}}
}
