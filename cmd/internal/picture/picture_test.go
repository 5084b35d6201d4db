package picture_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"envrun/cmd/internal/picture"
)

// texts are the pieces of text of an SVG, which must be well-formed.
func texts(t *testing.T, svg []byte) (all []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	inText := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				all = append(all, string(token))
			}
		}
	}
}

func draw(t *testing.T, screen string) []byte {
	t.Helper()
	svg, err := picture.SVG(screen, `<a> & "b"`, 40)
	if err != nil {
		t.Fatal(err)
	}
	return svg
}

// All of the text is there as it was, whatever it means to XML, and what stands
// apart is placed apart.
func TestText(t *testing.T) {
	svg := draw(t, "one  <b>&amp;\"two\"</b>\n\x1b[1mthree\x1b[m four 日本\n\n")
	got := strings.Join(texts(t, svg), "|")
	if want := `<a> & "b"|one|<b>&amp;"two"</b>|three|four 日本`; got != want {
		t.Errorf("its text is %q, want %q", got, want)
	}
}

// However a terminal writes a style down, the picture is the same.
func TestSameStyle(t *testing.T) {
	want := draw(t, "a \x1b[0;1;38;2;255;0;16mbold\x1b[m b")
	for _, screen := range []string{
		"a \x1b[1m\x1b[38;2;255;0;16mbold\x1b[0m b\n",
		"a \x1b[38:2:255:0:16;1mbold\x1b[22;39m b",
		"\x1b[4m\x1b[24ma \x1b[1;38;2;255;0;16mbold\x1b[m b",
	} {
		if got := draw(t, screen); !bytes.Equal(got, want) {
			t.Errorf("%q is drawn as\n%s\nnot as\n%s", screen, got, want)
		}
	}
	for _, screen := range []string{"a bold b", "a \x1b[1mbold\x1b[m b", "a \x1b[1;38;2;255;0;17mbold\x1b[m b", "a \x1b[1;4;38;2;255;0;16mbold\x1b[m b", "a \x1b[7;1;38;2;255;0;16mbold\x1b[m b"} {
		if bytes.Equal(draw(t, screen), want) {
			t.Errorf("%q is drawn as if it were in bold red", screen)
		}
	}
}

// A bar of several styles is one piece, and a line that is drawn is no text.
func TestPieces(t *testing.T) {
	const window = 1 // what is behind all of it
	if n := bytes.Count(draw(t, "\x1b[7mone \x1b[1mtwo \x1b[22mthree\x1b[m"), []byte("<rect")); n != window+1 {
		t.Errorf("a bar is drawn in %d pieces", n-window)
	}
	svg := draw(t, "┌────┐\n│ in │\n└────┘")
	if got := strings.Join(texts(t, svg)[1:], "|"); got != "in" {
		t.Errorf("its text is %q", got)
	}
}

func TestRefuses(t *testing.T) {
	for _, screen := range []string{
		"\x1b[2J", "\x1b]0;title\a", "\x1b[31m", "\x1b[38;5;9m", "\x1b[38;2;1;2m", "\x1b[38;2;1;2;256m", "\x1b[9m", "\x1b[", "a\tb", "\x9b1m", "\u009b1m",
		strings.Repeat("x", 41),
	} {
		if svg, err := picture.SVG("fine\n"+screen, "", 40); err == nil || !strings.HasPrefix(err.Error(), "line 2: ") && !strings.HasPrefix(err.Error(), "line 2 ") {
			t.Errorf("%q: %v\n%s", screen, err, svg)
		}
	}
}
