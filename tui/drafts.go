package tui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"envrun/envrun/environ"
	"envrun/envrun/intake"
	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/near"
)

// goOn gives somebody who types into the value that is shown as long again.
func (s *slot) goOn(d time.Duration) {
	if s.on && s.target.Typed {
		s.until = s.now().Add(d)
	}
}

// sendDrafts writes drafts, if somebody consented to it: all of them in one
// write, against the versions that they were made to.
func (m *Model) sendDrafts(from screen.Screen, e screen.Send) {
	if len(e.Drafts) == 0 {
		return
	}
	env := e.Drafts[0].Env()
	w := screen.Write{Consent: e.Consent, Harm: kit.Writes, Env: env, What: "sending changes"}
	for _, d := range e.Drafts {
		if d.Destroys() {
			w.Harm = kit.Destroys
		}
		if d.Env() != env || d.Sending() {
			m.say(kit.Notice{Role: kit.Warn, Text: "Not begun: " + string(d.Path()) + " is being sent already."})
			return
		}
	}
	var changes []vault.Change
	var infos []vault.Info
	w.Do = func(ctx context.Context, w screen.Writing) (err error) {
		infos, err = w.Apply(ctx, changes)
		return err
	}
	w.Done = func(err error) screen.Effect {
		for _, c := range changes {
			wipe(c.Set)
		}
		m.power.opener.End(e.Drafts, err == nil)
		if e.Done == nil {
			return nil
		}
		return e.Done(infos, err)
	}
	if m.write(from, w) {
		// Its goroutine begins after this Update.
		changes = m.power.opener.Begin(e.Drafts)
	}
}

// Load implements screen.Reading.
func (p *power) Load(ctx context.Context, t screen.Target) (*draft.Batch, error) {
	b, err := p.value(ctx, t)
	if err != nil {
		return nil, err
	}
	if p.audit != nil {
		if err := p.audit(ctx, Use{"edit", t}); err != nil {
			clear(b)
			return nil, err
		}
	}
	return p.opener.Batch([]vault.Field{{Name: t.Field, Value: vault.NewValue(b)}}), nil
}

// Near implements screen.Reading.
func (p *power) Near(typed string, among []vault.Path) []vault.Path {
	return near.Names(typed, among, 5)
}

// fs is the files that values are imported from.
type fs struct {
	dir  string // where paths begin; empty: the working directory
	home string // "~"; empty: there is none
}

// path is a path as the system knows it.
func (f fs) path(typed string) string {
	if rest, ok := strings.CutPrefix(typed, "~"); ok && f.home != "" && (rest == "" || rest[0] == '/' || rest[0] == filepath.Separator) {
		return f.home + rest
	}
	if filepath.IsAbs(typed) {
		return typed
	}
	return filepath.Join(f.dir, typed)
}

// mostFiles is how many completions are offered.
const mostFiles = 200

// Complete implements screen.Reading.
func (p *power) Complete(ctx context.Context, typed string) ([]string, error) {
	cut := strings.LastIndexAny(typed, "/"+string(filepath.Separator)) + 1
	dir, begin := typed[:cut], typed[cut:]
	entries, err := os.ReadDir(cmp.Or(p.files.path(dir), "."))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, begin) || len(found) == mostFiles {
			continue
		}
		if e.IsDir() {
			name += "/"
		}
		found = append(found, dir+name)
	}
	return found, ctx.Err()
}

// Import implements screen.Reading.
func (p *power) Import(ctx context.Context, from screen.Source, env vault.Env, path vault.Path) (*draft.Import, error) {
	var text []byte
	defer func() { clear(text) }()
	if from.Pasted != nil {
		text = slices.Clone(p.opener.Pasted(from.Pasted))
	} else {
		var err error
		if text, err = readAtMost(p.files.path(from.File), environ.MaxInput+1); err != nil {
			return nil, err
		}
	}
	var notes []environ.Note
	entries, err := intake.Read(text, from.File, intake.Options{
		Format: environ.Format(from.Format), Service: from.Service,
		Note: func(n environ.Note) { notes = append(notes, n) },
	})
	if err != nil {
		return nil, err
	}
	fields, err := intake.Fields(entries)
	if err != nil {
		return nil, err
	}
	there, err := p.secret(ctx, env, path, 0)
	if err != nil && vault.KindOf(err) != vault.KindNotFound {
		wipe(fields)
		return nil, err
	}
	defer wipe(there.Values)
	items := make([]draft.Item, len(fields))
	var leftOut []string
	for _, n := range notes {
		p.veil.Learn(n.Name)
		i := slices.IndexFunc(fields, func(f vault.Field) bool { return string(f.Name) == n.Name })
		switch {
		case i >= 0:
			items[i].Notes = append(items[i].Notes, n.Kind.String())
		case n.Name != "" || n.What != "":
			leftOut = append(leftOut, n.Name+n.What+" ("+n.Kind.String()+")")
		default: // what stands there may be a piece of a secret
			leftOut = append(leftOut, fmt.Sprintf("line %d (%s)", n.Line, n.Kind))
		}
	}
	for i, verdict := range intake.Compare(fields, there) {
		items[i].Verdict = verdict
		if reason, refused := environ.Refused(string(fields[i].Name)); refused {
			items[i].Refused = reason
		}
	}
	return p.opener.Import(from.File, fields, items, leftOut), nil
}

var errNoFile = errors.New("is no file")

// readAtMost reads so much of a regular file.
func readAtMost(name string, most int64) ([]byte, error) {
	// Looked at before it is opened: opening a pipe would wait for its writer.
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: name, Err: errNoFile}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
