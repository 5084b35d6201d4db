package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"envrun/auth/token"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// wrapping is sys/wrapping: answers that were put aside under a token which
// gets them once (server-api §1.9).
type wrapping struct {
	store
	tokens *token.Tokens
	hasher *audit.Hasher
}

// A wrapped is an answer that was put aside.
type wrapped struct {
	Status   int             `json:"status"`
	Body     json.RawMessage `json:"body"`
	Path     string          `json:"path"`
	Accessor string          `json:"accessor,omitempty"` // of the token that is in it
	TTL      time.Duration   `json:"ttl"`
	Created  time.Time       `json:"created"`
}

// What lets one unwrap is the wrapping token: it comes alone, as the token that
// asks or in the body. Comes it in the body beside another token, then that one's
// policies decide.
func (w wrapping) area() area {
	return area{
		{path: "wrapping/wrap", update: w.wrap, looks: true},
		{path: "wrapping/lookup", update: w.lookup, read: w.lookup, looks: true, open: true},
		{path: "wrapping/unwrap", update: w.unwrap, openIf: alone},
		{path: "wrapping/rewrap", update: w.rewrap, openIf: alone},
	}
}

func alone(req *guard.Request) bool {
	text, _ := req.Params["token"].(string)
	return req.Token == "" || text == "" || text == req.Token
}

// put puts an answer aside and returns the one that stands for it.
func (w wrapping) put(c *call, a *answer) (*answer, error) {
	body, ok := a.Body.(*reply)
	if !ok || body.text != nil {
		return a, nil
	}
	text, err := body.marshal(c.Request().ID)
	if err != nil {
		return nil, err
	}
	r := wrapped{Status: a.Status, Body: text, Path: strings.TrimSuffix(c.Request().Path, "/"), TTL: c.Request().Wrap, Created: w.tokens.Now().UTC()}
	r.Accessor = body.accessor
	if body.auth != nil {
		r.Accessor = body.auth.Accessor
	}
	return w.keep(c.Tx(), r)
}

func (w wrapping) keep(tx Tx, r wrapped) (*answer, error) {
	text, t, _, err := w.tokens.Create(tx, token.Spec{
		Policies: []string{policy.WrappingName}, NoDefault: true, DisplayName: "wrapping", Path: r.Path, Wraps: true,
		TTL: r.TTL, ExplicitMax: r.TTL,
	})
	if err != nil {
		return nil, asBad(err)
	}
	if err := w.keepFor(tx, t.ID, wrappedName, r); err != nil {
		return nil, err
	}
	return &answer{
		Status: http.StatusOK,
		Body: &reply{wrap: &wire.WrapInfo{
			Token: wire.Token(text), Accessor: t.Accessor, TTL: secs(r.TTL), CreationTime: wire.Time{Time: t.Created},
			CreationPath: r.Path, WrappedAccessor: r.Accessor,
		}},
		Wrap: &audit.WrapInfo{Accessor: w.hasher.Hash(t.Accessor), Token: w.hasher.Hash(text), CreationPath: r.Path, TTL: secs(r.TTL)},
	}, nil
}

// wrappedName is where a wrapping token keeps its answer. Nobody else gets there:
// its policy opens the one path of the unwrapping.
const wrappedName = "response"

var errNotWrapped = problem(http.StatusBadRequest, "wrapping token is not valid or does not exist")

// find returns the answer that the request's wrapping token stands for, and the token.
func (w wrapping) find(c *call) (t token.Token, r wrapped, err error) {
	in, _, err := body[wire.TokenRef](c)
	if err != nil {
		return t, r, err
	}
	text := string(in.Token)
	if text == "" {
		text = c.Request().Token
	}
	t, err = w.tokens.Lookup(c.Tx(), text)
	if err == nil && !t.Wraps {
		err = token.ErrInvalid
	}
	if errors.Is(err, token.ErrInvalid) {
		return t, r, errNotWrapped
	}
	if err != nil {
		return t, r, err
	}
	there, err := w.ofToken(c.Tx(), t.ID, wrappedName, &r)
	if err == nil && !there {
		err = errNotWrapped
	}
	return t, r, err
}

// take is find for the one time that the answer can be had.
func (w wrapping) take(c *call) (wrapped, error) {
	t, r, err := w.find(c)
	if err != nil {
		return r, err
	}
	return r, w.tokens.Revoke(c.Tx(), t.ID)
}

func (w wrapping) wrap(c *call, _ []string) (*answer, error) {
	if c.Request().Wrap == 0 {
		return nil, bad("endpoint requires response wrapping to be used")
	}
	data := json.RawMessage(c.Request().Body)
	if data == nil {
		data = json.RawMessage("null")
	}
	return answered(data), nil
}

func (w wrapping) lookup(c *call, _ []string) (*answer, error) {
	_, r, err := w.find(c)
	if err != nil {
		return nil, err
	}
	return answered(wire.WrapLookup{CreationPath: r.Path, CreationTime: wire.Time{Time: r.Created}, CreationTTL: secs(r.TTL)}), nil
}

func (w wrapping) unwrap(c *call, _ []string) (*answer, error) {
	r, err := w.take(c)
	if err != nil {
		return nil, err
	}
	return &guard.Answer{Status: r.Status, Body: &reply{text: r.Body}}, nil
}

func (w wrapping) rewrap(c *call, _ []string) (*answer, error) {
	r, err := w.take(c)
	if err != nil {
		return nil, err
	}
	r.Created = w.tokens.Now().UTC()
	return w.keep(c.Tx(), r)
}

// cubbyhole is the values that a token keeps for itself. They go with it.
type cubbyhole struct{ store }

// maxCubby is how many values a token may keep.
const maxCubby = 1024

func (h cubbyhole) find(ctx *guard.Request, path string) (action, error) {
	var do func(*call) (*answer, error)
	writes := false
	switch ctx.Op {
	case policy.OpRead:
		do = func(c *call) (*answer, error) { return h.read(c, path) }
	case policy.OpList:
		do = func(c *call) (*answer, error) { return h.list(c, path) }
	case policy.OpUpdate:
		do, writes = func(c *call) (*answer, error) { return h.write(c, path) }, true
	case policy.OpDelete:
		do, writes = func(c *call) (*answer, error) { return h.remove(c, path) }, true
	default:
		return action{}, errUnsupported
	}
	// What a wrapping token keeps is the answer that it stands for, which is had once
	// and by unwrapping.
	own := func(c *call) (*answer, error) {
		if c.Token().Wraps {
			return nil, errNothing
		}
		return do(c)
	}
	if writes {
		return guard.Writes(own), nil
	}
	return guard.Reads(own), nil
}

func (h cubbyhole) read(c *call, path string) (*answer, error) {
	var data json.RawMessage
	there, err := h.ofToken(c.Tx(), c.Token().ID, path, &data)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNothing
	}
	return answered(data), nil
}

func (h cubbyhole) list(c *call, path string) (*answer, error) {
	names, err := c.Tx().TokenValues(c.Token().ID)
	if err != nil {
		return nil, err
	}
	return keys(children(names, path))
}

func (h cubbyhole) write(c *call, path string) (*answer, error) {
	if path == "" {
		return nil, bad("missing path")
	}
	if len(c.Request().Params) == 0 {
		return nil, bad("missing data fields")
	}
	names, err := c.Tx().TokenValues(c.Token().ID)
	if err != nil {
		return nil, err
	}
	if len(names) >= maxCubby {
		return nil, bad("a token keeps at most %d values for itself", maxCubby)
	}
	return done(), h.keepFor(c.Tx(), c.Token().ID, path, json.RawMessage(c.Request().Body))
}

func (h cubbyhole) remove(c *call, path string) (*answer, error) {
	return done(), c.Tx().DeleteTokenValue(c.Token().ID, path)
}
