package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"envrun/envrun/editor"
	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"
)

// laneEditor is where the values are read that an editor gets.
var laneEditor = lane{name: "editor"}

// An editing is a draft that is with an editor, or was and could not be read.
type editing struct {
	ctx   context.Context
	with  Editor
	draft *draft.Draft
	from  screen.Screen
	then  func() screen.Effect
	base  []vault.Field // the values of the version that the draft was made to
	text  []byte        // what the editor gets, or what it left
	was   []byte        // what it got first

	lent  *atomic.Bool // the terminal is not ours
	begun bool
	left  bool // it has left something, now or before
	err   error
}

func (e *editing) wipe() {
	wipe(e.base)
	clear(e.text)
	clear(e.was)
	e.base, e.text, e.was = nil, nil, nil
}

// Run implements tea.ExecCommand: the terminal is the editor's meanwhile.
func (e *editing) Run() error {
	e.begun = true
	e.lent.Store(true)
	defer e.lent.Store(false)
	text, err := e.with.Edit(e.ctx, e.text)
	if text != nil {
		clear(e.text)
		e.text, e.left = text, true
	}
	e.err = err
	return nil
}

// SetStdin implements tea.ExecCommand. The editor has the terminal's own files.
func (e *editing) SetStdin(io.Reader) {}

// SetStdout implements tea.ExecCommand.
func (e *editing) SetStdout(io.Writer) {}

// SetStderr implements tea.ExecCommand.
func (e *editing) SetStderr(io.Writer) {}

// editText hands a draft to the person's own editor.
func (m *Model) editText(from screen.Screen, e screen.EditText) {
	switch {
	case m.config.Editor == nil:
		m.say(kit.Notice{Text: "There is no editor here."})
		return
	case e.Draft.Sending():
		m.say(kit.Notice{Text: "Not now: it is being sent."})
		return
	}
	if w := m.lanes[laneWrite]; w != nil {
		m.say(kit.Notice{Role: kit.Warn, Text: "Not begun: " + w.what + " is not done yet."})
		return
	}
	if !m.warned {
		m.warnOfEditor(func() { m.editText(from, e) })
		return
	}
	if ed := m.editings[e.Draft]; ed != nil {
		ed.from, ed.then = from, e.Then
		m.openEditor(ed) // what was left there last time
		return
	}
	ed := &editing{ctx: m.ctx, with: m.config.Editor, draft: e.Draft, from: from, then: e.Then, lent: &m.lent}
	base := e.Draft.Base()
	if base.Version == 0 {
		m.compose(ed)
		return
	}
	p := &parcel[vault.Field]{wipe: wipe}
	m.start(&job{
		lane: laneEditor, owner: from, what: "reading " + string(base.Path), late: p.drop,
		do: func(ctx context.Context, _ func(func()) bool) error {
			s, err := m.power.secret(ctx, base.Env, base.Path, base.Version)
			if err != nil {
				return err
			}
			if m.config.Audit != nil {
				if err := m.config.Audit(ctx, Use{"edit", screen.Target{Env: base.Env, Path: base.Path, Version: base.Version}}); err != nil {
					wipe(s.Values)
					return err
				}
			}
			p.put(s.Values)
			return nil
		},
		done: func(err error) {
			ed.base = p.take()
			switch {
			case err != nil:
				m.fail(err)
			case m.top() != from || m.locked:
				ed.wipe()
			case m.touches != m.by.touches: // the next keys are not meant for an editor
				ed.wipe()
				m.say(kit.Notice{Text: "The editor was not opened: you went on meanwhile. ctrl+e opens it."})
			default:
				m.compose(ed)
			}
		},
	})
}

// warnOfEditor says once what we cannot promise about an editor.
func (m *Model) warnOfEditor(then func()) {
	m.warned = true
	q := &kit.Question{Title: "Your editor", Answers: []string{"Stay here", "Open " + m.config.EditorLine}}
	if editor.OnDisk() {
		q.Facts = append(q.Facts, "This system has no folder in memory: the text lies in a temporary folder of yours on the disk until the editor ends.")
	}
	if !editor.Known(m.config.EditorLine) {
		q.Facts = append(q.Facts, "It is not one that envrun can tell to keep no copies. See that it keeps no backup, no history and no hot exit of the file.")
	}
	if len(q.Facts) == 0 {
		then()
		return
	}
	m.dialogs.Push(q, func() {
		if answer, ok := q.Taken(); ok && answer == 1 {
			then()
			return
		}
		m.warned = false
	})
}

// compose makes the text of a draft, and opens the editor on it.
func (m *Model) compose(ed *editing) {
	d := ed.draft
	text, err := m.power.opener.Text(d, ed.base,
		string(d.Env())+" "+string(d.Path())+", one NAME=value a line; a line that is removed removes its field.",
		"What you leave becomes a draft in envrun: nothing is sent from here.")
	if err != nil {
		ed.wipe()
		m.fail(err)
		return
	}
	ed.text, ed.was = text, bytes.Clone(text)
	m.openEditor(ed)
}

// openEditor leaves the terminal to the editor, with nothing of ours on it.
func (m *Model) openEditor(ed *editing) {
	ed.begun, ed.err = false, nil
	m.editings[ed.draft] = ed
	m.power.opener.Hold(ed.draft, true)
	m.vanish()
	m.left = m.now()
	m.run(m.config.Exec(ed, editedMsg{ed}))
}

// edited is when the terminal is ours again, and takes in what an editor has
// left. Whoever has ended the editor is there: nothing is locked, however long it
// took.
func (m *Model) edited(ed *editing) {
	m.seen, m.left, m.blank = m.now(), time.Time{}, false
	if m.editings[ed.draft] != ed {
		return
	}
	switch {
	case !ed.begun:
		m.say(kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not begun: the terminal could not be left to the editor."})
	case ed.err != nil:
		m.fail(ed.err)
	}
	if !ed.left { // and what it got is in the draft
		m.doneEditing(ed)
		return
	}
	if bytes.Equal(ed.text, ed.was) {
		m.doneEditing(ed)
		if ed.err == nil {
			m.say(kit.Notice{Text: "The editor changed nothing."})
		}
		return
	}
	fields, err := editor.Parse(ed.text)
	if err == nil && len(fields) == 0 {
		err = errors.New("every line was removed; the Delete key is there to delete a secret")
	}
	if err != nil {
		m.editAgain(ed, err)
		return
	}
	m.power.opener.Edited(ed.draft, ed.base, fields)
	wipe(fields)
	then, from := ed.then, ed.from
	m.doneEditing(ed)
	if then != nil {
		m.apply(from, then())
	}
}

// editAgain: what was typed is not lost for what is wrong with it.
func (m *Model) editAgain(ed *editing, err error) {
	what, next := m.explain(err)
	q := &kit.Question{Title: "This cannot be read", Role: kit.Warn, Facts: []string{what}, Answers: []string{"Edit again", "Drop what was typed there"}, Lose: []int{1}}
	if next != "" {
		q.Facts = append(q.Facts, next)
	}
	m.dialogs.Push(q, func() {
		switch answer, ok := q.Taken(); {
		case !ok:
			m.say(kit.Notice{Text: "It is kept: ctrl+e goes on with it."})
		case answer == 0:
			m.openEditor(ed)
		default:
			m.doneEditing(ed)
		}
	})
}

// doneEditing forgets what an editor has left.
func (m *Model) doneEditing(ed *editing) {
	delete(m.editings, ed.draft)
	m.power.opener.Hold(ed.draft, false)
	ed.wipe()
}

// forgetEdited forgets what editors have left for drafts that are gone: nobody
// could go on with it.
func (m *Model) forgetEdited() {
	for d, ed := range m.editings {
		if d.Gone() {
			m.doneEditing(ed)
		}
	}
}
