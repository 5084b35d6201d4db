package draft

import (
	"bytes"

	"envrun/envrun/environ"
	"envrun/tui/kit"
	"envrun/vault"
)

// severalLines is what kit.Field.Lines is of a value with several lines; how
// many rows it is drawn in is for the screen to say.
const severalLines = 8

// lines is called when the value is another: its input has several lines if it has.
func (e *entry) lines() {
	e.facts = nil
	if bytes.IndexByte(e.value.Bytes(), '\n') >= 0 {
		e.value.Lines = severalLines
	}
}

// Input takes what is typed as the value of one field. Its value is not to be
// had from it, only where the cursor stands.
type Input struct {
	d *Draft
	e *entry
}

// Input is the input of a field. Typing into one that has kept its value so far
// begins with nothing: a value is replaced unless it was taken over with Take.
// It is nil for a field that is to be removed, and while the draft is sent.
func (d *Draft) Input(name vault.FieldName) *Input {
	if d.fixed() {
		return nil
	}
	e := d.touch(name)
	if e.change == Removed {
		return nil
	}
	return &Input{d, e}
}

// typed notes that there is a value of our own now.
func (in *Input) typed() {
	if in.e.change != Kept || in.e.value.Empty() {
		return
	}
	if in.e.change = Replaced; !inBase(in.d.base, in.e.name) {
		in.e.change = Added // somebody has removed it meanwhile
	}
}

// Key reports whether the input used the key.
func (in *Input) Key(k kit.Key) bool {
	if in.d.fixed() || !in.e.value.Key(k) {
		return false
	}
	in.e.facts = nil
	in.typed()
	return true
}

// Empty reports whether there is no text.
func (in *Input) Empty() bool { return in.e.value.Empty() }

// SeveralLines reports whether Enter begins a line.
func (in *Input) SeveralLines() bool { return in.e.value.Lines > 0 }

// SetSeveralLines says whether Enter begins a line; a value that has several
// keeps them.
func (in *Input) SetSeveralLines(on bool) {
	in.e.value.Lines = 0
	if on {
		in.e.value.Lines = severalLines
	}
	in.e.lines()
}

// Clear overwrites what was typed, for whoever types all of it anew.
func (in *Input) Clear() {
	if !in.d.sending {
		in.e.value.Wipe()
		in.e.facts = nil
	}
}

// Place is where the cursor stands when the value is drawn in lines of a width.
func (in *Input) Place(m kit.Marks, width int) (x, y int) { return in.e.value.Place(m, width) }

// Leave is called when nothing more is typed for now. emptied says that a value
// that there was would be replaced by an empty one, which somebody should be
// asked about.
func (in *Input) Leave() (emptied bool) {
	in.Drop()
	switch {
	case in.e.change == Kept:
		in.d.drop(in.e)
	case in.e.change == Replaced:
		return in.e.value.Empty()
	}
	return false
}

// Pasted is text that was pasted and waits for an answer.
type Pasted struct {
	Lines     int
	Newline   bool // it ends with a newline
	CRLF      bool // it has lines that end as on Windows
	TooLong   bool // more than a value can have
	Variables int  // it reads as so many NAME=value lines; 0: it does not

	text []byte
}

// Wipe overwrites the text.
func (p *Pasted) Wipe() {
	if p != nil {
		clear(p.text)
		p.text = nil
	}
}

// Paste takes pasted text as part of one value, whatever keys it looks like.
// Text of more than a line waits for an answer, which Asked says.
func (in *Input) Paste(text string) bool {
	if in.d.fixed() {
		return false
	}
	in.Drop()
	// Terminals send a pasted newline as the Enter key would be sent.
	held := []byte(text)
	for i, c := range held {
		if c == '\r' && (i+1 == len(held) || held[i+1] != '\n') {
			held[i] = '\n'
		}
	}
	newline := []byte("\n")
	p := &Pasted{
		Lines: 1 + bytes.Count(bytes.TrimSuffix(held, newline), newline), Newline: bytes.HasSuffix(held, newline), CRLF: bytes.Contains(held, []byte("\r\n")),
		TooLong: len(held)+len(in.e.value.Bytes()) > vault.MaxValue, text: held,
	}
	in.e.paste = p
	if !p.TooLong && p.Lines == 1 && !p.Newline {
		in.Insert(false)
		return true
	}
	if p.Lines > 1 {
		if entries, err := environ.Import(bytes.NewReader(held), environ.Dotenv, environ.ImportOptions{}); err == nil && len(entries) > 1 {
			p.Variables = len(entries)
			for _, e := range entries {
				e.Value.Wipe()
			}
		}
	}
	return true
}

// Asked is the text that waits for an answer; nil if none does.
func (in *Input) Asked() *Pasted { return in.e.paste }

// Insert takes the text that waited, without the newline at its end if trim
// says so.
func (in *Input) Insert(trim bool) {
	p := in.e.paste
	if p == nil || p.TooLong || in.d.fixed() {
		in.Drop()
		return
	}
	text := p.text
	if trim {
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	}
	several := in.SeveralLines()
	in.e.value.Lines = severalLines // so that all of it is taken as it is
	in.e.value.Paste(string(text))
	in.SetSeveralLines(several)
	in.typed()
	in.Drop()
}

// Drop forgets the text that waited.
func (in *Input) Drop() {
	in.e.paste.Wipe()
	in.e.paste = nil
}

// Release hands over the text that waited, for an Opener.
func (in *Input) Release() *Pasted {
	p := in.e.paste
	in.e.paste = nil
	return p
}
