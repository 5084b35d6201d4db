package screen

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// Import takes values in from a file: which file and where to, then which of
// its fields. What is chosen becomes a draft; the values are not shown.
type Import struct {
	project *Project
	env     Env
	from    Source

	// The form, until the file has been read.
	file, into, service kit.Field
	format              kit.Choice
	form                kit.Form
	files               []string // that begin as typed
	trouble             *trouble
	reading             bool

	// What is in it.
	found *draft.Import
	info  vault.Info // what it is compared with
	rows  importRows
	list  kit.List
}

type importRows []draft.Item

// Len implements kit.Rows.
func (r importRows) Len() int { return len(r) }

// Name implements kit.Rows.
func (r importRows) Name(i int) string { return string(r[i].Name) }

// NewImport takes values into a secret, which may be empty: then it is asked
// for, as the file is where from names none.
func NewImport(p *Project, e Env, from Source, into vault.Path) *Import {
	im := &Import{project: p, env: e, from: from}
	im.file.Max = 4096
	im.file.Set(from.File)
	im.into.Max = vault.MaxPath
	im.into.Set(string(into))
	im.service.Max = 256
	im.format.Options = append([]string{"by itself"}, draft.Formats()...)
	im.format.Taken = max(slices.Index(im.format.Options, from.Format), 0)
	im.form.Items = []kit.Item{{Label: "file", Input: &im.file}, {Label: "into", Input: &im.into}, {Label: "format", Input: &im.format}, {Label: "service", Input: &im.service}}
	if from.Pasted != nil {
		im.form.Items[0] = kit.Item{Label: "from", Note: from.File}
	}
	return im
}

// Title implements Screen.
func (im *Import) Title() string { return "import" }

// Enter implements Screen.
func (im *Import) Enter() Effect {
	switch {
	case im.found != nil:
		return nil
	case im.reading, im.from.Pasted != nil && !im.into.Empty(): // what was under way may have been stopped
		return im.readIt()
	}
	return im.complete()
}

// Leave implements Leaver.
func (im *Import) Leave() {
	im.found.Wipe()
	im.from.Pasted.Wipe()
}

// An importInput is the form, in which Tab completes a path as long as it can.
type importInput struct{ im *Import }

// Key implements Input.
func (in importInput) Key(k kit.Key) bool {
	im := in.im
	if k.Name == "tab" && im.atFile() {
		if longer := common(im.files, im.file.Text()); longer != im.file.Text() {
			im.file.Set(longer)
			return true
		}
	}
	return im.form.Key(k)
}

// Paste implements Input.
func (in importInput) Paste(text string) bool { return in.im.form.Paste(text) }

// Form is the form, for whoever goes through it in lines.
func (in importInput) Form() *kit.Form { return &in.im.form }

func (im *Import) atFile() bool { return im.from.Pasted == nil && im.form.Focus() == 0 }

// Input implements Typist.
func (im *Import) Input() Input {
	if im.found != nil || im.reading {
		return nil
	}
	return importInput{im}
}

// Typed implements Typist.
func (im *Import) Typed() Effect {
	im.trouble = nil
	return im.complete()
}

// Asks implements Typist.
func (im *Import) Asks() string { return "" }

// complete looks which files begin as typed.
func (im *Import) complete() Effect {
	if im.from.Pasted != nil {
		return nil
	}
	typed := im.file.Text()
	var files []string
	return Read{
		Lane: "files",
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			files, err = r.Complete(ctx, typed)
			return err
		},
		Done: func(err error) Effect {
			// A folder that cannot be read has nothing to complete with.
			im.files = files
			return nil
		},
	}
}

// readIt reads the file, and compares it with what is there.
func (im *Import) readIt() Effect {
	path, err := vault.ParsePath(im.into.Text())
	if err != nil {
		return nil // it is not offered
	}
	from := im.from
	if from.Pasted == nil {
		from.File = im.file.Text()
	}
	from.Format, from.Service = "", im.service.Text()
	if im.format.Taken > 0 {
		from.Format = im.format.Options[im.format.Taken]
	}
	im.reading, im.trouble = true, nil
	env := im.env.Name
	var info vault.Info
	return Read{
		Lane: "read", What: "reading " + from.File,
		Do: func(ctx context.Context, r Reading, show func(func()) bool) error {
			// The version first: what is written in between is a conflict, and no
			// mistake in what is shown.
			var err error
			if info, err = r.Info(ctx, env, path); vault.KindOf(err) == vault.KindNotFound {
				info, err = vault.Info{Env: env, Path: path}, nil
			}
			if err != nil {
				return err
			}
			found, err := r.Import(ctx, from, env, path)
			if err != nil {
				return err
			}
			if !show(func() { im.found, im.info = found, info }) {
				found.Wipe()
			}
			return nil
		},
		Done: func(err error) Effect {
			im.reading = false
			if err != nil {
				return im.notRead(err)
			}
			im.refresh()
			return nil
		},
	}
}

// notRead says why, and has the cursor where something can be done about it.
func (im *Import) notRead(err error) Effect {
	im.trouble = newTrouble(im.project, err)
	switch what, names := draft.Needs(err); what {
	case "format":
		im.form.SetFocus(2)
		im.trouble.next = "Choose its format with the arrows."
	case "service":
		im.form.SetFocus(3)
		im.trouble.next = "Name one of them as service: " + strings.Join(names, ", ")
	}
	return nil
}

func (im *Import) refresh() {
	if im.found == nil {
		return
	}
	im.rows = im.found.Items
	im.list.Set(im.rows)
}

// Offers implements Screen.
func (im *Import) Offers() []kit.Offer {
	if im.reading {
		return []kit.Offer{{ID: StopIt}}
	}
	if im.found == nil {
		off := ""
		if _, err := vault.ParsePath(im.into.Text()); err != nil {
			off = "into: " + detail(err)
		}
		if im.from.Pasted == nil && im.file.Empty() {
			off = "no file is named"
		}
		return []kit.Offer{{ID: GoOn, Off: off}, {ID: Complete}}
	}
	none, same := "", ""
	if im.found.Chosen() == 0 {
		none = "nothing is chosen"
	}
	if i, ok := im.list.Selected(); ok && im.rows[i].IsSame() {
		same = "it is the same already"
	}
	return append([]kit.Offer{{ID: Choose, Off: same}, {ID: ChooseAll}, {ID: Stage, Off: none}}, moves()...)
}

// Do implements Screen.
func (im *Import) Do(action string) Effect {
	if im.found != nil && move(&im.list, action) {
		return nil
	}
	switch action {
	case GoOn:
		return im.readIt()
	case StopIt:
		im.reading = false
		return Stop{"read"}
	case Choose:
		if i, ok := im.list.Selected(); ok {
			im.found.Items[i].Chosen = !im.found.Items[i].Chosen
		}
	case ChooseAll:
		all := false
		for _, it := range im.found.Items {
			all = all || choosable(it) && !it.Chosen
		}
		for i, it := range im.found.Items {
			im.found.Items[i].Chosen = all && choosable(it)
		}
	case Stage:
		var lost []string
		for _, it := range im.found.Items {
			if it.Chosen && im.typed(it.Name) {
				lost = append(lost, string(it.Name))
			}
		}
		if len(lost) > 0 {
			return loseTyped(strings.Join(lost, ", "), im.stage)
		}
		return im.stage()
	}
	return nil
}

// stage makes what was chosen a draft, and goes on to the review.
func (im *Import) stage() Effect {
	d := im.project.Drafts.Open(im.info)
	n := im.found.Chosen()
	if !im.found.Stage(d) {
		return Say{kit.Notice{Role: kit.Warn, Text: "Not now: " + string(im.info.Path) + " is being sent."}}
	}
	said := fmt.Sprintf("%d from %s, not sent so far.", n, im.found.From)
	if im.from.Pasted == nil {
		said += " The file still has them in plain text."
	}
	return All{Replace{NewPending(im.project, im.env)}, Say{kit.Notice{Role: kit.OK, Text: said}}}
}

// choosable: with all are chosen those that would change something and that a
// run takes.
func choosable(it draft.Item) bool { return !it.IsSame() && it.Refused == "" }

// Target implements Screen.
func (im *Import) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (im *Import) Draw(a kit.Area, s Scene) {
	if im.found != nil {
		im.drawFound(a, s)
		return
	}
	a.Text(0, 0, kit.Style{Attr: kit.Bold}, "Take values into "+label(im.env))
	_, in := a.Top(1)
	if s.Size == kit.Large {
		_, in = a.Top(2)
	}
	form := im.form
	if s.Size == kit.Small {
		form.Items = form.Items[:2] // the two that are needed
		if f := im.form.Focus(); f >= 2 {
			form.Items = []kit.Item{im.form.Items[f]}
			form.SetFocus(0)
		}
	}
	y := form.Draw(in.Sub(0, 0, min(in.W, 76), in.H))
	_, in = in.Top(y)
	if s.Size != kit.Small {
		_, in = in.Top(1)
	}
	switch busy := s.Lanes.Busy("read"); {
	case im.reading && busy.Shown(s.Now):
		in.Text(0, 0, kit.In(kit.Dim), "Reading "+in.Marks().Ellipsis)
		return
	case im.reading:
		return
	case im.trouble != nil:
		in.Top(im.drawTrouble(in, s))
		return
	}
	if im.atFile() {
		im.drawFiles(in)
	}
}

// drawTrouble says why nothing was read: for the vault in its own words, for the
// file in those of what is wrong with it.
func (im *Import) drawTrouble(a kit.Area, s Scene) int {
	switch vault.KindOf(im.trouble.err) {
	case vault.KindDenied, vault.KindNoIdentity, vault.KindUnavailable, vault.KindNoEnv, vault.KindTampered:
		return im.trouble.draw(a, im.env, s.Now)
	}
	y := a.Paragraph(0, kit.Style{Role: kit.Danger, Attr: kit.Bold}, "! Nothing was read: "+im.trouble.text)
	if im.trouble.next != "" {
		y = a.Sub(0, y, a.W, a.H).Paragraph(0, kit.In(kit.Dim), im.trouble.next) + y
	}
	return y
}

// drawFiles is what the path that is typed may become.
func (im *Import) drawFiles(a kit.Area) {
	x, y := 0, 0
	for _, f := range im.files {
		name := f[strings.LastIndexByte(strings.TrimSuffix(f, "/"), '/')+1:]
		w := a.Marks().Width(name)
		if x > 0 && x+w > a.W {
			x, y = 0, y+1
		}
		if y >= a.H {
			return
		}
		x = a.Text(x, y, kit.In(kit.Dim), name) + 2
	}
}

func (im *Import) drawFound(a kit.Area, s Scene) {
	fresh, changed, same, refused := 0, 0, 0, 0
	for _, it := range im.found.Items {
		switch {
		case it.Refused != "":
			refused++
		case it.IsNew():
			fresh++
		case it.IsSame():
			same++
		default:
			changed++
		}
	}
	m := a.Marks()
	right := fmt.Sprintf("%d new, %d changed, %d same", fresh, changed, same)
	if refused > 0 {
		right += fmt.Sprintf(", %d refused", refused)
	}
	title := im.found.From + " into " + label(im.env) + " " + string(im.info.Path)
	_, in := a.Top(1)
	if s.Size == kit.Large {
		_, in = a.Top(2)
	}
	if w := m.Width(right); s.Size == kit.Large {
		a.FitEnd(0, 0, a.W-w-2, kit.Style{Attr: kit.Bold}, title)
		a.FitRight(a.W-w, 0, w, kit.In(kit.Dim), right)
	} else {
		a.FitEnd(0, 0, a.W, kit.Style{Attr: kit.Bold}, title)
		in.Fit(0, 0, in.W, kit.In(kit.Dim), right)
		_, in = in.Top(1)
	}
	if left := im.found.LeftOut; len(left) > 0 {
		in.Fit(0, 0, in.W, kit.In(kit.Warn), "Not taken: "+strings.Join(left, ", "))
		_, in = in.Top(1)
	}
	i, ok := im.list.Selected()
	if ok && in.H > 3 {
		rest, bottom := in.Bottom(2)
		in = rest
		it := im.rows[i]
		text, role := fmt.Sprintf("%d chosen. %s: %s", im.found.Chosen(), it.Name, measure(it.Facts)), kit.Dim
		switch {
		case it.Refused != "":
			text, role = "A run refuses a variable of this name unless envrun.toml allows it: it "+it.Refused+".", kit.Warn
		case im.typed(it.Name):
			text, role = "Your draft has a value for it, which this would replace.", kit.Warn
		case len(it.Notes) > 0:
			text, role = string(it.Name)+": "+strings.Join(it.Notes, "; "), kit.Warn
		}
		bottom.Paragraph(0, kit.In(role), text)
	}
	t := kit.NewTable(in.W-2, kit.Column{Title: "", Width: 3}, kit.Column{Title: "FIELD", Width: 16, Grow: 2}, kit.Column{Title: "", Width: 8}, kit.Column{Title: "VALUE", Width: 16, Grow: 1, Drop: 1})
	im.list.Alert = im.env.Protected
	im.list.Draw(in, func(a kit.Area, ln kit.Line) {
		it := im.rows[ln.Row]
		mark := m.Unchecked
		if it.Chosen {
			mark = m.Checked
		}
		if it.IsSame() {
			mark = ""
		}
		t.Cell(a, 0, 0, kit.Style{}, mark)
		t.Cell(a, 0, 1, kit.Style{}, string(it.Name))
		text, role := verdictText(it)
		t.Cell(a, 0, 2, kit.In(role), text)
		t.Cell(a, 0, 3, kit.In(kit.Dim), size(it.Facts))
	})
}

// typed reports whether the draft has a value of its own for a field.
func (im *Import) typed(name vault.FieldName) bool {
	d := im.project.Drafts.Get(im.env.Name, im.info.Path)
	if d == nil {
		return false
	}
	row, ok := d.Row(draft.Ref{Name: name})
	return ok && row.Typed
}

func verdictText(it draft.Item) (string, kit.Role) {
	switch {
	case it.Refused != "":
		return "refused", kit.Warn
	case it.IsNew():
		return "new", kit.Added
	case it.IsSame():
		return "same", kit.Dim
	}
	return "changed", kit.Accent
}
