package tui_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"

	"charm.land/bubbles/v2/list"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"
)

// These are the promises about speed (docs/bench.md), as benchmarks: make bench
// runs each with its peer in turn and prints the ratios. bubbles/list, with rows
// of one line, is the peer; nothing of it is in the program.

// listing is a vault of which only the names can be read.
type listing struct {
	vault.Vault
	infos []vault.Info
}

func (l listing) List(_ context.Context, _ vault.Env, _ vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		for _, i := range l.infos {
			if !yield(i, nil) {
				return
			}
		}
	}
}

// nameOf is like what people have: some 30 bytes, in folders.
func nameOf(i int) (path, field string) {
	words := [...]string{"stripe", "redis", "smtp", "postgres", "kafka", "sentry", "github", "oauth"}
	kinds := [...]string{"SECRET_KEY", "PASSWORD", "TOKEN", "URL", "WEBHOOK_SECRET"}
	return fmt.Sprintf("team-%02d/%s-%04d", i/5000, words[i/5%len(words)], i/5%1000*7%1000), fmt.Sprintf("%s_%s", strings.ToUpper(words[i/5%len(words)]), kinds[i%5])
}

func listingOf(n int) listing {
	var l listing
	for i := 0; i < n; i += 5 {
		path, _ := nameOf(i)
		info := vault.Info{Env: "dev", Path: vault.Path(path), Version: 3, By: "bob@laptop", At: tuitest.Start.Add(-time.Duration(i) * time.Minute), Rotate: "90d"}
		for j := range 5 {
			_, field := nameOf(i + j)
			info.Fields = append(info.Fields, vault.FieldInfo{Name: vault.FieldName(field), Since: 3})
		}
		l.infos = append(l.infos, info)
	}
	return l
}

// mine is the whole interface with n names on the screen.
type mine struct{ *tui.Model }

func newMine(b testing.TB, n int) mine {
	l := listingOf(n)
	m, err := tui.New(b.Context(), tui.Config{
		Project: "acme/payments", Who: "alice@laptop", Envs: []screen.Env{{Name: "dev"}, {Name: "prod", Protected: true}},
		Open:  func(context.Context, vault.Env) (vault.Vault, error) { return l, nil },
		Now:   func() time.Time { return tuitest.Start },
		After: func(time.Duration, tea.Msg) tea.Cmd { return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Close)
	p := mine{m}
	p.run(m.Init())
	p.send(tea.WindowSizeMsg{Width: 100, Height: 30})
	if !strings.Contains(m.View().Content, kit.Number(n)+" names") {
		b.Fatalf("%d names are not there", n)
	}
	return p
}

func (m mine) run(c tea.Cmd) {
	if c == nil {
		return
	}
	switch msg := c().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			m.run(c)
		}
	default:
		m.send(msg)
	}
}

// send is one message with all that comes of it, and the picture after it.
func (m mine) send(msg tea.Msg) string {
	_, cmd := m.Update(msg)
	m.run(cmd)
	return m.View().Content
}

// theirs is bubbles/list with n names.
type theirs struct{ list.Model }

type name string

func (n name) FilterValue() string { return string(n) }

// thin draws a name in one line, with as little as that takes.
type thin struct{}

func (thin) Height() int                         { return 1 }
func (thin) Spacing() int                        { return 0 }
func (thin) Update(tea.Msg, *list.Model) tea.Cmd { return nil }
func (thin) Render(w io.Writer, m list.Model, index int, item list.Item) {
	mark := "  "
	if index == m.Index() {
		mark = "> "
	}
	io.WriteString(w, mark+string(item.(name)))
}

func newTheirs(n int) *theirs {
	items := make([]list.Item, n)
	for i := range items {
		path, field := nameOf(i)
		items[i] = name(path + "/" + field)
	}
	return &theirs{list.New(items, thin{}, 100, 30)}
}

func (m *theirs) send(msg tea.Msg) string {
	var cmd tea.Cmd
	m.Model, cmd = m.Update(msg)
	m.run(cmd)
	return m.View()
}

func (m *theirs) run(c tea.Cmd) {
	if c == nil {
		return
	}
	switch msg := c().(type) {
	case tea.BatchMsg:
		for _, c := range msg {
			m.run(c)
		}
	case list.FilterMatchesMsg:
		m.Model, _ = m.Update(msg)
	}
}

var picture string // so that no picture is left out as unused

// A key that moves the cursor, and the picture after it.
func BenchmarkCursor(b *testing.B) {
	keys := []tea.KeyPressMsg{tuitest.Key("j"), tuitest.Key("k")}
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("envrun-%d", n), func(b *testing.B) {
			m := newMine(b, n)
			runtime.GC() // what the start has left is not a key's
			b.ResetTimer()
			for i := range b.N {
				picture = m.send(keys[i%2])
			}
		})
		b.Run(fmt.Sprintf("bubbles-%d", n), func(b *testing.B) {
			m := newTheirs(n)
			runtime.GC() // what the start has left is not a key's
			b.ResetTimer()
			for i := range b.N {
				picture = m.send(keys[i%2])
			}
		})
	}
}

// The first and the fourth key of a filter, and one that narrows what four have
// found; each from the same beginning.
func BenchmarkFilter(b *testing.B) {
	const n, word = 100_000, "secre"
	type program interface{ send(tea.Msg) string }
	for _, of := range []struct {
		name string
		at   int // keys typed before
	}{{"first", 0}, {"fourth", 3}, {"narrowing", 4}} {
		measure := func(b *testing.B, m program) {
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				m.send(tuitest.Key("esc"))
				m.send(tuitest.Key("/"))
				for _, r := range word[:of.at] {
					m.send(tuitest.Key(string(r)))
				}
				key := tuitest.Key(word[of.at : of.at+1])
				b.StartTimer()
				picture = m.send(key)
			}
		}
		b.Run("envrun-"+of.name, func(b *testing.B) { measure(b, newMine(b, n)) })
		b.Run("bubbles-"+of.name, func(b *testing.B) { measure(b, newTheirs(n)) })
	}
}

// The palette over all names: opening it, its first key, and its fourth.
func BenchmarkPalette(b *testing.B) {
	const n, word = 100_000, ":secr"
	m := newMine(b, n)
	for _, of := range []struct {
		name string
		at   int
	}{{"open", 0}, {"first", 1}, {"fourth", 4}} {
		b.Run(of.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				m.send(tuitest.Key("esc"))
				for _, r := range word[:of.at] {
					m.send(tuitest.Key(string(r)))
				}
				key := tuitest.Key(word[of.at : of.at+1])
				b.StartTimer()
				picture = m.send(key)
			}
		})
	}
}

// What it takes to know the names that may have to be hidden, and a move of the
// cursor while they are.
func BenchmarkHiddenNames(b *testing.B) {
	b.Run("learn", func(b *testing.B) {
		l := listingOf(100_000)
		for range b.N {
			v := kit.NewVeil()
			for _, info := range l.infos {
				v.Learn(string(info.Path))
				for _, f := range info.Fields {
					v.Learn(string(f.Name))
				}
			}
		}
	})
	b.Run("move", func(b *testing.B) {
		m := newMine(b, 100_000)
		m.send(tuitest.Key("P"))
		m.send(tuitest.Key("P"))
		keys := []tea.KeyPressMsg{tuitest.Key("j"), tuitest.Key("k")}
		b.ResetTimer()
		for i := range b.N {
			picture = m.send(keys[i%2])
		}
	})
}

// terminal counts what bubbletea's renderer writes for a picture.
type terminal struct {
	out bytes.Buffer
	scr *uv.TerminalRenderer
	buf uv.ScreenBuffer
}

func newTerminal() *terminal {
	t := &terminal{buf: uv.NewScreenBuffer(100, 30)}
	t.scr = uv.NewTerminalRenderer(&t.out, []string{"TERM=xterm-256color"})
	t.scr.SetColorProfile(colorprofile.TrueColor)
	t.scr.SetFullscreen(true)
	t.scr.SetRelativeCursor(false)
	t.scr.SetScrollOptim(true)
	return t
}

func (t *terminal) draw(content string) int {
	t.out.Reset()
	t.buf.Clear()
	uv.NewStyledString(content).Draw(t.buf, t.buf.Bounds())
	t.scr.Render(t.buf.RenderBuffer)
	_ = t.scr.Flush()
	return t.out.Len()
}

// What one move of the cursor writes to the terminal, the most of 200.
func bytesPerMove(b testing.TB) int {
	m, t := newMine(b, 100_000), newTerminal()
	t.draw(m.View().Content)
	most := 0
	for i := range 200 {
		key := "j"
		if i%50 > 40 {
			key = "k"
		}
		most = max(most, t.draw(m.send(tuitest.Key(key))))
	}
	return most
}

func BenchmarkBytesPerMove(b *testing.B) {
	for range b.N {
		b.ReportMetric(float64(bytesPerMove(b)), "bytes/move")
	}
}

func TestBytesPerMove(t *testing.T) {
	const most = 1 << 10
	if n := bytesPerMove(t); n > most {
		t.Errorf("a move of the cursor writes %d bytes to the terminal, more than %d", n, most)
	}
}

// What a list of 100,000 names takes beside the names, with everything found.
func heapOverNames(b testing.TB) int {
	const n = 100_000
	all := make(kit.Names, n)
	for i := range all {
		path, field := nameOf(i)
		all[i] = path + "/" + field
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := &kit.List{}
	l.Set(all)
	l.Filter("e")
	l.Tree(true)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if l.Matches() < n/2 {
		b.Fatalf("only %d match", l.Matches())
	}
	runtime.KeepAlive(all)
	return int(after.HeapAlloc) - int(before.HeapAlloc)
}

func BenchmarkHeap(b *testing.B) {
	for range b.N {
		b.ReportMetric(float64(heapOverNames(b)), "bytes/100k-names")
	}
}

func TestHeapOverNames(t *testing.T) {
	const most = 10 << 20
	if n := heapOverNames(t); n > most {
		t.Errorf("100,000 names take %d bytes beside the names, more than %d", n, most)
	}
}
