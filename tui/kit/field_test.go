package kit_test

import (
	"bytes"
	"strings"
	"testing"

	"envrun/tui/kit"
)

func TestFieldEdits(t *testing.T) {
	for _, c := range []struct {
		name, was string
		lines     int
		keys      []string
		want      string
	}{
		{"typing", "", 0, []string{"a", "b", "é", "日"}, "abé日"},
		{"backspace", "abé", 0, []string{"backspace", "backspace"}, "a"},
		{"backspace at the start", "ab", 0, []string{"home", "backspace"}, "ab"},
		{"in the middle", "ac", 0, []string{"left", "b"}, "abc"},
		{"delete", "日本", 0, []string{"home", "delete"}, "本"},
		{"delete at the end", "ab", 0, []string{"delete"}, "ab"},
		{"word", "one two  ", 0, []string{"ctrl+w"}, "one "},
		{"to the start", "one two", 0, []string{"left", "ctrl+u"}, "o"},
		{"to the end", "one two", 0, []string{"home", "right", "ctrl+k", "x"}, "ox"},
		{"space", "a", 0, []string{"space", "b"}, "a b"},
		{"enter in one line", "a", 0, []string{"enter", "b"}, "ab"},
		{"enter in several", "a", 3, []string{"enter", "b"}, "a\nb"},
		{"up and down", "abc\nde\nfgh", 3, []string{"up", "x", "up", "y", "down", "down", "z"}, "abcy\ndex\nfgh"[:4] + "\ndex\nfghz"},
		{"keys that are none of its", "a", 0, []string{"ctrl+x", "f1", "esc", "tab"}, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &kit.Field{Lines: c.lines}
			f.Set(c.was)
			press(f.Key, c.keys...)
			if f.Text() != c.want {
				t.Errorf("%q, want %q", f.Text(), c.want)
			}
		})
	}
}

func TestFieldPaste(t *testing.T) {
	f := &kit.Field{}
	f.Paste("one\r\ntwo\n")
	if f.Text() != "one\r\ntwo" {
		t.Errorf("pasted into one line: %q", f.Text())
	}
	f = &kit.Field{Lines: 4}
	f.Paste("one\r\ntwo\n")
	if f.Text() != "one\r\ntwo\n" {
		t.Errorf("pasted into several: %q", f.Text())
	}
	f = &kit.Field{Max: 4}
	tooLong, fits := f.Paste("12345"), f.Paste("1234")
	if press(f.Key, "5"); tooLong || !fits || f.Text() != "1234" {
		t.Errorf("with at most 4 bytes: %q", f.Text())
	}
}

// Wherever the text has been, it can be wiped from.
func TestFieldForgets(t *testing.T) {
	f := &kit.Field{Hidden: true}
	var was [][]byte
	for _, r := range strings.Repeat("FAKE-secret", 40) {
		f.Key(kit.Key{Name: string(r), Text: string(r)})
		b := f.Bytes()
		was = append(was, b[:cap(b)])
	}
	press(f.Key, "backspace", "backspace")
	f.Wipe()
	for _, b := range was {
		if len(bytes.Trim(b, "\x00")) > 0 {
			t.Fatalf("%q is left", b)
		}
	}
	if !f.Empty() {
		t.Error("it is not empty")
	}
	f.SetBytes([]byte("FAKE-other"))
	b := f.Bytes()
	b = b[:cap(b)]
	f.Set("short")
	if bytes.Contains(b, []byte("other")) {
		t.Errorf("%q is left", b)
	}
}

// A hidden field shows neither its text nor how long it is.
func TestHiddenField(t *testing.T) {
	draw := func(text string) string {
		f := &kit.Field{Hidden: true}
		f.Set(text)
		fr := kit.NewFrame(30, 1, kit.ASCIIMarks())
		f.Draw(fr.Area(), true)
		return fr.Text()
	}
	if a, b := draw("x"), draw("FAKE-a-much-longer-secret"); a != b || strings.Count(a, "*") != kit.MaskWidth {
		t.Errorf("%q and %q", a, b)
	}
	if strings.Contains(draw(""), "*") {
		t.Error("nothing has a mask")
	}
}

// What is typed in is always in sight, and so is the terminal's cursor.
func TestFieldScrolls(t *testing.T) {
	f := &kit.Field{}
	fr := kit.NewFrame(10, 1, kit.UTF8Marks())
	for i, r := range "the quick 日本語 fox jumps" {
		f.Key(kit.Key{Name: string(r), Text: string(r)})
		fr.Reset(10, 1)
		f.Draw(fr.Area(), true)
		if _, _, on := fr.Cursor(); !on {
			t.Fatalf("after %d bytes there is no cursor", i)
		}
	}
	if got := fr.Text(); !strings.Contains(got, "fox jumps") {
		t.Errorf("shown %q", got)
	}
	press(f.Key, "home")
	fr.Reset(10, 1)
	f.Draw(fr.Area(), true)
	if got := fr.Text(); got != "the quick\n" {
		t.Errorf("at the start: %q", got)
	}
}

func TestForm(t *testing.T) {
	name, choice, checks := &kit.Field{}, &kit.Choice{Options: []string{"1h", "2h", "4h"}}, &kit.Checks{Options: []string{"list", "read", "write"}}
	form := &kit.Form{Items: []kit.Item{{Label: "Environment", Note: "preview"}, {Label: "Name", Input: name, Note: "short"}, {Label: "For", Input: choice}, {Label: "May", Input: checks}}}
	if form.Focus() != 1 {
		t.Fatalf("the focus is on %d", form.Focus())
	}
	press(form.Key, "x", "tab", "right", "right", "right", "left", "down", "space", "right", "right", "space", "tab", "y")
	if name.Text() != "xy" || choice.Taken != 1 || !checks.On[0] || checks.On[1] || !checks.On[2] {
		t.Errorf("%q, %d, %v", name.Text(), choice.Taken, checks.On)
	}
	fr := kit.NewFrame(60, 5, kit.ASCIIMarks())
	form.Draw(fr.Area())
	want := `Environment  preview
Name         xy                                        short
For           1h  [2h]  4h
May          [x] list  [ ] read  [x] write

`
	if got := fr.Text(); got != want {
		t.Errorf("drawn\n%s\nwant\n%s", got, want)
	}
	press(form.Key, "shift+tab")
	if form.Focus() != 3 {
		t.Errorf("back from the first is %d", form.Focus())
	}
	if form.Height(60) != 4 {
		t.Errorf("it wants %d rows", form.Height(60))
	}
	if form.Paste("x") {
		t.Error("checks take pasted text")
	}
}
