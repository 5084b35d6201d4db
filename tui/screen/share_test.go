package screen_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"envrun/tui/tuitest"
	"envrun/vault"
)

var word = regexp.MustCompile(`[\pL\pN_][\pL\pM\pN_.-]*`)

// Somebody watches who must not read names: whatever screen is open, in
// whatever state, none is in the picture (R6). No screen does anything for it,
// and a new one is here with its golden pictures.
func TestNoNameIsSeen(t *testing.T) {
	checked := 0
	for _, name := range slices.Sorted(maps.Keys(all())) {
		if name == "access-share" {
			continue // it presses P, which ends it
		}
		t.Run(name, func(t *testing.T) {
			w := tuitest.NewWorld(t)
			w.Config.HideNames = true
			d := all()[name](t, w)
			parts := namesOf(t, w)
			for _, size := range tuitest.Sizes {
				d.Resize(size[0], size[1])
				if d.Last != nil {
					d.Last()
				}
				text := d.Text()
				for _, seen := range word.FindAllString(text, -1) {
					if parts[strings.TrimRight(seen, ".-")] {
						t.Fatalf("the name %s is on the screen:\n%s", seen, text)
					}
				}
				if strings.Contains(text, "••••••••") {
					checked++
				}
			}
		})
	}
	if checked < 100 {
		t.Errorf("names were hidden in %d pictures: the walk does not walk", checked)
	}
}

// namesOf is every part of every name that the vault of a world has, other than
// names of environments.
func namesOf(t *testing.T, w *tuitest.World) map[string]bool {
	parts := map[string]bool{}
	w.Vault.Memory.FailWith(nil)
	for _, env := range []vault.Env{tuitest.Dev, tuitest.Prod} {
		v, err := w.Config.Open(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		for info, err := range v.List(t.Context(), env, "") {
			if err != nil {
				continue
			}
			names := []string{string(info.Path)}
			for _, f := range info.Fields {
				names = append(names, string(f.Name))
			}
			for _, part := range word.FindAllString(strings.Join(names, " "), -1) {
				parts[strings.TrimRight(part, ".-")] = true
			}
		}
	}
	return parts
}
