package remote

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"envrun/vault/wire"
)

// StartOIDC asks a way to sign in where the server itself talks to the issuer,
// Vault's oidc method at auth/MOUNT, for the address that a browser is to go to. The
// issuer sends it back to redirect, if the role allows that: else the address is
// empty. Whoever knows nonce finishes it. Without a role it is the default one.
func (v *Vault) StartOIDC(ctx context.Context, mount, role, redirect, nonce string) (address string, err error) {
	if err := CheckMount(mount); err != nil {
		return "", err
	}
	body := map[string]string{"redirect_uri": redirect, "client_nonce": nonce}
	if role != "" {
		body["role"] = role
	}
	var out wire.Answer[struct {
		AuthURL string `json:"auth_url"`
	}]
	// A start that nobody finishes is forgotten by the server.
	a, err := v.send(ctx, call{method: http.MethodPost, path: []string{"auth", mount, "oidc/auth_url"}, body: body, repeat: true, secrets: []string{nonce}, open: true, unseen: true})
	if e, ok := err.(*statusError); ok {
		err = v.notSignedIn(mount, e)
	}
	if err == nil && json.Unmarshal(a.body, &out) != nil {
		err = &ServerError{Trouble: NotVault, Address: v.Address(), Status: a.status, Text: "its answer has not the form of one"}
	}
	if err != nil || out.Data == nil {
		return "", v.place(err, "", "")
	}
	return out.Data.AuthURL, nil
}

// FinishOIDC brings what the issuer sent the browser back with, and returns what the
// server gives for it. It is not repeated when an answer is lost: a code is good for
// once.
func (v *Vault) FinishOIDC(ctx context.Context, mount, state, code, nonce string) (wire.Auth, error) {
	if err := CheckMount(mount); err != nil {
		return wire.Auth{}, err
	}
	q := url.Values{"state": {state}, "code": {code}, "client_nonce": {nonce}}
	a, err := v.send(ctx, call{method: http.MethodGet, path: []string{"auth", mount, "oidc/callback"}, query: q, secrets: []string{state, code, nonce}, open: true, unseen: true})
	return v.signedIn(a, mount, err)
}
