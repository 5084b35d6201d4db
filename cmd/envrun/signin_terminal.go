package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"envrun/auth"
	"envrun/auth/browser"
	"envrun/auth/oidc/login"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault/remote"
)

// terminal is a person who reads what is written to them, and may paste something or
// turn to another way to sign in.
type terminal struct {
	t      *tool
	server string
	reads  bool // what they type may be read
	ctx    context.Context
	close  context.CancelCauseFunc
	lines  chan string
	ended  chan struct{} // of reading; nil: nothing is read

	mu     sync.Mutex
	pastes bool // an address is waited for
	ways   []string
	turn   context.CancelCauseFunc // ends the way that is under way
}

// A turnedTo is why a way to sign in was ended: for another one.
type turnedTo struct{ flow string }

func (e *turnedTo) Error() string { return "another way was chosen: " + e.flow }

// wayKeys are the keys by which another way is chosen, and what it is.
var wayKeys = [...]struct {
	key  byte
	flow string
	what string
}{
	{'b', browser.FlowBrowser, "a browser here"},
	{'d', browser.FlowDevice, "a code to enter in a browser on any machine"},
	{'p', browser.FlowPaste, "an address to open on any machine"},
}

var _ login.Person = (*terminal)(nil)

func (p *terminal) say(format string, args ...any) {
	text := cli.Printable(fmt.Sprintf(format, args...))
	if p.ended != nil { // the terminal is raw
		text = "\r" + text + "\r"
	}
	fmt.Fprintln(p.t.Err, text)
}

// Visit implements login.Person.
func (p *terminal) Visit(v login.Visit) {
	p.waits(true)
	switch {
	case v.Opened:
		p.say("A browser was opened to sign in to %s. If none came, open this yourself:", p.server)
	case v.OpenErr != nil:
		p.say("No browser could be opened (%v). To sign in to %s, open this:", v.OpenErr, p.server)
	default:
		p.say("To sign in to %s, open this in a browser:", p.server)
	}
	p.say("    %s", v.URL)
	if p.reads {
		p.say("Waiting until %s for the browser to come back. If it is on another machine, its last page is an address", v.Until.Format(time.TimeOnly))
		p.say("that begins with %s: paste all of it here.", v.Redirect)
	}
	p.sayWays()
}

// Code implements login.Person.
func (p *terminal) Code(c login.Code) {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	p.waits(false)
	p.say("The code is  %s", c.UserCode)
	p.say("Enter it at  %s", c.URI)
	p.say("Only approve if you just ran envrun on %s. Waiting until %s.", host, c.Until.Format(time.TimeOnly))
	p.sayWays()
}

// waits begins to wait for the person, who may paste an address or has nothing to.
func (p *terminal) waits(pastes bool) {
	p.mu.Lock()
	p.pastes = pastes
	p.mu.Unlock()
	if p.reads && p.ended == nil {
		p.read()
	}
}

// sayWays says which other ways there are.
func (p *terminal) sayWays() {
	var all []string
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range wayKeys {
		if p.reads && slices.Contains(p.ways, w.flow) {
			all = append(all, fmt.Sprintf("%c for %s", w.key, w.what))
		}
	}
	if len(all) > 0 {
		p.say("Another way: press %s.", strings.Join(all, ", "))
	}
}

// offer has the person choose among other ways, until it is called again. turn ends
// the one that is under way, with a turnedTo.
func (p *terminal) offer(ways []string, turn context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ways, p.turn = ways, turn
}

// key takes a key for a way that there is.
func (p *terminal) key(c byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range wayKeys {
		if w.key == c|0x20 && slices.Contains(p.ways, w.flow) {
			p.turn(&turnedTo{w.flow})
			p.ways = nil
			return true
		}
	}
	return false
}

// Note implements login.Person.
func (p *terminal) Note(text string) { p.say("envrun: %s", text) }

// Pasted implements login.Person.
func (p *terminal) Pasted() <-chan string {
	if !p.reads {
		return nil
	}
	return p.lines
}

// atTerminal is the person at the terminal, and what ends what they are asked. A
// Ctrl-C among what they type ends ctx. Nothing of it is read unless reads says so.
func (t *tool) atTerminal(ctx context.Context, server string, reads bool) (context.Context, *terminal) {
	ctx, stop := context.WithCancelCause(ctx)
	return ctx, &terminal{t: t, server: server, reads: reads, ctx: ctx, close: stop, lines: make(chan string, 1)}
}

// read begins to read what is typed. Not before something is waited for: until
// then others may ask for a passphrase there.
func (p *terminal) read() {
	ready := make(chan struct{})
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		// Not shown: a code is in it.
		p.close(p.t.Pasted(p.ctx, func() { close(ready) }, p.key, func(line []byte, err error) {
			text := strings.TrimSpace(string(line))
			p.mu.Lock()
			pastes := p.pastes
			p.mu.Unlock()
			switch {
			case errors.Is(err, cli.ErrLines):
				p.Note("several lines came at once: paste the address alone")
			case text == "" || len(text) == 1 && p.key(text[0]): // an Enter after a key, or with it
			case !pastes:
				p.Note("nothing is pasted here: enter the code at the address above")
			default:
				select {
				case p.lines <- text:
				case <-p.ctx.Done():
				}
			}
		}))
	}()
	select {
	case <-ready:
	case <-p.ended:
	}
}

// done puts the terminal back.
func (p *terminal) done() {
	p.close(nil)
	if p.ended != nil {
		<-p.ended
	}
}

// why is an error of a sign-in: where it was called off at the terminal, by what. The
// signal that did may not have come to anybody else yet.
func (p *terminal) why(err error) error {
	if cause := context.Cause(p.ctx); errors.Is(err, context.Canceled) && errors.Is(cause, cli.ErrInterrupted) {
		return cause
	}
	return err
}

// orStepUp is a token of a session; or, if there is none that the role is satisfied
// with, that of somebody at a terminal who signs in to it for this process alone.
func (t *tool) orStepUp(ctx context.Context, env project.Env, s shownToken) shownToken {
	wants := (*remote.ChallengeError)(nil)
	if s.token != "" || s.err != nil && !errors.As(s.err, &wants) {
		return s
	}
	if up := t.stepUp(ctx, env, wants != nil); up.token != "" || up.err != nil {
		return up
	}
	return s
}

// stepUp signs somebody at a terminal in to a role that the project names and that
// wants them to do so each time: the server lists it as one, or has just said so. The
// token is in memory alone. It is empty if the role is none of that kind, or nobody is
// there.
func (t *tool) stepUp(ctx context.Context, env project.Env, wants bool) shownToken {
	if env.SignIn.Role == "" || t.notice != nil || !t.Interactive() {
		return shownToken{}
	}
	if !wants {
		v, err := t.shownOnly(env, auth.Secret{})
		if err != nil {
			return shownToken{err: err}
		}
		defer v.Close()
		in, own, err := v.SignIns(ctx)
		if err != nil || !own {
			return shownToken{err: err}
		}
		for _, m := range in.Methods {
			for _, r := range m.Roles {
				wants = wants || r.Name == env.SignIn.Role && (m.Mount == env.SignIn.Mount || env.SignIn.Mount == "") && (r.MaxAge > 0 || len(r.ACR) > 0)
			}
		}
	}
	if !wants {
		return shownToken{}
	}
	t.Notef("the role %s of %s wants you to sign in for each use", env.SignIn.Role, env.Vault)
	// Nothing is pasted: what the command is to read would be taken from it.
	within, person := t.atTerminal(ctx, env.Vault, false)
	defer person.done()
	got, err := t.signIn(within, &project.Project{}, env, signInHow{hint: t.flags.account, memory: true}, person)
	if err != nil {
		return shownToken{err: err}
	}
	return t.onceOnly(env, got)
}

// onceOnly is the token of a sign-in that nothing is kept of.
func (t *tool) onceOnly(env project.Env, in signedIn) shownToken {
	server, err := t.shownOnly(env, in.record.Token)
	return shownToken{token: in.record.Token.Reveal(), err: err, once: &oneUse{in, server}}
}
