// Package tuitest drives the interface in tests: key by key, without a terminal,
// a renderer or a clock that runs by itself, over real vaults in memory.
//
// It refuses to let a value be seen that was not asked for: every picture that
// the interface makes is searched for the values that the vaults hold, and so is
// everything that it leaves behind.
package tuitest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"envrun/tui"
	"envrun/tui/clip"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/vaulttest"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

var update = flag.Bool("update", false, "write the golden files")

// Start is the time at which every driver begins.
var Start = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)

// A World is the project that screens are tested with: three environments, prod
// protected, each with a few secrets. Every value begins with "FAKE-".
type World struct {
	Vault  *vaulttest.Vault
	Config tui.Config
	Board  *Board
	values []string
	made   map[string]string
	now    func() time.Time // the driver's; nil before there is one
}

// Prod is the protected environment of a World, Empty one without secrets.
const (
	Dev   vault.Env = "dev"
	Prod  vault.Env = "prod"
	Empty vault.Env = "preview"
)

// NewWorld makes one.
func NewWorld(t testing.TB) *World {
	t.Helper()
	w := &World{Vault: vaulttest.New(t, Dev, Prod, Empty), Board: &Board{}, made: map[string]string{}}
	w.Config = tui.Config{
		Project: "acme/payments", Who: "alice@laptop",
		Envs:      []screen.Env{{Name: Dev}, {Name: Prod, Protected: true}, {Name: Empty}},
		Open:      func(context.Context, vault.Env) (vault.Vault, error) { return w.Vault, nil },
		FreeFacts: true, Clipboard: w.Board,
	}
	for _, env := range []vault.Env{Dev, Prod} {
		for _, s := range []struct {
			path   vault.Path
			fields []string
			rotate string
			tags   []string
			note   string
		}{
			{path: "billing/smtp", fields: []string{"SMTP_PASSWORD"}, rotate: "90d"},
			{path: "billing/stripe", fields: []string{"STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_KEY"}, rotate: "3000d", tags: []string{"payments"}, note: "restricted key, webhooks only"},
			{path: "checkout", fields: []string{"REDIS_PASSWORD", "STRIPE_PUBLIC_KEY"}},
			{path: "ledger/db", fields: []string{"DATABASE_URL"}},
		} {
			c := vault.Change{Path: s.path, Was: vault.Any, Rotate: &s.rotate, Tags: &s.tags, Note: &s.note}
			for _, f := range s.fields {
				// Each piece of a value is in no other text.
				sum := sha256.Sum256([]byte(string(env) + f))
				w.made[string(env)+f] = "FAKE-" + hex.EncodeToString(sum[:])[:40]
				c.Set = append(c.Set, vault.Field{Name: vault.FieldName(f), Value: vault.NewValueString(w.value(w.made[string(env)+f]))})
			}
			w.apply(t, env, c)
		}
	}
	return w
}

// Canary is a value that the tests type, paste or put into a file: from now on
// every picture is searched for it too. Like all values it begins with "FAKE-".
func (w *World) Canary(value string) string { return w.value(value) }

func (w *World) value(v string) string {
	w.values = append(w.values, v)
	return v
}

func (w *World) apply(t testing.TB, env vault.Env, c vault.Change) {
	t.Helper()
	if _, err := w.Vault.Apply(t.Context(), env, []vault.Change{c}); err != nil {
		t.Fatal(err)
	}
}

// Values are all values of the World, which nothing may show unasked.
func (w *World) Values() []string { return w.values }

// Set puts one value into the vault, as somebody else would.
func (w *World) Set(t testing.TB, env vault.Env, path vault.Path, field vault.FieldName, value string) {
	t.Helper()
	w.apply(t, env, vault.Change{Path: path, Was: vault.Any, Set: []vault.Field{{Name: field, Value: vault.NewValueString(w.value(value))}}})
}

// As is the vault of the World as somebody else has it open.
func (w *World) As(member string) vault.Vault {
	return w.Vault.Person.Engine(vaulttest.VaultID, vaulttest.As(member))
}

// Value is what a field of the World was made with.
func (w *World) Value(env vault.Env, field string) string {
	v, ok := w.Lookup(env, field)
	if !ok {
		panic("no such value: " + field)
	}
	return v
}

// Lookup is Value, for fields that may not be there.
func (w *World) Lookup(env vault.Env, field string) (string, bool) {
	v, ok := w.made[string(env)+field]
	return v, ok
}

// Board is a clipboard in memory.
type Board struct {
	Holds   string
	Fail    error
	Cleared int
}

// Copy implements tui.Clipboard.
func (b *Board) Copy(_ context.Context, value []byte) (clip.Copied, error) {
	if b.Fail != nil {
		return clip.Copied{}, b.Fail
	}
	b.Holds = string(value)
	return clip.Copied{Text: "copied, leaves the clipboard in 30s", Sure: true, Until: Start.Add(time.Hour)}, nil
}

// CopyText implements tui.Clipboard.
func (b *Board) CopyText(_ context.Context, text string) error {
	b.Holds = text
	return b.Fail
}

// Clear implements tui.Clipboard.
func (b *Board) Clear(context.Context) error {
	b.Holds = ""
	b.Cleared++
	return nil
}

// A Driver is the interface under test.
type Driver struct {
	World *World
	Model *tui.Model

	// Quit says that the program has ended, Suspended that it has stopped; Left is
	// then the last picture, which a terminal may keep.
	Quit      bool
	Suspended bool
	Left      string

	// Last is done when a golden frame is about to be drawn, in its size.
	Last func()

	t      testing.TB
	ascii  bool
	now    time.Time
	timers []timer
	back   tea.Msg // what comes after a suspension
	hold   bool
	held   []tea.Msg
	seen   map[string]bool // values that may be on the screen

	rung    chan tea.Msg   // what comes from beside the interface; nil: nothing does
	blocked []chan tea.Msg // commands that wait for an answer

	came    chan tea.Msg // of commands that wait for a person who is somewhere else
	outside int          // of them
}

type timer struct {
	at  time.Time
	msg tea.Msg
}

// New drives the interface over a world, at 100x30. The options change how it is
// configured.
func New(t testing.TB, w *World, options ...func(*tui.Config)) *Driver {
	t.Helper()
	d := &Driver{World: w, t: t, now: Start, seen: map[string]bool{}, came: make(chan tea.Msg, 64)}
	w.now = func() time.Time { return d.now }
	c := w.Config
	c.Now = w.now
	c.After = func(after time.Duration, msg tea.Msg) tea.Cmd {
		at := d.now.Add(after)
		return func() tea.Msg {
			d.timers = append(d.timers, timer{at, msg})
			return nil
		}
	}
	c.Exec = func(_ tea.ExecCommand, then tea.Msg) tea.Cmd {
		return func() tea.Msg {
			d.Suspended, d.Left, d.back = true, d.picture(), then
			return nil
		}
	}
	c.Beside = d.beside
	for _, o := range options {
		o(&c)
	}
	d.ascii = c.Look.ASCII
	m, err := tui.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if c.Bell != nil {
		d.rung = make(chan tea.Msg, 1)
		c.Bell.Connect(func(msg tea.Msg) { d.rung <- msg })
	}
	d.Model = m
	d.picture()
	d.do(m.Init())
	d.Resize(100, 30)
	return d
}

// Allow lets values be seen from now on; Forbid does not any more.
func (d *Driver) Allow(values ...string) {
	for _, v := range values {
		d.seen[v] = true
	}
}

// Forbid ends Allow.
func (d *Driver) Forbid(values ...string) {
	for _, v := range values {
		delete(d.seen, v)
	}
}

// AllowAll lets every value that the world has be seen.
func (d *Driver) AllowAll() { d.Allow(d.World.values...) }

// ForbidAll ends Allow for all values.
func (d *Driver) ForbidAll() { clear(d.seen) }

// Send gives the interface a message, and has done what it asks for.
func (d *Driver) Send(msg tea.Msg) {
	if d.Quit || msg == nil {
		return
	}
	if batch, ok := msg.(tea.BatchMsg); ok {
		for _, c := range batch {
			d.do(c)
		}
		return
	}
	msg = d.Model.Filter(d.Model, msg)
	switch msg.(type) {
	case nil:
		return
	case tea.QuitMsg:
		d.Quit, d.Left = true, d.picture()
		return
	}
	same, cmd := d.Model.Update(msg)
	if same != tea.Model(d.Model) {
		d.t.Fatalf("Update returns another model, or none: %T", same)
	}
	d.picture()
	d.do(cmd)
}

func (d *Driver) do(cmd tea.Cmd) {
	if cmd == nil || d.Quit {
		return
	}
	if d.rung != nil {
		// The command may wait for somebody to answer a question that it asks.
		out := make(chan tea.Msg, 1)
		go func() { out <- cmd() }()
		d.wait(out)
		return
	}
	d.got(cmd())
}

// wait waits for what a command has to say, or for the bell.
func (d *Driver) wait(out chan tea.Msg) {
	d.t.Helper()
	select {
	case msg := <-out:
		d.got(msg)
	case msg := <-d.rung:
		d.blocked = append(d.blocked, out)
		d.Send(msg)
	case <-time.After(time.Minute):
		d.t.Fatalf("nothing comes of a command, and nobody is asked:\n%s", d.Text())
	}
}

// Until waits for what works beside the interface until the screen shows text.
func (d *Driver) Until(text string) {
	d.t.Helper()
	for !strings.Contains(d.Text(), text) {
		out := make(chan tea.Msg) // or for the bell alone
		if len(d.blocked) > 0 {
			out, d.blocked = d.blocked[0], d.blocked[1:]
		}
		d.wait(out)
	}
}

func (d *Driver) got(msg tea.Msg) {
	if d.hold {
		if msg != nil {
			d.held = append(d.held, msg)
		}
		return
	}
	d.Send(msg)
}

// Hold keeps back what commands have to say from now on, as if they were slow.
// What has been kept back is delivered, in order, by Deliver.
func (d *Driver) Hold() { d.hold = true }

// DeliverOne delivers the first of what has been kept back, and keeps back what
// follows from it.
func (d *Driver) DeliverOne() {
	d.t.Helper()
	if len(d.held) == 0 {
		d.t.Fatal("nothing has been kept back")
	}
	msg := d.held[0]
	d.held = d.held[1:]
	d.Send(msg)
}

// Held is how many answers are kept back.
func (d *Driver) Held() int { return len(d.held) }

// Deliver ends Hold.
func (d *Driver) Deliver() {
	held := d.held
	d.hold, d.held = false, nil
	for _, msg := range held {
		d.Send(msg)
	}
}

// Resume goes on after a suspension.
func (d *Driver) Resume() {
	d.t.Helper()
	if !d.Suspended {
		d.t.Fatal("it is not suspended")
	}
	d.Suspended = false
	d.Send(d.back)
}

// Resize gives the terminal a size. While a value is shown it is taken a moment
// later: Advance.
func (d *Driver) Resize(w, h int) {
	d.Send(tea.WindowSizeMsg{Width: w, Height: h})
}

// Press presses keys by name: "j", "Y", "enter", "ctrl+l", "shift+tab", "space".
func (d *Driver) Press(keys ...string) {
	for _, k := range keys {
		d.Send(Key(k))
	}
}

// Type presses the keys of a text.
func (d *Driver) Type(text string) {
	for _, r := range text {
		d.Send(Key(string(r)))
	}
}

// Key is the press of a key by name.
func Key(name string) tea.KeyPressMsg {
	var k tea.KeyPressMsg
	for {
		mod, rest, ok := strings.Cut(name, "+")
		if !ok || rest == "" {
			break
		}
		switch mod {
		case "ctrl":
			k.Mod |= tea.ModCtrl
		case "alt":
			k.Mod |= tea.ModAlt
		case "shift":
			k.Mod |= tea.ModShift
		}
		name = rest
	}
	if code, ok := special[name]; ok {
		k.Code = code
		if name == "space" && k.Mod == 0 {
			k.Text = " "
		}
		return k
	}
	r := []rune(name)[0]
	k.Code = r
	if k.Mod == 0 {
		k.Text = name
		if unicode.IsUpper(r) {
			k.Code, k.ShiftedCode, k.Mod = unicode.ToLower(r), r, tea.ModShift
		}
	}
	return k
}

var special = map[string]rune{
	"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "space": tea.KeySpace, "backspace": tea.KeyBackspace, "delete": tea.KeyDelete,
	"up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "home": tea.KeyHome, "end": tea.KeyEnd,
	"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "f1": tea.KeyF1, "f2": tea.KeyF2,
}

// Advance lets time pass: timers go off in their order.
func (d *Driver) Advance(by time.Duration) {
	end := d.now.Add(by)
	for {
		next := -1
		for i, t := range d.timers {
			if !t.at.After(end) && (next < 0 || t.at.Before(d.timers[next].at)) {
				next = i
			}
		}
		if next < 0 || d.Quit {
			break
		}
		t := d.timers[next]
		d.timers = slices.Delete(d.timers, next, next+1)
		if t.at.After(d.now) {
			d.now = t.at
		}
		d.Send(t.msg)
	}
	d.now = end
}

// Sleep lets time pass while no timer runs, as on a machine that sleeps.
func (d *Driver) Sleep(by time.Duration) {
	d.now = d.now.Add(by)
	for i := range d.timers {
		d.timers[i].at = d.timers[i].at.Add(by)
	}
}

var sgr = regexp.MustCompile(`\x1b\[[0-9;:]*m`)

// picture looks at what is on the screen now, as bubbletea does after each
// message, and checks what must hold of every picture.
func (d *Driver) picture() string {
	d.t.Helper()
	v := d.Model.View()
	text := ansi.Strip(v.Content)
	if !v.AltScreen {
		d.t.Errorf("a picture outside the alternate screen:\n%s", text)
	}
	if v.WindowTitle != "envrun" && v.WindowTitle != "" {
		d.t.Errorf("the title of the window is %q", v.WindowTitle)
	}
	for _, value := range d.World.values {
		if !d.seen[value] && Shows(text, value) {
			d.t.Errorf("a value is on the screen that nobody asked for:\n%s", text)
		}
	}
	// A terminal gets colours and nothing else that it would obey: what others
	// wrote is not what Strip takes out.
	if bare := sgr.ReplaceAllString(v.Content, ""); bare != text || !utf8.ValidString(bare) {
		d.t.Errorf("more than colours leaves for the terminal: %q", bare)
	}
	lines := strings.Split(text, "\n")
	w, h := d.Model.Size()
	if len(lines) > h && h > 0 {
		d.t.Errorf("%d lines on a screen of %d", len(lines), h)
	}
	for _, line := range lines {
		if n := ansi.StringWidth(line); n > w && w > 0 {
			d.t.Errorf("a line is %d wide on a screen of %d: %q", n, w, line)
		}
		for _, r := range line {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || d.ascii && r > '~' {
				d.t.Errorf("%U is on the screen: %q", r, line)
			}
		}
	}
	return text
}

// Shows reports whether a piece of a value is in a text: a value may be broken
// into lines with other things beside it.
func Shows(text, value string) bool {
	const piece = 10
	if len(value) <= piece {
		return strings.Contains(text, value)
	}
	for i := range len(value) - piece {
		if strings.Contains(text, value[i:i+piece]) {
			return true
		}
	}
	return false
}

// Text is what is on the screen, without colours.
func (d *Driver) Text() string { return d.picture() }

// Has fails the test unless everything named is on the screen.
func (d *Driver) Has(parts ...string) {
	d.t.Helper()
	text := d.Text()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			d.t.Errorf("%q is not on the screen:\n%s", p, text)
		}
	}
}

// Lacks fails the test if something named is on the screen.
func (d *Driver) Lacks(parts ...string) {
	d.t.Helper()
	text := d.Text()
	for _, p := range parts {
		if strings.Contains(text, p) {
			d.t.Errorf("%q is on the screen:\n%s", p, text)
		}
	}
}

// Sizes are the terminals that every screen is drawn on.
var Sizes = [][2]int{{100, 30}, {60, 20}, {40, 10}, {30, 8}}

// Golden draws what a scenario leads to in all sizes, with Unicode and with
// ASCII alone, and compares it with testdata/NAME.golden; -update writes it.
func Golden(t *testing.T, name string, scenario func(t *testing.T, w *World) *Driver) {
	t.Helper()
	var out strings.Builder
	// A short run, which is that of the race detector, draws two of the eight.
	short := testing.Short() && !*update
	for _, asciiOnly := range []bool{false, true} {
		for i, size := range Sizes {
			if short && (asciiOnly && i != 2 || !asciiOnly && i != 0) {
				continue
			}
			w := NewWorld(t)
			w.Config.Look.ASCII = asciiOnly
			d := scenario(t, w)
			d.Resize(size[0], size[1])
			if d.Last != nil {
				d.Last()
			}
			marks := "utf8"
			if asciiOnly {
				marks = "ascii"
			}
			fmt.Fprintf(&out, "==== %dx%d %s\n", size[0], size[1], marks)
			for _, line := range strings.Split(d.Text(), "\n") {
				fmt.Fprintf(&out, "|%s\n", strings.TrimRight(line, " "))
			}
		}
	}
	if short {
		compare(t, name, out.String(), func(golden string) string {
			var same strings.Builder
			for part := range strings.SplitSeq("\n"+golden, "\n==== ") {
				if head, _, _ := strings.Cut(part, "\n"); head != "" && strings.Contains("\n"+out.String(), "\n==== "+head+"\n") {
					same.WriteString("==== " + strings.TrimSuffix(part, "\n") + "\n")
				}
			}
			return same.String()
		})
		return
	}
	Compare(t, name, out.String())
}

// Compare compares text with testdata/NAME.golden; -update writes it.
func Compare(t *testing.T, name, text string) {
	t.Helper()
	compare(t, name, text, func(golden string) string { return golden })
}

// compare is Compare with a part of the file.
func compare(t *testing.T, name, text string, part func(golden string) string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: go test -update writes it", err)
	}
	if want := part(string(want)); text != want {
		t.Errorf("%s is not what is drawn (-update writes it). First difference:\n%s", file, difference(want, text))
	}
}

func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s\n\nall of it:\n%s", i+1, x, y, got)
		}
	}
	return ""
}
