package screen

import (
	"context"
	"fmt"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// Vault is what is stored of an environment: its key, its checkpoint, what is not
// sealed, and, when it has been checked, what is wrong with it.
type Vault struct {
	project *Project
	env     Env
	is      Care
	read    bool
	at      time.Time
	trouble *trouble

	// A check is under way, or has been made.
	checking, checked bool
	right             int // records
	found             []vault.Finding
	checkedAt         time.Time
	broken            *trouble // the check itself could not be made

	list  kit.List // of what was found
	page  page
	scene Scene
}

type findings []string

// Len implements kit.Rows.
func (f findings) Len() int { return len(f) }

// Name implements kit.Rows.
func (f findings) Name(row int) string { return f[row] }

// NewVault is the state of what is stored of an environment.
func NewVault(p *Project, e Env) *Vault { return &Vault{project: p, env: e} }

// Title implements Screen.
func (v *Vault) Title() string { return "the vault of " + string(v.env.Name) }

// Place implements Placed.
func (v *Vault) Place() (string, vault.Env) { return GoVault, v.env.Name }

// Enter implements Screen.
func (v *Vault) Enter() Effect {
	if v.checking { // which may have been stopped
		return All{v.load(), v.check()}
	}
	return v.load()
}

func (v *Vault) load() Effect {
	env := v.env.Name
	var is Care
	return Read{
		Lane: "care", What: "reading the state of " + string(env), For: 30 * time.Second,
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			is, err = r.Access().Care(ctx, env)
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				t := newTrouble(v.project, err)
				if v.read {
					t.at = v.at
				}
				v.trouble = t
				return nil
			}
			v.trouble, v.is, v.read, v.at = nil, is, true, v.scene.Now
			return nil
		},
	}
}

// check looks at each record. What is wrong is shown as it is found.
func (v *Vault) check() Effect {
	env := v.env.Name
	v.checking, v.checked, v.right, v.found, v.broken = true, false, 0, nil, nil
	v.show()
	return Read{
		Lane: "check", What: "checking " + string(env), For: 10 * time.Minute,
		Do: func(ctx context.Context, r Reading, show func(func()) bool) error {
			const portion = 200
			right := 0
			var found []vault.Finding
			tell := func() bool {
				n, all := right, found
				return show(func() {
					v.right, v.found = n, all
					v.show()
				})
			}
			for f := range r.Verify(ctx, env) {
				if f.Err == nil {
					if right++; right%portion == 0 && !tell() {
						return context.Canceled
					}
					continue
				}
				found = append(found, f)
				if len(found) <= portion && !tell() {
					return context.Canceled
				}
			}
			tell()
			return ctx.Err()
		},
		Done: func(err error) Effect {
			v.checking = false
			if err != nil {
				v.broken = newTrouble(v.project, err)
				return nil
			}
			v.checked, v.checkedAt = true, v.scene.Now
			return nil
		},
	}
}

// show puts what was found into the list. Two findings may be of one path.
func (v *Vault) show() {
	var names findings
	for i, f := range v.found {
		names = append(names, fmt.Sprintf("%s %d", f.Path, i))
	}
	v.list.Set(names)
}

// Offers implements Screen.
func (v *Vault) Offers() []kit.Offer {
	none, seal, check := "", "", ""
	if len(v.found) == 0 {
		none = "nothing was found"
	}
	switch {
	case !v.read:
		seal = "it is not known yet what is there"
	case v.is.Closed != nil:
		seal = label(v.env) + " is closed to you"
	case v.is.InPart != "":
		seal = "a rotation came here in part: finish it first (w, T)"
	case v.is.Unsealed == 0:
		seal = "all of it is sealed"
	}
	if v.checking {
		check = "it is being checked"
	}
	offers := []kit.Offer{{ID: Check, Off: check}, {ID: SealIt, Off: seal}, {ID: Open, Off: none}, {ID: Reload}}
	if v.checking {
		offers = append(offers, kit.Offer{ID: StopIt})
	}
	return append(offers, moves()...)
}

// Do implements Screen.
func (v *Vault) Do(action string) Effect {
	if len(v.found) > 0 {
		if move(&v.list, action) {
			return nil
		}
	} else if v.page.move(action) {
		return nil
	}
	switch action {
	case Check:
		return v.check()
	case StopIt:
		v.checking = false
		return Stop{"check"}
	case SealIt:
		return v.seal()
	case Open:
		if row, ok := v.list.Selected(); ok && row < len(v.found) {
			return v.finding(v.found[row]).sheet("What is wrong")
		}
	case Reload:
		return v.load()
	}
	return nil
}

func (v *Vault) seal() Effect {
	box := Confirmation(v.env, kit.Writes, "Seal "+label(v.env)+"?", "seal it",
		"Moves the checkpoint to what is there now: "+count(v.is.Unsealed, "change")+". From then on a deletion or a roll-back of it is noticed.",
		"All of it is checked first; if anything is wrong nothing is sealed. Best on the main branch, after merges.")
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		var out Outcome
		return Grant{
			Consent: box.Consent(), Harm: kit.Writes, Env: v.env.Name, What: "sealing " + string(v.env.Name), For: rotationFor,
			Do: func(ctx context.Context, g Granting, _ func(func()) bool) (err error) {
				out, err = g.Seal(ctx)
				return err
			},
			Done: func(err error) Effect {
				if err != nil {
					return All{said(v.project, "Not sealed", err), v.load()}
				}
				return All{told(kit.OK, label(v.env)+" is sealed.", out.Steps), v.load()}
			},
		}
	}}
}

// Target implements Screen.
func (v *Vault) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (v *Vault) Draw(a kit.Area, s Scene) {
	v.scene = s
	if s.Size != kit.Small {
		a = a.Inset(1, 0)
	}
	if v.trouble != nil {
		y := v.trouble.draw(a, v.env, s.Now)
		_, a = a.Top(y)
	}
	if !v.read && v.trouble == nil && s.Lanes.Busy("care").Shown(s.Now) {
		a.Text(1, 1, kit.In(kit.Dim), "Reading the state of "+label(v.env)+" "+a.Marks().Ellipsis)
	}
	head, rest := a.Top(1)
	st, text := v.verdict(s)
	head.Fit(0, 0, head.W, st, text)
	if v.broken != nil {
		y := v.broken.draw(rest, v.env, s.Now)
		_, rest = rest.Top(y)
	}
	if len(v.found) == 0 {
		if v.read {
			v.page.draw(rest, v.facts(s))
		}
		return
	}
	rows := min(len(v.found), max(rest.H/3, 3))
	list, facts := rest.Top(rows)
	v.list.Draw(list, func(a kit.Area, ln kit.Line) {
		f := v.found[ln.Row]
		what, _ := v.project.Explain(f.Err)
		x := 0
		if f.Path != "" {
			x = a.Fit(0, 0, min(a.W/3, 24), kit.Style{Attr: kit.Bold}, string(f.Path)) + 1
		}
		a.Fit(x, 0, a.W-x, kit.In(kit.Danger), what)
	})
	if s.Size != kit.Small {
		facts.Rule(0, kit.In(kit.Border))
		_, facts = facts.Top(1)
	}
	if v.read {
		v.page.top = 0
		v.page.draw(facts, v.facts(s))
	}
}

// verdict is the one line about whether it is right.
func (v *Vault) verdict(s Scene) (kit.Style, string) {
	byForm := ""
	if v.is.Closed != nil {
		byForm = " by form alone: you hold no key to check them with"
	}
	switch {
	case v.checking && len(v.found) > 0:
		return kit.Style{Role: kit.Danger, Attr: kit.Bold}, fmt.Sprintf("! checking: %s right so far, %s", count(v.right, "record"), count(len(v.found), "finding"))
	case v.checking:
		return kit.Style{Role: kit.Accent, Attr: kit.Bold}, "checking: " + count(v.right, "record") + " right so far"
	case len(v.found) > 0:
		return kit.Style{Role: kit.Danger, Attr: kit.Bold}, fmt.Sprintf("! %s right%s, %s", count(v.right, "record"), byForm, count(len(v.found), "finding"))
	case v.checked:
		return kit.Style{Role: kit.OK, Attr: kit.Bold}, count(v.right, "record") + " right" + byForm + ", nothing found"
	}
	return kit.In(kit.Dim), "not checked yet: c checks every record of " + label(v.env)
}

func (v *Vault) finding(f vault.Finding) sheetOf {
	var t sheetOf
	what, next := v.project.Explain(f.Err)
	t.in("path", kit.Style{Attr: kit.Bold}, string(f.Path))
	t.in("what", kit.In(kit.Danger), what)
	t.say("next", next)
	return t
}

// facts are the state of it, in the order of what matters.
func (v *Vault) facts(s Scene) sheetOf {
	c := v.is
	var t sheetOf
	if c.Closed != nil {
		what, _ := v.project.Explain(c.Closed)
		t.in("closed to you", kit.In(kit.Locked), what)
	}
	t.in("interrupted", kit.In(kit.Warn), c.Journal)
	for i, err := range c.Strays {
		if i == 3 {
			t.in("", kit.In(kit.Danger), "and "+kit.Number(len(c.Strays)-i)+" more")
			break
		}
		what, _ := v.project.Explain(err)
		t.in("stray file", kit.In(kit.Danger), what)
	}
	if c.Damaged > 0 {
		t.in("damaged", kit.Style{Role: kit.Danger, Attr: kit.Bold}, count(c.Damaged, "record")+" cannot be read: c says why")
	}
	switch {
	case c.InPart != "":
		t.in("rotation", kit.Style{Role: kit.Danger, Attr: kit.Bold}, "came here in part: "+c.InPart+". To finish it: w, then T")
	case len(c.OldKey) > 0:
		t.in("old key", kit.In(kit.Warn), join(texts(c.OldKey), 4)+". Nothing of it is used before somebody takes it over: envrun vault adopt")
	}
	switch {
	case c.SealSeq == 0:
		t.in("seal", kit.In(kit.Warn), "none")
	case c.Unsealed > 0:
		t.in("seal", kit.In(kit.Warn), fmt.Sprintf("%d, %s by %s; %s since: s seals", c.SealSeq, day(s.Now, c.SealAt), c.SealBy, count(c.Unsealed, "change")))
	default:
		t.say("seal", fmt.Sprintf("%d, %s by %s; all of it", c.SealSeq, day(s.Now, c.SealAt), c.SealBy))
	}
	secrets := kit.Number(c.Secrets)
	if c.Deleted > 0 {
		secrets += ", and " + kit.Number(c.Deleted) + " deleted"
	}
	t.say("secrets", secrets)
	if c.Exposed > 0 {
		t.in("to replace", kit.In(kit.Warn), count(c.Exposed, "value")+" that former members could read: O")
	}
	if len(c.Asking) > 0 {
		t.in("asking", kit.In(kit.Accent), join(c.Asking, 4)+": I")
	}
	pinned := "this machine knows none"
	switch {
	case c.Pinned == c.Key.Gen:
		pinned = "this machine knows it"
	case c.Pinned > 0:
		pinned = fmt.Sprintf("this machine knows key %d", c.Pinned)
	}
	t.say("key", fmt.Sprintf("%d, fingerprint %s; %s", c.Key.Gen, c.Key.Fingerprint, pinned))
	t.say("made", made(c.Key, s.Now))
	switch {
	case c.Members == 0:
		t.say("post-quantum", "no grants")
	case c.Classic == 0:
		t.say("post-quantum", "yes")
	default:
		t.say("post-quantum", fmt.Sprintf("no: %d of %d grants are classic", c.Classic, c.Members))
	}
	t.say("vault", c.Vault+" in "+c.Dir)
	return t
}
