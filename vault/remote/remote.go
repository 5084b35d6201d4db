package remote

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"envrun/vault"
	"envrun/vault/wire"
)

// Options say which server it is and how it is known.
type Options struct {
	// Address is https://host[:port][/path], or http:// for a loopback address.
	Address   string
	Namespace string // empty: none

	// Mounts names the mounts of environments. One that is not named is the
	// mount of its own name, if that is marked as an environment or asked for.
	Mounts map[vault.Env]string

	// CA are certificates in PEM that the server's must lead to, instead of the
	// system's. Pins are "sha256/" and the base64 of a SHA-256 of a public key
	// (SubjectPublicKeyInfo): the server's must be one of them. Pins without CA
	// stand for themselves, whoever signed the certificate.
	CA   []byte
	Pins []string

	// Token gives the token, each time one is needed. Its error is passed on.
	Token func(context.Context) (string, error)

	// Renewed, if not nil, is told of a token of Token's that the server does not
	// take, and gives another one to try, once; "" if there is none. Its error is
	// passed on instead of the server's.
	Renewed func(ctx context.Context, refused string) (string, error)

	// Plain says that the server is known to be another than envrund, which answers
	// some requests that no other has: none of them is tried then. Learnt, if not
	// nil, is told when it turns out otherwise, for the next time.
	Plain  bool
	Learnt func(plain bool)

	// Proxy chooses a proxy for https; nil: none is used.
	Proxy func(*http.Request) (*url.URL, error)

	// Witness holds the server to its audit log; nil: nothing is remembered of it.
	Witness *Witness

	Timeout time.Duration // of one request; 0: 30 s
	Pause   time.Duration // before the first repetition; 0: 200 ms. It doubles each time
}

// Limits of what is asked and taken.
const (
	maxAnswer  = 64 << 20 // bytes of an answer
	maxSecrets = 100_000  // of one listing
	maxHistory = 1_000    // versions of a secret, the newest
	atOnce     = 8        // requests at a time
	attempts   = 3        // of a request that may be repeated
	redirects  = 3        // on the same host
)

// Vault is a server as one client sees it. It is safe for use by several goroutines.
type Vault struct {
	o    Options
	base *url.URL
	// Not a client: that would follow redirects, and take the token along.
	transport *http.Transport
	envs      map[string]vault.Env // by mount, of Options.Mounts
	plain     atomic.Bool          // Options.Plain, or what was learnt since
	known     chan struct{}        // closed when plain is known to be true
	knowing   sync.Once
	looking   looking

	mu     sync.Mutex
	mounts map[vault.Env]wire.Mount // that were found to be KV v2
	told   time.Time                // the newest date of an answer
	caches map[string]time.Duration // by mount: what wire.CacheHeader said
}

var (
	_ vault.Vault      = (*Vault)(nil)
	_ vault.Historian  = (*Vault)(nil)
	_ vault.EnvKeeper  = (*Vault)(nil)
	_ vault.SomeReader = (*Vault)(nil)
	_ vault.Watcher    = (*Vault)(nil)
	_ vault.Exporter   = (*Vault)(nil)
)

// Open prepares a client and asks the server nothing. What is wrong with the
// options is of KindInvalid.
func Open(o Options) (*Vault, error) {
	base, err := ParseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	v := &Vault{o: o, base: base, envs: map[string]vault.Env{}, mounts: map[vault.Env]wire.Mount{}}
	v.plain.Store(o.Plain)
	v.known = make(chan struct{})
	if v.o.Timeout <= 0 {
		v.o.Timeout = 30 * time.Second
	}
	if v.o.Pause <= 0 {
		v.o.Pause = 200 * time.Millisecond
	}
	for env, mount := range o.Mounts {
		if err := CheckMount(mount); err != nil {
			return nil, err
		}
		if other, ok := v.envs[mount]; ok {
			return nil, invalid("the environments %s and %s are both the mount %s", min(env, other), max(env, other), mount)
		}
		v.envs[mount] = env
	}
	settings, err := o.tls()
	if err != nil {
		return nil, err
	}
	v.transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     settings,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxConnsPerHost:     atOnce,
		MaxIdleConnsPerHost: atOnce,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true, // a small answer must not become a large one
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	if base.Scheme == "https" {
		v.transport.Proxy = o.Proxy
		v.transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			if res.StatusCode == http.StatusOK {
				return nil
			}
			return &gatewayError{res.StatusCode}
		}
	}
	return v, nil
}

// Close ends the connections that are kept open.
func (v *Vault) Close() { v.transport.CloseIdleConnections() }

// Address is that of the server, without a slash at its end.
func (v *Vault) Address() string { return v.base.String() }

// Namespace is the one it was opened for; empty: none.
func (v *Vault) Namespace() string { return v.o.Namespace }

// ParseAddress reads the address of a server: https, or http to a loopback
// address; without a user, a query or a fragment.
func ParseAddress(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, invalid("the address of a server is https://HOST or https://HOST:PORT")
	}
	switch {
	case u.User != nil:
		return nil, invalid("the address of a server holds no user and no password")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, invalid("the address of a server has no ? and no #")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, invalid("secrets go over https; http is for 127.0.0.1, ::1 and localhost alone")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, invalid("the address of a server begins with https://")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// CheckMount says whether s can be the path of a mount: segments of letters,
// digits and . _ - joined by "/", none of them "." or "..".
func CheckMount(s string) error {
	for seg := range strings.SplitSeq(s, "/") {
		ok := seg != "" && seg != "." && seg != ".." && len(s) <= vault.MaxPath
		for _, c := range seg {
			ok = ok && (c == '.' || c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
		}
		if !ok {
			return invalid("mount %.40q: letters, digits and . _ - in segments joined by /", s)
		}
	}
	return nil
}

// tls are the settings under which a server is believed to be itself.
func (o Options) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(o.CA) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(o.CA) {
			return nil, invalid("there is no certificate in PEM to know the server by")
		}
	}
	if len(o.Pins) == 0 {
		return c, nil
	}
	pins := map[[sha256.Size]byte]bool{}
	for _, p := range o.Pins {
		pin, err := parsePin(p)
		if err != nil {
			return nil, err
		}
		pins[pin] = true
	}
	c.InsecureSkipVerify = len(o.CA) == 0 // the pin says more than a signature would
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo); !pins[sum] {
			return &pinError{Have: "sha256/" + base64.StdEncoding.EncodeToString(sum[:])}
		}
		return nil
	}
	return c, nil
}

// CheckPin says whether s can be the pin of a server's key.
func CheckPin(s string) error {
	_, err := parsePin(s)
	return err
}

func parsePin(s string) (pin [sha256.Size]byte, err error) {
	text, ok := strings.CutPrefix(s, "sha256/")
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != len(pin) {
		return pin, invalid("a pin is sha256/ and the base64 of a SHA-256")
	}
	return [sha256.Size]byte(raw), nil
}

// pinError says that a server has another key than the one it is known by.
type pinError struct{ Have string }

func (e *pinError) Error() string {
	return "the server has the key " + e.Have + ", which is not pinned"
}

func invalid(format string, args ...any) error {
	return &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf(format, args...)}
}
