package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"envrun/vault/wire"
)

// ChallengeError says that a server believes who wants to sign in, and wants them to
// have signed in at their issuer more recently or more strongly (RFC 9470). It is the
// cause of a *vault.Error of KindNoIdentity.
type ChallengeError struct {
	Address string
	Mount   string // "human", for auth/human
	MaxAge  time.Duration
	HasAge  bool     // MaxAge is meant, even if it is 0
	ACR     []string // one of which the issuer has to say; empty: any
}

func (e *ChallengeError) Error() string {
	var wants []string
	if e.HasAge {
		wants = append(wants, fmt.Sprintf("no longer than %v ago", e.MaxAge))
	}
	if len(e.ACR) > 0 {
		wants = append(wants, "with "+strings.Join(e.ACR, " or "))
	}
	return fmt.Sprintf("%s wants you to have signed in %s, for auth/%s", e.Address, strings.Join(wants, " and "), e.Mount)
}

// challenge reads the WWW-Authenticate of a 401; nil if it asks for nothing that we
// could bring.
func challenge(header string) *ChallengeError {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || len(header) > 4096 {
		return nil
	}
	e := new(ChallengeError)
	known := false
	for rest = strings.TrimLeft(rest, " ,"); rest != ""; rest = strings.TrimLeft(rest, " ,") {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil
		}
		var text string
		if quoted, ok := strings.CutPrefix(after, `"`); ok {
			if text, rest, ok = strings.Cut(quoted, `"`); !ok || strings.Contains(text, `\`) {
				return nil
			}
		} else {
			text, rest, _ = strings.Cut(after, ",")
			text = strings.TrimSpace(text)
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "error":
			known = text == "insufficient_user_authentication"
		case "max_age":
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return nil
			}
			e.MaxAge, e.HasAge = time.Duration(n)*time.Second, true
		case "acr_values":
			e.ACR = strings.Fields(strings.Join(plain([]string{text}), " "))
		}
	}
	if !known || !e.HasAge && len(e.ACR) == 0 {
		return nil
	}
	return e
}

// SignIns is how people sign in to the server. own is false of a server that does
// not say so by itself: one that is not envrund. No token is asked of Options.Token.
func (v *Vault) SignIns(ctx context.Context) (in wire.SignIns, own bool, err error) {
	a, err := v.send(ctx, call{method: http.MethodGet, path: []string{"sys/sign-in"}, repeat: true, own: true, open: true, unseen: true})
	if err == errPlain {
		return in, false, nil
	}
	if e, ok := err.(*statusError); ok && (e.status == http.StatusNotFound || e.status == http.StatusForbidden) {
		return in, false, nil // an envrund of before
	}
	if err == nil {
		in, err = decode[wire.SignIns](v, a, nil)
	}
	return in, err == nil, v.place(err, "", "")
}

// SignIn brings what a way to sign in asks for to it, "jwt" for auth/jwt, and returns
// what the server gives for it: role and jwt to one for identity tokens, role_id and
// secret_id to AppRole. No token is asked of Options.Token. It is not repeated when
// an answer is lost: some of what is brought is good for once.
//
// A *ChallengeError is among the causes of the error of a sign-in that is right but
// for how it was come by.
func (v *Vault) SignIn(ctx context.Context, mount string, fields map[string]string) (wire.Auth, error) {
	if err := CheckMount(mount); err != nil {
		return wire.Auth{}, err
	}
	c := call{method: http.MethodPost, path: []string{"auth", mount, "login"}, body: fields, open: true, unseen: true}
	for name, text := range fields {
		if name != "role" {
			c.secrets = append(c.secrets, text)
		}
	}
	a, err := v.send(ctx, c)
	return v.signedIn(a, mount, err)
}

// signedIn reads the answer to signing in.
func (v *Vault) signedIn(a answer, mount string, err error) (wire.Auth, error) {
	if e, ok := err.(*statusError); ok {
		if want := challenge(e.challenge); want != nil {
			want.Address, want.Mount = v.Address(), mount
			return wire.Auth{}, v.place(&ServerError{Trouble: NotFresh, Address: v.Address(), Mount: "auth/" + mount, Status: e.status, Err: want}, "", "")
		}
		err = v.notSignedIn(mount, e)
	}
	if err != nil {
		return wire.Auth{}, v.place(err, "", "")
	}
	return v.given(a)
}

// notSignedIn is a way to sign in that refuses, in the server's words.
func (v *Vault) notSignedIn(mount string, e *statusError) error {
	return &ServerError{Trouble: NotSignedIn, Address: v.Address(), Mount: "auth/" + mount, Status: e.status, Text: strings.Join(e.texts, "; ")}
}

// given is the token in an answer.
func (v *Vault) given(a answer) (wire.Auth, error) {
	var out wire.Answer[json.RawMessage]
	if err := json.Unmarshal(a.body, &out); err != nil || out.Auth == nil || out.Auth.ClientToken == "" {
		return wire.Auth{}, v.place(&ServerError{Trouble: NotVault, Address: v.Address(), Text: "it gave no token"}, "", "")
	}
	if err := v.checkToken(string(out.Auth.ClientToken)); err != nil {
		return wire.Auth{}, v.place(v.notVault("the token that it gave is none"), "", "")
	}
	return *out.Auth, nil
}

// Renew gives the token that Options.Token gives new time.
func (v *Vault) Renew(ctx context.Context) (wire.Auth, error) {
	a, err := v.send(ctx, call{method: http.MethodPost, path: []string{"auth/token/renew-self"}, repeat: true, unseen: true})
	if err != nil {
		return wire.Auth{}, v.place(err, "", "")
	}
	return v.given(a)
}

// SignOut revokes the token that Options.Token gives.
func (v *Vault) SignOut(ctx context.Context) error {
	_, err := v.send(ctx, call{method: http.MethodPost, path: []string{"auth/token/revoke-self"}, repeat: true, unseen: true})
	return v.place(err, "", "")
}
