package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"unicode"

	"envrun/vault"
	"envrun/vault/wire"
)

// Trouble is what is wrong with a server, or between it and us.
type Trouble int

const (
	Refused       Trouble = iota // it answered with an error: Status and Text
	Unreachable                  // no connection, or no answer in time
	Sealed                       // it is there and sealed
	Uninitialised                // it has never been initialised
	Standby                      // it refers to the active server: Active, if it says which
	Overloaded                   // it asks to come back later
	Untrusted                    // its certificate is not one to trust
	NoToken                      // there is no token to show
	BadToken                     // the token is unknown, expired or revoked
	Forbidden                    // the token may not do this
	NoMount                      // there is no mount, or another one than is wanted
	NotVault                     // it does not answer as a Vault-API server does
	NotSignedIn                  // it does not let whoever wants to sign in: Text
	NotFresh                     // it wants whoever signs in to have done so more recently or more strongly: Err is a *ChallengeError
	NoLog                        // it keeps no audit log that can be read and checked: it is not envrund
)

// ServerError is the cause of a *vault.Error that a server, or the way to it, is at
// fault for. It holds no token and no value.
type ServerError struct {
	Trouble Trouble
	Address string
	Mount   string // that it is about, "teams/dev"; empty if about none
	Status  int    // of the answer; 0 if there was none
	Active  string // the address that a standby refers to; may be empty
	Text    string // what the server says; may be empty
	Err     error  // the cause, may be nil

	// away: no server was met at all, and nothing spoke against meeting it.
	away bool
}

func (e *ServerError) Error() string {
	what := ""
	switch e.Trouble {
	case Refused:
		what = fmt.Sprintf("answered with status %d", e.Status)
	case Unreachable:
		what = "cannot be reached"
		if e.Status != 0 {
			what = fmt.Sprintf("does not work: status %d", e.Status)
		}
	case Sealed:
		what = "is sealed"
	case Uninitialised:
		what = "is not initialised"
	case Standby:
		what = "is a standby"
		if e.Active != "" {
			what += " of " + e.Active
		}
	case Overloaded:
		what = "is asked too much at present"
	case Untrusted:
		what = "has a certificate that is not trusted"
	case NoToken:
		what = "wants a token, and there is none"
	case BadToken:
		what = "does not take the token: it is unknown, expired or revoked"
	case Forbidden:
		what = "does not allow this"
	case NoMount:
		what = "has no such mount"
	case NotVault:
		what = "does not answer as a Vault-API server does"
	case NotSignedIn:
		what = "refuses the sign-in at " + e.Mount
	case NotFresh:
		return e.Err.Error()
	case NoLog:
		what = "has no audit log that can be read from here: it is Vault or OpenBao, or envrund behind something that keeps sys/audit-log/ from us"
	}
	s := e.Address + " " + what
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ServerError) Unwrap() error { return e.Err }

// kind is what a trouble is to a caller.
func (e *ServerError) kind() vault.Kind {
	switch e.Trouble {
	case Unreachable, Sealed, Uninitialised, Standby, Overloaded:
		return vault.KindUnavailable
	case Untrusted:
		return vault.KindTampered
	case NoToken, BadToken, NotSignedIn, NotFresh:
		return vault.KindNoIdentity
	case NotVault:
		return vault.KindMalformed
	}
	return vault.KindOther
}

// Away reports whether err says that the server was not met: its name is not known,
// nothing connects, nothing answers in time, or a gateway before it says so
// (filevault §6, rule 5). Whatever a server says of itself, that it is sealed for
// one, and whatever speaks against its certificate, is something else.
func Away(err error) bool {
	e, ok := errors.AsType[*ServerError](err)
	return ok && e.Trouble == Unreachable && e.away
}

// Withdrawn reports whether a server has answered that the token, the secret or
// the whole environment is not, or no longer, for whoever asked: what is kept of
// it is to go.
func Withdrawn(err error) bool {
	switch vault.KindOf(err) {
	case vault.KindNotFound, vault.KindNoEnv, vault.KindDenied:
		return true
	}
	e, ok := errors.AsType[*ServerError](err)
	return ok && (e.Trouble == BadToken || e.Status == http.StatusGone || strings.Contains(e.Text, "revoked"))
}

// PartialError says that some changes of an Apply were made and others were not,
// because the server could not go on. Its kind is that of the cause.
type PartialError struct {
	Written []vault.Info // in the order of the changes
	Failed  vault.Path
	Left    []vault.Path // that were not begun
	Err     error        // what happened to Failed
}

func (e *PartialError) Error() string {
	var b strings.Builder
	b.WriteString("written: ")
	for i, info := range e.Written {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (version %d)", info.Path, info.Version)
	}
	fmt.Fprintf(&b, "; not written: %s", e.Failed)
	for _, path := range e.Left {
		fmt.Fprintf(&b, ", %s", path)
	}
	b.WriteString("; because: " + e.Err.Error())
	return b.String()
}

func (e *PartialError) Unwrap() error { return e.Err }

// statusError is an answer of status 400 and above whose body holds errors.
type statusError struct {
	status int
	texts  []string // plain
	// policy says of a 403 that a policy refused: then the token is one.
	policy    bool
	challenge string // WWW-Authenticate
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.status) }

// bare reports whether the answer says no more than that there is nothing.
func bare(err error) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && e.status == 404 && wire.KindOf(e.status, e.texts) == vault.KindNotFound
}

// unanswered makes an error of what went wrong before there was an answer.
func (v *Vault) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		// It was called off, or its own time is up: not the server's fault.
		return ctx.Err()
	}
	e := &ServerError{Trouble: Unreachable, Address: v.Address()}
	var (
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		bad     x509.CertificateInvalidError
		pin     *pinError
		record  tls.RecordHeaderError
		gate    *gatewayError
		op      *net.OpError
		dns     *net.DNSError
	)
	switch {
	case errors.As(err, &pin):
		e.Trouble, e.Err = Untrusted, pin
	case errors.As(err, &verify):
		e.Trouble, e.Err = Untrusted, verify.Err
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &bad):
		e.Trouble, e.Err = Untrusted, err
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		e.Trouble, e.Text = NotVault, "it does not speak TLS"
	case tooOld(err):
		e.Text = "it speaks no TLS 1.2 or later"
	case errors.As(err, &gate):
		e.Status, e.Text, e.away = gate.status, "the proxy says so", isGateway(gate.status)
	case errors.Is(err, context.DeadlineExceeded):
		e.Text, e.away = fmt.Sprintf("no answer within %v", v.o.Timeout), true
	case errors.As(err, &dns):
		e.Text, e.away = "its name is not known", true
	case errors.As(err, &op) && op.Op == "proxyconnect":
		e.Text, e.away = "there is no connection to the proxy that HTTPS_PROXY names", true
	case errors.As(err, &op):
		e.Err = op.Err // without addresses of ours
		e.away = op.Op == "dial" || wasCut(err)
	default:
		e.Text, e.away = "the connection was cut", wasCut(err)
		if t := (interface{ Timeout() bool })(nil); errors.As(err, &t) && t.Timeout() {
			e.Text, e.away = fmt.Sprintf("no answer within %v", v.o.Timeout), true
		}
	}
	return e
}

// tooOld reports whether the other side speaks no TLS that we do: it says so by an
// alert (RFC 8446 §6.2), for which crypto/tls has a name in QUIC alone, or it chooses
// an older version all the same.
func tooOld(err error) bool {
	const protocolVersion tls.AlertError = 70
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == protocolVersion.Error() ||
		strings.Contains(err.Error(), "selected unsupported protocol version")
}

// wasCut reports whether the other side hung up without a word, as what stands
// before a server that is gone does.
func wasCut(err error) bool {
	// net/http has no name for this one: it hung up before a request was written.
	return strings.HasSuffix(err.Error(), "server closed idle connection") ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// gatewayError is a proxy that made no connection to the server.
type gatewayError struct{ status int }

func (e *gatewayError) Error() string {
	return fmt.Sprintf("the proxy answered with status %d", e.status)
}

func isGateway(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// place makes a *vault.Error about an environment and a path of whatever went
// wrong. What was called off is passed on as it is.
func (v *Vault) place(err error, env vault.Env, path vault.Path) error {
	switch e := err.(type) {
	case nil:
		return nil
	case *vault.Error:
		c := *e
		if c.Env == "" {
			c.Env = env
		}
		if c.Path == "" {
			c.Path = path
		}
		return &c
	case *ServerError:
		if env != "" {
			e.Mount = v.mountPath(env)
		}
		return &vault.Error{Kind: e.kind(), Env: env, Path: path, Err: e}
	case *statusError:
		kind := wire.KindOf(e.status, e.texts)
		out := &vault.Error{Kind: kind, Env: env, Path: path}
		switch {
		case kind == vault.KindNotFound:
			return out
		case kind == vault.KindNoEnv:
			out.Path = ""
			out.Err = &ServerError{Trouble: NoMount, Address: v.Address(), Mount: v.mountPath(env), Text: v.mountPath(env) + "/"}
			return out
		case kind == vault.KindConflict:
			out.Detail = "somebody else wrote in between"
			return out
		}
		out.Err = v.cause(err, env)
		return out
	}
	return err
}

// cause is err as the cause of another error: what the server said.
func (v *Vault) cause(err error, env vault.Env) error {
	if e, ok := err.(*statusError); ok {
		out := &ServerError{Trouble: Refused, Address: v.Address(), Status: e.status, Text: strings.Join(e.texts, "; ")}
		if e.status == http.StatusForbidden {
			out.Trouble, out.Text = Forbidden, strings.TrimPrefix(strings.TrimPrefix(out.Text, wire.Denied), "; ")
		}
		if env != "" {
			out.Mount = v.mountPath(env)
		}
		return out
	}
	return err
}

// plain makes one line of what a server says: without the layout of several
// errors, and no longer than a line may be. What it repeats of a secret is
// looked for by the caller.
func plain(texts []string) []string {
	var out []string
	for _, t := range texts {
		for line := range strings.Lines(t) {
			line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "* "))
			if line == "" || strings.HasSuffix(line, "occurred:") {
				continue
			}
			line = strings.Map(func(r rune) rune {
				if !unicode.IsPrint(r) {
					return '?'
				}
				return r
			}, line)
			if len(line) > 200 {
				line = strings.ToValidUTF8(line[:200], "") + "…"
			}
			if out = append(out, line); len(out) == 4 {
				return out
			}
		}
	}
	return out
}
