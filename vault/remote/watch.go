package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/wire"
)

// Times of a watch.
const (
	silence   = 45 * time.Second // without a word, after which a stream counts as broken: it says something every 15 s
	longPause = 30 * time.Second // between two attempts at most
	waitKnown = 5 * time.Second  // for another request to find out which server it is
)

// Watch implements vault.Watcher, by the stream of changes of envrund. Of other
// servers it is KindUnsupported.
func (v *Vault) Watch(ctx context.Context, env vault.Env) iter.Seq2[vault.Notice, error] {
	return func(yield func(vault.Notice, error) bool) {
		if _, err := vault.ParseEnv(string(env)); err != nil {
			yield(vault.Notice{}, err)
			return
		}
		unsupported := &vault.Error{Kind: vault.KindUnsupported, Env: env, Detail: "the server does not tell of changes"}
		if v.plain.Load() {
			yield(vault.Notice{}, unsupported)
			return
		}
		// Whoever watches reads as well: another server need not be asked twice for
		// what it does not have.
		select {
		case <-v.known:
		case <-time.After(waitKnown):
		case <-ctx.Done():
		}
		last, pause := "", v.o.Pause
		for ctx.Err() == nil {
			began := time.Now()
			left, err := v.stream(ctx, env, &last, yield)
			var e *ServerError
			switch {
			case left, ctx.Err() != nil:
				return
			case err == errPlain:
				yield(vault.Notice{}, unsupported)
				return
			case err == nil, errors.As(err, &e) && e.kind() == vault.KindUnavailable:
			default:
				yield(vault.Notice{}, v.place(err, env, ""))
				return
			}
			if time.Since(began) > longPause {
				pause = v.o.Pause
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause/2 + rand.N(pause/2+1)):
			}
			pause = min(2*pause, longPause)
		}
	}
}

// stream yields what one stream tells, until it breaks or nobody wants more of it
// (left). last is the number of its last event.
func (v *Vault) stream(ctx context.Context, env vault.Env, last *string, yield func(vault.Notice, error) bool) (left bool, err error) {
	token, err := v.o.Token(ctx)
	if err != nil {
		return false, err
	}
	if err := v.checkToken(token); err != nil {
		return false, err
	}
	if v.plain.Load() {
		return false, errPlain
	}
	whole, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	at := v.base.JoinPath("v1/sys/events")
	at.RawQuery = url.Values{"mount": {v.mountPath(env)}}.Encode()
	req, err := v.request(whole, http.MethodGet, at, token, nil)
	if err != nil {
		return false, err
	}
	resumed := *last != ""
	if resumed {
		req.Header.Set("Last-Event-ID", *last)
	}
	res, err := v.transport.RoundTrip(req)
	if err != nil {
		return false, v.unanswered(ctx, err)
	}
	defer res.Body.Close()
	switch {
	case v.heard(res, true):
		return false, errPlain
	case res.StatusCode != http.StatusOK:
		raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if err != nil {
			return false, v.unanswered(ctx, err)
		}
		c := call{method: http.MethodGet, own: true}
		_, _, err = v.judge(c, res, token, raw)
		return false, v.afterwards(ctx, c, token, err)
	}
	var name, data string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		alive.Reset(silence)
		field, text, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			*last = text
		case "event":
			name = text
		case "data":
			data = text
		}
		if lines.Text() != "" || name == "" {
			continue
		}
		var c wire.Change
		tell := name == wire.EventAgain || name == wire.EventReady && !resumed
		if name == wire.EventChange {
			tell = json.Unmarshal([]byte(data), &c) == nil && c.Mount == v.mountPath(env)
		}
		n := vault.Notice{Path: vault.Path(c.Path), Version: c.Version}
		if _, err := vault.ParsePath(c.Path); err != nil {
			n = vault.Notice{} // of a name that envrun has no room for
		}
		if name, data = "", ""; tell && !yield(n, nil) {
			return true, nil
		}
	}
	return false, nil
}
