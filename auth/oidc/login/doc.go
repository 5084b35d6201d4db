// Package login is how a person signs in with an identity provider, on the person's
// side: in a browser on this machine (authorization code with PKCE and a loopback
// redirect; RFC 6749, 7636, 8252, 9207), with a code in a browser anywhere (RFC 8628),
// and silently with a refresh token. It ends with an ID token that was checked as
// strictly as the team server will check it again (auth/oidc), which the caller hands
// to the server and forgets (study auth §3.3, §3.4, §3.7).
//
// go-oidc and oauth2 speak the protocols; what they let pass is closed here: one HTTP
// client with a deadline, a bound and no way to another host, and JSON that reads in
// one way only.
//
// It refuses to keep anything, to show success before the caller says so, to send a
// code or a refresh token twice, and to follow what an issuer says to hosts that the
// caller did not name. Its errors are its own types and hold nothing of an answer: no
// token, code, verifier or body.
package login
