package tuitest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/vaulttest"

	tea "charm.land/bubbletea/v2"
)

// SignIns is a World whose environments are on a server that people sign in to, in
// memory, by the driver's clock. alice is signed in until somebody ends that. What
// an issuer and a browser would do is done by the test, step by step: Step, End.
type SignIns struct {
	Is      screen.Signed // who is signed in
	Other   string        // the address of the server that prod is on; empty: the same
	Files   []vault.Env   // that are on no server
	Failing error         // of Signed; nil: none
	OutFail error         // of SignOut
	Ends    []screen.Ending

	// Run, if it is set, is the whole of a sign-in, without steps.
	Run func(ctx context.Context, env vault.Env, how screen.How, p screen.Person) (screen.Signed, error)

	Hows   []screen.How  // in which it was begun
	Pasted []string      // what was pasted
	Left   chan struct{} // gets one for each sign-in that was called off
	Outs   int
	Used   string // the account that was taken

	t     testing.TB
	w     *World
	steps chan step
}

// A step is what a sign-in does next.
type step struct {
	do   func(p screen.Person)
	is   screen.Signed
	err  error
	last bool
	made chan struct{}
}

// The server of a World, and what its sign-in shows: an address as issuers make
// them, and a code. They are no secrets of the vault, and must not outlive a lock.
const (
	Server     = "https://vault.acme.example"
	SignInURL  = "https://id.acme.example/authorize?response_type=code&client_id=envrun&redirect_uri=http%3A%2F%2F127.0.0.1%3A41873%2Fcallback&scope=openid+email+offline_access&state=FAKEstate0123456789abcdefghijklmnop&nonce=FAKEnonce0123456789abcdefghijklmnop&code_challenge=FAKEchallenge0123456789abcdefghijkl&code_challenge_method=S256"
	SignInCode = "WDJB-MJHT"
	DeviceURL  = "https://id.acme.example/device"
)

// ErrNotSignedIn is what the vault of a World says to somebody whose session has
// ended (NotSignedIn).
var ErrNotSignedIn = errors.New("the session is over")

// ErrStale is what it says where a newer sign-in is wanted.
var ErrStale = errors.New("the sign-in is too old")

// Refusal is an error of the vault with one of these causes.
func Refusal(env vault.Env, err error) error {
	return &vault.Error{Kind: vault.KindNoIdentity, Env: env, Err: err}
}

// NewSignIns puts the environments of a world on a server, and signs alice in for
// eight hours.
func NewSignIns(t testing.TB, w *World) *SignIns {
	s := &SignIns{t: t, w: w, steps: make(chan step), Left: make(chan struct{}, 1024)}
	s.Is = screen.Signed{
		Address: Server, State: screen.SignedIn, Label: "alice@acme.example", Subject: "00u1f2k9", Role: "developer", Policies: []string{"default", "payments-dev"},
		By: "in a browser, at id.acme.example", Kept: "the desktop's keychain", Ends: Start.Add(8 * time.Hour),
		Envs:     []screen.Reached{{Env: Dev, Reach: screen.ReachWrite}, {Env: Prod, Reach: screen.ReachNames}, {Env: Empty, Reach: screen.ReachNone}},
		Accounts: []screen.Account{{ID: "a1", Label: "alice@acme.example", Role: "developer", Used: true}},
	}
	s.Ends = []screen.Ending{{Text: "the token was revoked at vault.acme.example"}, {Text: "it is deleted on this machine"}}
	w.Config.SignIns = s
	w.Config.FreeFacts = false
	w.Config.Who = ""
	return s
}

// Out ends the session as seen from the server: each read and write is refused.
func (s *SignIns) Out(state screen.SignState) {
	s.Is.State = state
	s.w.Vault.Memory.FailWith(func(vaulttest.Call) error { return Refusal(Dev, ErrNotSignedIn) })
}

// Stale has an environment want a newer sign-in.
func (s *SignIns) Stale(env vault.Env) {
	s.w.Vault.Memory.FailWith(func(vaulttest.Call) error { return Refusal(env, ErrStale) })
}

// Deny has the server refuse what is asked of an environment.
func (s *SignIns) Deny(env vault.Env) {
	s.w.Vault.Memory.FailWith(func(c vaulttest.Call) error {
		if c.Env == env {
			return &vault.Error{Kind: vault.KindDenied, Env: env, Detail: "the server does not allow this"}
		}
		return nil
	})
}

// In is a session that the server takes.
func (s *SignIns) In() screen.Signed {
	s.w.Vault.Memory.FailWith(nil)
	s.Is.State, s.Is.Ends = screen.SignedIn, s.now().Add(8*time.Hour)
	return s.Is
}

func (s *SignIns) now() time.Time {
	if s.w.now == nil {
		return Start
	}
	return s.w.now()
}

// Server implements screen.SignIns.
func (s *SignIns) Server(env vault.Env) string {
	if slices.Contains(s.Files, env) {
		return ""
	}
	if env == Prod && s.Other != "" {
		return s.Other
	}
	return Server
}

// Wants implements screen.SignIns.
func (s *SignIns) Wants(err error) (screen.Want, bool) {
	w := screen.Want{Server: Server, Address: Server, Env: Dev, State: s.Is.State}
	if e := (*vault.Error)(nil); errors.As(err, &e) && e.Env != "" {
		w.Env, w.Server, w.Address = e.Env, s.Server(e.Env), s.Server(e.Env)
	}
	switch {
	case errors.Is(err, ErrStale):
		w.State, w.Within = screen.NotFresh, 15*time.Minute
	case !errors.Is(err, ErrNotSignedIn):
		return w, false
	case w.State == screen.SignedIn:
		w.State = screen.Lapsed
	}
	return w, true
}

// Signed implements screen.Signing.
func (s *SignIns) Signed(_ context.Context, env vault.Env, ask bool) (screen.Signed, error) {
	if s.Failing != nil && ask {
		return screen.Signed{Address: s.Server(env)}, s.Failing
	}
	is := s.Is
	if s.Other != "" && s.Server(env) == s.Other {
		return screen.Signed{Address: s.Other, State: screen.SignedOut, Envs: []screen.Reached{{Env: Prod}}}, nil
	}
	return is, nil
}

// SignIn implements screen.SignIns.
func (s *SignIns) SignIn(ctx context.Context, env vault.Env, how screen.How, p screen.Person) (screen.Signed, error) {
	s.Hows = append(s.Hows, how)
	if s.Run != nil {
		return s.Run(ctx, env, how, p)
	}
	for {
		if err := ctx.Err(); err != nil { // before it takes a step of the one after it
			s.Left <- struct{}{}
			return screen.Signed{}, err
		}
		select {
		case st := <-s.steps:
			if st.last {
				return st.is, st.err
			}
			st.do(p)
			close(st.made)
		case text := <-p.Pasted():
			s.Pasted = append(s.Pasted, text)
			p.Note("that is not the address that the sign-in ended at")
		case <-ctx.Done():
			s.Left <- struct{}{}
			return screen.Signed{}, ctx.Err()
		}
	}
}

// SignOut implements screen.SignIns.
func (s *SignIns) SignOut(context.Context, vault.Env) ([]screen.Ending, error) {
	if s.OutFail != nil {
		return nil, s.OutFail
	}
	s.Outs++
	s.Is.State = screen.SignedOut
	return s.Ends, nil
}

// Use implements screen.SignIns.
func (s *SignIns) Use(_ context.Context, _ vault.Env, account string) error {
	s.Used = account
	return nil
}

// Step has the sign-in that is under way do something, and the interface take it in.
func (s *SignIns) Step(d *Driver, do func(p screen.Person)) {
	s.t.Helper()
	st := step{do: do, made: make(chan struct{})}
	s.put(d, st)
	for done := false; !done; {
		select {
		case <-st.made:
			done = true
		case msg := <-d.came:
			d.took(msg)
		case <-time.After(time.Minute):
			s.t.Fatal("the interface does not take in what a sign-in says")
		}
	}
}

// Visit has it show an address, and Code a code.
func (s *SignIns) Visit(d *Driver, v screen.Visit) {
	s.t.Helper()
	if v.URL == "" {
		v.URL = SignInURL
	}
	if v.Until.IsZero() {
		v.Until = d.now.Add(5 * time.Minute)
	}
	s.Step(d, func(p screen.Person) { p.Visit(v) })
}

// Code has it show a code.
func (s *SignIns) Code(d *Driver) {
	s.t.Helper()
	c := screen.Code{Code: SignInCode, URL: DeviceURL, Host: "laptop", Until: d.now.Add(15 * time.Minute)}
	s.Step(d, func(p screen.Person) { p.Code(c) })
}

// End ends the sign-in.
func (s *SignIns) End(d *Driver, is screen.Signed, err error) {
	s.t.Helper()
	s.put(d, step{is: is, err: err, last: true})
	for d.outside > 0 { // also what comes of those that were called off
		d.await()
	}
}

// put hands a step to the sign-in that is under way, which may have something to say
// before it takes it.
func (s *SignIns) put(d *Driver, st step) {
	s.t.Helper()
	for {
		select {
		case s.steps <- st:
			return
		case msg := <-d.came:
			d.took(msg)
		case <-time.After(time.Minute):
			s.t.Fatal("no sign-in is under way")
		}
	}
}

// beside are commands that wait for a person who is somewhere else.
func (d *Driver) beside(c tea.Cmd) tea.Cmd {
	return func() tea.Msg {
		d.outside++
		go func() { d.came <- c() }()
		return nil
	}
}

func (d *Driver) took(msg tea.Msg) {
	d.outside--
	d.Send(msg)
}

func (d *Driver) await() tea.Msg {
	d.t.Helper()
	select {
	case msg := <-d.came:
		d.took(msg)
		return msg
	case <-time.After(time.Minute):
		d.t.Fatalf("nothing comes of what waits for a person:\n%s", d.Text())
		return nil
	}
}

// Await waits for what one of the commands has to say that wait for a person.
func (d *Driver) Await() {
	d.t.Helper()
	for d.outside > 0 {
		if msg := d.await(); msg != nil { // nothing comes of what was called off
			return
		}
	}
	d.t.Fatal("nothing waits for a person")
}

var _ screen.SignIns = (*SignIns)(nil)
