package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"envrun/auth"
	"envrun/auth/browser"
	"envrun/auth/oidc"
)

// The steps at which an issuer can fail, for the words of errors.
const (
	stepDiscovery = "being asked for its endpoints"
	stepKeys      = "being asked for its keys"
	stepCode      = "exchanging the code"
	stepDevice    = "being asked for a device code"
	stepPoll      = "being asked whether the code was entered"
	stepRefresh   = "refreshing the session"
	stepRevoke    = "revoking the session"
	stepSignIn    = "signing in"
)

// ErrLate is a sign-in that nobody finished in time.
var ErrLate = errors.New("nobody signed in in time")

// ErrNoRevocation is an issuer that has no way to revoke a session.
var ErrNoRevocation = errors.New("the issuer has no revocation endpoint")

// An UnavailableError is an issuer that cannot be asked at the moment. What is known
// of a session stays as good as it was, and nobody need sign in.
type UnavailableError struct {
	Issuer string
	Step   string
	Status int   // 0: it did not answer
	Err    error // why it did not, without anything of an answer; nil with a status
	TLS    bool  // its certificate or its TLS is what is wrong: another try does not help
}

func (e *UnavailableError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("the issuer %s answers %d, %s", e.Issuer, e.Status, e.Step)
	}
	return fmt.Sprintf("the issuer %s cannot be reached, %s: %v", e.Issuer, e.Step, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// A RefusedError is an issuer that says no, by one of the errors of RFC 6749 and its
// kin.
type RefusedError struct {
	Issuer string
	Step   string
	Code   string // "invalid_grant", "access_denied" …
	Detail string // Microsoft's number of it, "AADSTS50076", or ""
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the issuer %s refuses, %s: %s", e.Issuer, e.Step, e.Code)
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// Again says whether a new sign-in is what helps: the session is over for the issuer.
func (e *RefusedError) Again() bool {
	switch e.Code {
	case "invalid_grant", "interaction_required", "login_required", "consent_required", "account_selection_required", "expired_token":
		return true
	}
	return false
}

// Denied says whether the person, or a rule about them, said no.
func (e *RefusedError) Denied() bool { return e.Code == "access_denied" }

// A ProviderError is an issuer whose answers are not taken.
type ProviderError struct {
	Issuer string
	Step   string // "" if it does not matter
	Why    string
}

func (e *ProviderError) Error() string {
	if e.Step != "" {
		return fmt.Sprintf("the issuer %s, %s: %s", e.Issuer, e.Step, e.Why)
	}
	return fmt.Sprintf("the issuer %s: %s", e.Issuer, e.Why)
}

// A MismatchError is an issuer that calls itself something else than it is asked for,
// be it by a slash.
type MismatchError struct{ Issuer, Says string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the issuer at %q calls itself %q", e.Issuer, e.Says)
}

// A HostError is an endpoint on a host that is neither the issuer's nor one that the
// caller named.
type HostError struct{ Issuer, Endpoint, Host string }

func (e *HostError) Error() string {
	return fmt.Sprintf("the issuer %s has its %s on another host, %s", e.Issuer, e.Endpoint, e.Host)
}

// A TokenError is an ID token that is not taken.
type TokenError struct {
	Issuer string
	Why    string // holds nothing of the token but names of claims
}

func (e *TokenError) Error() string {
	return fmt.Sprintf("the ID token of the issuer %s is not taken: %s", e.Issuer, e.Why)
}

// OfTime says whether the token is not of this time, as this machine has it. Where the
// clocks of the issuer and of this machine do not agree it is a ClockError instead.
func (e *TokenError) OfTime() bool {
	claim, _, _ := strings.Cut(e.Why, ":")
	return claim == string(oidc.ReasonTime) || claim == "iat" || claim == "auth_time"
}

// A ClockError is an ID token that is not of this time, where the clocks of the issuer
// and of this machine do not agree.
type ClockError struct {
	Issuer string
	Skew   time.Duration // how much later the issuer's clock is; negative: earlier
}

func (e *ClockError) Error() string {
	how := "behind"
	if e.Skew < 0 {
		how = "ahead of"
	}
	return fmt.Sprintf("the clock of this machine is %s %s that of the issuer %s", e.Skew.Abs(), how, e.Issuer)
}

// An AccountError is an answer about somebody else than the session belongs to.
type AccountError struct{ Issuer string }

func (e *AccountError) Error() string {
	return fmt.Sprintf("the issuer %s answered for another account", e.Issuer)
}

// A FreshError is a sign-in that is older or weaker than was asked for: the issuer did
// not ask the person again, or somebody took the wish out of the address.
type FreshError struct{ Issuer, Claim string }

func (e *FreshError) Error() string {
	return fmt.Sprintf("the issuer %s did not sign the person in as it was asked to: see %s", e.Issuer, e.Claim)
}

// trouble makes one of the errors above of what a library or a request gave. Nothing
// of their text is kept that could be of an answer.
func (p *Provider) trouble(ctx context.Context, step string, err error) error {
	var (
		retrieve *oauth2.RetrieveError
		status   *statusError
		bad      *badAnswer
		inUrl    *url.Error
	)
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case errors.As(err, &retrieve):
		return p.refused(step, retrieve.Response.StatusCode, retrieve.ErrorCode, retrieve.ErrorDescription)
	case errors.As(err, &status):
		return p.refused(step, status.status, "", "")
	case errors.As(err, &bad):
		return &ProviderError{Issuer: p.o.Issuer, Step: step, Why: bad.why}
	case errors.As(err, &inUrl):
		why, inTLS := lost(inUrl)
		return &UnavailableError{Issuer: p.o.Issuer, Step: step, Err: why, TLS: inTLS}
	}
	return &ProviderError{Issuer: p.o.Issuer, Step: step, Why: "its answer is not of its form"}
}

// refused makes an error of an answer that is one: its status, and error and
// error_description if it had any.
func (p *Provider) refused(step string, status int, code, description string) error {
	if status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || code == "server_error" || code == "temporarily_unavailable" {
		return &UnavailableError{Issuer: p.o.Issuer, Step: step, Status: status}
	}
	if code == "" {
		return &ProviderError{Issuer: p.o.Issuer, Step: step, Why: fmt.Sprintf("it answers %d", status)}
	}
	return &RefusedError{Issuer: p.o.Issuer, Step: step, Code: word(code), Detail: browser.Detail(description)}
}

// word is a code of an error if it reads like one: it could be anything.
func word(code string) string {
	if len(code) > 64 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "an error without a name"
	}
	return code
}

// A proxyError is a proxy that makes no connection to the issuer.
type proxyError struct{ status int }

func (e *proxyError) Error() string { return fmt.Sprintf("the proxy answers %d", e.status) }

// lost says why there was no answer, in words of the system alone, and whether TLS is
// what is wrong.
func lost(err *url.Error) (why error, inTLS bool) {
	var (
		dns   *net.DNSError
		op    *net.OpError
		cert  *tls.CertificateVerificationError
		name  x509.HostnameError
		who   x509.UnknownAuthorityError
		when  x509.CertificateInvalidError
		plain tls.RecordHeaderError
		proxy *proxyError
	)
	switch {
	case err.Timeout():
		return errors.New("it does not answer in time"), false
	case errors.As(err, &proxy):
		return proxy, false
	case errors.As(err, &dns):
		return errors.New("its name is not known: " + short(dns.Name)), false
	case errors.As(err, &name):
		return errors.New("its certificate is for another name"), true
	case errors.As(err, &who):
		return errors.New("its certificate is signed by nobody known here"), true
	case errors.As(err, &when) && when.Reason == x509.Expired:
		return errors.New("its certificate is not of this time, as this machine has it"), true
	case errors.As(err, &cert):
		return errors.New("its certificate is not good"), true
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("it does not speak TLS"), true
	case errors.As(err, &op) && op.Op == "remote error", strings.Contains(err.Error(), "selected unsupported protocol version"):
		return errors.New("it ends the TLS handshake: is it TLS 1.2 or later that it speaks?"), true
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return errors.New("there is no connection to the proxy that HTTPS_PROXY names"), false
	case errors.As(err, &op) && op.Op == "dial":
		return errors.New("there is no connection to it"), false
	}
	return errors.New("the connection broke"), false
}

// short makes a text of others fit for an error.
func short(s string) string { return auth.Short(s, 200) }
