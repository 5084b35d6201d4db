package flow_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/vaulttest"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/exp/teatest/v2"
)

// patience bounds each wait; a test takes a fraction of it.
const patience = 30 * time.Second

const (
	value = "FAKE-5b1f0c7d29e84a36"
	typed = "FAKE-c04e9d1785b2f36a"
	path  = vault.Path("billing/stripe")
	field = vault.FieldName("STRIPE_KEY")
)

// A flow is the interface over a vault in memory, and what it has written since
// the last look.
type flow struct {
	*teatest.TestModel
	t     *testing.T
	vault *vaulttest.Vault
	all   bytes.Buffer
}

func start(t *testing.T) *flow {
	t.Helper()
	v := vaulttest.New(t, "dev", "prod")
	return startOn(t, v, func(*tui.Config) {})
}

// startOn fills a vault and starts the interface over it.
func startOn(t *testing.T, v *vaulttest.Vault, configure func(*tui.Config)) *flow {
	t.Helper()
	for _, env := range []vault.Env{"dev", "prod"} {
		change := vault.Change{Path: path, Was: vault.Any, Set: []vault.Field{
			{Name: field, Value: vault.NewValueString(value)},
			{Name: "LOG_LEVEL", Value: vault.NewValueString("debug")},
		}}
		if _, err := v.Apply(t.Context(), env, []vault.Change{change}); err != nil {
			t.Fatal(err)
		}
	}
	c := tui.Config{
		Project: "payments", Who: "alice@laptop",
		Envs: []screen.Env{{Name: "dev"}, {Name: "prod", Protected: true}},
		Open: func(context.Context, vault.Env) (vault.Vault, error) { return v, nil },
	}
	configure(&c)
	m, err := tui.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	f := &flow{t: t, vault: v, TestModel: teatest.NewTestModel(t, m, teatest.WithInitialTermSize(100, 30),
		teatest.WithProgramOptions(tea.WithFilter(m.Filter), tea.WithoutCatchPanics(), tea.WithEnvironment([]string{"TERM=xterm-256color"})))}
	t.Cleanup(func() {
		_ = f.Quit()
		f.WaitFinished(t, teatest.WithFinalTimeout(patience))
	})
	return f
}

// sees waits for a text; what is written is kept in all.
func (f *flow) sees(text string) {
	f.t.Helper()
	teatest.WaitFor(f.t, io.TeeReader(f.Output(), &f.all), func(b []byte) bool { return bytes.Contains(b, []byte(text)) },
		teatest.WithDuration(patience), teatest.WithCheckInterval(10*time.Millisecond))
}

func (f *flow) press(codes ...rune) {
	for _, c := range codes {
		f.Send(tea.KeyPressMsg{Code: c})
	}
}

func (f *flow) ctrl(c rune) { f.Send(tea.KeyPressMsg{Code: c, Mod: tea.ModCtrl}) }

// leaves says that the interface ends by itself.
func (f *flow) leaves() {
	f.t.Helper()
	if rest, err := io.ReadAll(f.FinalOutput(f.t, teatest.WithFinalTimeout(patience))); err != nil {
		f.t.Fatal(err)
	} else {
		f.all.Write(rest)
	}
}

func (f *flow) holds(env vault.Env, want string, version uint64) {
	f.t.Helper()
	s, err := f.vault.Get(f.t.Context(), env, path)
	if err != nil {
		f.t.Fatal(err)
	}
	got, _ := s.Field(field)
	if string(got.Value.Reveal()) != want || s.Version != version {
		f.t.Errorf("%s has version %d with a value of %d bytes; want version %d with one of %d", env, s.Version, got.Value.Len(), version, len(want))
	}
}

func TestRevealAndQuit(t *testing.T) {
	f := start(t)
	f.sees("STRIPE_KEY")
	f.Type("/key")
	f.sees("1 of 2")
	f.press(tea.KeyEnter, tea.KeyEnter)
	f.sees("version 1")
	if bytes.Contains(f.all.Bytes(), []byte(value)) {
		t.Fatal("the value was written before anybody asked for it")
	}
	f.Type("v")
	f.sees(value)
	f.Type("v")
	f.sees("hidden")
	at := f.all.Len()
	f.ctrl('c')
	f.leaves()
	if bytes.Contains(f.all.Bytes()[at:], []byte(value)) {
		t.Error("the value was written again on the way out")
	}
}

func TestEditReviewSend(t *testing.T) {
	f := start(t)
	f.sees("STRIPE_KEY")
	f.Type("/key")
	f.sees("1 of 2")
	f.press(tea.KeyEnter)
	f.Type("e")
	f.sees("based on version")
	f.press(tea.KeyEnter)
	f.Send(tea.PasteMsg{Content: typed})
	f.press(tea.KeyEnter)
	f.sees("replaced")
	f.holds("dev", value, 1) // nothing is sent yet
	f.ctrl('s')
	f.sees("sent together")
	f.ctrl('s')
	f.sees("Send")
	f.press(tea.KeyEnter) // Cancel is the default
	f.ctrl('s')
	f.holds("dev", value, 1)
	f.Type("Y")
	f.sees("Sent:")
	f.holds("dev", typed, 2)
	f.holds("prod", value, 1)
	f.ctrl('c')
	f.leaves()
	if out := f.all.Bytes(); bytes.Contains(out, []byte(typed)) || bytes.Contains(out, []byte(value)) {
		t.Error("a value was written, and nobody asked to see one")
	}
}

func TestPasteIntoList(t *testing.T) {
	f := start(t)
	f.sees("STRIPE_KEY")
	f.Send(tea.PasteMsg{Content: "d\nY\n" + typed + "\nq\n"})
	f.sees("Pasted text is ignored")
	f.holds("dev", value, 1)
	f.ctrl('c')
	f.leaves()
	if bytes.Contains(f.all.Bytes(), []byte(typed)) {
		t.Error("what was pasted was written")
	}
}
