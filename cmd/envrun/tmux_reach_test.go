//go:build unix

package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A hint is a key and what it does, as the interface says it.
type hint struct{ key, does string }

// footer are the hints in the last line of a screen: "enter open  / filter".
func footer(shown string) (hints []hint) {
	lines := strings.Split(strings.TrimRight(shown, "\n "), "\n")
	for _, words := range strings.Split(lines[len(lines)-1], "  ") {
		if key, does, ok := strings.Cut(strings.TrimSpace(words), " "); ok {
			hints = append(hints, hint{key, does})
		}
	}
	return hints
}

// helpBox are the lines of the help, as far as they are on the screen; more says
// that it goes on below.
func helpBox(shown string) (lines []string, more bool) {
	left, right := -1, -1
	for line := range strings.Lines(shown) {
		cells := []rune(strings.TrimRight(line, "\n"))
		if left < 0 {
			if before, _, ok := strings.Cut(line, "┌─ ? "); ok {
				left, right = len([]rune(before)), slices.Index(cells, '┐')
			}
			continue
		}
		if right >= len(cells) || cells[left] != '│' {
			break
		}
		text := strings.TrimRight(string(cells[left+2:right]), " ")
		more = more || strings.HasSuffix(text, "↓")
		lines = append(lines, strings.TrimRight(strings.TrimSuffix(text, "↓"), " "))
	}
	return lines, more
}

// still is the screen when nothing more is drawn: it can be caught half-drawn.
func (s *pane) still() string {
	s.t.Helper()
	last := ""
	return s.until("the same twice", func(shown string) bool {
		same := shown == last
		last = shown
		return same
	})
}

// A guest knows of the interface what it says itself, and remembers what the help
// of a screen said.
type guest struct {
	*pane
	at   string // how they came to where they are
	read map[string][]hint
}

// help opens the help, reads it to its end and closes it.
func (s *guest) help() (hints []hint) {
	s.t.Helper()
	if hints, ok := s.read[s.at]; ok {
		return hints
	}
	s.press("keys")
	s.shows("┌─ ? ")
	shown := s.still()
	lines, more := helpBox(shown)
	for more {
		before := shown
		s.keys("Down")
		s.until("another line of the help", func(now string) bool { return now != before })
		shown = s.still()
		var page []string
		page, more = helpBox(shown)
		overlap := min(len(page), len(lines))
		for !slices.Equal(lines[len(lines)-overlap:], page[:overlap]) {
			overlap--
		}
		lines = append(lines, page[overlap:]...)
	}
	s.press("close")
	s.gone("┌─ ? ")
	const keys = 9 // where they begin, behind the name of the group
	for _, line := range lines {
		cells := []rune(line)
		if len(cells) <= keys {
			continue
		}
		key, does, ok := strings.Cut(strings.TrimRight(string(cells[keys:]), " "), "  ")
		switch {
		case ok && key != "":
			hints = append(hints, hint{key, strings.TrimSpace(does)})
		case len(hints) > 0: // the sentence goes on
			hints[len(hints)-1].does += " " + strings.TrimSpace(does)
		}
	}
	s.read[s.at] = hints
	return hints
}

// press presses the key that the footer, or else the help, has for something:
// "name" as it is in the footer, or "name|sentence" with how the help begins.
func (s *guest) press(what string) {
	s.t.Helper()
	name, sentence, inHelp := strings.Cut(what, "|")
	shown := s.until("a key for "+name, func(shown string) bool {
		return slices.ContainsFunc(footer(shown), func(h hint) bool { return h.does == name || inHelp && h.does == "keys" })
	})
	for _, h := range footer(shown) {
		if h.does == name {
			s.keys(h.tmux()...)
			return
		}
	}
	hints := s.help()
	for _, h := range hints {
		if strings.HasPrefix(h.does, sentence) {
			s.keys(h.tmux()...)
			return
		}
	}
	s.t.Fatalf("neither the footer nor the help has %q:\n%s\n%q", what, shown, hints)
}

// tmux is the first of its keys as tmux calls it.
func (h hint) tmux() []string {
	all := strings.Fields(h.key)
	key := all[0]
	if key == "page" {
		key += " " + all[1]
	}
	if letter, ok := strings.CutPrefix(key, "ctrl+"); ok {
		return []string{"C-" + letter}
	}
	for _, k := range [][2]string{{"enter", "Enter"}, {"esc", "Escape"}, {"tab", "Tab"}, {"space", "Space"}, {"delete", "DC"}, {"up", "Up"}, {"down", "Down"}, {"page up", "PPage"}, {"page down", "NPage"}} {
		if key == k[0] {
			return []string{k[1]}
		}
	}
	return []string{"-l", key}
}

// A step is what is pressed, as the interface calls it, or after "=" what is typed,
// and what then is on the screen that was not there before.
type step struct{ press, shows string }

// take follows steps.
func (s *guest) take(steps ...step) {
	s.t.Helper()
	for _, st := range steps {
		if shown := s.screen(); strings.Contains(shown, st.shows) {
			s.t.Fatalf("before %q the terminal shows %q already:\n%s", st.press, st.shows, shown)
		}
		if text, typed := strings.CutPrefix(st.press, "="); typed {
			s.keys("-l", text)
		} else {
			s.press(st.press)
		}
		s.shows(st.shows)
		s.at += " " + st.press
	}
}

// Every screen that there is over a vault of files is found by somebody who knows
// nothing but what the footer and the help say.
func TestTmuxEveryScreenIsFound(t *testing.T) {
	alice, bob := team(t)
	carol := newPerson(t)
	carol.must("", "key", "new", "--member", "carol@laptop", "--store", "file")
	alice.must("", "set", "FIRST=one", "SECOND=two")
	alice.push("two values")
	alice.must("", "set", "FIRST=another")
	alice.must("", "set", "-e", "staging", "FIRST=of-staging")
	alice.must("", "member", "add", "carol@laptop", carol.publicKey(), "-e", "dev", "--yes")
	alice.push("carol")
	alice.must("", "member", "rm", "carol@laptop", "--yes")
	alice.push("no carol")
	bob.pull()
	bob.must("", "get", "FIRST") // which takes the key of dev
	bob.must("", "request", "staging", "--reason", "a demonstration")
	bob.push("bob asks for staging")
	alice.pull()
	alice.write("more.env", "THIRD=three\n")

	to := func(all ...step) []step { return all }
	via := func(way []step, more ...step) []step { return append(slices.Clone(way), more...) }
	var (
		secret  = to(step{"open|open what the cursor is on", "(current)"})
		history = via(secret, step{"history|the versions of this secret", "2 versions"})
		edit    = via(secret, step{"edit|change the secret", "Edit app"})
		typing  = via(edit, step{"type|type or paste", "typing, not shown"})
		review  = via(typing, step{"=new", "replaced"}, step{"done", "hidden"}, step{"review|look at what was changed", "Changes to dev"})
		inbox   = to(step{"inbox|who asks for access", "[waiting 1]"})
		members = to(step{"who|who can open this environment", "bob@desktop"})
		locked  = to(step{"environment|go to another environment", "─ Environment "}, step{"=prod", "> PROD *protected*"}, step{"take", "PROD is locked for you"})
	)
	for _, who := range []struct {
		*person
		ways map[string][]step
	}{
		{alice, map[string][]step{
			"filter":          to(step{"filter|show only what matches", "keep"}, step{"=sec", "1 of 2"}),
			"tree":            to(step{"tree|show folders", "app/ 2"}),
			"value":           via(secret, step{"reveal|show the value for", "REVEALED"}),
			"diff":            via(history, step{"diff|what differs, field by field", "app, v2 against v1"}),
			"roll back":       via(history, step{"down|one line down", ">      1"}, step{"roll back...|bring this version back", "press Y to roll back"}),
			"compare":         to(step{"compare|what environments have differently", "Nothing was revealed"}),
			"elsewhere":       via(secret, step{"elsewhere|the same name in the other", "Nothing was revealed"}),
			"copy":            via(secret, step{"copy to...|copy this to another", "Copy from dev"}),
			"send":            via(review, step{"send...|send all of it", "press Y to send"}),
			"new":             to(step{"new|begin a new secret", "A new secret in dev"}),
			"import":          to(step{"import|take values in from a file", "Take values into dev"}, step{"=more.env", "file     more.env"}, step{"go on", "THIRD"}),
			"delete":          to(step{"delete...|delete this name", "press Y to delete"}),
			"delete secret":   to(step{"delete secret...|delete the whole secret", "press Y to delete"}),
			"approve":         via(inbox, step{"approve...|let them in", "Check code"}),
			"deny":            via(inbox, step{"deny...|remove the request", "press Y to"}),
			"add a member":    via(members, step{"add...|let somebody in", "Let somebody into dev"}),
			"remove a member": via(members, step{"last|to the last line", ">   bob@desktop"}, step{"remove...|take access away", "Remove bob@desktop from dev?"}),
			"new key":         via(members, step{"new key...|give the environment a new key", "press Y to"}),
			"to replace":      to(step{"to replace|what former members", "carol@laptop"}),
			"check":           to(step{"vault|what is stored", "not checked yet"}, step{"check|check every record", "nothing found"}),
			"session":         to(step{"session|who you are", "you are  "}),
			"lock":            to(step{"lock|hide everything", "envrun is locked"}),
			"environments":    to(step{"environment|go to another environment", "─ Environment "}),
			"commands":        to(step{"commands|find an action", "─ : commands "}),
			"run":             to(step{"run...|run a command with the secrets", "Run"}),
			"share mode":      to(step{"share mode|somebody is watching", "SHARE"}),
		}},
		{bob, map[string][]step{
			"request":     via(locked, step{"request|ask for access", "Ask for access to PROD"}),
			"my requests": to(step{"inbox|who asks for access", "mine 1"}, step{"next|to the next field or pane", "[mine 1]"}),
		}},
	} {
		for _, size := range []cells{large, medium} {
			read := map[string][]hint{}
			for name, steps := range who.ways {
				t.Run(name+" at "+size.String(), func(t *testing.T) {
					p := who.in(t)
					// How it was left, folders or a list, is remembered.
					if err := os.RemoveAll(filepath.Join(p.home, ".local", "state", "envrun", "tui.toml")); err != nil {
						t.Fatal(err)
					}
					s := guest{p.tmuxOf(size, true, p.program+" tui -e dev; echo ended $?"), "", read}
					s.shows("app/FIRST")
					s.take(steps...)
				})
			}
		}
	}
}
