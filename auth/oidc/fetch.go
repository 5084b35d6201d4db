package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"envrun/auth/strictjson"
)

// Bounds of asking an issuer (auth §4.2).
const (
	fetchTime = 5 * time.Second
	fetchSize = 1 << 20 // bytes, after decompression
)

// A fetcher gets the public documents of one issuer. It follows no redirect, takes
// no proxy from the environment, and does not connect to addresses that are not
// public: the address of an issuer is what an operator wrote, but what its name
// resolves to is not.
type fetcher struct {
	client *http.Client
	local  bool // private and loopback addresses are fine
}

func newFetcher(roots *x509.CertPool, local bool) *fetcher {
	f := &fetcher{local: local}
	dialer := &net.Dialer{Timeout: fetchTime, Control: func(_, address string, _ syscall.RawConn) error {
		// What is dialled is checked here, after the name was resolved, so that no
		// second answer of the resolver gets past it.
		to, err := netip.ParseAddrPort(address)
		if err != nil || !f.mayDial(to.Addr()) {
			return errNotPublic
		}
		return nil
	}}
	f.client = &http.Client{
		Timeout: fetchTime,
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    fetchTime,
			ResponseHeaderTimeout:  fetchTime,
			MaxResponseHeaderBytes: 32 << 10,
			MaxIdleConns:           1,
			IdleConnTimeout:        10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f
}

var errNotPublic = errors.New("its address is not a public one; a mount for an issuer inside has allow_private_issuer")

// notPublic are the ranges that net/netip does not name (RFC 6890 and its registry).
// They are parsed when they are needed: this package is in a client too, which has
// started before anybody asks.
var notPublic = sync.OnceValue(func() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), // translated IPv4
		netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"), // tunnelled IPv4
		netip.MustParsePrefix("fec0::/10"),
	}
})

func (f *fetcher) mayDial(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	switch {
	case a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), !a.IsValid():
		return false // where clouds keep the credentials of machines, for one
	case f.local:
		return true
	}
	return !a.IsLoopback() && !a.IsPrivate() && !slices.ContainsFunc(notPublic(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// checkURL says whether an issuer may be asked at an address: https, or http to
// this machine where that is allowed.
func (f *fetcher) checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return nil, errors.New("an address of the issuer is not of its form")
	case u.Scheme == "https":
		return u, nil
	case u.Scheme == "http" && f.local && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("an address of the issuer is not https")
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// get returns a document and how long it says it is good for, 0 if it does not.
func (f *fetcher) get(ctx context.Context, what, address string) ([]byte, time.Duration, error) {
	u, err := f.checkURL(address)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, errors.New("an address of the issuer is not of its form")
	}
	// Kubernetes has its keys as a key set (RFC 7517 §8.5) and as nothing else.
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := f.client.Do(req)
	if err != nil {
		if uerr := (*url.Error)(nil); errors.As(err, &uerr) {
			err = uerr.Err // the rest repeats the address, with its query
		}
		return nil, 0, fmt.Errorf("%s of %s cannot be had: %w", what, u.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		if resp.StatusCode/100 == 3 {
			return nil, 0, fmt.Errorf("%s asks to be followed to another address for %s", u.Host, what)
		}
		return nil, 0, fmt.Errorf("%s answers %d for %s", u.Host, resp.StatusCode, what)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, fetchSize+1))
	if err != nil {
		return nil, 0, fmt.Errorf("%s of %s ended early", what, u.Host)
	}
	if len(body) > fetchSize {
		return nil, 0, fmt.Errorf("%s of %s has more than a mebibyte", what, u.Host)
	}
	return body, maxAge(resp.Header), nil
}

// maxAge reads Cache-Control's max-age, in seconds.
func maxAge(h http.Header) time.Duration {
	for part := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if d, err := time.ParseDuration(strings.Trim(value, `"`) + "s"); strings.EqualFold(name, "max-age") && err == nil {
			return max(0, d)
		}
	}
	return 0
}

// discover reads the discovery document (OpenID Connect Discovery 1.0 §4) of an
// issuer, and returns where its keys are. hosts are those beside the issuer's own
// that the keys may be on.
func (f *fetcher) discover(ctx context.Context, issuer string, hosts []string) (jwksURL string, err error) {
	const what = "the discovery document"
	text, _, err := f.get(ctx, what, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	all, err := strictjson.Object(text, strictjson.Limits{Depth: 8, Values: 10_000})
	if err != nil {
		return "", fmt.Errorf("%s is not JSON: %w", what, err)
	}
	if all["issuer"] != issuer {
		return "", fmt.Errorf("%s is of another issuer", what)
	}
	jwksURL, _ = all["jwks_uri"].(string)
	keys, err := f.checkURL(jwksURL)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	own, err := f.checkURL(issuer)
	if err != nil {
		return "", err
	}
	if keys.Host != own.Host && !slices.Contains(hosts, keys.Host) {
		return "", &HostError{keys.Host}
	}
	return jwksURL, nil
}

// A HostError is an issuer whose keys are on a host that is neither its own nor
// one that the operator confirmed.
type HostError struct{ Host string }

func (e *HostError) Error() string {
	return fmt.Sprintf("the issuer has its keys on another host, %q, which the mount's jwks_hosts do not name", e.Host)
}
