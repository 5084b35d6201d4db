package draft_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
	"envrun/vault/vaulttest"
)

const env = vaulttest.Dev

// measure is what the root says of values.
func measure(name vault.FieldName, b []byte) draft.Facts {
	sum := sha256.Sum256(b)
	f := draft.Facts{Name: name, Length: len(b), Lines: 1 + strings.Count(strings.TrimSuffix(string(b), "\n"), "\n"), Print: hex.EncodeToString(sum[:5])}
	if strings.HasSuffix(string(b), "\n") {
		f.Odd = "ends with newline"
	}
	return f
}

func newSet() (*draft.Set, draft.Opener) { return draft.New(nil, measure) }

// typeIn types a text, as a screen does.
func typeIn(in *draft.Input, text string) {
	for _, r := range text {
		in.Key(kit.Key{Name: string(r), Text: string(r)})
	}
}

// put has a field have a value in the draft.
func put(d *draft.Draft, name vault.FieldName, value string) {
	if _, there := d.Row(draft.Ref{Name: name}); !there {
		if err := d.Add(name); err != nil {
			panic(err)
		}
	}
	in := d.Input(name)
	in.Key(kit.Key{Name: "end"})
	for !in.Empty() {
		in.Key(kit.Key{Name: "backspace"})
	}
	typeIn(in, value)
	in.Leave()
}

func info(t *testing.T, v vault.Reader, path vault.Path) vault.Info {
	t.Helper()
	s, err := v.Get(t.Context(), env, path)
	if vault.KindOf(err) == vault.KindNotFound {
		return vault.Info{Env: env, Path: path}
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.Info
}

func apply(t *testing.T, v vault.Writer, c vault.Change) vault.Info {
	t.Helper()
	infos, err := v.Apply(t.Context(), env, []vault.Change{c})
	if err != nil {
		t.Fatal(err)
	}
	return infos[0]
}

func set(pairs ...string) (fields []vault.Field) {
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, vault.Field{Name: vault.FieldName(pairs[i]), Value: vault.NewValueString(pairs[i+1])})
	}
	return fields
}

// send sends a draft, and returns what went wrong.
func send(t *testing.T, v vault.Writer, o draft.Opener, drafts ...*draft.Draft) error {
	t.Helper()
	changes := o.Begin(drafts)
	_, err := v.Apply(t.Context(), env, changes)
	o.End(drafts, err == nil)
	return err
}

// text is a secret in a line.
func text(t *testing.T, v vault.Reader, path vault.Path) string {
	t.Helper()
	s, err := v.Get(t.Context(), env, path)
	if vault.KindOf(err) == vault.KindNotFound {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range s.Values {
		fmt.Fprintf(&b, "%s=%s ", f.Name, f.Value.Reveal())
	}
	fmt.Fprintf(&b, "note=%s rotate=%s tags=%s", s.Note, s.Rotate, strings.Join(s.Tags, " "))
	return b.String()
}

func rows(d *draft.Draft) string {
	words := []string{"", "~", "+", "-"}
	var all []string
	for _, r := range d.Changed() {
		all = append(all, words[r.Change]+r.Ref.String())
	}
	return strings.Join(all, " ")
}

func TestChanges(t *testing.T) {
	v := vaulttest.New(t)
	apply(t, v, vault.Change{Path: "a/b", Was: 0, Set: set("A", "1", "B", "2", "C", "3", "D", "4")})
	s, o := newSet()
	d := s.Open(info(t, v, "a/b"))
	if d.Count() != 0 || s.Get(env, "a/b") != nil {
		t.Fatalf("a new draft has changes: %s", rows(d))
	}
	put(d, "A", "one")
	d.Remove("B")
	if err := d.Add("NEW"); err != nil {
		t.Fatal(err)
	}
	put(d, "NEW", "five")
	for _, name := range []vault.FieldName{"A", "B", "C", "NEW"} {
		if err := d.Add(name); !errors.Is(err, draft.ErrTaken) {
			t.Errorf("adding %s: %v", name, err)
		}
	}
	d.Meta(draft.Note).Set("why")
	d.Meta(draft.Tags).Set("  x  y ")
	put(d, "C", "other")
	d.Undo(draft.Ref{Name: "C"})
	if got, want := rows(d), "~A -B +NEW ~note ~tags"; got != want || d.Count() != 5 {
		t.Fatalf("changes are %s, want %s", got, want)
	}
	if s.Count() != 5 || s.Get(env, "a/b") != d || len(s.Of(env)) != 1 || len(s.Of(vaulttest.Prod)) != 0 {
		t.Error("the set does not know its draft")
	}
	if !d.Destroys() {
		t.Error("removing a field destroys nothing")
	}
	if err := send(t, v, o, d); err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, v, "a/b"), "A=one C=3 D=4 NEW=five note=why rotate= tags=x y"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if s.Count() != 0 || d.Count() != 0 {
		t.Error("what was sent is still there")
	}
}

// Typing into a field begins with nothing and changes it with the first
// character; leaving it empty is told.
func TestTyping(t *testing.T) {
	s, o := newSet()
	d := s.Open(vault.Info{Env: env, Path: "a", Version: 1, Fields: []vault.FieldInfo{{Name: "A", Since: 1}}})
	in := d.Input("A")
	if d.Count() != 0 {
		t.Error("being about to type is a change")
	}
	in.Key(kit.Key{Name: "backspace"})
	if d.Count() != 0 || in.Leave() {
		t.Error("nothing was typed")
	}
	in = d.Input("A")
	typeIn(in, "ab")
	if got, _ := o.Value(env, "a", "A"); string(got) != "ab" || rows(d) != "~A" {
		t.Errorf("%q, %s", got, rows(d))
	}
	in.Key(kit.Key{Name: "backspace"})
	in.Key(kit.Key{Name: "backspace"})
	if !in.Leave() {
		t.Error("a value is replaced by an empty one, and nobody is told")
	}
	d.Undo(draft.Ref{Name: "A"})
	if d.Count() != 0 {
		t.Error("undone, it is still a change")
	}
	if d.Remove("A"); d.Input("A") != nil {
		t.Error("a field that is to be removed is typed into")
	}
}

func TestPaste(t *testing.T) {
	for _, c := range []struct {
		name, text string
		trim       bool
		asked      string // "" for nothing
		want       string
	}{
		{"a word", "FAKE", false, "", "xFAKE"},
		{"a line", "FAKE\n", true, "1 line newline", "xFAKE"},
		{"a line, kept", "FAKE\n", false, "1 line newline", "xFAKE\n"},
		{"a line of Windows", "FAKE\r\n", true, "1 line newline CRLF", "xFAKE"},
		{"as a terminal sends it", "a\rb\r", false, "2 line newline", "xa\nb\n"},
		{"two lines", "a\nb", false, "2 line", "xa\nb"},
		{"blank lines stay", "a\n\n\nb", false, "4 line", "xa\n\n\nb"},
		{"lines of Windows", "a\r\nb\r\n", false, "2 line newline CRLF", "xa\r\nb\r\n"},
		{"variables", "A=1\nB='2'\n", false, "2 line newline 2 variables", "xA=1\nB='2'\n"},
		{"a key", "-----BEGIN X-----\nAAAA=\n-----END X-----\n", false, "3 line newline", "x-----BEGIN X-----\nAAAA=\n-----END X-----\n"},
		{"too long", strings.Repeat("x", vault.MaxValue), false, "1 line too long", "x"},
	} {
		s, o := newSet()
		d := s.Open(vault.Info{Env: env, Path: "a"})
		if err := d.Add("A"); err != nil {
			t.Fatal(err)
		}
		in := d.Input("A")
		typeIn(in, "x")
		in.Paste(c.text)
		asked := ""
		if p := in.Asked(); p != nil {
			asked = fmt.Sprintf("%d line", p.Lines)
			for word, on := range map[string]bool{" newline": p.Newline, " CRLF": p.CRLF, " too long": p.TooLong} {
				if on {
					asked += word
				}
			}
			if p.Variables > 0 {
				asked += fmt.Sprintf(" %d variables", p.Variables)
			}
			if p.Newline && p.CRLF { // in any order
				asked = fmt.Sprintf("%d line newline CRLF", p.Lines)
			}
			if got, _ := o.Value(env, "a", "A"); string(got) != "x" {
				t.Errorf("%s: it was inserted before the answer", c.name)
			}
			in.Insert(c.trim)
		}
		got, _ := o.Value(env, "a", "A")
		if asked != c.asked || string(got) != c.want {
			t.Errorf("%s: asked %q, want %q; value %.30q, want %.30q", c.name, asked, c.asked, got, c.want)
		}
		if in.Asked() != nil {
			t.Errorf("%s: it is still asked", c.name)
		}
		if strings.Contains(c.want, "\n") != in.SeveralLines() {
			t.Errorf("%s: several lines is %v", c.name, in.SeveralLines())
		}
	}
}

func TestRename(t *testing.T) {
	v := vaulttest.New(t)
	apply(t, v, vault.Change{Path: "a", Was: 0, Set: set("OLD", "v", "B", "2")})
	s, o := newSet()
	d := s.Open(info(t, v, "a"))
	if !d.NeedsValue("OLD") {
		t.Error("it needs no value")
	}
	if err := d.Rename("OLD", "NEW", nil); err == nil || d.Count() != 0 {
		t.Errorf("renamed without its value: %v, %s", err, rows(d))
	}
	if err := d.Rename("OLD", "B", nil); !errors.Is(err, draft.ErrTaken) {
		t.Errorf("onto another: %v", err)
	}
	b := o.Batch(set("OLD", "v"))
	if err := d.Rename("OLD", "NEW", b); err != nil {
		t.Fatal(err)
	}
	b.Wipe()
	if err := d.Rename("NEW", "NEWER", nil); err != nil {
		t.Fatal(err)
	}
	put(d, "B", "two")
	if err := d.Rename("B", "BB", nil); err != nil {
		t.Fatal(err)
	}
	if got := rows(d); got != "-B -OLD +NEWER +BB" {
		t.Error(got)
	}
	if err := send(t, v, o, d); err != nil {
		t.Fatal(err)
	}
	if got := text(t, v, "a"); !strings.HasPrefix(got, "BB=two NEWER=v note") {
		t.Error(got)
	}
}

// While a draft is sent nothing in it changes; if it could not be sent, it is as
// it was.
func TestSending(t *testing.T) {
	v := vaulttest.New(t)
	apply(t, v, vault.Change{Path: "a", Was: 0, Set: set("A", "1")})
	s, o := newSet()
	d := s.Open(info(t, v, "a"))
	in := d.Input("A")
	typeIn(in, "mine")
	changes := o.Begin([]*draft.Draft{d})
	if !d.Sending() || len(changes) != 1 || len(o.Begin([]*draft.Draft{d})) != 0 {
		t.Error("it is not being sent, or twice")
	}
	typeIn(in, "more")
	in.Paste("more")
	d.Remove("A")
	d.Undo(draft.Ref{Name: "A"})
	s.Discard(d)
	s.Close(d)
	if err := d.Add("B"); err == nil {
		t.Error("a field was added")
	}
	if err := d.Generate("A", draft.Recipe{Length: 9, Alphabet: draft.Alphabets()[0]}); err == nil {
		t.Error("a value was generated")
	}
	if d.Input("A") != nil || d.Take("A", o.Batch(set("A", "x"))) {
		t.Error("it can be typed into")
	}
	if got, _ := o.Value(env, "a", "A"); string(got) != "mine" || rows(d) != "~A" {
		t.Errorf("it is %q, %s", got, rows(d))
	}
	o.End([]*draft.Draft{d}, false)
	if d.Sending() || s.Get(env, "a") != d || rows(d) != "~A" {
		t.Error("what could not be sent is not as it was")
	}
}

func TestConflict(t *testing.T) {
	v := vaulttest.New(t)
	apply(t, v, vault.Change{Path: "a", Was: 0, Set: set("A", "1", "B", "2", "C", "3", "D", "4")})
	s, o := newSet()
	d := s.Open(info(t, v, "a"))
	put(d, "A", "mine")
	put(d, "B", "mine")
	d.Remove("C")
	put(d, "NEW", "mine")
	d.Meta(draft.Note).Set("mine")
	rotate := "90d"
	apply(t, v, vault.Change{Path: "a", Was: vault.Any, Set: set("B", "theirs", "C", "theirs", "NEW", "mine"), Drop: []vault.FieldName{"D"}, Rotate: &rotate})
	if err := send(t, v, o, d); vault.KindOf(err) != vault.KindConflict {
		t.Fatalf("no conflict: %v", err)
	}
	d.Look(draft.Theirs{Now: info(t, v, "a"), Facts: []draft.Facts{measure("NEW", []byte("mine")), measure("B", []byte("theirs"))}})
	var got []string
	for _, f := range d.Differences() {
		got = append(got, f.Ref.String())
	}
	if want := "B C D NEW rotate"; strings.Join(got, " ") != want {
		t.Errorf("they changed %v, want %s", got, want)
	}
	got = nil
	for _, f := range d.Both() {
		got = append(got, f.Ref.String())
	}
	if want := "B C"; strings.Join(got, " ") != want {
		t.Errorf("both changed %v, want %s", got, want)
	}
	d.Rebase(true)
	if d.Theirs() != nil || !d.Destroys() {
		t.Error("it is not on theirs, or what is replaced is not told")
	}
	for _, name := range []vault.FieldName{"B", "C"} {
		if r, _ := d.Row(draft.Ref{Name: name}); r.Over != 2 {
			t.Errorf("%s is over %d", name, r.Over)
		}
	}
	if err := send(t, v, o, d); err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, v, "a"), "A=mine B=mine NEW=mine note=mine rotate=90d tags="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDeletedMeanwhile(t *testing.T) {
	v := vaulttest.New(t)
	apply(t, v, vault.Change{Path: "a", Was: 0, Set: set("A", "1", "B", "2")})
	s, o := newSet()
	d := s.Open(info(t, v, "a"))
	put(d, "A", "mine")
	d.Remove("B")
	apply(t, v, vault.Change{Path: "a", Was: 1, Delete: true})
	if err := send(t, v, o, d); vault.KindOf(err) != vault.KindConflict {
		t.Fatalf("no conflict: %v", err)
	}
	d.Look(draft.Theirs{})
	if d.Theirs() == nil || d.Theirs().There() {
		t.Fatal("nobody says that it was deleted")
	}
	d.Rebase(true)
	if got := rows(d); got != "+A" || d.Base().Version != 0 {
		t.Errorf("it is %s on version %d", got, d.Base().Version)
	}
	if err := send(t, v, o, d); err != nil {
		t.Fatal(err)
	}
	if got := text(t, v, "a"); !strings.HasPrefix(got, "A=mine note") {
		t.Error(got)
	}
}

// Whatever two people do to a secret, a draft that was put on top of what is
// there leaves each row as the one who changed it wanted it; where both did, as
// was said.
func TestRebaseKeepsBoth(t *testing.T) {
	names := []vault.FieldName{"A", "B", "C", "D", "E"}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		v := vaulttest.New(t)
		was := map[vault.FieldName]string{}
		for _, n := range names[:1+r.IntN(4)] {
			was[n] = "base"
		}
		c := vault.Change{Path: "a", Was: 0}
		for n := range was {
			c.Set = append(c.Set, set(string(n), "base")...)
		}
		apply(t, v, c)
		s, o := newSet()
		d := s.Open(info(t, v, "a"))

		mine := map[vault.FieldName]string{} // "-": removed
		for _, n := range names {
			_, there := was[n]
			switch r.IntN(4) {
			case 0:
				put(d, n, "mine")
				mine[n] = "mine"
			case 1:
				if there {
					d.Remove(n)
					mine[n] = "-"
				}
			}
		}
		theirs := map[vault.FieldName]string{}
		their := vault.Change{Path: "a", Was: vault.Any}
		for _, n := range names {
			_, there := was[n]
			switch r.IntN(4) {
			case 0:
				theirs[n] = "theirs"
				their.Set = append(their.Set, set(string(n), "theirs")...)
			case 1:
				if there {
					theirs[n] = "-"
					their.Drop = append(their.Drop, n)
				}
			}
		}
		apply(t, v, their)
		d.Look(draft.Theirs{Now: info(t, v, "a")})
		win := r.IntN(2) == 0
		d.Rebase(win)

		want := maps.Clone(was)
		lay := func(changes map[vault.FieldName]string) {
			for n, value := range changes {
				if delete(want, n); value != "-" {
					want[n] = value
				}
			}
		}
		if win {
			lay(theirs)
			lay(mine)
		} else {
			lay(mine)
			lay(theirs)
		}
		if d.Count() > 0 {
			if err := send(t, v, o, d); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		var words []string
		for _, n := range slices.Sorted(maps.Keys(want)) {
			words = append(words, string(n)+"="+want[n])
		}
		if got, want := text(t, v, "a"), strings.Join(append(words, "note= rotate= tags="), " "); got != want {
			t.Fatalf("seed %d: mine %v, theirs %v, mine wins %v: %s, want %s", seed, mine, theirs, win, got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	s, _ := newSet()
	d := s.Open(vault.Info{Env: env, Path: "a"})
	put(d, "A", "")
	in := d.Input("A")
	in.Paste("x\n")
	in.Insert(false)
	if err := d.Add("B"); err != nil {
		t.Fatal(err)
	}
	d.Meta(draft.Rotate).Set("often")
	d.Meta(draft.Tags).Set("a a")
	var got []string
	for _, p := range d.Problems() {
		got = append(got, fmt.Sprintf("%s %v", p.Ref, p.Bad))
	}
	if want := "A false, B false, rotate true, tags true"; strings.Join(got, ", ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	for i := range vault.MaxFields {
		if err := d.Add(vault.FieldName(fmt.Sprintf("F%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.ContainsFunc(d.Problems(), func(p draft.Problem) bool { return p.Bad && strings.Contains(p.Text, "258") }) {
		t.Error("too many fields are no problem")
	}
}

// What was dropped, sent or wiped is overwritten where it was.
func TestWiped(t *testing.T) {
	for name, end := range map[string]func(*draft.Set, draft.Opener, *draft.Draft){
		"undo":    func(_ *draft.Set, _ draft.Opener, d *draft.Draft) { d.Undo(draft.Ref{Name: "A"}) },
		"remove":  func(_ *draft.Set, _ draft.Opener, d *draft.Draft) { d.Remove("A") },
		"discard": func(s *draft.Set, _ draft.Opener, d *draft.Draft) { s.Discard(d) },
		"wipe":    func(s *draft.Set, _ draft.Opener, d *draft.Draft) { s.Wipe() },
		"sent": func(_ *draft.Set, o draft.Opener, d *draft.Draft) {
			o.Begin([]*draft.Draft{d})
			o.End([]*draft.Draft{d}, true)
		},
	} {
		s, o := newSet()
		d := s.Open(vault.Info{Env: env, Path: "a"})
		put(d, "A", "FAKE-value")
		b, ok := o.Value(env, "a", "A")
		if !ok || string(b) != "FAKE-value" {
			t.Fatalf("%s: %q", name, b)
		}
		end(s, o, d)
		if strings.Trim(string(b), "\x00") != "" {
			t.Errorf("%s: it is still %q", name, b)
		}
		if _, ok := o.Value(env, "a", "A"); ok {
			t.Errorf("%s: it is still to be had", name)
		}
	}
}

// Only the Opener of a Set opens it.
func TestOpener(t *testing.T) {
	s, _ := newSet()
	put(s.Open(vault.Info{Env: env, Path: "a"}), "A", "FAKE")
	_, other := newSet()
	for _, o := range []draft.Opener{{}, other} {
		if b, ok := o.Value(env, "a", "A"); ok {
			t.Errorf("opened: %q", b)
		}
		if c := o.Begin(s.Of(env)); len(c) > 0 {
			t.Error("sent")
		}
	}
}

func TestGenerate(t *testing.T) {
	s, o := newSet()
	d := s.Open(vault.Info{Env: env, Path: "a"})
	if err := d.Add("A"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range draft.Alphabets() {
		count := map[byte]int{}
		const n = 4000
		for range 10 {
			if err := d.Generate("A", draft.Recipe{Length: n / 10, Alphabet: a}); err != nil {
				t.Fatal(err)
			}
			b, _ := o.Value(env, "a", "A")
			if len(b) != n/10 || seen[string(b)] {
				t.Errorf("%s: %d bytes, or the same twice", a.Name, len(b))
			}
			seen[string(b)] = true
			for _, c := range b {
				if !strings.ContainsRune(a.Chars, rune(c)) {
					t.Errorf("%s: %q is not of it", a.Name, c)
				}
				count[c]++
			}
		}
		// Each character about as often as the others: of 4000 draws, ten
		// deviations off would be one test in a time longer than there is.
		mean := float64(n) / float64(len(a.Chars))
		for _, c := range []byte(a.Chars) {
			if off := float64(count[c]) - mean; off*off > 100*mean {
				t.Errorf("%s: %q came %d times, of about %.0f", a.Name, c, count[c], mean)
			}
		}
		for i := range len(a.Chars) {
			if strings.IndexByte(a.Chars, a.Chars[i]) != i {
				t.Errorf("%s has %q twice", a.Name, a.Chars[i])
			}
		}
	}
	if bits := (draft.Recipe{Length: 32, Alphabet: draft.Alphabets()[2]}).Bits(); bits != 128 {
		t.Errorf("32 of hex are %d bits", bits)
	}
	broken, _ := draft.New(strings.NewReader("short"), measure)
	d = broken.Open(vault.Info{Env: env, Path: "a"})
	if err := d.Generate("A", draft.Recipe{Length: 8, Alphabet: draft.Alphabets()[0]}); err == nil || d.Count() != 0 {
		t.Errorf("without randomness: %v, %s", err, rows(d))
	}
}

// What an editor leaves becomes the draft; what it left alone is no change.
func TestEdited(t *testing.T) {
	s, o := newSet()
	base := set("A", "1", "B", "2", "C", "3")
	d := s.Open(vault.Info{Env: env, Path: "a", Version: 1, Fields: []vault.FieldInfo{{Name: "A"}, {Name: "B"}, {Name: "C"}}})
	put(d, "A", "mine")
	d.Remove("B")
	put(d, "NEW", "mine")
	got, err := o.Text(d, base, "head")
	if err != nil {
		t.Fatal(err)
	}
	if want := "# head\nA=mine\nC=3\nNEW=mine\n"; string(got) != want {
		t.Fatalf("it gets %q, want %q", got, want)
	}
	o.Edited(d, base, set("A", "1", "B", "2", "NEWER", "x"))
	if got := rows(d); got != "-C +NEWER" {
		t.Error(got)
	}
}

// A draft without a change goes on what is there now, by itself.
func TestOpenAgain(t *testing.T) {
	s, _ := newSet()
	d := s.Open(vault.Info{Env: env, Path: "a", Version: 1, Note: "old", Fields: []vault.FieldInfo{{Name: "A"}}})
	if again := s.Open(vault.Info{Env: env, Path: "a", Version: 2, Note: "new"}); again != d || d.Base().Version != 2 || d.Count() != 0 {
		t.Errorf("on version %d, %s", d.Base().Version, rows(d))
	}
	put(d, "A", "mine")
	if s.Open(vault.Info{Env: env, Path: "a", Version: 3}); d.Base().Version != 2 {
		t.Error("a draft with changes was put elsewhere")
	}
	if s.Close(d); s.Get(env, "a") != d {
		t.Error("closing lost it")
	}
}

// What is knowingly written over somebody's change stays told, whatever is done
// to the draft afterwards: it is what the environment's name is typed for.
func TestOverIsNotForgotten(t *testing.T) {
	v := vaulttest.New(t)
	apply(t, v, vault.Change{Path: "a", Was: 0, Set: set("A", "1", "B", "2")})
	s, o := newSet()
	d := s.Open(info(t, v, "a"))
	put(d, "A", "mine")
	put(d, "B", "mine")
	over := func(want uint64, name vault.FieldName) {
		t.Helper()
		if r, _ := d.Row(draft.Ref{Name: name}); r.Over != want || want > 0 && !d.Destroys() {
			t.Errorf("%s is over %d, want %d", name, r.Over, want)
		}
	}
	theirs := func(field, value string) {
		apply(t, v, vault.Change{Path: "a", Was: vault.Any, Set: set(field, value)})
		d.Look(draft.Theirs{Now: info(t, v, "a")})
		d.Rebase(true)
	}
	theirs("A", "theirs")
	over(2, "A")
	theirs("C", "another") // nobody's concern here
	over(2, "A")
	over(0, "B")
	theirs("B", "theirs")
	over(2, "A")
	over(4, "B")

	// An editor that leaves it as it is.
	base := set("A", "theirs", "B", "theirs", "C", "another")
	o.Edited(d, base, set("A", "mine", "B", "theirs", "C", "changed"))
	over(2, "A")
	over(0, "B")

	put(d, "A", "again")
	over(2, "A")
	d.Undo(draft.Ref{Name: "A"})
	over(0, "A")
	put(d, "A", "mine")
	over(0, "A")
	d.Look(draft.Theirs{})
	d.Rebase(true) // it was deleted: there is nothing to be written over
	over(0, "A")
	if d.Destroys() {
		t.Error("a new secret is said to destroy something")
	}
}

// A draft that was sent or dropped takes nothing in any more: what is typed would
// be lost.
func TestGone(t *testing.T) {
	for name, end := range map[string]func(s *draft.Set, o draft.Opener, d *draft.Draft){
		"sent": func(_ *draft.Set, o draft.Opener, d *draft.Draft) {
			o.Begin([]*draft.Draft{d})
			o.End([]*draft.Draft{d}, true)
		},
		"dropped": func(s *draft.Set, _ draft.Opener, d *draft.Draft) { s.Discard(d) },
		"wiped":   func(s *draft.Set, _ draft.Opener, _ *draft.Draft) { s.Wipe() },
		"closed":  func(s *draft.Set, _ draft.Opener, d *draft.Draft) { d.Undo(draft.Ref{Name: "A"}); s.Close(d) },
	} {
		t.Run(name, func(t *testing.T) {
			s, o := newSet()
			at := vault.Info{Env: env, Path: "a", Version: 1, Fields: []vault.FieldInfo{{Name: "A", Since: 1}}}
			d := s.Open(at)
			in := d.Input("A")
			typeIn(in, "mine")
			if end(s, o, d); !d.Gone() {
				t.Fatal("it is still there")
			}
			typeIn(in, "more")
			in.Paste("pasted")
			if d.Input("A") != nil || d.Add("B") == nil || d.Generate("A", draft.Recipe{Length: 8, Alphabet: draft.Alphabets()[0]}) == nil {
				t.Error("something can be typed into it")
			}
			d.Remove("A")
			d.Take("A", o.Batch(set("A", "x")))
			o.Edited(d, nil, set("A", "x"))
			if got := rows(d); got != "" || s.Count() > 0 || len(o.Begin([]*draft.Draft{d})) > 0 {
				t.Errorf("it has changes: %s", got)
			}
			if next := s.Open(at); next == d || next.Gone() || next.Input("A") == nil {
				t.Error("no other one begins")
			}
		})
	}
}

// A draft that an editor has something for is not forgotten, nor put on another
// version, though there is no change in it.
func TestHold(t *testing.T) {
	s, o := newSet()
	d := s.Open(vault.Info{Env: env, Path: "a", Version: 1})
	o.Hold(d, true)
	s.Close(d)
	if got := s.Open(vault.Info{Env: env, Path: "a", Version: 2}); got != d || d.Base().Version != 1 {
		t.Errorf("it is another one, or on version %d", d.Base().Version)
	}
	o.Hold(d, false)
	if s.Open(vault.Info{Env: env, Path: "a", Version: 2}); d.Base().Version != 2 {
		t.Error("it stays where it was")
	}
	if s.Close(d); !d.Gone() {
		t.Error("it is not forgotten")
	}
}
