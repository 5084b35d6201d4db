package main_test

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/vaulttest"
	"envrun/vault/wire"
)

// plain is the address of our server as if it were another one, which has none of the
// requests that ours alone has.
func plain(t *testing.T, address string) string {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(res *http.Response) error {
		res.Header.Del(wire.OwnHeader)
		switch res.Request.URL.Path {
		case "/v1/sys/bundle", "/v1/sys/names", "/v1/sys/events":
			res.Body.Close()
			res.StatusCode, res.Body = http.StatusNotFound, io.NopCloser(strings.NewReader(`{"errors":[]}`))
			res.Header.Del("Content-Length")
		}
		return nil
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL
}

func remoteAt(t *testing.T, address, token string) *remote.Vault {
	t.Helper()
	v, err := remote.Open(remote.Options{Address: address, Pause: 10 * time.Millisecond, Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// A client hears what another one writes, also after its connection was cut; of a
// server that is not ours, and with a token that is none, it hears why not.
func TestWatchOverRemote(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the server: not in short mode")
	}
	address, token := devServer(t)
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(httputil.NewSingleHostReverseProxy(to))
	defer proxy.Close()
	writer, v := remoteAt(t, address, token), remoteAt(t, proxy.URL, token)
	for _, env := range []vault.Env{vaulttest.Dev, vaulttest.Prod} {
		if err := writer.AddEnv(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	write := func(env vault.Env, path vault.Path) {
		t.Helper()
		if _, err := writer.Apply(t.Context(), env, []vault.Change{{Path: path, Was: vault.Any, Replace: true}}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	next, stop := iter.Pull2(v.Watch(ctx, vaulttest.Dev))
	defer stop()
	hears := func(path vault.Path) {
		t.Helper()
		for {
			n, err, ok := next()
			if !ok || err != nil {
				t.Fatalf("waiting for %q: %v %v", path, err, ok)
			}
			if n.Path == path {
				return
			}
		}
	}
	hears("") // it has begun
	write(vaulttest.Prod, "other")
	write(vaulttest.Dev, "app/db")
	hears("app/db")
	proxy.CloseClientConnections()
	write(vaulttest.Dev, "app/web") // it is told of that when it comes back
	hears("app/web")
	write(vaulttest.Dev, "end")
	hears("end")

	for say, c := range map[string]struct {
		v    *remote.Vault
		kind vault.Kind
	}{
		"not ours":    {remoteAt(t, plain(t, address), token), vault.KindUnsupported},
		"a bad token": {remoteAt(t, address, "nope"), vault.KindNoIdentity},
	} {
		for range c.v.List(ctx, vaulttest.Dev, "") { // so that it is known which server it is
		}
		var last error
		for _, last = range c.v.Watch(ctx, vaulttest.Dev) {
		}
		if vault.KindOf(last) != c.kind {
			t.Errorf("%s: %v", say, last)
		}
	}
}
