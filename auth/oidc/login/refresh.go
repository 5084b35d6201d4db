package login

import (
	"context"
	"net/url"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"envrun/auth"
)

// revokeTime is how long revoking may take: whoever signs out waits for it.
const revokeTime = 5 * time.Second

// Was is the session that is refreshed.
type Was struct {
	Subject, Issuer string
	AuthTime        time.Time // zero: not known

	// Save keeps the new refresh token before it, or anything that came with it, is
	// used: the old one is over for issuers that give a new one each time. nil: it is
	// in what Refresh returns alone. An error ends the refresh.
	Save func(refresh auth.Secret) error
}

// Refresh gets new tokens with a refresh token, in exactly one request: a second one
// with the same token ends the session at issuers that look for thieves. Once it is
// on its way ctx does not end it, for with the answer the session would be lost; it
// takes as long as one answer may take.
//
// A *RefusedError with Again says that the session is over. Every other error leaves
// it as it was, or with the new refresh token: Tokens are returned with that alone if
// what came with it is not taken.
func (p *Provider) Refresh(ctx context.Context, refresh auth.Secret, was Was) (*Tokens, error) {
	defer p.base.CloseIdleConnections()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	on := context.WithoutCancel(ctx)
	t, err := p.config(Ask{}).TokenSource(gooidc.ClientContext(on, p.client), &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	if err != nil {
		return nil, p.trouble(on, stepRefresh, err)
	}
	if was.Save != nil {
		if err := was.Save(auth.NewSecret(t.RefreshToken)); err != nil {
			return &Tokens{Refresh: auth.NewSecret(t.RefreshToken)}, err
		}
	}
	tokens, err := p.accepted(ctx, t, Ask{}, proof{fresh: true})
	if err != nil {
		return &Tokens{Refresh: tokens.Refresh}, err
	}
	if tokens.Subject != was.Subject || tokens.Issuer != was.Issuer {
		return &Tokens{Refresh: tokens.Refresh}, &AccountError{p.o.Issuer}
	}
	if tokens.AuthTime.IsZero() {
		tokens.AuthTime = was.AuthTime
	}
	if tokens.AuthTime.Before(was.AuthTime.Truncate(time.Second)) {
		return &Tokens{Refresh: tokens.Refresh}, &TokenError{p.o.Issuer, "auth_time: it went back"}
	}
	return tokens, nil
}

// Revoke ends a session at the issuer (RFC 7009): the refresh token, and what the
// issuer gave for it. A token that the issuer does not know any more is none to
// revoke. It is ErrNoRevocation where the issuer has no way to.
func (p *Provider) Revoke(ctx context.Context, refresh auth.Secret) error {
	defer p.base.CloseIdleConnections()
	if p.revokeURL == "" {
		return ErrNoRevocation
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	status, answer, err := p.post(ctx, p.plain, p.revokeURL, url.Values{"token": {refresh.Reveal()}, "token_type_hint": {"refresh_token"}, "client_id": {p.o.ClientID}})
	if err != nil {
		return p.trouble(ctx, stepRevoke, err)
	}
	if status/100 == 2 {
		return nil
	}
	code, description := errorOf(answer)
	return p.refused(stepRevoke, status, code, description)
}
