package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"envrun/auth"
	"envrun/auth/oidc"
)

// answerTime is how long an issuer may take for one answer.
const answerTime = 15 * time.Second

// Options say which issuer a person signs in with, and how it is reached.
type Options struct {
	Issuer   string // as its tokens say it, byte for byte: https, or http on this machine alone
	ClientID string
	Scopes   []string // nil: openid, profile, email, and offline_access where the issuer has it. openid is always asked for

	CA    []byte                                // PEM, beside the certificates of the system
	Proxy func(*http.Request) (*url.URL, error) // nil: none
	// Hosts are those, "login.example.com" or with a port, that the issuer may have
	// endpoints on beside its own host and what is below that.
	Hosts []string

	Time  time.Duration                              // for one answer; 0: 15 seconds
	Now   func() time.Time                           // nil: time.Now
	Sleep func(context.Context, time.Duration) error // between the questions of a device flow; nil: really
}

func (o *Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// A Provider is an issuer that was asked where its endpoints are. It may be used by
// several goroutines.
type Provider struct {
	o          Options
	client     *http.Client // for what answers in JSON
	plain      *http.Client // for what may answer in anything
	base       *http.Transport
	endpoint   oauth2.Endpoint
	jwksURL    string
	revokeURL  string
	algorithms []string
	scopes     []string
	issAlways  bool // RFC 9207: answers without iss are not the issuer's
	formPost   bool

	mu       sync.Mutex
	keys     []oidc.Key
	skew     time.Duration
	skewSure bool // it is of an answer that nobody kept in between
}

// Discover asks an issuer where its endpoints are (OpenID Connect Discovery 1.0).
func Discover(ctx context.Context, o Options) (*Provider, error) {
	p := &Provider{o: o}
	own, err := checkURL(o.Issuer, true)
	if err != nil || strings.Contains(o.Issuer, "?") {
		return nil, &ProviderError{Issuer: o.Issuer, Why: "its address is not https://…"}
	}
	if !auth.Plain(o.ClientID, 512) {
		return nil, &ProviderError{Issuer: o.Issuer, Why: "no client ID is known for it"}
	}
	if err := p.connect(own); err != nil {
		return nil, err
	}
	gp, err := gooidc.NewProvider(gooidc.ClientContext(ctx, p.client), o.Issuer)
	if mismatch := (*gooidc.IssuerMismatchError)(nil); errors.As(err, &mismatch) {
		return nil, &MismatchError{Issuer: o.Issuer, Says: short(mismatch.Discovered)}
	}
	if err != nil {
		return nil, p.trouble(ctx, stepDiscovery, err)
	}
	var more struct {
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
		Scopes     []string `json:"scopes_supported"`
		Modes      []string `json:"response_modes_supported"`
		Revocation string   `json:"revocation_endpoint"`
		JWKS       string   `json:"jwks_uri"`
		Iss        bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := gp.Claims(&more); err != nil {
		return nil, &ProviderError{Issuer: o.Issuer, Why: "its discovery document is not of its form"}
	}
	p.endpoint = gp.Endpoint()
	// A public client has no secret to send in a header, and a library that tries both
	// ways sends a refresh token twice, which ends the session of whoever has it (F5).
	p.endpoint.AuthStyle = oauth2.AuthStyleInParams
	p.jwksURL, p.revokeURL, p.issAlways = more.JWKS, more.Revocation, more.Iss
	p.formPost = slices.Contains(more.Modes, "form_post")
	for _, e := range []struct{ name, address string }{
		{"authorization_endpoint", p.endpoint.AuthURL}, {"token_endpoint", p.endpoint.TokenURL}, {"jwks_uri", p.jwksURL},
		{"device_authorization_endpoint", p.endpoint.DeviceAuthURL}, {"revocation_endpoint", p.revokeURL},
	} {
		if optional := e.name[0] == 'd' || e.name[0] == 'r'; e.address == "" && optional {
			continue
		}
		if err := p.checkEndpoint(own, e.name, e.address); err != nil {
			return nil, err
		}
	}
	if len(more.Algorithms) == 0 {
		more.Algorithms = []string{"RS256"} // which each has to know
	}
	for _, a := range more.Algorithms {
		if slices.Contains(oidc.Algorithms, a) {
			p.algorithms = append(p.algorithms, a)
		}
	}
	if len(p.algorithms) == 0 {
		return nil, &ProviderError{Issuer: o.Issuer, Why: "it signs with nothing that can be checked without a secret"}
	}
	p.scopes = scopes(o.Scopes, more.Scopes)
	return p, nil
}

func scopes(asked, has []string) []string {
	if len(asked) == 0 {
		asked = []string{"openid", "profile", "email"}
		if slices.Contains(has, offline) {
			asked = append(asked, offline)
		}
	}
	if !slices.Contains(asked, "openid") {
		asked = append([]string{"openid"}, asked...)
	}
	return asked
}

const offline = "offline_access"

// Devices says whether the issuer has device codes.
func (p *Provider) Devices() bool { return p.endpoint.DeviceAuthURL != "" }

// Skew is how much later the issuer's clock is than this machine's, as of its last
// answer; negative: earlier.
func (p *Provider) Skew() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.skew
}

func (p *Provider) connect(own *url.URL) error {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(p.o.CA) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(p.o.CA) {
			return &ProviderError{Issuer: p.o.Issuer, Why: "there is no certificate in PEM to know it by"}
		}
		settings.RootCAs = roots
	}
	limit := p.o.Time
	if limit == 0 {
		limit = answerTime
	}
	proxy := p.o.Proxy
	if own.Scheme == "http" {
		proxy = nil // what is on this machine is not reached through another
	}
	p.base = &http.Transport{
		Proxy: proxy, TLSClientConfig: settings, TLSHandshakeTimeout: limit, ResponseHeaderTimeout: limit,
		MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 4, IdleConnTimeout: 5 * time.Second,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			if res.StatusCode == http.StatusOK {
				return nil
			}
			return &proxyError{res.StatusCode}
		},
	}
	for _, c := range []struct {
		to   **http.Client
		json bool
	}{{&p.client, true}, {&p.plain, false}} {
		*c.to = &http.Client{Timeout: limit, Transport: &guard{p, c.json}, CheckRedirect: checkRedirect}
	}
	return nil
}

// Hosts that issuers known to everybody have endpoints on.
func known(issuer string) []string {
	if issuer == "https://accounts.google.com" {
		return []string{"oauth2.googleapis.com", "www.googleapis.com"}
	}
	return nil
}

// checkEndpoint says whether an endpoint may be used: a code or a refresh token goes
// there. It has to be on the issuer's host or below it, or on a host that the caller
// named. What merely shares a domain with the issuer can be anybody's, and which
// domains belong to one owner takes a list that is not worth its size here.
func (p *Provider) checkEndpoint(own *url.URL, name, address string) error {
	u, err := checkURL(address, own.Scheme == "http")
	if err != nil {
		return &ProviderError{Issuer: p.o.Issuer, Why: "its " + name + " is not https://…"}
	}
	if u.Host == own.Host || strings.HasSuffix(u.Host, "."+own.Host) || slices.Contains(p.o.Hosts, u.Host) || slices.Contains(known(p.o.Issuer), u.Host) {
		return nil
	}
	return &HostError{Issuer: p.o.Issuer, Endpoint: name, Host: short(u.Host)}
}

// checkURL reads an https address, or an http one of this machine where local ones
// are fine.
func checkURL(text string, local bool) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" || !auth.Plain(text, 2048) {
		return nil, errors.New("it is not of its form")
	}
	if u.Scheme == "https" || u.Scheme == "http" && local && loopback(u.Hostname()) {
		return u, nil
	}
	return nil, errors.New("it is not https")
}

func loopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }
