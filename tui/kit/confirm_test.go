package kit_test

import (
	"strings"
	"testing"

	"envrun/tui/kit"
)

// Nobody says yes to what they have not seen: where there is no room for the
// facts they are scrolled through first.
func TestConfirmShowsAllFirst(t *testing.T) {
	facts := []string{"one fact of a few words", "another fact", "a third", "the last: it cannot be undone"}
	draw := func(c *kit.Confirm, w, h int) string {
		f := kit.NewFrame(w, h, kit.ASCIIMarks())
		c.Draw(f.Area())
		return f.Text()
	}
	yes := kit.Key{Name: kit.Yes, Text: kit.Yes}
	t.Run("no room", func(t *testing.T) {
		c := &kit.Confirm{Title: "Do it?", Verb: "do it", Facts: facts}
		seen := draw(c, 40, 6)
		if c.Key(yes); c.Consent().OK() {
			t.Error("consent before all was shown")
		}
		for range 4 {
			if strings.Contains(seen, "press Y") != strings.Contains(seen, "undone") {
				t.Errorf("the choice does not go with what is shown:\n%s", seen)
			}
			if strings.Contains(seen, "press Y") {
				break
			}
			c.Key(kit.Key{Name: "pgdown"})
			seen = draw(c, 40, 6)
		}
		if !c.Key(yes) || !c.Consent().OK() {
			t.Errorf("no consent when all has been shown:\n%s", seen)
		}
	})
	t.Run("and back", func(t *testing.T) {
		c := &kit.Confirm{Title: "Do it?", Verb: "do it", Facts: facts}
		draw(c, 40, 6)
		for range 4 {
			c.Key(kit.Key{Name: "pgdown"})
			draw(c, 40, 6)
		}
		c.Key(kit.Key{Name: "pgup"})
		draw(c, 40, 6)
		if c.Key(yes); !c.Consent().OK() {
			t.Error("what was seen is not seen any more")
		}
	})
	t.Run("room", func(t *testing.T) {
		c := &kit.Confirm{Title: "Do it?", Verb: "do it", Facts: facts}
		if text := draw(c, 60, 20); !strings.Contains(text, "press Y") || strings.Contains(text, "page down") {
			t.Error(text)
		}
		if c.Key(yes); !c.Consent().OK() {
			t.Error("no consent")
		}
	})
	t.Run("smaller meanwhile", func(t *testing.T) {
		c := &kit.Confirm{Title: "Do it?", Verb: "do it", Type: "prod", What: "the name", Facts: facts}
		draw(c, 40, 7)
		c.Paste("prod")
		for _, r := range "prod" {
			c.Key(kit.Key{Name: string(r), Text: string(r)})
		}
		c.Key(kit.Key{Name: "tab"})
		if c.Key(yes); c.Consent().OK() {
			t.Error("consent before all was shown")
		}
	})
}

// A title that the top of the box has no room for is read like the facts.
func TestConfirmTitleIsShownWhole(t *testing.T) {
	c := &kit.Confirm{Title: "Remove " + strings.Repeat("somebody-with-a-long-name ", 8) + "and-the-last-one?", Verb: "remove", Facts: []string{"a fact"}}
	f := kit.NewFrame(60, 7, kit.ASCIIMarks())
	c.Draw(f.Area())
	if c.Key(kit.Key{Name: kit.Yes, Text: kit.Yes}) {
		t.Errorf("consent before it was read:\n%s", f.Text())
	}
	f = kit.NewFrame(60, 20, kit.ASCIIMarks())
	c.Draw(f.Area())
	if !strings.Contains(f.Text(), "and-the-last-one?") || !c.Key(kit.Key{Name: kit.Yes, Text: kit.Yes}) {
		t.Errorf("it is not shown whole:\n%s", f.Text())
	}
}
