package screen

import (
	"fmt"

	"envrun/tui/kit"
	"envrun/vault"
)

// Done is what a change of who can open an environment came to, and what is left
// to be done about it by people.
type Done struct {
	project *Project
	env     Env
	title   string
	out     Outcome
	page    page
}

// outcome shows what a change came to; whoever has gone on is told.
func outcome(p *Project, e Env, title string, out Outcome) Effect {
	d := &Done{project: p, env: e, title: title, out: out}
	steps := out.Steps
	if n := len(out.Exposed); n > 0 {
		steps = append([]Step{{Text: count(n, "value") + " to replace at their source, then here: O lists them"}}, steps...)
	}
	return Present{Screen: d, Else: notice(kit.OK, title+".", steps)}
}

// Title implements Screen.
func (d *Done) Title() string { return d.title }

// Enter implements Screen.
func (d *Done) Enter() Effect { return nil }

// Offers implements Screen.
func (d *Done) Offers() []kit.Offer {
	var offers []kit.Offer
	if len(d.out.Exposed) > 0 {
		offers = append(offers, kit.Offer{ID: Open})
	}
	off := ""
	if commands(d.out.Steps) == "" {
		off = "there is nothing left to be done"
	}
	offers = append(offers, kit.Offer{ID: CopySteps, Off: off})
	return append(offers, moves()...)
}

// Do implements Screen.
func (d *Done) Do(action string) Effect {
	if d.page.move(action) {
		return nil
	}
	switch action {
	case Open:
		return Replace{NewExposures(d.project, d.env)}
	case CopySteps:
		return CopyAs{Text: commands(d.out.Steps), As: "the commands"}
	}
	return nil
}

// Target implements Screen.
func (d *Done) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (d *Done) Draw(a kit.Area, s Scene) {
	in := a
	if s.Size != kit.Small {
		in = a.Inset(2, 1)
	}
	d.page.draw(in, d.lines(s))
}

func (d *Done) lines(s Scene) []kit.SheetLine {
	o := d.out
	var t sheetOf
	t.line(kit.Style{Role: kit.OK, Attr: kit.Bold}, d.title+".")
	if s.Size != kit.Small {
		t.gap()
	}
	if o.Member != "" {
		t.in("fingerprint", kit.Style{Attr: kit.Bold}, o.Key.Fingerprint)
		t.say("", "Tell "+o.Member+": their machine shows it at first contact, and they compare.")
	}
	if !o.Until.IsZero() {
		t.say("until", clock(s.Now, o.Until)+": honest envruns keep to that, and nothing else does before somebody changes the key. Sweep then (W).")
	}
	if o.Rotated {
		t.say("key", fmt.Sprintf("%d; %s wrapped anew", o.Key.Gen, count(o.Secrets, "secret")))
		t.in("fingerprint", kit.Style{Attr: kit.Bold}, or(o.Key.Fingerprint, "not known: you do not hold it"))
		t.say("held by", join(o.Holders, 8))
	}
	if !o.Rotated && o.Secrets > 0 {
		t.say("wrapped anew", count(o.Secrets, "secret"))
	}
	for _, p := range o.Pending {
		t.in("pending", kit.In(kit.Warn), p.Name+" holds no key yet: it takes age-plugin-"+p.Key.Plugin+", which somebody else may have")
	}
	if len(o.Left) > 0 {
		t.in("left", kit.In(kit.Warn), count(len(o.Left), "secret")+" under a former key, newer than the last seal: "+join(texts(o.Left), 4))
	}
	if n := len(o.Exposed); n > 0 {
		t.in("to replace", kit.Style{Role: kit.Warn, Attr: kit.Bold}, "what "+join(o.Removed, 3)+" could read they know: "+count(n, "value")+" in use. Replace each at its source, then here (enter).")
		for i, x := range o.Exposed {
			if i == 6 {
				t.say("", "and "+kit.Number(n-i)+" more")
				break
			}
			t.say("", string(x.Path)+"/"+string(x.Field))
		}
	} else if len(o.Removed) > 0 {
		t.say("to replace", "nothing: they could read no value that is in use")
	}
	if len(o.Steps) > 0 {
		t.gap()
		t.steps(o.Steps)
	}
	return t
}

func texts(paths []vault.Path) []string {
	var all []string
	for _, p := range paths {
		all = append(all, string(p))
	}
	return all
}
