//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// onServer is the main job on a server, with the session of somebody who signed in,
// against the same in a vault of files; and how often it asks the server. Where no
// keychain keeps a session it has the token in a variable, and says so.
func (b *bench) onServer() (_ []line, err error) {
	files, err := b.project(thirty)
	if err != nil {
		return nil, err
	}
	defer b.stopAll()
	s, err := b.startEnvrund("envrund-run", false)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for i := range thirty.own {
		values[fmt.Sprintf("VARIABLE_%02d", i)] = strings.Repeat("x", 40)
	}
	if err := s.call("POST", benchMount+"/data/"+benchMount, s.token, map[string]any{"data": values}, nil); err != nil {
		return nil, err
	}

	var asked atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.addr})
	counted := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	defer counted.Close()
	signedIn := true
	for _, address := range []string{counted.URL, "http://" + s.addr} {
		if err := b.signIn(address, s.token); err != nil {
			say("no session can be kept here, so the run on a server has a token in VAULT_TOKEN: %v", err)
			signedIn = false
			break
		}
	}
	defer func() {
		_, forgot := b.output(b.dir, nil, b.envrun, "logout", "--all")
		err = errors.Join(err, forgot)
	}()
	on := func(name, address string) (variant, error) {
		v := b.runTrue(filepath.Join(b.dir, name))
		if !signedIn {
			v.env = []string{"VAULT_ADDR=" + address, "VAULT_TOKEN=" + s.token}
		}
		text := fmt.Sprintf("vault = %q\nproject = %q\ndefault = %q\n\n[env.%s]\ncache = \"off\"\n", address, benchMount, benchMount, benchMount)
		return v, errors.Join(os.Mkdir(v.dir, 0o755), os.WriteFile(filepath.Join(v.dir, "envrun.toml"), []byte(text), 0o644))
	}
	through, err := on("on-server-counted", counted.URL)
	if err != nil {
		return nil, err
	}
	for range 2 { // the first may ask what kind of server it is
		asked.Store(0)
		if _, err := b.once(through, 0); err != nil {
			return nil, err
		}
	}
	n := asked.Load()
	met := "met"
	if n > 2 {
		met = "NOT met"
	}
	direct, err := on("on-server", "http://"+s.addr)
	if err != nil {
		return nil, err
	}
	taken, err := b.interleave(5*b.rounds, b.runTrue(files), direct)
	if err != nil {
		return nil, err
	}
	with := "a session"
	if !signedIn {
		with = "a token"
	}
	return []line{
		compare("envrun -- true on a server with "+with+", 30 variables of one secret", taken[1], taken[0], "in a vault of files", promise{"≤", 4}),
		{what: "… its requests", mine: fmt.Sprint(n), promise: "≤ 2", met: met},
	}, nil
}

// signIn keeps a session with a token that somebody made. Its key is in the first
// keychain there is that asks nobody.
func (b *bench) signIn(address, token string) error {
	cmd := exec.Command(b.envrun, "login", address, "--method", "token")
	cmd.Dir, cmd.Env, cmd.Stdin = b.dir, b.env, strings.NewReader(token)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
