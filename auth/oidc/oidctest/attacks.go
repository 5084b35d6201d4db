package oidctest

import (
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"envrun/auth/oidc"
)

// Audience is what the tokens of the attacks are made for.
const Audience = "https://secrets.example.test/ci"

// Role is what the tokens of the attacks sign in to: its claims are those of Good
// with Bound.
func Role() *oidc.Role {
	return &oidc.Role{
		Audiences: []string{Audience}, UserClaim: "sub", GroupsClaim: "groups",
		BoundClaims: map[string]oidc.Values{"project_id": {json.Number("74")}, "ref_protected": {"true"}},
	}
}

// Bound are the claims that Role asks for.
func Bound() Claims { return Claims{"project_id": 74, "ref_protected": "true"} }

// LastAttack is the number of the last attack, A48.
const LastAttack = 48

// OnClient are the attacks, or the parts of them, that are made on whoever signs in and
// not on a server: each has its line in the tests of the program that signs in, as all
// others have theirs in those of the server.
var OnClient = []string{"A41", "A45", "A46", "A47"}

// An Attack is a token that somebody might try, of study auth §4.7, and what has
// to become of it.
type Attack struct {
	ID, Name string
	Token    func(i *Issuer, good Claims, now time.Time) string
	Reason   oidc.Reason // why it is refused; "" if it is to be taken
	Groups   []string    // of one that is taken: who it is
}

func raw(parts ...string) string { return strings.Join(parts, ".") }

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// claimed is an attack that changes claims alone.
func claimed(id, name string, reason oidc.Reason, change Claims) Attack {
	return Attack{ID: id, Name: name, Reason: reason, Token: func(i *Issuer, good Claims, _ time.Time) string { return i.Sign(good.With(change)) }}
}

// timed is one whose claims depend on the time.
func timed(id, name string, reason oidc.Reason, change func(now time.Time) Claims) Attack {
	return Attack{ID: id, Name: name, Reason: reason, Token: func(i *Issuer, good Claims, now time.Time) string { return i.Sign(good.With(change(now))) }}
}

// payload is one that changes the text of the payload.
func payload(id, name string, reason oidc.Reason, change func(text string) string) Attack {
	return Attack{ID: id, Name: name, Reason: reason, Token: func(_ *Issuer, good Claims, _ time.Time) string {
		return SignRaw("ES256", P256, []byte(change(string(good.JSON()))), nil)
	}}
}

// headed is one that puts more into the header.
func headed(id, name string, reason oidc.Reason, header map[string]any) Attack {
	return Attack{ID: id, Name: name, Reason: reason, Token: func(_ *Issuer, good Claims, _ time.Time) string {
		return SignRaw("ES256", P256, good.JSON(), header)
	}}
}

// signed is one of another key or algorithm.
func signed(id, name string, reason oidc.Reason, alg, key, kid string) Attack {
	return Attack{ID: id, Name: name, Reason: reason, Token: func(_ *Issuer, good Claims, _ time.Time) string {
		return SignKey(alg, PrivateKey(key), kid, good.JSON(), nil)
	}}
}

// hmacWith signs with HS256 and some bytes that everybody has.
func hmacWith(id, name, kid string, key func() []byte) Attack {
	return Attack{ID: id, Name: name, Reason: oidc.ReasonAlgorithm, Token: func(_ *Issuer, good Claims, _ time.Time) string {
		head := raw(b64(`{"alg":"HS256","typ":"JWT","kid":"`+kid+`"}`), b64(string(good.JSON())))
		mac := hmac.New(sha256.New, key())
		mac.Write([]byte(head))
		return raw(head, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	}}
}

// with replaces the beginning of an object.
func first(members string) func(string) string {
	return func(text string) string { return "{" + members + "," + text[1:] }
}

func public() *rsa.PublicKey { return &PrivateKey(RSA).(*rsa.PrivateKey).PublicKey }

// Attacks are those of the study that are one token.
func Attacks() []Attack {
	var all []Attack
	for _, alg := range []string{"none", "None", "nOnE", ""} {
		all = append(all, Attack{"A01", "algorithm " + alg, func(_ *Issuer, good Claims, _ time.Time) string {
			return raw(b64(`{"alg":"`+alg+`","kid":"ec-256"}`), b64(string(good.JSON())), b64("x"))
		}, oidc.ReasonAlgorithm, nil})
	}
	all = append(all,
		Attack{"A01", "algorithm none and no signature", func(_ *Issuer, good Claims, _ time.Time) string {
			return raw(b64(`{"alg":"none"}`), b64(string(good.JSON())), "")
		}, oidc.ReasonForm, nil},
		Attack{"A01", "a good token without its signature", func(i *Issuer, good Claims, _ time.Time) string {
			t := i.Sign(good)
			return t[:strings.LastIndexByte(t, '.')+1]
		}, oidc.ReasonForm, nil},
		Attack{"A01", "the signature of another token", func(i *Issuer, good Claims, _ time.Time) string {
			a, b := i.Sign(good), i.Sign(good.With(Claims{"sub": "mallory"}))
			return b[:strings.LastIndexByte(b, '.')] + a[strings.LastIndexByte(a, '.'):]
		}, oidc.ReasonSignature, nil},

		hmacWith("A02", "HS256 with the public key as PEM", RSA, func() []byte {
			der, _ := x509.MarshalPKIXPublicKey(public())
			return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		}),
		hmacWith("A02", "HS256 with the public key as DER", RSA, func() []byte { return x509.MarshalPKCS1PublicKey(public()) }),
		hmacWith("A02", "HS256 with the modulus", RSA, func() []byte { return public().N.Bytes() }),
		hmacWith("A03", "HS256 with a published symmetric key", Oct, func() []byte { return PrivateKey(Oct).([]byte) }),

		signed("A04", "RS256 under the id of an EC key", oidc.ReasonKey, "RS256", RSA, P256),
		signed("A04", "ES256 under the id of a P-384 key", oidc.ReasonKey, "ES256", P256, P384),
		signed("A04", "EdDSA under the id of an RSA key", oidc.ReasonKey, "EdDSA", Ed, RSA),
		signed("A05", "PS256 of a key for RS256", oidc.ReasonKey, "PS256", RSA, RSA256),
		signed("A06", "a key for encryption", oidc.ReasonKey, "RS256", RSA, RSAEnc),
		signed("A07", "an RSA key of 1024 bits", oidc.ReasonKey, "RS256", RSAWeak, RSAWeak),
		signed("", "RS256", "", "RS256", RSA, RSA),
		signed("", "RS256 of a key for RS256", "", "RS256", RSA, RSA256),
		signed("", "PS256", "", "PS256", RSA, RSA),
		signed("", "ES384", "", "ES384", P384, P384),
		signed("", "EdDSA", "", "EdDSA", Ed, Ed),
	)
	for _, aud := range []any{"https://SECRETS.example.test/ci", Audience + "/", Audience + " ", "https://other.example.test"} {
		all = append(all, claimed("A08", fmt.Sprintf("audience %q", aud), oidc.ReasonAudience, Claims{"aud": aud}))
	}
	for _, aud := range []any{nil, "", []any{}, map[string]any{Audience: true}, 7, []any{Audience, 7}, []any{[]any{Audience}}, []any{Audience, ""}, strings.Split(Audience+strings.Repeat(" x", 10), " ")} {
		all = append(all, claimed("A08", fmt.Sprintf("audience %v", aud), oidc.ReasonAudience, Claims{"aud": aud}))
	}
	all = append(all,
		claimed("A08", "audience in a list of one", "", Claims{"aud": []any{Audience}}),
		claimed("A09", "for somebody else too", oidc.ReasonAudience, Claims{"aud": []any{Audience, "https://evil.test"}}),
		claimed("A09", "for somebody else too, who asked for it", oidc.ReasonParty, Claims{"aud": []any{Audience, "https://evil.test"}, "azp": "https://evil.test"}),
		claimed("A09", "somebody else asked for it", oidc.ReasonParty, Claims{"azp": "https://evil.test"}),
		claimed("A09", "for somebody else too, and this server asked for it", "", Claims{"aud": []any{Audience, "https://other.test"}, "azp": Audience}),
	)

	ago := func(s int) func(time.Time) Claims {
		return func(now time.Time) Claims {
			at := now.Add(-time.Duration(s) * time.Second)
			return Claims{"iat": at.Add(-time.Minute).Unix(), "nbf": nil, "exp": at.Unix()}
		}
	}
	in := func(name string, d time.Duration) func(time.Time) Claims {
		return func(now time.Time) Claims { return Claims{name: now.Add(d).Unix()} }
	}
	all = append(all,
		timed("A11", "expired 62 s ago", oidc.ReasonTime, ago(62)),
		timed("A11", "expired 58 s ago", "", ago(58)),
		timed("A12", "valid in 62 s", oidc.ReasonTime, in("nbf", 62*time.Second)),
		timed("A12", "valid in 58 s", "", in("nbf", 58*time.Second)),
		timed("A12", "valid for years", "", in("nbf", -9999*time.Hour)),
		timed("A13", "made in 62 s", oidc.ReasonTime, in("iat", 62*time.Second)),
		timed("A13", "made in 2286", oidc.ReasonTime, func(time.Time) Claims { return Claims{"iat": 9_999_999_999} }),
		timed("A13", "made 25 h ago", oidc.ReasonTime, in("iat", -25*time.Hour)),
		timed("A13", "made 2 h ago, for a role that takes one", oidc.ReasonTime, in("iat", -2*time.Hour)),
		claimed("A13", "not said when it was made", oidc.ReasonTime, Claims{"iat": nil}),
		timed("A15", "good for ten years", oidc.ReasonTime, in("exp", 87600*time.Hour)),
	)
	for _, exp := range []string{`0`, `-1`, `1e400`, `9e18`, `"4000000000"`, `null`, `1.5`, `4e9.5`, `[4000000000]`, `{}`, `true`, `99999999999999999999`, `-0.5`} {
		reason := oidc.ReasonTime
		if exp == `4e9.5` {
			reason = oidc.ReasonPayload
		}
		all = append(all, Attack{"A14", "exp " + exp, func(_ *Issuer, good Claims, _ time.Time) string {
			text := good.With(Claims{"exp": nil}).JSON()
			return SignRaw("ES256", P256, []byte(`{"exp":`+exp+`,`+string(text[1:])), nil)
		}, reason, nil})
	}
	all = append(all, claimed("A14", "no exp", oidc.ReasonTime, Claims{"exp": nil}))

	for _, iss := range []func(url string) string{
		func(u string) string { return u + ".evil.test" },
		func(u string) string { return u + "@evil.test" },
		func(u string) string { return u + "/" },
		func(u string) string { return strings.ToUpper(u) },
		func(u string) string { return strings.TrimPrefix(u, "http://") },
		func(u string) string { return strings.Replace(u, "127.0.0.1", "127.0.0.\u0661", 1) },
		func(u string) string { return " " + u },
		func(string) string { return "accounts.google.com" },
		func(string) string { return "https://accounts.google.com" },
	} {
		all = append(all, Attack{"A16", "issuer " + iss("http://127.0.0.1:1"), func(i *Issuer, good Claims, _ time.Time) string {
			return i.Sign(good.With(Claims{"iss": iss(i.URL)}))
		}, oidc.ReasonIssuer, nil})
	}

	all = append(all,
		payload("A18", "sub twice", oidc.ReasonPayload, first(`"sub":"mallory"`)),
		payload("A18", "aud twice", oidc.ReasonPayload, first(`"aud":"x"`)),
		payload("A18", "exp twice", oidc.ReasonPayload, first(`"exp":4000000000`)),
		payload("A18", "sub twice, once escaped", oidc.ReasonPayload, first(`"s\u0075b":"mallory"`)),
		payload("A18", "a name twice below the top", oidc.ReasonPayload, first(`"realm":{"roles":[1],"roles":[2]}`)),
		Attack{"A18", "alg twice in the header", func(_ *Issuer, good Claims, _ time.Time) string {
			return raw(b64(`{"alg":"none","alg":"ES256","kid":"ec-256"}`), b64(string(good.JSON())), b64("x"))
		}, oidc.ReasonHeader, nil},
		claimed("A19", "SUB", oidc.ReasonPayload, Claims{"SUB": "mallory"}),
		claimed("A19", "Iss", oidc.ReasonPayload, Claims{"Iss": "https://evil.test"}),
		claimed("A19", "GROUPS", oidc.ReasonPayload, Claims{"GROUPS": []any{"admins"}}),
		claimed("A19", "sub with a long s", oidc.ReasonPayload, Claims{"\u017fub": "mallory"}),
		headed("A19", "KID in the header", oidc.ReasonHeader, map[string]any{"Kid": "evil"}),
		headed("A19", "kid with a Kelvin sign in the header", oidc.ReasonHeader, map[string]any{"\u212aid": "evil"}),
	)

	for _, name := range []string{"jku", "x5u"} {
		all = append(all, Attack{"A20", name + " is not looked at", func(i *Issuer, good Claims, _ time.Time) string {
			return SignRaw("ES256", P256, good.JSON(), map[string]any{name: i.URL + "/evil"})
		}, "", nil})
		all = append(all, Attack{"A20", name + " with its own key", func(i *Issuer, good Claims, _ time.Time) string {
			return SignKey("ES256", PrivateKey(P256), "evil", good.JSON(), map[string]any{name: i.URL + "/evil"})
		}, oidc.ReasonKey, nil})
	}
	all = append(all, Attack{"A20", "a key in the header", func(_ *Issuer, good Claims, _ time.Time) string {
		jwk, _ := KeySet(Ed).Keys[0].MarshalJSON()
		return SignKey("EdDSA", PrivateKey(Ed), P256, good.JSON(), map[string]any{"jwk": json.RawMessage(jwk)})
	}, oidc.ReasonKey, nil})

	for _, kid := range []string{"../../etc/passwd", "'; drop table keys; --", "%00", "ключ", `{"$ne":""}`} {
		all = append(all, signed("A21", "kid "+kid, oidc.ReasonKey, "ES256", P256, kid))
	}
	for _, kid := range []string{strings.Repeat("k", 257), "a\x00b", "a\nb", "\u202eab"} {
		all = append(all, signed("A21", fmt.Sprintf("kid %.12q", kid), oidc.ReasonHeader, "ES256", P256, kid))
	}
	all = append(all,
		headed("A21", "kid is a list", oidc.ReasonHeader, map[string]any{"kid": []string{P256}}),
		headed("A21", "no kid, and several keys", oidc.ReasonKey, map[string]any{"kid": nil}),

		claimed("A28", "17 KiB", oidc.ReasonForm, Claims{"pad": strings.Repeat("x", 17<<10)}),
		claimed("A28", "1 MiB", oidc.ReasonForm, Claims{"pad": strings.Repeat("x", 1<<20)}),
		payload("A28", "nested deeply", oidc.ReasonPayload, first(`"a":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000))),
		payload("A28", "many claims", oidc.ReasonPayload, func(text string) string {
			var b strings.Builder
			for n := range 300 {
				fmt.Fprintf(&b, `"c%d":0,`, n)
			}
			return "{" + b.String() + text[1:]
		}),
		claimed("A28", "many groups", oidc.ReasonGroups, Claims{"groups": strings.Split(strings.Repeat("g,", 1200)+"g", ",")}),

		Attack{"A29", "the JSON form", func(i *Issuer, good Claims, _ time.Time) string {
			p := strings.Split(i.Sign(good), ".")
			return `{"payload":"` + p[1] + `","protected":"` + p[0] + `","signature":"` + p[2] + `"}`
		}, oidc.ReasonForm, nil},
		Attack{"A29", "a payload that is elsewhere", func(i *Issuer, good Claims, _ time.Time) string {
			p := strings.Split(i.Sign(good), ".")
			return raw(p[0], "", p[2])
		}, oidc.ReasonForm, nil},
		Attack{"A29", "five parts", func(i *Issuer, good Claims, _ time.Time) string { return i.Sign(good) + ".a.b" }, oidc.ReasonForm, nil},
		Attack{"A29", "a token in a token", func(i *Issuer, good Claims, _ time.Time) string {
			return SignRaw("ES256", P256, []byte(i.Sign(good)), map[string]any{"cty": "JWT"})
		}, oidc.ReasonHeader, nil},
		Attack{"A29", "a token in a token, not said", func(i *Issuer, good Claims, _ time.Time) string {
			return SignRaw("ES256", P256, []byte(i.Sign(good)), nil)
		}, oidc.ReasonPayload, nil},
		Attack{"A29", "padding", func(i *Issuer, good Claims, _ time.Time) string { return i.Sign(good) + "==" }, oidc.ReasonForm, nil},
		Attack{"A29", "a space before", func(i *Issuer, good Claims, _ time.Time) string { return " " + i.Sign(good) }, oidc.ReasonForm, nil},
		Attack{"A29", "a line's end", func(i *Issuer, good Claims, _ time.Time) string { return i.Sign(good) + "\r\n" }, oidc.ReasonForm, nil},
		Attack{"A29", "nothing", func(*Issuer, Claims, time.Time) string { return "" }, oidc.ReasonForm, nil},

		headed("A30", "crit b64", oidc.ReasonHeader, map[string]any{"crit": []string{"b64"}}),
		headed("A30", "b64 false", oidc.ReasonHeader, map[string]any{"b64": false}),
		headed("A30", "zip", oidc.ReasonHeader, map[string]any{"zip": "DEF"}),
		headed("A31", "an access token", oidc.ReasonKind, map[string]any{"typ": "at+jwt"}),
		claimed("A31", "a logout token", oidc.ReasonKind, Claims{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}),
		claimed("A31", "an identity token of another client", oidc.ReasonAudience, Claims{"aud": "another-client"}),
	)

	for _, groups := range []any{"admins", []any{[]any{"admins"}}, []any{7}, []any{nil}, nil, []any{""}, []any{"root\u200b"}, []any{strings.Repeat("g", 300)}, map[string]any{"admins": true}, []any{"a\nb"}} {
		reason := oidc.ReasonGroups
		if groups == nil {
			reason = ""
		}
		all = append(all, claimed("A32", fmt.Sprintf("groups %.30q", fmt.Sprint(groups)), reason, Claims{"groups": groups}))
	}
	same := claimed("A32", "groups that look like others stay as they are", "", Claims{"groups": []any{"root", "ROOT ", "\uff52oot", "e\u0301", "\u00e9", "root"}})
	same.Groups = []string{"ROOT ", "e\u0301", "root", "\u00e9", "\uff52oot"}
	all = append(all, same,
		claimed("A32", "groups are elsewhere", oidc.ReasonGroups, Claims{"_claim_names": map[string]any{"groups": "src1"}}),
		claimed("A32", "there are too many groups", oidc.ReasonGroups, Claims{"hasgroups": true}),
		Attack{"A33", "groups are at an address of the token's", func(i *Issuer, good Claims, _ time.Time) string {
			return i.Sign(good.With(Claims{"_claim_names": map[string]any{"groups": "a"}, "_claim_sources": map[string]any{"a": map[string]any{"endpoint": i.URL + "/evil"}}}))
		}, oidc.ReasonGroups, nil},
	)
	for _, id := range []string{`74.9`, `"74"`, `74.0`, `7.4e1`, `true`, `[75]`, `null`, `{"74":74}`} {
		all = append(all, payload("A34", "bound number "+id, oidc.ReasonClaims, func(text string) string {
			return strings.Replace(text, `"project_id":74`, `"project_id":`+id, 1)
		}))
	}
	all = append(all,
		claimed("A34", "a truth value for a text", oidc.ReasonClaims, Claims{"ref_protected": true}),
		claimed("A34", "one of a list", "", Claims{"project_id": []any{73, 74}}),
		claimed("A35", "a bound claim that is a pattern", oidc.ReasonClaims, Claims{"ref_protected": "*"}),
		claimed("A35", "a line's end after a bound claim", oidc.ReasonClaims, Claims{"ref_protected": "true\n"}),
		claimed("A35", "a bound claim that is missing", oidc.ReasonClaims, Claims{"ref_protected": nil}),
		claimed("", "no sub", oidc.ReasonSubject, Claims{"sub": nil}),
		claimed("", "a long sub", oidc.ReasonSubject, Claims{"sub": strings.Repeat("s", 256)}),
		claimed("", "a sub with a line's end", oidc.ReasonSubject, Claims{"sub": "alice\nroot"}),
	)
	return all
}
