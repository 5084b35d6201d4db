package screen_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"envrun/tui/tuitest"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

func wheel(d *tuitest.Driver, x, y int, b tea.MouseButton) {
	d.Send(tea.MouseWheelMsg{X: x, Y: y, Button: b})
}

func click(d *tuitest.Driver, x, y int) {
	d.Send(tea.MouseClickMsg{X: x, Y: y, Button: tea.MouseLeft})
}

// cursorOf is where the cursor of the list stands that differs between two pictures.
func cursorOf(before, after string) (x, y int) {
	is := strings.Split(after, "\n")
	for y, line := range strings.Split(before, "\n") {
		for _, mark := range []string{"> ", "! "} {
			if x := strings.Index(line, mark); x >= 0 && y < len(is) && is[y] != line {
				return len([]rune(line[:x])), y
			}
		}
	}
	return -1, -1
}

// The wheel and a click do on every list what the keys do.
func TestMouseOnLists(t *testing.T) {
	for _, name := range []string{
		"browse", "browse_filter", "browse_tree", "palette", "environments", "history", "changes", "compare", "edit", "review", "import_found",
		"access-inbox", "access-members", "access-members-marked",
	} {
		t.Run(name, func(t *testing.T) {
			w := tuitest.NewWorld(t)
			d := all()[name](t, w)
			d.Resize(100, 30)
			if name == "access-members-marked" {
				d.Press("esc") // the box
			}
			d.Model.UseMouse()
			for range 20 {
				wheel(d, 40, 12, tea.MouseWheelUp)
			}
			before := d.Text()
			wheel(d, 40, 12, tea.MouseWheelDown)
			after := d.Text()
			x, y := cursorOf(before, after)
			if y < 0 {
				t.Fatalf("the wheel moves nothing:\n%s", after)
			}
			click(d, x+4, y)
			if back := d.Text(); strings.Split(back, "\n")[y] != strings.Split(before, "\n")[y] {
				t.Errorf("a click at %d,%d moves nothing:\n%s\nbefore:\n%s", x+4, y, back, before)
			}
		})
	}
}

// A second click opens, the footer's keys can be clicked, and so can environments.
func TestClicks(t *testing.T) {
	at := func(d *tuitest.Driver, text string) (x, y int) {
		t.Helper()
		for y, line := range strings.Split(d.Text(), "\n") {
			if x := strings.Index(line, text); x >= 0 {
				return len([]rune(line[:x])), y
			}
		}
		t.Fatalf("%q is not on the screen:\n%s", text, d.Text())
		return 0, 0
	}
	on := func(d *tuitest.Driver, text string) {
		t.Helper()
		x, y := at(d, text)
		click(d, x, y)
	}
	d := tuitest.New(t, tuitest.NewWorld(t))
	d.Press("m")
	on(d, "checkout/REDIS")
	on(d, "> checkout/REDIS")
	d.Has("[REDIS_PASSWORD]")
	on(d, "H history")
	d.Has("1 version", "CHANGED")
	on(d, "esc back")
	on(d, "esc back")
	d.Has("6 names")
	on(d, ": commands")
	d.Has("an action, an environment or one of")
	on(d, "  new: begin")
	on(d, "> new: begin")
	d.Has("A new secret in dev")
	on(d, "esc back")
	on(d, "2  PROD")
	d.Has("PROD *protected*")
	// While something is typed a click types nothing.
	on(d, "/ filter ")
	on(d, "1  dev")
	d.Has("env: dev", "6 names")
	// Consent is given with the key, also where a hint says which.
	on(d, "checkout/REDIS")
	d.Press("d")
	on(d, "Y delete")
	d.Has("Delete REDIS_PASSWORD from dev?")
	on(d, "esc cancel")
	d.Lacks("Delete REDIS")
	// While a box is open what is under it is not there.
	d.Press("d")
	on(d, "billing/smtp")
	d.Has("Delete REDIS_PASSWORD from dev?")
}

// Whatever is clicked, nothing is changed and nothing is shown that nobody asked
// for by its key.
func TestMouseDoesNoHarm(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	clicks := 40
	if testing.Short() {
		clicks = 8
	}
	for _, name := range slices.Sorted(maps.Keys(all())) {
		t.Run(name, func(t *testing.T) {
			w := tuitest.NewWorld(t)
			d := all()[name](t, w)
			d.Resize(100, 30)
			d.Model.UseMouse()
			before := versions(t, w)
			for range clicks {
				if d.Quit || d.Suspended || strings.Contains(d.Text(), "v hide") {
					break
				}
				x, y := r.IntN(100), r.IntN(30)
				switch r.IntN(4) {
				case 0:
					wheel(d, x, y, tea.MouseWheelDown)
				case 1:
					wheel(d, x, y, tea.MouseWheelUp)
				default:
					d.AllowAll() // "v reveal" in the footer is a key too
					click(d, x, y)
				}
			}
			if after := versions(t, w); !maps.Equal(before, after) {
				t.Errorf("before %v, after %v", before, after)
			}
		})
	}
}

func versions(t *testing.T, w *tuitest.World) map[string]uint64 {
	w.Vault.Memory.FailWith(nil)
	all := map[string]uint64{}
	for _, env := range []vault.Env{tuitest.Dev, tuitest.Prod} {
		for info, err := range w.Vault.List(t.Context(), env, "") {
			if err == nil {
				all[string(env)+"/"+string(info.Path)] = info.Version
			}
		}
	}
	return all
}
