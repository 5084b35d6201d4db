package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/agekey"
	"envrun/tui"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/filevault"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	gateDev  vault.Env = "dev"
	gateProd vault.Env = "prod"
)

// A crew works in one folder under git, each at a machine of their own.
type crew struct {
	t   *testing.T
	dir string
	now time.Time
}

func newCrew(t *testing.T) *crew {
	t.Helper()
	top := t.TempDir()
	t.Setenv("HOME", filepath.Join(top, "home"))
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	w := &crew{t: t, dir: filepath.Join(top, "app"), now: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)}
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(w.dir)
	w.git("init", "-q")
	return w
}

func (w *crew) git(args ...string) {
	w.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Dave", "-c", "user.email=dave@example.org"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("git %s: %v\n%s", args, err, out)
	}
}

// A seat is one of them.
type seat struct {
	*gate
	crew *crew
	env  map[string]string
	out  *os.File // what was printed
}

// sit is somebody who has an identity and, after some commands, the interface.
func (w *crew) sit(commands ...[]string) *seat {
	w.t.Helper()
	top := w.t.TempDir()
	out, err := os.Create(filepath.Join(top, "out"))
	if err != nil {
		w.t.Fatal(err)
	}
	in, err := os.Open(os.DevNull)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { out.Close(); in.Close() })
	s := &seat{crew: w, out: out, env: map[string]string{"ENVRUN_CONFIG_DIR": filepath.Join(top, "config"), "ENVRUN_STATE_DIR": filepath.Join(top, "state")}}
	s.gate = &gate{t: s.tool()}
	for _, args := range commands {
		s.types(args...)
	}
	s.begin()
	return s
}

func (s *seat) tool() *tool {
	t := &tool{environ: func() []string { return nil }, now: func() time.Time { return s.crew.now }, goos: "linux", releaseSignals: func() {}}
	in, err := os.Open(os.DevNull)
	if err != nil {
		s.crew.t.Fatal(err)
	}
	s.crew.t.Cleanup(func() { in.Close() })
	t.In, t.Out, t.Err, t.Getenv = in, s.out, s.out, func(name string) string { return s.env[name] }
	return t
}

// types gives a command to envrun.
func (s *seat) types(args ...string) {
	s.crew.t.Helper()
	t := s.tool()
	root := newRoot(t, args)
	root.SetArgs(args)
	if err := root.ExecuteContext(s.crew.t.Context()); err != nil {
		s.crew.t.Fatalf("envrun %s: %v", strings.Join(args, " "), err)
	}
}

// begin begins the interface.
func (s *seat) begin() {
	s.crew.t.Helper()
	t := s.tool()
	p, err := t.project()
	if err != nil {
		s.crew.t.Fatal(err)
	}
	open, _, err := t.openers(p, tui.NewBell())
	if err != nil {
		s.crew.t.Fatal(err)
	}
	s.gate = newGate(t, open)
	if err := s.out.Truncate(0); err != nil {
		s.crew.t.Fatal(err)
	}
}

// quiet fails the test if anything was printed: the interface has the terminal.
func (s *seat) quiet() {
	s.crew.t.Helper()
	if info, err := s.out.Stat(); err != nil || info.Size() > 0 {
		text, _ := os.ReadFile(s.out.Name())
		s.crew.t.Errorf("it was printed: %s", text)
	}
}

func (w *crew) alice() *seat {
	return w.sit([]string{"init", "--env", "dev,prod", "--no-recovery", "--store", "file", "--member", "alice@laptop"},
		[]string{"set", "-e", "dev", "billing/STRIPE_KEY=FAKE-one"}, []string{"set", "-e", "dev", "billing/SMTP_PASSWORD=FAKE-two"},
		[]string{"set", "-e", "prod", "--yes=prod", "billing/STRIPE_KEY=FAKE-three"})
}

func (w *crew) bob() *seat {
	return w.sit([]string{"key", "new", "--member", "bob@desktop", "--store", "file"})
}

func must1[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (s *seat) standing(env vault.Env) screen.Standing {
	s.crew.t.Helper()
	return must1[screen.Standing](s.crew.t)(s.Standing(s.crew.t.Context(), env))
}

// only is the one request that somebody can see.
func (s *seat) only() screen.Request {
	s.crew.t.Helper()
	all := must1[[]screen.Request](s.crew.t)(s.Requests(s.crew.t.Context()))
	if len(all) != 1 {
		s.crew.t.Fatalf("%d requests", len(all))
	}
	return all[0]
}

func wantKind(t *testing.T, err error, kind vault.Kind) {
	t.Helper()
	if vault.KindOf(err) != kind || err == nil {
		t.Errorf("got %v, want %s", err, kind)
	}
}

// joined is alice and bob, who is let into dev by way of a request.
func joined(t *testing.T) (*crew, *seat, *seat) {
	t.Helper()
	w := newCrew(t)
	alice, bob := w.alice(), w.bob()
	ctx := t.Context()
	q := must1[screen.Request](t)(bob.Granting(gateDev).Ask(ctx, "on call", ""))
	seen := alice.only()
	must1[screen.Outcome](t)(alice.Granting(gateDev).Approve(ctx, screen.Approval{ID: seen.ID, Rev: seen.Rev, Code: q.Code}))
	is := bob.standing(gateDev)
	if err := bob.Granting(gateDev).Trust(ctx, is.Key.Fingerprint); err != nil {
		t.Fatal(err)
	}
	return w, alice, bob
}

// Somebody asks, is let in by the code that they read out, accepts the key that
// is new to their machine, and is in.
func TestGateRequest(t *testing.T) {
	w := newCrew(t)
	ctx := t.Context()
	alice, bob := w.alice(), w.bob()

	is := bob.standing(gateDev)
	if is.Shut != screen.NoKey || is.Member != "bob@desktop" || !slices.Equal(is.Deciders, []string{"alice@laptop"}) || !is.Claimed || is.Names != 1 || is.Asked != nil || is.Err == nil {
		t.Errorf("%+v", is)
	}
	if is := alice.standing(gateDev); !is.Open() || is.Member != "alice@laptop" {
		t.Errorf("%+v", is)
	}
	_, err := alice.Granting(gateDev).Ask(ctx, "", "")
	wantKind(t, err, vault.KindExists)

	q := must1[screen.Request](t)(bob.Granting(gateDev).Ask(ctx, "on call", ""))
	if q.Code == "" || !q.Mine || q.Reason != "on call" || !q.At.Equal(w.now) || len(q.Steps) != 4 || q.Steps[3].Command != "envrun access approve bob@desktop -e dev" {
		t.Errorf("%+v", q)
	}
	if is := bob.standing(gateDev); is.Asked == nil || is.Asked.Code != q.Code {
		t.Errorf("%+v", is.Asked)
	}
	again := must1[screen.Request](t)(bob.Granting(gateDev).Ask(ctx, "on call", ""))
	if again.Code != q.Code || again.Rev != q.Rev {
		t.Errorf("the same request is another: %+v", again)
	}

	seen := alice.only()
	if seen.Code != "" || len(seen.Steps) > 0 || seen.Mine || seen.Off != "" || !seen.Coded || !seen.Claimed || seen.Author != "" || seen.Who != "bob@desktop" || !seen.Key.PostQuantum {
		t.Errorf("%+v", seen)
	}
	w.git("add", "-A")
	w.git("commit", "-qm", "a request")
	if seen := alice.only(); !strings.HasPrefix(seen.Author, "Dave <dave@example.org>") {
		t.Errorf("brought by %q", seen.Author)
	}
	if mine := bob.only(); !mine.Mine || mine.Code != q.Code || mine.Off == "" {
		t.Errorf("%+v", mine)
	}

	approve := func(code, rev string) error {
		_, err := alice.Granting(gateDev).Approve(ctx, screen.Approval{ID: seen.ID, Rev: rev, Code: code})
		return err
	}
	err = approve("0000-0000-0000", seen.Rev)
	wantKind(t, err, vault.KindDenied)
	if what, next := alice.t.sentence(err); !strings.Contains(what, "the check code is not that of the request") || !strings.Contains(next, "envrun access deny bob@desktop -e dev") {
		t.Errorf("%s: %s", what, next)
	}
	wantKind(t, approve(q.Code, "another"), vault.KindConflict)
	_, err = bob.Granting(gateDev).Approve(ctx, screen.Approval{ID: seen.ID, Rev: seen.Rev, Code: q.Code})
	wantKind(t, err, vault.KindDenied) // nobody approves their own

	out := must1[screen.Outcome](t)(alice.Granting(gateDev).Approve(ctx, screen.Approval{ID: seen.ID, Rev: seen.Rev, Code: strings.ToLower(q.Code)}))
	if out.Member != "bob@desktop" || out.Key.Fingerprint == "" || len(out.Steps) != 1 || out.Steps[0].Command != "git add .envrun/vault && git commit -m 'dev: let bob@desktop in' && git push" {
		t.Errorf("%+v", out)
	}
	wantKind(t, approve(q.Code, seen.Rev), vault.KindNotFound)

	is = bob.standing(gateDev)
	if is.Shut != screen.NewKey || is.Key.Fingerprint != out.Key.Fingerprint {
		t.Errorf("%+v", is)
	}
	if err := bob.Granting(gateDev).Trust(ctx, "AAAA-BBBB-CCCC-DDDD"); err == nil {
		t.Error("another key was accepted")
	}
	if err := bob.Granting(gateDev).Trust(ctx, strings.ToLower(is.Key.Fingerprint)); err != nil {
		t.Fatal(err)
	}
	if is := bob.standing(gateDev); !is.Open() || is.Member != "bob@desktop" {
		t.Errorf("%+v", is)
	}
	alice.quiet()
	bob.quiet()
}

// A request is decided as it was shown, and denied without a key.
func TestGateDeny(t *testing.T) {
	w := newCrew(t)
	ctx := t.Context()
	alice, bob := w.alice(), w.bob()
	must1[screen.Request](t)(bob.Granting(gateProd).Ask(ctx, "first", ""))
	seen := alice.only()
	must1[screen.Request](t)(bob.Granting(gateProd).Ask(ctx, "second", ""))
	_, err := alice.Granting(gateProd).Deny(ctx, seen.ID, seen.Rev, "")
	wantKind(t, err, vault.KindConflict)
	seen = alice.only()
	_, err = alice.Granting(gateProd).Deny(ctx, seen.ID, seen.Rev, "because")
	wantKind(t, err, vault.KindInvalid)
	out := must1[screen.Outcome](t)(bob.Granting(gateProd).Deny(ctx, seen.ID, seen.Rev, "")) // taken back
	if len(out.Steps) != 1 || !strings.Contains(out.Steps[0].Command, "prod: deny bob@desktop") {
		t.Errorf("%+v", out)
	}
	if all := must1[[]screen.Request](t)(alice.Requests(ctx)); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	_, err = alice.Granting(gateProd).Deny(ctx, seen.ID, seen.Rev, "")
	wantKind(t, err, vault.KindNotFound)

	// What cannot be read is shown as that, and can be denied.
	file := filepath.Join(".envrun", "vault", "requests", "prod", "eve@x.req")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	q := alice.only()
	if q.Problem == "" || q.Who != "eve@x" {
		t.Errorf("%+v", q)
	}
	must1[screen.Outcome](t)(alice.Granting(gateProd).Deny(ctx, q.ID, q.Rev, ""))
}

// Asking is about the same requests, and opens nothing.
func TestGateAsking(t *testing.T) {
	w, alice, bob := joined(t)
	ctx := t.Context()
	carol := w.sit([]string{"key", "new", "--member", "carol@desk", "--store", "file"})
	must1[screen.Request](t)(carol.Granting(gateProd).Ask(ctx, "x", ""))
	waits := func(s *seat) int {
		t.Helper()
		return screen.Waiting(must1[[]screen.Request](t)(s.Asking(ctx)))
	}
	if n := waits(alice); n != 1 {
		t.Errorf("%d wait for alice", n)
	}
	if n := waits(carol); n != 0 {
		t.Errorf("%d wait for carol", n)
	}
	bob.standing(gateProd) // which he cannot open, as is known then
	if n := waits(bob); n != 0 {
		t.Errorf("%d wait for bob", n)
	}
	if q := bob.only(); !q.Others || q.Off != "you hold no key of prod" {
		t.Errorf("%+v", q)
	}
}

// Members come and go: what they could read is listed until it has a new value.
func TestGateMembers(t *testing.T) {
	_, alice, bob := joined(t)
	ctx := t.Context()
	m := must1[screen.Members](t)(alice.Members(ctx, gateDev))
	if m.Closed != nil || len(m.List) != 2 || !m.List[0].You || m.List[1].You || m.List[1].Name != "bob@desktop" || m.List[1].By != "alice@laptop" || m.List[1].Key.Name != "post-quantum" || m.Key.Gen != 1 {
		t.Errorf("%+v", m)
	}
	if c := must1[screen.Care](t)(alice.Care(ctx, gateDev)); c.Secrets != 1 || c.Members != 2 {
		t.Errorf("%+v", c)
	}
	if m := must1[screen.Members](t)(bob.Members(ctx, gateProd)); m.Closed == nil || len(m.List) != 1 || m.List[0].You {
		t.Errorf("%+v", m)
	}
	var steps []int
	out := must1[screen.Outcome](t)(alice.Granting(gateDev).Remove(ctx, []string{"bob@desktop"}, func(done, _ int) { steps = append(steps, done) }))
	if !out.Rotated || !slices.Equal(out.Removed, []string{"bob@desktop"}) || !slices.Equal(out.Holders, []string{"alice@laptop"}) || out.Key.Gen != 2 || out.Secrets != 1 || len(out.Exposed) != 2 || len(steps) == 0 {
		t.Errorf("%+v, steps %d", out, steps)
	}
	if !strings.Contains(out.Steps[0].Command, "'dev: remove bob@desktop'") {
		t.Errorf("%+v", out.Steps)
	}
	if is := bob.standing(gateDev); is.Shut != screen.NoKey {
		t.Errorf("%+v", is)
	}
	x := must1[[]screen.Exposed](t)(alice.Exposed(ctx, gateDev))
	if len(x) != 2 || x[0].Path != "billing" || x[0].Field != "SMTP_PASSWORD" || !slices.Equal(x[0].Who, []string{"bob@desktop"}) || x[0].At.IsZero() {
		t.Errorf("%+v", x)
	}
	alice.types("set", "-e", "dev", "billing/SMTP_PASSWORD=FAKE-new")
	if x := must1[[]screen.Exposed](t)(alice.Exposed(ctx, gateDev)); len(x) != 1 || x[0].Field != "STRIPE_KEY" {
		t.Errorf("%+v", x)
	}
	_, err := alice.Granting(gateDev).Remove(ctx, []string{"alice@laptop"}, nil)
	wantKind(t, err, vault.KindInvalid)

	out = must1[screen.Outcome](t)(alice.Granting(gateDev).Rotate(ctx, nil))
	if !out.Rotated || out.Key.Gen != 3 || len(out.Removed) > 0 || !strings.Contains(out.Steps[0].Command, "'dev: new key'") {
		t.Errorf("%+v", out)
	}
	_, err = alice.Granting(gateDev).Sweep(ctx, []string{"alice@laptop"}, nil)
	wantKind(t, err, vault.KindConflict)
}

// What is given until a time is taken by a sweep.
func TestGateUntil(t *testing.T) {
	w, alice, bob := joined(t)
	ctx := t.Context()
	until := must1[time.Time](t)(alice.Until("8h"))
	_, err := alice.Granting(gateDev).Add(ctx, screen.NewMember{Name: "bob@desktop", Recipient: must1[filevault.Ask](t)(bob.self(ctx)).Recipient, Until: until})
	if err != nil {
		t.Fatal(err)
	}
	bob.begin()
	if is := bob.standing(gateDev); !is.Open() || !is.Until.Equal(until) {
		t.Errorf("%+v", is)
	}
	w.now = w.now.Add(9 * time.Hour)
	bob.begin()
	if is := bob.standing(gateDev); is.Shut != screen.Ended || !is.Until.Equal(until) {
		t.Errorf("%+v", is)
	}
	out := must1[screen.Outcome](t)(alice.Granting(gateDev).Sweep(ctx, []string{"bob@desktop"}, nil))
	if !slices.Equal(out.Removed, []string{"bob@desktop"}) {
		t.Errorf("%+v", out)
	}
}

// Another key for a name that has one is told apart from other refusals.
func TestGateOtherKey(t *testing.T) {
	_, alice, _ := joined(t)
	ctx := t.Context()
	id := must1[*agekey.Identity](t)(agekey.Generate())
	kind := must1[screen.KeyKind](t)(alice.Recipient("# bob's\n" + id.Recipient() + "\n"))
	m := screen.NewMember{Name: "bob@desktop", Recipient: kind.Recipient}
	_, err := alice.Granting(gateDev).Add(ctx, m)
	wantKind(t, err, vault.KindExists)
	if !errors.Is(err, screen.ErrOtherKey) || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	m.Replace = true
	must1[screen.Outcome](t)(alice.Granting(gateDev).Add(ctx, m))
	_, err = alice.Granting(gateDev).Add(ctx, m)
	wantKind(t, err, vault.KindExists)
	if errors.Is(err, screen.ErrOtherKey) {
		t.Error(err)
	}
}

// What is stored is told as vault status tells it.
func TestGateCare(t *testing.T) {
	_, alice, bob := joined(t)
	ctx := t.Context()
	alice.types("set", "-e", "dev", "billing/NEW=FAKE-x")
	c := must1[screen.Care](t)(alice.Care(ctx, gateDev))
	if c.Closed != nil || c.Unsealed != 1 || c.Secrets != 1 || c.Members != 2 || c.Classic != 0 || c.Pinned != 1 || c.Key.Gen != 1 || c.Dir != ".envrun/vault" {
		t.Errorf("%+v", c)
	}
	out := must1[screen.Outcome](t)(alice.Granting(gateDev).Seal(ctx))
	if len(out.Steps) != 1 || !strings.Contains(out.Steps[0].Command, "'dev: seal'") {
		t.Errorf("%+v", out)
	}
	if c := must1[screen.Care](t)(alice.Care(ctx, gateDev)); c.Unsealed != 0 {
		t.Errorf("%+v", c)
	}
	if c := must1[screen.Care](t)(bob.Care(ctx, gateProd)); c.Closed == nil || c.Pinned != 0 {
		t.Errorf("%+v", c)
	}
	_, err := bob.Granting(gateProd).Seal(ctx)
	wantKind(t, err, vault.KindDenied)
	_, err = alice.Care(ctx, "moon")
	wantKind(t, err, vault.KindNoEnv)
}

// Who works here, and what that opens.
func TestGateSession(t *testing.T) {
	w, _, bob := joined(t)
	ctx := t.Context()
	s := must1[screen.Session](t)(bob.Session(ctx))
	if s.Member != "bob@desktop" || s.Problem != nil || s.Guarded || !strings.HasPrefix(s.Kept, bob.env["ENVRUN_CONFIG_DIR"]) || !s.Key.PostQuantum || s.State != bob.env["ENVRUN_STATE_DIR"] || s.Made.IsZero() {
		t.Errorf("%+v", s)
	}
	if len(s.Envs) != 2 || !s.Envs[0].Open() || s.Envs[0].Pinned != 1 || s.Envs[1].Shut != screen.NoKey || s.Envs[1].Pinned != 0 || s.Envs[1].Key.Gen != 1 {
		t.Errorf("%+v", s.Envs)
	}

	// Somebody without an identity sees what can be seen, and is told.
	nobody := &seat{crew: w, out: bob.out, env: map[string]string{"ENVRUN_CONFIG_DIR": filepath.Join(t.TempDir(), "config"), "ENVRUN_STATE_DIR": filepath.Join(t.TempDir(), "state")}}
	nobody.begin()
	s = must1[screen.Session](t)(nobody.Session(ctx))
	if !errors.Is(s.Problem, agekey.ErrNone) || s.Envs[0].Shut != screen.NoIdentity {
		t.Errorf("%+v", s)
	}
	if what, next := nobody.t.sentence(s.Problem); what != "you have no identity on this machine to open a vault with" || !strings.Contains(next, "envrun key new") {
		t.Errorf("%s: %s", what, next)
	}
}

// A bare key in ENVRUN_KEY signs as the member whose grant it opens.
func TestGateBareKey(t *testing.T) {
	w, _, bob := joined(t)
	ctx := t.Context()
	dir := bob.env["ENVRUN_CONFIG_DIR"]
	raw, err := os.ReadFile(filepath.Join(dir, "identity"))
	if err != nil {
		t.Fatal(err)
	}
	ci := &seat{crew: w, out: bob.out, env: map[string]string{"ENVRUN_KEY": string(raw), "ENVRUN_CONFIG_DIR": filepath.Join(t.TempDir(), "config"), "ENVRUN_STATE_DIR": bob.env["ENVRUN_STATE_DIR"]}}
	ci.begin()
	if is := ci.standing(gateDev); !is.Open() || is.Member != "bob@desktop" {
		t.Errorf("%+v", is)
	}
	s := must1[screen.Session](t)(ci.Session(ctx))
	if s.Kept != "the variable ENVRUN_KEY" || !s.Guarded {
		t.Errorf("%+v", s)
	}
	id := must1[*agekey.Identity](t)(agekey.Generate())
	must1[screen.Outcome](t)(ci.Granting(gateDev).Add(ctx, screen.NewMember{Name: "erin@lab", Recipient: id.Recipient()}))
	for _, m := range must1[screen.Members](t)(ci.Members(ctx, gateDev)).List {
		if m.Name == "erin@lab" && m.By != "bob@desktop" {
			t.Errorf("let in by %q", m.By)
		}
	}
}

func TestGateReadsWhatIsTyped(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	g := newGate(&tool{now: func() time.Time { return now }}, nil)
	for text, want := range map[string]string{
		"": "0001-01-01T00:00:00Z", " 8h ": "2026-11-22T17:30:00Z", "7d": "2026-11-29T09:30:00Z", "2w": "2026-12-06T09:30:00Z",
		"2026-12-31": "2026-12-31T23:59:59Z", "2026-12-31T18:00": "2026-12-31T18:00:00Z",
		"2026-01-01": "over already", "-8h": "over already", "tomorrow": "a day (2026-12-31)", "7": "a day (2026-12-31)",
	} {
		got, err := g.Until(text)
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	hybrid := must1[*agekey.Identity](t)(agekey.Generate()).Recipient()
	for text, want := range map[string]string{
		hybrid: "post-quantum", "\n# of bob\n  " + hybrid + "  \n": "post-quantum",
		"age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t": "it takes age-plugin-yubikey",
		"age1nonsense": "mistyped or cut short", "": "is no recipient", "ssh-rsa AAAA": "cannot be sealed to", "AGE-SECRET-KEY-1": "which is secret",
	} {
		got, err := g.Recipient(text)
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && (got.Name != want || got.Recipient != hybrid) {
			t.Errorf("%q: %+v, %v, want %s", text, got, err, want)
		}
	}
}

// A face is the interface, without a terminal and with no time passing.
type face struct {
	t *testing.T
	m *tui.Model
}

func (s *seat) face() *face {
	t := s.crew.t
	m, err := tui.New(t.Context(), tui.Config{
		Project: "app", Envs: []screen.Env{{Name: gateDev}, {Name: gateProd, Protected: true}},
		Open: s.open.vault, FreeFacts: true, Gate: s.gate, Explain: s.gate.t.sentence,
		Now:   func() time.Time { return s.crew.now },
		After: func(time.Duration, tea.Msg) tea.Cmd { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	f := &face{t, m}
	f.do(m.Init())
	f.send(tea.WindowSizeMsg{Width: 100, Height: 30})
	return f
}

func (f *face) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			f.do(c)
		}
	default:
		f.send(msg)
	}
}

func (f *face) send(msg tea.Msg) {
	_, cmd := f.m.Update(msg)
	f.do(cmd)
}

// press presses keys; of a longer text each letter.
func (f *face) press(keys ...string) {
	for _, key := range keys {
		switch key {
		case "enter":
			f.send(tea.KeyPressMsg{Code: tea.KeyEnter})
		case "esc":
			f.send(tea.KeyPressMsg{Code: tea.KeyEscape})
		case "ctrl+s":
			f.send(tea.KeyPressMsg{Code: 's', Mod: tea.ModCtrl})
		default:
			for _, r := range key {
				f.send(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
		}
	}
}

func (f *face) text() string { return ansi.Strip(f.m.View().Content) }

func (f *face) has(parts ...string) {
	f.t.Helper()
	for _, p := range parts {
		if !strings.Contains(f.text(), p) {
			f.t.Errorf("%q is not on the screen:\n%s", p, f.text())
		}
	}
}

// Somebody asks, is let in, looks, and is removed again: all of it in the
// interface, over a vault of files.
func TestGateInTheInterface(t *testing.T) {
	w := newCrew(t)
	alice, bob := w.alice(), w.bob()
	d := bob.face()
	d.has("dev is locked for you", "alice@laptop, as its files say", "1 secret by name")
	d.press("R")
	d.press("on call")
	d.press("ctrl+s", "Y")
	d.has("Your request for dev", "check code", "git switch -c access-dev-bob-desktop")
	code := bob.only().Code

	a := alice.face()
	a.has("inbox 1")
	a.press("I")
	a.has("bob@desktop", "on call", "nobody: it is not committed")
	if strings.Contains(a.text(), code) {
		t.Errorf("the check code is on the screen:\n%s", a.text())
	}
	a.press("a")
	a.press("0000 0000 0000")
	a.press("ctrl+s", "Y")
	a.has("Not approved", "dev: the check code is not", "ask bob@desktop to read the code once more")
	a.press("a")
	a.press(code)
	a.press("ctrl+s", "Y")
	a.has("bob@desktop can open dev now", "git add .envrun/vault")

	d = bob.face()
	d.has("dev is new to this machine")
	d.press("a", "Y")
	d.has("dev is open to you")
	d.press("enter")
	d.has("billing/STRIPE_KEY")

	a.press("w", "j", "d")
	a.has("Remove bob@desktop from dev?")
	a.press("Y")
	a.has("bob@desktop cannot read what is written to dev from now on", "2 values in use")
	a.press("enter", "enter", "esc", "K", "c")
	a.has("1 record right, nothing found")
	a.press("S")
	a.has("alice@laptop", "known to this machine")
	alice.quiet()
	bob.quiet()
}
