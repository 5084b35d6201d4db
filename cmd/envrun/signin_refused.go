package main

import (
	"errors"
	"fmt"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/workload"
	"envrun/cmd/internal/cli"
	"envrun/vault/remote"
)

// A refusedSignIn is a sign-in that a server does not take. The server says the same
// of every reason, so this holds what can be seen from here.
type refusedSignIn struct {
	err    error
	method string // as login takes it; empty: with the identity of a CI job
	times  string // the identity token is not of the server's time, in words; empty: it is
	clock  string // whose clock it is, or what else helps; empty without times
}

func (e *refusedSignIn) Error() string {
	if e.times == "" {
		return e.err.Error()
	}
	return e.err.Error() + ": " + e.times
}

func (e *refusedSignIn) Unwrap() error { return e.err }

// notTaken is the error of a sign-in, with what can be seen from here if the server
// refused it. identity is the identity token, empty if there was none.
func (t *tool) notTaken(err error, v *remote.Vault, method, identity string) error {
	var no *remote.ServerError
	if !errors.As(err, &no) || no.Trouble != remote.NotSignedIn {
		return err
	}
	e := &refusedSignIn{err: err, method: method}
	there := v.Told("").Date
	from, until := workload.Times(identity)
	early := !from.IsZero() && there.Before(from.Add(-oidc.DefaultLeeway))
	if there.IsZero() || !early && (until.IsZero() || there.Before(until.Add(oidc.DefaultLeeway))) {
		return e
	}
	clock := func(at time.Time) string { return at.UTC().Format(time.DateTime) }
	if early {
		e.times = fmt.Sprintf("the identity token is good from %s UTC, and by the clock of the server it is %s", clock(from), clock(there))
	} else {
		e.times = fmt.Sprintf("the identity token was good until %s UTC, and by the clock of the server it is %s", clock(until), clock(there))
	}
	switch off := t.now().Sub(there).Round(time.Second); {
	case off.Abs() > 2*oidc.DefaultLeeway:
		e.clock = fmt.Sprintf("one of the clocks is wrong: the clock of this machine is %s that of the server; look at this machine's: date", apart(off))
	case early:
		e.clock = "the clock of who gave the token is ahead of that of this machine and of the server"
	default:
		e.clock = "it is an old one: get a new one"
	}
	return e
}

// apart is how a clock that is off differs from another: "1h0m0s ahead of".
func apart(off time.Duration) string {
	if off < 0 {
		return off.Abs().String() + " behind"
	}
	return off.String() + " ahead of"
}

// explainNotTaken says what to look at after a sign-in that the server refused.
func explainNotTaken(err error, mount string, r *cli.Report) {
	e := new(refusedSignIn)
	errors.As(err, &e)
	if e.clock != "" {
		r.AddHint("%s", e.clock)
	}
	r.AddHint("why is in the server's audit log, for who looks after it: envrun audit --path %s/login", cli.Quote(mount))
	switch {
	case e.clock != "":
	case e.method == "":
		r.AddHint("the role and the audience are those of [ci] in envrun.toml")
	case e.method == "approle":
		r.AddHint("is the secret id still good, and is it of this role id? who looks after the server gives out new ones")
	case e.method == "jwt" || e.method == "kubernetes":
		r.AddHint("is the token for this server, and the role for whom it names? --role, --mount, and the audience that the token was asked for with")
	default:
		r.AddHint("the role may be for others than you: envrun login --role ROLE, or role in [sign_in] of envrun.toml")
	}
}
