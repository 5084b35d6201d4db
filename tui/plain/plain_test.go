package plain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"envrun/envrun/editor"
	"envrun/tui"
	"envrun/tui/kit"
	"envrun/tui/plain"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/vaulttest"
)

// A person gives the answers of a script, and leaves when it is at its end. All
// that is printed is checked as it comes: it is text, and no value that nobody
// has said yes to.
type person struct {
	t       *testing.T
	w       *tuitest.World
	answers []string
	allowed []string // values that may be printed
	said    bytes.Buffer
	before  func(question string) // is called before each answer; may be nil
	hears   func(text string)     // is called with what is printed; may be nil
	done    []string              // the actions
}

// Write is the terminal.
func (p *person) Write(b []byte) (int, error) {
	p.check(b)
	if p.hears != nil {
		p.hears(string(b))
	}
	return p.said.Write(b)
}

func (p *person) check(b []byte) {
	p.t.Helper()
	if !utf8.Valid(b) {
		p.t.Errorf("no text: %q", b)
	}
	for _, r := range string(b) {
		if r != '\n' && !unicode.IsPrint(r) {
			p.t.Errorf("%U is printed: %q", r, b)
		}
	}
	for _, value := range p.w.Values() {
		if !slices.Contains(p.allowed, value) && tuitest.Shows(string(b), value) {
			p.t.Errorf("a value is printed that nobody asked for: %q", b)
		}
	}
}

func (p *person) answer(question string) (string, error) {
	p.check([]byte(question))
	if p.before != nil {
		p.before(question)
	}
	if len(p.answers) == 0 {
		p.said.WriteString(question)
		return "", plain.ErrEnd
	}
	a := p.answers[0]
	p.answers = p.answers[1:]
	shown := a
	if strings.Contains(question, "not shown") {
		shown = ""
	}
	p.said.WriteString(question + shown + "\n")
	return a, nil
}

func (p *person) terminal() plain.Terminal {
	hidden := func(_ context.Context, question string) ([]byte, error) {
		a, err := p.answer(question)
		return []byte(a), err
	}
	return plain.Terminal{Out: p,
		Line:   func(_ context.Context, question string) (string, error) { return p.answer(question) },
		Hidden: hidden, HiddenLines: hidden}
}

// talk has a script talked through.
func talk(t *testing.T, w *tuitest.World, answers ...string) *person {
	t.Helper()
	p := &person{t: t, w: w, answers: answers}
	p.run()
	return p
}

func (p *person) run() tui.End {
	p.t.Helper()
	c := p.w.Config
	if c.Now == nil {
		c.Now = func() time.Time { return tuitest.Start }
	}
	end, err := plain.RunDid(p.t.Context(), c, p.terminal(), func(id string) { p.done = append(p.done, id) })
	if err != nil {
		p.t.Errorf("it ended with %v", err)
	}
	if end.Crash != nil {
		p.t.Fatalf("%v\n%s", end.Crash, end.Crash.Stack)
	}
	if len(p.answers) > 0 && end.Signal == nil {
		p.t.Errorf("it ended before %q", p.answers)
	}
	if p.t.Failed() {
		p.t.Logf("it said\n%s", p.said.String())
	}
	return end
}

// has fails the test unless all of it was said, in this order.
func (p *person) has(parts ...string) {
	p.t.Helper()
	rest := p.said.String()
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			p.t.Fatalf("%q was not said, or not there:\n%s", part, p.said.String())
		}
		rest = after
	}
}

func (p *person) lacks(parts ...string) {
	p.t.Helper()
	for _, part := range parts {
		if strings.Contains(p.said.String(), part) {
			p.t.Errorf("%q was said:\n%s", part, p.said.String())
		}
	}
}

// Whatever the table has can be done here by its name and by each of its keys, or
// it says why not; and nothing that changes anything is left out.
func TestTheTable(t *testing.T) {
	table, err := kit.NewActions(screen.Actions())
	if err != nil {
		t.Fatal(err)
	}
	without := plain.Without()
	for id, why := range without {
		a := table.Get(id) // or it panics: nothing is left out that is not there
		if why == "" || a.Harm != kit.Harmless {
			t.Errorf("%s is left out without a reason, or does something", id)
		}
	}
	for _, a := range table.All() {
		if without[a.ID] != "" {
			continue
		}
		offers := []kit.Offer{{ID: a.ID}}
		words := []string{a.Name, strings.TrimSuffix(a.Name, "...")}
		for _, k := range a.Keys {
			words = append(words, k, kit.KeyLabel(k))
		}
		for _, word := range words {
			if o, ok := plain.Choose(table, offers, word); !ok || o.ID != a.ID {
				t.Errorf("%s cannot be done by typing %q", a.ID, word)
			}
		}
	}
	// What is off says so only where nothing that can be used is called the same.
	o, _ := plain.Choose(table, []kit.Offer{{ID: screen.Left, Off: "x"}, {ID: screen.Right, Off: "y"}, {ID: screen.Open}}, "open")
	if o.ID != screen.Open {
		t.Errorf("open is %s", o.ID)
	}
}

// Each script is a conversation, and together they do all that can be done: an
// action that none of them does is not known to work.
func TestEveryActionIsDone(t *testing.T) {
	done, talked := map[string]bool{}, 0
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			p := script(t)
			talked++
			for _, id := range p.done {
				done[id] = true
			}
		})
	}
	if t.Failed() || talked < len(scripts) {
		return // -run has chosen some of them
	}
	for _, a := range screen.Actions() {
		if !done[a.ID] && plain.Without()[a.ID] == "" {
			t.Errorf("%s (%s) is done by no script", a.ID, a.Name)
		}
		if done[a.ID] && plain.Without()[a.ID] != "" && a.ID != screen.DoneTyping && a.ID != screen.KeepFilter {
			t.Errorf("%s (%s) is left out and done all the same", a.ID, a.Name)
		}
	}
}

var errBoard = errors.New("no display")

// runner runs nothing, and remembers what.
type runner struct{ lines []string }

// Run implements tui.Runner.
func (r *runner) Run(_ context.Context, env vault.Env, line string, mask bool) (tui.Ran, error) {
	text := string(env) + ": " + line
	if mask {
		text += " (masked)"
	}
	r.lines = append(r.lines, text)
	return tui.Ran{Status: 3}, nil
}

// appends is an editor that adds a line.
type appends string

// Edit implements tui.Editor.
func (a appends) Edit(_ context.Context, text []byte) ([]byte, error) {
	return append(bytes.Clone(text), a...), nil
}

var scripts = map[string]func(t *testing.T) *person{
	"browse": func(t *testing.T) *person {
		p := talk(t, tuitest.NewWorld(t), "?", "3", "3 copy", "p", "/stri", "", "esc", "all", "/nothing", "esc", "tree", "1", "l", "k", "j", "h", "G", "g", "page down", "page up",
			"half down", "half up", "t", "again", "r", "down", "share mode", "v", "P", "again", "P", "77", "what", "/stri", "filter", "-", ":", "environ", "1", "", "q")
		p.has("names of dev, in dev:", ">1   billing/smtp/SMTP_PASSWORD", "(hidden)", "Here: open (enter)",
			"reveal or v  show the value", "Off now:", "ctrl+l  lock: it would hide nothing", "a number  to the row",
			">3   billing/stripe/STRIPE_WEBHOOK_KEY", "STRIPE_WEBHOOK_KEY: copied, leaves the clipboard in 30s", "Copied billing/stripe/STRIPE_WEBHOOK_KEY",
			"3 of 6", `Nothing matches "nothing" in dev (6 names)`, "Now: share mode: no value is printed.", "reveal: share mode is on, until P has ended it.",
			"no value is printed, and no name", ">2   ********/********/********", "There is no row 77.",
			`Nothing here is called "what": ? says what is.`, ": commands", "environment")
		return p
	},
	"reveal": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		p := &person{t: t, w: w}
		p.answers = []string{"2", "v", "", "v", "no", "v", "y", "v", "Yes please", "q", "dev", "2 open", "v", "yes", "tab", "next", "q", "q"}
		yes := 0
		p.before = func(question string) {
			if p.answers[0] == "yes" && strings.HasPrefix(question, "Type yes to print it") {
				yes++
				p.allowed = []string{w.Value(tuitest.Dev, "STRIPE_SECRET_KEY")}
			} else {
				p.allowed = nil
			}
		}
		p.answers = append(p.answers[:9], p.answers[10:]...) // a question is no prompt
		p.run()
		p.has("The value of billing/stripe/STRIPE_SECRET_KEY, version 1, is printed here, and stays", "Type yes to print it [no]: \n", "Not printed.", "Not printed.", "Not printed.",
			"[no]: yes\n"+w.Value(tuitest.Dev, "STRIPE_SECRET_KEY")+"\n", "STRIPE_SECRET_KEY  [STRIPE_WEBHOOK_KEY]")
		if n := strings.Count(p.said.String(), w.Value(tuitest.Dev, "STRIPE_SECRET_KEY")); yes != 1 || n != 1 {
			t.Errorf("said yes %d times, and it is printed %d times:\n%s", yes, n, p.said.String())
		}
		return p
	},
	"change": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		value, lines := w.Canary("FAKE-typed-0123456789"), w.Canary("FAKE-line-one-of-it\nFAKE-line-two-of-it\n")
		w.Config.EditorLine, w.Config.Editor = "vi", appends("FROM_EDITOR=FAKE-from-the-editor\n")
		w.Canary("FAKE-from-the-editor")
		answers := []string{"2 edit", "type", value, "lines", lines, "2", "add field", "NEW_ONE", value, "generate", "", "", "2", "drop", "2", "G", "type", "a b", "rename", "1 f2", "OTHER",
			"remove", "1", "2 remove", "ctrl+x", "ctrl+e"}
		if editor.OnDisk() {
			answers = append(answers, "2") // we are told, and go on
		}
		answers = append(answers, "r", "ctrl+s", "1 open", "esc", "2 edit", "esc", "5 v", "no", "send", "no", "ctrl+s", "yes", "esc", "q")
		p := talk(t, w, answers...)
		p.has("New value of STRIPE_SECRET_KEY, not shown", "replaced", "Now: 1 change has not been sent.", "The text has 2 lines and ends with a newline.",
			"name: NEW_ONE", "A random value for", "Drop what was typed for", "tags", "a b", "Another name for", "Taken over from the editor, and not sent",
			"changes to dev, in dev:", "Send ", "Type yes to send [no]: no\nCancelled.", "Type yes to send [no]: yes", "Sent: billing/stripe is version 2.")
		return p
	},
	"new": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		p := talk(t, w, "n", "billing/new", "type", "ci/token", "", "TOKEN", w.Canary("FAKE-token-0123456789"), "review", "send...", "yes", "E", "ci", "pre", "1", "q")
		p.has("a new secret, in dev:", "Path [billing/, - for none]: ", "free: enter goes on to its fields", "edit ci/token, in dev:", "Send 1 change to dev?", "ci/token, new: TOKEN new", "Sent: ci/token is version 1.",
			"Environment", "3  preview", "names of preview, in preview:")
		return p
	},
	"import": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		w.Config.Dir, w.Config.Path = t.TempDir(), "app"
		write(t, w.Config.Dir, "some.env", "A="+w.Canary("FAKE-imported-one-1")+"\nB="+w.Canary("FAKE-imported-two-2")+"\n")
		p := talk(t, w, "i", "none.env", "", "", "", "", "type", "some.env", "", "2", "", "", "1 choose", "all", "ctrl+s", "ctrl+s", "yes", "q")
		p.has("file: ", "into [app, - for none]: ", "format:", "1  by itself", "Number [1]: ", "! Nothing was read", "some.env into dev app", "A", "changes to dev", "Sent: app is version 1.")
		return p
	},
	"variables": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		p := talk(t, w, "1 e", "lines", w.Canary("ONE_OF=FAKE-pasted-one-1")+"\n"+w.Canary("TWO_OF=FAKE-pasted-two-2")+"\n", "3", "", "ctrl+s", "send", "yes", "q")
		p.has("It reads as 2 variables.", "3  Take them in as 2 fields", "what was pasted into dev billing/smtp", "ONE_OF", "TWO_OF", "changes to dev", "Sent: billing/smtp is version 2.")
		return p
	},
	"history": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		w.Set(t, tuitest.Dev, "billing/stripe", "STRIPE_SECRET_KEY", "FAKE-second-0123456789")
		p := talk(t, w, "2", "H", "2 mark", "1 diff", "tab", "esc", "space", "2 u", "no", "2 roll back", "yes", "q")
		p.has("history of billing/stripe, in dev:", "v2 against v1", "billing/stripe, v2 against v1, in dev:", "changed", "Roll billing/stripe back to version 1?", "Cancelled.",
			"Type yes to roll back [no]: yes", "Version 3 of billing/stripe is version 1 again.")
		return p
	},
	"compare": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		w.Config.FreeFacts = false
		p := talk(t, w, "1 elsewhere", "esc", "esc", "C", "D", "f", "f", "f", ">", "<", "tab", "1 copy to", "2", "prod", "no", "c", "", "1 open", "q", "q")
		p.has("compare dev, prod, preview, in dev:", "names of dev", "VERDICT", "missing in preview", "Copy from ", "Number, text to find, or enter to go back: ")
		return p
	},
	"copy to prod": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		p := talk(t, w, "2 c", "1", "", "2 c", "1", "dev", "2 c", "1", "prod", "", "2 c", "1", "prod", "yes", "q")
		p.has("STRIPE_SECRET_KEY to PROD", "Type the environment's name (prod) to go on: \nCancelled", "(prod) to go on: dev\nCancelled", "Type yes to copy [no]: \nCancelled",
			"Type yes to copy [no]: yes", "Copied STRIPE_SECRET_KEY to prod, which has version 2 now.")
		return p
	},
	"delete": func(t *testing.T) *person {
		p := talk(t, tuitest.NewWorld(t), "prod", "2 d", "yes", "2 d", "prod", "yes", "3 delete secret", "prod", "yes", "q")
		p.has("names of prod, in PROD *protected*:", "PROD *protected*> 2 d", "Delete STRIPE_SECRET_KEY from PROD?", "Cancelled", "Deleted STRIPE_SECRET_KEY from prod.", "Deleted checkout from prod.")
		return p
	},
	"run": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		r := &runner{}
		w.Config.Runner = r
		p := talk(t, w, "$", "", "esc", "run", "make test", "P", "$", "make", "P", "P", "prod", "$", "make deploy", "no", "$", "make deploy", "prod", "yes", "q")
		p.has("Run with dev", "Not yet: Type what a shell would run.", "The command has ended: exit status 3.", "Type the environment's name (prod)")
		if want := []string{"dev: make test", "dev: make (masked)", "prod: make deploy"}; !slices.Equal(r.lines, want) {
			t.Errorf("run were %q", r.lines)
		}
		return p
	},
	"bell": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		bell, asked := tui.NewBell(), false
		w.Config.Bell = bell
		w.Config.Open = func(ctx context.Context, env vault.Env) (vault.Vault, error) {
			if env == tuitest.Dev || asked {
				return w.Vault, nil
			}
			asked = true
			bell.Say("the vault is older than " + evil + " seen")
			bell.Say("and something else")
			bell.Wait("touch the token")
			pin, err := bell.Ask(ctx, tui.Question{From: "age-plugin-toy", Text: "PIN" + evil, Hidden: true})
			if err != nil || string(pin) != w.Canary("314159") {
				t.Errorf("the PIN was %q, %v", pin, err)
			}
			if yes, err := bell.Choose(ctx, tui.Question{From: "age-plugin-toy", Text: "use slot 1?", Yes: "this one", No: "another"}); !yes || err != nil {
				t.Errorf("the slot: %v, %v", yes, err)
			}
			_, err = bell.Ask(ctx, tui.Question{From: "age-plugin-toy", Text: "its owner"})
			if !errors.Is(err, tui.ErrNoAnswer) {
				t.Errorf("cancelled: %v", err)
			}
			return w.Vault, nil
		}
		p := talk(t, w, "prod", "314159", "2", "esc", "!", "q")
		p.has("Waiting: touch the token", "names of prod", "age-plugin-toy asks", "PIN^[]0;title", "Answer, not shown: ", "1  another", "Number [1]: 2", "its owner", "Answer: esc", "Cancelled.", "6 names", "> !", "Said before")
		for _, once := range []string{"\nthe vault is older than ^[", "\nand something else\n", "Waiting: touch the token\n"} {
			if n := strings.Count(p.said.String(), once); n != 1 {
				t.Errorf("%q was said %d times:\n%s", once, n, p.said.String())
			}
		}
		return p
	},
	"broken board": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		w.Board.Fail = errBoard
		p := talk(t, w, "y", "!", "ctrl+c")
		p.has("! no display")
		return p
	},
	"ask": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		g := tuitest.NewGate(t, w)
		p := talk(t, w, "preview", "R", "on call", "send", "yes", "p", "take back", "yes", "esc", "S", "p", "q")
		p.has("access to preview, in preview [locked]:", "preview is locked for you", "preview [locked]> R", "Why: on call", "because: on call", "Ask for access to preview?", "Type yes to ask [no]: yes",
			"check code", "Copied the commands", "Your request for preview is gone.", "session, in preview", "Copied your public key")
		want(t, g, "Ask preview", "Deny preview preview/alice@laptop ")
		return p
	},
	"decide": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		g := tuitest.NewGate(t, w)
		code := g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "on call"})
		g.Ask(tuitest.Dev, screen.Request{Who: "eve@home", Reason: "curious"})
		p := talk(t, w, "I", "1", "a", "0000 0000 0000", "", "yes", "approve", code, "7d", "no", "a", code, "7d", "yes", "esc", "1 deny", "", "x", "yes", "tab", "esc", "q")
		p.has("requests in the inbox: 2", "requests, in dev:", "dave@home", "on call", "Check code: 0000", "Not approved", "Let dave@home into dev?", "Type yes to approve [no]: no", "dave@home can open dev now",
			"Deny eve@home access to dev?", "Denied: the request of eve@home for dev is gone.")
		for _, c := range g.Codes() {
			if strings.Contains(p.said.String(), "code "+c) {
				t.Errorf("a check code was said:\n%s", p.said.String())
			}
		}
		return p
	},
	"members": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		g := tuitest.NewGate(t, w)
		g.Member(tuitest.Dev, screen.Member{Name: "old@desk", Key: tuitest.Recipient("old"), Until: tuitest.Start.Add(-time.Hour), Since: tuitest.Start.AddDate(0, -1, 0)})
		g.Expose(tuitest.Dev, "billing/stripe", "STRIPE_SECRET_KEY", "mallory@home")
		p := talk(t, w, "who", "2 mark", "2 mark", "2", "enter", "n", "zed@home", tuitest.Recipient("zed").Recipient, "", "yes", "esc", "2 remove", "no", "2 remove", "yes", "esc", "new key", "yes", "esc", "sweep", "yes", "esc",
			"O", "1 open", "esc", "1 p", "q", "q", "q")
		p.has("who can open dev, in dev:", "alice@laptop (you)", "Let somebody into dev", "Let zed@home into dev?", "zed@home can open dev now", "Remove bob@desktop from dev?", "Cancelled.",
			"cannot read what is written to dev from now on", "has a new key", "Sweep dev?", "to replace in dev", "STRIPE_SECRET_KEY")
		return p
	},
	"sign in": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		s := tuitest.NewSignIns(t, w)
		s.Out(screen.SignedOut)
		until := tuitest.Start.Add(5 * time.Minute)
		s.Run = func(ctx context.Context, _ vault.Env, how screen.How, p screen.Person) (screen.Signed, error) {
			switch how {
			case screen.ByDevice:
				p.Code(screen.Code{Code: tuitest.SignInCode + evil, URL: tuitest.DeviceURL, Host: "laptop", Until: until})
				return screen.Signed{}, errors.New("id.acme.example says no: access_denied")
			case screen.ByPaste:
				p.Visit(screen.Visit{URL: tuitest.SignInURL, Until: until})
				for {
					select {
					case text := <-p.Pasted():
						if s.Pasted = append(s.Pasted, text); len(s.Pasted) > 1 {
							return s.In(), nil
						}
						p.Note("that is not the address")
					case <-ctx.Done():
						return screen.Signed{}, ctx.Err()
					}
				}
			}
			p.Visit(screen.Visit{URL: tuitest.SignInURL, Until: until, Opened: true})
			return s.In(), nil
		}
		s.Is.Accounts = append(s.Is.Accounts, screen.Account{ID: "a2", Label: "admin@acme.example"})
		long := "http://127.0.0.1:1/callback?state=x&code=" + strings.Repeat("FAKEcode", 1000)
		p := talk(t, w, "sign in", "3", "ctrl+r", "esc", "S", "sign in", "4", "nonsense", long, "account", "2", "sign out", "no", "Q", "yes", "", "ctrl+r", "", "esc", "q")
		p.has("L You are not signed in to vault.acme.example", "Now: You are not signed in to vault.acme.example: ctrl+r signs in", "How do you sign in?", "3  with a code, on another device",
			"Waiting: code WDJB-MJHT^[", "open https://id.acme.example/device", "Approve it only if", "! Not signed in: id.acme.example says no",
			"session, in dev:", "4  in any browser, and paste", "Number [1]: 4", "Open this in any browser", "https://id.acme.example/authorize?", "not shown; esc cancels: \n",
			"that is not the address", "not shown; esc cancels: \n", "Signed in to vault.acme.example as alice@acme.example.", "preview", "not reachable",
			"Account at vault.acme.example", "Another account is used now.", "Sign out of vault.acme.example as alice@acme.example?", "Cancelled.", "Type yes to sign out [no]: yes",
			"the token was revoked", "Waiting: Your browser was opened", "Signed in to")
		p.lacks("FAKEcode", "nonsense")
		if len(s.Pasted) != 2 || s.Pasted[1] != long || s.Used != "a2" || s.Outs != 1 {
			t.Errorf("pasted %q, used %q, signed out %d times", s.Pasted, s.Used, s.Outs)
		}
		return p
	},
	"vault": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		g := tuitest.NewGate(t, w)
		g.ChangeCare(tuitest.Dev, func(c *screen.Care) { c.Unsealed = 3 })
		p := talk(t, w, "K", "check", "seal", "yes", "R", "q", "q")
		p.has("the vault of dev, in dev:", "right, nothing found", "Seal dev?", "dev is sealed.", "request: dev is open to you.")
		return p
	},
	"trust": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		g := tuitest.NewGate(t, w)
		g.Shut(tuitest.Dev, screen.Standing{Shut: screen.NewKey, Key: screen.Key{Gen: 1, Fingerprint: "7QMX-2K4D-9TRW-EV01"}})
		p := talk(t, w, "accept key", "yes", "q", "q")
		p.has("dev is new to this machine", "7QMX-2K4D-9TRW-EV01", "Take this key for dev?", "Type yes to accept it")
		want(t, g, "Trust dev 7QMX-2K4D-9TRW-EV01")
		return p
	},
	"conflict": func(t *testing.T) *person {
		w := tuitest.NewWorld(t)
		p := &person{t: t, w: w}
		p.answers = []string{"2 e", "type", w.Canary("FAKE-mine-0123456789"), "ctrl+s", "send", "yes", "D", "2", "send", "yes", "q", "q"}
		p.before = func(question string) {
			if strings.HasPrefix(question, "Type yes to send") && len(p.answers) > 5 {
				w.Set(t, tuitest.Dev, "billing/stripe", "STRIPE_WEBHOOK_KEY", "FAKE-theirs-0123456789")
			}
		}
		p.run()
		p.has("Not sent, and your changes are kept: somebody else has written meanwhile.", "Somebody else has changed billing/stripe", "1  Leave my draft as it is for now", "Sent: billing/stripe is version 3.")
		return p
	},
}

// hostile is a vault in which everything that others can write is written to
// break a terminal.
type hostile struct{ vault.Vault }

const evil = "\x1b]0;title\a\x1b[2J\u202eEDOC\u2066\u200b\x07\u009b31m\xff\x00"

func (hostile) List(context.Context, vault.Env, vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		yield(vault.Info{Env: "dev", Path: "a", Version: 2, At: tuitest.Start.Add(-time.Hour), By: "mallory" + evil,
			Fields: []vault.FieldInfo{{Name: "PLAIN"}, {Name: vault.FieldName("F" + evil)}, {Name: "日本語_鍵"}}, Tags: []string{"tag" + evil}, Note: "note" + evil + "\nsecond\rline"}, nil)
	}
}

func (h hostile) Get(ctx context.Context, env vault.Env, path vault.Path) (vault.Secret, error) {
	for info := range h.List(ctx, env, path) {
		return vault.Secret{Info: info, Values: []vault.Field{{Name: "PLAIN", Value: vault.NewValueString("one" + evil + "\r\n\ttwo\n")}}}, nil
	}
	return vault.Secret{}, nil
}

// What others have written never reaches the terminal raw: not from a list, a
// dialog, a question or an error, and not from a value that is printed.
func TestHostileText(t *testing.T) {
	w := tuitest.NewWorld(t)
	w.Config.Open = func(context.Context, vault.Env) (vault.Vault, error) { return hostile{w.Vault}, nil }
	g := tuitest.NewGate(t, w)
	g.Ask(tuitest.Dev, screen.Request{Who: "dave" + evil, Reason: "because" + evil + "\nForged: yes"})
	g.Member(tuitest.Dev, screen.Member{Name: "eve" + evil, Key: tuitest.Recipient("eve")})
	p := talk(t, w, "/"+evil, "esc", "1", "2", "3", "2 open", "p", "d", "no", "q", "2 v", "yes", "1 e", "type", "x"+evil, "v", "yes", "ctrl+x", "2", "q", "I", "1", "enter", "x", "no", "a", evil, "", "no", "q", "w", "4 d", "no", "q", "C", "q", ":", evil, "", evil, "q")
	p.has("<202E>EDOC", "^[]0;title^G", "日本語_鍵", "one^[]0;title^G^[[2J<202E>EDOC", "<FF>^@^M\n^Itwo\n", "because")
	p.lacks("\nForged")
}

// Whatever ends it, nothing is half done: what was not sent is gone, and says so.
func TestItEnds(t *testing.T) {
	for name, answers := range map[string][]string{
		"at the prompt": {"1"}, "in a menu": {"E"}, "before the yes": {"1 d"}, "in a form": {"n"}, "before a value": {"1 e", "type"}, "in a question": {"1 v"}, "in lines": {"1 e", "lines"},
	} {
		t.Run(name, func(t *testing.T) {
			w := tuitest.NewWorld(t)
			p := talk(t, w, answers...)
			if info, err := w.Vault.Get(t.Context(), tuitest.Dev, "billing/smtp"); err != nil || info.Version != 1 {
				t.Errorf("it was changed: %v, %v", info.Version, err)
			}
			p.lacks("Left. ")
		})
	}
	w := tuitest.NewWorld(t)
	p := talk(t, w, "1 e", "type", w.Canary("FAKE-never-sent-0123456789"), "ctrl+s", "send")
	p.has("Type yes to send [no]: ", "Left. What was changed and not sent is gone: 1.")

	// Whoever leaves by q is asked, and no keeps them here.
	p = talk(t, tuitest.NewWorld(t), "1 e", "type", "FAKE-not-sent-0123456789", "q", "q", "", "q", "yes")
	p.has("dev> q", "dev> q\nLeave?", "1 change has not been sent and would be lost.", "Type yes to leave [no]: \nCancelled.", "Type yes to leave [no]: yes")

	// The context of the program is one of the ends.
	ctx, cancel := context.WithCancel(t.Context())
	q := &person{t: t, w: tuitest.NewWorld(t)}
	c := q.w.Config
	terminal := q.terminal()
	terminal.Line = func(ctx context.Context, question string) (string, error) {
		cancel()
		<-ctx.Done()
		return "", plain.ErrEnd
	}
	if _, err := plain.RunDid(ctx, c, terminal, func(string) {}); err != nil {
		t.Error(err)
	}
}

// Whoever does not want to wait stops what is read, and stays; a write is waited
// for, unless they say so twice. What has crashed says of which type it was.
func TestNobodyWaits(t *testing.T) {
	interrupt := func() {
		t.Helper()
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Signal(os.Interrupt)
		}
		if err != nil {
			t.Skip("nobody can be interrupted here:", err)
		}
	}
	t.Run("a read", func(t *testing.T) {
		w := tuitest.NewWorld(t)
		w.Config.Open = func(ctx context.Context, env vault.Env) (vault.Vault, error) {
			if env == tuitest.Prod {
				interrupt()
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return w.Vault, nil
		}
		p := talk(t, w, "prod", "dev", "q")
		p.has("names of prod", "Stopped. r reads again.", "PROD *protected*> dev", "names of dev")
	})
	for name, again := range map[string]bool{"a write": false, "a write, and not that long": true} {
		t.Run(name, func(t *testing.T) {
			w := tuitest.NewWorld(t)
			told, over := make(chan struct{}), make(chan struct{})
			p := &person{t: t, w: w, answers: []string{"1 d", "yes", "q"}}
			p.hears = func(text string) {
				if strings.HasPrefix(text, "Waiting: still deleting SMTP_PASSWORD; ctrl+c again") {
					close(told)
				}
			}
			w.Vault.Memory.FailWith(func(c vaulttest.Call) error {
				if c.Op != "commit" {
					return nil
				}
				interrupt()
				<-told
				if again {
					interrupt()
					<-over
				}
				return nil
			})
			if again {
				p.answers = p.answers[:2]
			}
			p.run()
			close(over)
			if again {
				p.has("Left while deleting SMTP_PASSWORD was not done: look whether it is.")
				return
			}
			p.has("Deleted SMTP_PASSWORD from dev.", "dev> q")
		})
	}
	t.Run("a crash", func(t *testing.T) {
		w := tuitest.NewWorld(t)
		w.Config.Open = func(context.Context, vault.Env) (vault.Vault, error) { panic("FAKE-in-a-panic") }
		p := &person{t: t, w: w}
		end, err := plain.RunDid(t.Context(), w.Config, p.terminal(), func(string) {})
		if err != nil || end.Crash == nil || strings.Contains(end.Crash.Error()+end.Crash.Stack, "FAKE") || !strings.Contains(end.Crash.Stack, "plain_test.go") {
			t.Errorf("got %v, %+v", err, end.Crash)
		}
		p.lacks("FAKE")
	})
}

// With ASCII alone nothing else is printed, of our own words either.
func TestASCII(t *testing.T) {
	w := tuitest.NewWorld(t)
	w.Config.Look.ASCII = true
	w.Set(t, tuitest.Dev, "billing/stripe", "STRIPE_SECRET_KEY", "FAKE-später-日本")
	p := talk(t, w, "?", "2 open", "v", "yes", "H", "1 D", "q", "q", "q", "C", "q", "2 e", "q", "i", "esc", "q", ":", "", "q")
	if i := strings.IndexFunc(p.said.String(), func(r rune) bool { return r > '~' }); i >= 0 {
		t.Errorf("%.40q is printed", p.said.String()[i:])
	}
}

// A terminal that takes nothing more is an error, and ends it.
func TestTerminalGone(t *testing.T) {
	w := tuitest.NewWorld(t)
	q := &person{t: t, w: w}
	terminal := q.terminal()
	terminal.Out = gone{}
	if _, err := plain.RunDid(t.Context(), w.Config, terminal, func(string) {}); !errors.Is(err, errBoard) {
		t.Errorf("got %v", err)
	}
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errBoard }

// Of many rows a page is said, and any of them can be gone to.
func TestManyRows(t *testing.T) {
	w := tuitest.NewWorld(t)
	c := vault.Change{Path: "many", Was: vault.Any}
	for i := range 95 {
		c.Set = append(c.Set, vault.Field{Name: vault.FieldName(fmt.Sprintf("FIELD_%03d", i)), Value: vault.NewValueString("FAKE")})
	}
	if _, err := w.Vault.Apply(t.Context(), tuitest.Empty, []vault.Change{c}); err != nil {
		t.Fatal(err)
	}
	p := talk(t, w, "preview", "page down", "pgdown", "page up", "70", "95 p", "96", "0", "/'094", "q")
	p.has("names of preview", ">1   many/FIELD_000", "40   many/FIELD_039  ", "rows 1 to 40 of 95: page down, page up",
		">41   many/FIELD_040", "rows 41 to 80 of 95", ">81   many/FIELD_080", "rows 81 to 95 of 95", ">41   many/FIELD_040", ">70   many/FIELD_069", "Copied many/FIELD_094",
		"There is no row 96.", "There is no row 0.", ">1   many/FIELD_094")
	first, _, _ := strings.Cut(p.said.String(), "rows 1 to 40")
	if strings.Contains(first, "FIELD_040") {
		t.Error("more than a page was said")
	}
}

func want(t *testing.T, g *tuitest.Gate, calls ...string) {
	t.Helper()
	if !slices.Equal(g.Calls, calls) {
		t.Errorf("what was changed: %q, want %q", g.Calls, calls)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
