package screen

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// Edit is the draft of one secret: what its fields, its note, its interval and
// its tags are to be. Nothing is sent from here; leaving keeps it.
type Edit struct {
	project *Project
	env     Env
	draft   *draft.Draft
	above   bool // opened from the review, which Review goes back to
	fresh   bool // a new secret that has no field yet: its first is asked for at once

	rows  draftRows
	list  kit.List
	want  draft.Ref // where the cursor belongs as soon as it is there
	input *draft.Input
	meta  *kit.Field // what is typed of note, interval or tags; nil: nothing
	facts map[vault.FieldName]Facts

	read    bool
	trouble *trouble
	box     valueBox
	scene   Scene // of the last picture, for what is said about times
}

// NewEdit edits a secret, from one of its rows on. A secret that is not there
// yet has Version 0.
func NewEdit(p *Project, e Env, info vault.Info, ref draft.Ref) *Edit {
	info.Env = e.Name
	ed := &Edit{project: p, env: e, want: ref}
	ed.open(info)
	ed.fresh = info.Version == 0 && !ed.hasFields()
	return ed
}

func (e *Edit) open(info vault.Info) {
	e.draft = e.project.Drafts.Open(info)
	e.refresh()
}

// refresh takes in what has become of the draft.
func (e *Edit) refresh() {
	e.rows = e.draft.Rows()
	e.list.Set(e.rows)
	if e.want != (draft.Ref{}) && e.list.Select(refName(e.want)) {
		e.want = draft.Ref{}
	}
}

// row is what the cursor is on. There is always one.
func (e *Edit) row() draft.Row {
	i, _ := e.list.Selected()
	return e.rows[i]
}

// hasFields reports whether the secret has a field, or is to have one.
func (e *Edit) hasFields() bool { return e.rows[0].Kind == draft.Field }

// Title implements Screen.
func (e *Edit) Title() string { return "edit " + string(e.draft.Path()) }

// Enter implements Screen: has somebody else been there meanwhile?
func (e *Edit) Enter() Effect {
	if e.input != nil {
		e.input.Drop() // locking has closed the question about it
	}
	if e.fresh {
		e.fresh = false
		return All{e.load(), e.addField()}
	}
	return e.load()
}

// Leave implements Leaver. What was changed stays in the draft.
func (e *Edit) Leave() {
	if e.input != nil {
		e.input.Leave()
	}
	e.input, e.meta = nil, nil
	e.project.Drafts.Close(e.draft)
}

func (e *Edit) load() Effect {
	base := e.draft.Base()
	var t draft.Theirs
	var facts []Facts
	return Read{
		Lane: "info", What: "reading " + string(base.Path),
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			if t, err = theirsOf(ctx, r, e.project, base); err != nil || !e.project.FreeFacts || !t.There() {
				return err
			}
			// Without a key there are no facts, and that is no reason to show none of
			// the rest.
			facts, err = r.Facts(ctx, base.Env, base.Path, t.Now.Version)
			if vault.KindOf(err) == vault.KindDenied || vault.KindOf(err) == vault.KindNoIdentity {
				err = nil
			}
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				e.trouble = newTrouble(e.project, err)
				return nil
			}
			e.read, e.trouble = true, nil
			now := t.Now
			if !t.There() {
				now = vault.Info{Env: base.Env, Path: base.Path}
			}
			e.open(now) // another draft than before, if that one has been sent
			e.draft.Look(t)
			if e.draft.Theirs() == nil {
				e.facts = factsByName(facts)
			}
			e.refresh()
			return nil
		},
	}
}

// Input implements Typist.
func (e *Edit) Input() Input {
	switch {
	case e.input != nil:
		return e.input
	case e.meta != nil:
		return e.meta
	}
	return nil
}

// Typed implements Typist.
func (e *Edit) Typed() Effect {
	e.refresh()
	if e.input != nil && e.input.Asked() != nil {
		return e.askPaste()
	}
	return nil
}

// Asks implements Typist.
func (e *Edit) Asks() string {
	row := e.row()
	if row.Kind != draft.Field {
		return metaHelp(row.Kind)
	}
	return "New value of " + string(row.Name)
}

// askPaste asks what pasted text of several lines is meant as.
func (e *Edit) askPaste() Effect {
	in, p := e.input, e.input.Asked()
	lines := kit.Number(p.Lines) + " lines"
	if p.Lines == 1 {
		lines = "1 line"
	}
	q := &kit.Question{Title: "What was pasted"}
	if p.CRLF {
		q.Facts = append(q.Facts, "Its lines end with CR and newline, as on Windows; both are kept.")
	}
	insert := func(trim bool) func() Effect {
		return func() Effect {
			in.Insert(trim)
			e.refresh()
			return nil
		}
	}
	var act []func() Effect
	add := func(text string, f func() Effect) { q.Answers, act = append(q.Answers, text), append(act, f) }
	switch {
	case p.TooLong:
		in.Drop()
		return Say{kit.Notice{Role: kit.Warn, Text: "Not pasted: a value has " + kit.Number(vault.MaxValue) + " bytes at most."}}
	case p.Newline && p.Lines == 1:
		q.Facts = append(q.Facts, "The text ends with a newline.")
		add("Leave the newline out", insert(true))
		add("Keep the newline", insert(false))
	case p.Newline:
		q.Facts = append(q.Facts, "The text has "+lines+" and ends with a newline.")
		add("Keep the newline", insert(false))
		add("Leave the newline out", insert(true))
	case p.Variables == 0:
		in.Insert(false)
		e.refresh()
		if p.CRLF {
			return Say{kit.Notice{Text: "Pasted " + lines + ". They end with CR and newline, as on Windows; both are kept."}}
		}
		return Say{kit.Notice{Text: "Pasted " + lines + "."}}
	default:
		add("One value, all "+lines+" of it", insert(false))
	}
	if p.Variables > 0 {
		q.Facts = append(q.Facts, fmt.Sprintf("It reads as %d variables.", p.Variables))
		add(fmt.Sprintf("Take them in as %d fields: shows which", p.Variables), func() Effect {
			pasted := in.Release()
			e.doneTyping()
			return Push{NewImport(e.project, e.env, Source{File: "what was pasted", Pasted: pasted, Format: "dotenv"}, e.draft.Path())}
		})
	}
	return Ask{Dialog: q, Then: func() Effect {
		if answer, ok := q.Taken(); ok && e.input == in {
			return act[answer]()
		}
		in.Drop()
		return Say{kit.Notice{Text: "Nothing was pasted."}}
	}}
}

// Offers implements Screen.
func (e *Edit) Offers() []kit.Offer {
	row, sending := e.row(), ""
	switch {
	case e.draft.Sending():
		sending = "it is being sent"
	case e.draft.Gone():
		sending = "what is there now has not been read yet"
	}
	or := func(conditions ...string) string {
		for _, c := range conditions {
			if c != "" {
				return c
			}
		}
		return ""
	}
	field, removed, kept, editor, changes := "", "", "", "", ""
	if row.Kind != draft.Field {
		field = "this is no field"
	}
	if row.Change == draft.Removed {
		removed = "it is to be removed; ctrl+x takes that back"
	}
	if row.Change == draft.Kept {
		kept = "nothing of it was changed"
	}
	if e.project.Editor == "" {
		editor = "there is no editor here"
	}
	if e.draft.Count() == 0 {
		changes = "nothing was changed"
	}
	if e.input != nil || e.meta != nil {
		offers := []kit.Offer{{ID: DoneTyping}}
		if e.input != nil {
			offers = append(offers, kit.Offer{ID: ShowTyped}, kit.Offer{ID: Generate}, kit.Offer{ID: SeveralLines})
		}
		return append(offers, kit.Offer{ID: EditorIt, Off: editor}, kit.Offer{ID: Review, Off: changes}, kit.Offer{ID: Next})
	}
	present := ""
	switch _, there := e.draft.Row(row.Ref); {
	case field != "":
		present = field
	case !there || !slices.ContainsFunc(e.draft.Base().Fields, func(f vault.FieldInfo) bool { return f.Name == row.Name }):
		present = "it has no present value"
	}
	target := ""
	if _, ok := e.Target(); !ok {
		target = "there is no value here"
	}
	var offers []kit.Offer
	if e.draft.Theirs() != nil {
		offers = append(offers, kit.Offer{ID: Resolve, Off: sending})
	}
	add := kit.Offer{ID: AddField, Off: sending}
	if !e.hasFields() {
		offers = append(offers, add)
	}
	offers = append(offers, kit.Offer{ID: TypeIt, Off: or(sending, removed)}, kit.Offer{ID: Review, Off: changes}, kit.Offer{ID: ShowHide, Off: target})
	if e.hasFields() {
		offers = append(offers, add)
	}
	offers = append(offers, kit.Offer{ID: RemoveField, Off: or(sending, field, removed)},
		kit.Offer{ID: Generate, Off: or(sending, field, removed)}, kit.Offer{ID: EditorIt, Off: or(editor, sending)}, kit.Offer{ID: Undo, Off: or(sending, kept)},
		kit.Offer{ID: TakePresent, Off: or(sending, removed, present)}, kit.Offer{ID: RenameField, Off: or(sending, field, removed)}, kit.Offer{ID: ImportIt, Off: sending},
		kit.Offer{ID: Peek, Off: target}, kit.Offer{ID: CopyIt, Off: target}, kit.Offer{ID: Reload})
	return append(offers, moves()...)
}

// Do implements Screen.
func (e *Edit) Do(action string) Effect {
	row := e.row()
	switch action {
	case PageDown, PageUp:
		if e.box.lines > e.box.room {
			by := 1
			if action == PageUp {
				by = -1
			}
			e.box.page(by)
			return nil
		}
	}
	if move(&e.list, action) {
		return nil
	}
	switch action {
	case TypeIt:
		e.begin(row)
	case DoneTyping:
		return e.doneTyping()
	case Next:
		effect := e.doneTyping()
		e.list.Move(1)
		if row := e.row(); effect == nil && row.Change != draft.Removed {
			e.begin(row)
		}
		return effect
	case ShowHide, ShowTyped:
		return Reveal{}
	case Peek:
		return PeekAt{}
	case CopyIt:
		return Copy{}
	case SeveralLines:
		e.input.SetSeveralLines(!e.input.SeveralLines())
		if e.input.SeveralLines() {
			return Say{kit.Notice{Text: "Enter begins a new line; Esc is done."}}
		}
		return Say{kit.Notice{Text: "Enter is done."}}
	case Generate:
		return e.generate(row)
	case EditorIt:
		if effect := e.doneTyping(); effect != nil {
			return effect
		}
		return EditText{Draft: e.draft, Then: func() Effect {
			e.refresh()
			return Say{kit.Notice{Role: kit.OK, Text: "Taken over from the editor, and not sent: ctrl+s reviews."}}
		}}
	case AddField:
		return e.addField()
	case RemoveField:
		return lose(row, func() Effect {
			e.draft.Remove(row.Name)
			e.refresh()
			return nil
		})
	case RenameField:
		return e.rename(row)
	case TakePresent:
		return lose(row, func() Effect { return e.take(row.Name, func(b *draft.Batch) { e.draft.Take(row.Name, b) }) })
	case Undo:
		return lose(row, func() Effect {
			e.draft.Undo(row.Ref)
			e.refresh()
			return nil
		})
	case Resolve:
		return resolve(e.project, e.draft, e.scene.Now, func() Effect { return e.load() })
	case ImportIt:
		return Push{NewImport(e.project, e.env, Source{}, e.draft.Path())}
	case Review:
		if effect := e.doneTyping(); effect != nil {
			return effect
		}
		if e.above {
			return Pop{}
		}
		return Push{NewPending(e.project, e.env)}
	case Reload:
		return e.load()
	}
	return nil
}

// begin has something typed.
func (e *Edit) begin(row draft.Row) {
	if row.Kind != draft.Field {
		e.meta = e.draft.Meta(row.Kind)
		return
	}
	e.input = e.draft.Input(row.Name)
}

// doneTyping ends typing. An empty value in the place of one that there was is
// asked about.
func (e *Edit) doneTyping() Effect {
	in, ref := e.input, e.row().Ref
	e.input, e.meta = nil, nil
	if in == nil {
		e.refresh()
		return nil
	}
	emptied := in.Leave()
	e.refresh()
	if !emptied {
		return nil
	}
	q := &kit.Question{Title: ref.String() + " is empty now", Answers: []string{"Leave it as it was", "Set it to nothing, not even a space"}}
	return Ask{Dialog: q, Then: func() Effect {
		if answer, ok := q.Taken(); !ok || answer == 0 {
			e.draft.Undo(ref)
			e.refresh()
		}
		return nil
	}}
}

// generate asks what a random value is to be like.
func (e *Edit) generate(row draft.Row) Effect {
	length := &kit.Field{Max: 4}
	length.Set("32")
	alphabets := draft.Alphabets()
	choice := &kit.Choice{}
	for _, a := range alphabets {
		choice.Options = append(choice.Options, a.Name)
	}
	p := &kit.Prompt{Title: "A random value for " + string(row.Name), Send: "generate", Enter: true}
	p.Form.Items = []kit.Item{{Label: "characters", Input: length}, {Label: "made of", Input: choice}, {}}
	recipe := func() (draft.Recipe, bool) {
		n, err := strconv.Atoi(length.Text())
		return draft.Recipe{Length: n, Alphabet: alphabets[choice.Taken]}, err == nil && n >= draft.MinLength && n <= draft.MaxLength
	}
	p.Check = func() string {
		r, ok := recipe()
		if !ok {
			p.Form.Items[2].Note = ""
			return fmt.Sprintf("a number from %d to %d", draft.MinLength, draft.MaxLength)
		}
		p.Form.Items[2].Note = fmt.Sprintf("%d bits that nobody can guess", r.Bits())
		p.Form.Items[2].Role = kit.Dim
		if r.Bits() < 80 {
			p.Form.Items[2].Note += ": few for a secret"
			p.Form.Items[2].Role = kit.Warn
		}
		return ""
	}
	return Ask{Dialog: p, Then: func() Effect {
		if !p.OK() {
			return nil
		}
		r, _ := recipe()
		return lose(e.now(row), func() Effect {
			e.input = nil
			if err := e.draft.Generate(row.Name, r); err != nil {
				return Say{kit.Notice{Role: kit.Danger, Text: "Not generated: " + err.Error()}}
			}
			e.refresh()
			return Say{kit.Notice{Role: kit.OK, Text: fmt.Sprintf("%s is %d random characters now, and not sent. v shows them.", row.Name, r.Length)}}
		})
	}}
}

// now is a row as it is by now.
func (e *Edit) now(row draft.Row) draft.Row {
	if r, ok := e.draft.Row(row.Ref); ok {
		return r
	}
	return row
}

// askName asks for the name of a field.
func (e *Edit) askName(title, send, begin string, then func(vault.FieldName) Effect) Effect {
	field := &kit.Field{Max: vault.MaxFieldName}
	field.Set(begin)
	p := &kit.Prompt{Title: title, Send: send, Enter: true}
	p.Form.Items = []kit.Item{{Label: "name", Input: field}, {}}
	p.Check = func() string {
		p.Form.Items[1] = kit.Item{Role: kit.Warn}
		name, err := vault.ParseFieldName(field.Text())
		_, taken := e.draft.Row(draft.Ref{Name: name})
		switch {
		case field.Empty() || field.Text() == begin:
			return "such as STRIPE_SECRET_KEY"
		case err != nil:
			return detail(err)
		case taken:
			return draft.ErrTaken.Error()
		}
		p.Form.Items[1].Note = draft.NameNote(name)
		return ""
	}
	return Ask{Dialog: p, Then: func() Effect {
		if !p.OK() {
			return nil
		}
		return then(vault.FieldName(field.Text()))
	}}
}

func (e *Edit) addField() Effect {
	return e.askName("A new field of "+string(e.draft.Path()), "add", "", func(name vault.FieldName) Effect {
		if err := e.draft.Add(name); err != nil {
			return Say{kit.Notice{Role: kit.Warn, Text: "Not added: " + err.Error()}}
		}
		e.want = draft.Ref{Name: name}
		e.refresh()
		e.begin(e.row())
		return nil
	})
}

func (e *Edit) rename(row draft.Row) Effect {
	return e.askName("Another name for "+string(row.Name), "rename", string(row.Name), func(to vault.FieldName) Effect {
		do := func(b *draft.Batch) {
			if e.draft.Rename(row.Name, to, b) == nil {
				e.want = draft.Ref{Name: to}
			}
		}
		if e.draft.NeedsValue(row.Name) {
			return e.take(row.Name, do)
		}
		do(nil)
		e.refresh()
		return nil
	})
}

// take reads the present value of a field for the draft.
func (e *Edit) take(name vault.FieldName, do func(*draft.Batch)) Effect {
	base := e.draft.Base()
	t := Target{Env: base.Env, Path: base.Path, Field: name, Version: base.Version}
	was, _ := e.draft.Row(draft.Ref{Name: name})
	late := false
	return Read{
		Lane: "load", What: "reading " + string(name),
		Do: func(ctx context.Context, r Reading, show func(func()) bool) error {
			b, err := r.Load(ctx, t)
			if err != nil {
				return err
			}
			defer b.Wipe()
			show(func() {
				// What was typed meanwhile stays.
				if is, _ := e.draft.Row(was.Ref); is != was || e.input != nil {
					late = true
					return
				}
				do(b)
				e.refresh()
			})
			return nil
		},
		Done: func(err error) Effect {
			if late {
				return Say{kit.Notice{Role: kit.Warn, Text: string(name) + " is as you changed it meanwhile: its value came too late."}}
			}
			if err == nil {
				return nil
			}
			what, next := e.project.Explain(err)
			return Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not read: " + what, Details: what + "\n" + next}}
		},
	}
}

// detail is what a vault's error says is wrong, without where.
func detail(err error) string {
	if e := (*vault.Error)(nil); errors.As(err, &e) && e.Detail != "" {
		return e.Detail
	}
	return err.Error()
}

// Target implements Screen.
func (e *Edit) Target() (Target, bool) {
	row := e.row()
	t := Target{Env: e.env.Name, Path: e.draft.Path(), Field: row.Name}
	switch {
	case row.Kind != draft.Field, row.Change == draft.Kept && e.draft.Base().Version == 0:
		return Target{}, false
	case row.Typed, e.input != nil:
		t.Typed = true
	default:
		t.Version = e.draft.Base().Version
	}
	return t, true
}

// Draw implements Screen.
func (e *Edit) Draw(a kit.Area, s Scene) {
	e.scene = s
	m, d := a.Marks(), e.draft
	base := d.Base()
	version := fmt.Sprintf("based on version %d", base.Version)
	switch {
	case d.Sending():
		version = "being sent"
	case d.Gone():
		version = "was based on version " + kit.Number(int(base.Version))
	case base.Version == 0:
		version = "new secret"
	}
	if s.Size == kit.Small {
		version = strings.TrimPrefix(version, "based on ")
	}
	w := m.Width(version)
	x := a.Text(0, 0, kit.In(kit.Dim), "Edit ")
	a.FitEnd(x, 0, max(a.W-w-2-x, 8), kit.Style{Attr: kit.Bold}, string(base.Path))
	a.FitRight(max(a.W-w, 0), 0, w, kit.In(kit.Dim), version)
	_, in := a.Top(1)
	if s.Size == kit.Large {
		_, in = a.Top(2)
	}
	if d.Theirs() != nil {
		text := "! " + conflictLine(d, s.Now)
		st := kit.Style{Role: kit.Warn, Attr: kit.Bold}
		if s.Size == kit.Small {
			in.Fit(0, 0, in.W, st, conflictBrief(d))
			_, in = in.Top(1)
		} else {
			y := in.Paragraph(0, st, text)
			y = in.Sub(0, y, in.W, in.H).Paragraph(0, kit.In(kit.Dim), "Your changes are kept. D compares, and puts them on top of theirs.") + y
			_, in = in.Top(y)
		}
	}
	in = drawState(in, s, e.env, e.trouble, !e.read, "info", "Reading what is there now")
	if !e.hasFields() {
		y := in.Paragraph(0, kit.Style{}, "It has no fields so far: n adds one, i takes a file in.")
		_, in = in.Top(y)
	}
	e.drawRows(e.drawBottom(in, s), s)
}

// drawBottom is what is under the list: what is wrong, and the value.
func (e *Edit) drawBottom(a kit.Area, s Scene) kit.Area {
	row, small := e.row(), s.Size == kit.Small
	most := 3
	if small {
		most = 1
	}
	problems := e.draft.Problems()
	if n := min(len(problems), most); n > 0 && a.H > n+4 {
		rest, bottom := a.Bottom(n)
		drawProblems(bottom, problems, n)
		a = rest
	}
	t, ok := e.Target()
	switch {
	case e.meta != nil:
		rest, bottom := a.Bottom(2)
		bottom.Text(0, 0, kit.In(kit.Dim), metaHelp(row.Kind))
		e.meta.Draw(bottom.Sub(0, 1, bottom.W, 1), true)
		return rest
	case !ok:
		rest, bottom := a.Bottom(2)
		if row.Kind != draft.Field {
			bottom.Text(0, 0, kit.In(kit.Dim), metaHelp(row.Kind))
			bottom.Fit(0, 1, bottom.W, kit.Style{}, row.Text)
		}
		return rest
	}
	head, known := "hidden", ""
	switch old, has := e.facts[row.Name]; {
	case row.Typed:
		known = measure(row.Facts)
	case row.Change == draft.Removed:
		head = "to be removed"
	case has && e.input == nil:
		known = measure(old)
	}
	if e.input != nil {
		head = "typing, not shown"
		if row.Change == draft.Kept {
			known = "replaces what there is"
		}
	}
	return e.box.draw(a, s, t, head, known, e.input, small)
}

func metaHelp(kind draft.Kind) string {
	switch kind {
	case draft.Note:
		return "note, in clear: everybody who has the vault reads it"
	case draft.Rotate:
		return "how often to replace it at its source: 90d, 6w, 3m, 1y"
	}
	return "tags, with spaces between"
}

func (e *Edit) drawRows(a kit.Area, s Scene) {
	head, rows := a.Top(1)
	t := kit.NewTable(rows.W-2, kit.Column{Title: "FIELD", Width: 16, Grow: 2}, kit.Column{Title: "CHANGE", Width: 8}, kit.Column{Title: "VALUE", Width: 26, Grow: 1, Drop: 1})
	if a.H > 2 {
		t.Head(head.Sub(2, 0, head.W-2, 1), 0)
	} else {
		rows = a
	}
	e.list.Alert = e.env.Protected
	e.list.Draw(rows, func(a kit.Area, ln kit.Line) {
		r := e.rows[ln.Row]
		st := kit.Style{}
		if r.Kind != draft.Field {
			st = kit.In(kit.Dim)
		}
		t.Cell(a, 0, 0, st, r.Ref.String())
		text, role := changeText(r)
		t.Cell(a, 0, 1, kit.In(role), text)
		t.Cell(a, 0, 2, kit.In(kit.Dim), valueText(r, e.facts))
	})
}
