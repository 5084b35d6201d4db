package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// A handler does what is asked at a path: at are the parts of it that the
// pattern of its endpoint left open.
type handler func(c *call, at []string) (*answer, error)

// An endpoint is one path of an area and what can be done there. In the path
// {x} stands for one segment and {x...}, at its end, for the rest, which may be
// empty.
type endpoint struct {
	path string

	read, list, update, patch, remove handler // nil: not supported

	// What an update is, if not a change that the path's policy decides.
	looks   bool                      // it changes nothing: what is asked for stands in the body
	open    bool                      // for all operations: no token is needed
	openIf  func(*guard.Request) bool // no token is needed for such a request
	private bool                      // for all operations: every good token may ask
	sudo    bool                      // for all operations: in addition to policy.NeedsSudo

	note func(req *guard.Request, at []string) audit.Data // what of the request is recorded

	// exists says whether there is something at the path: an update of what is not
	// there is a create. nil: an update is an update.
	exists func(tx Tx, at []string) (bool, error)

	// prepare is what an update does first, outside of every transaction.
	prepare func(ctx context.Context, req *guard.Request) (any, error)
}

// An area is the endpoints below one mount.
type area []endpoint

// find makes the action of a request: path is what is left of it below the mount.
func (a area) find(req *guard.Request, path string) (action, error) {
	path = strings.TrimSuffix(path, "/")
	for i := range a {
		e := &a[i]
		at, ok := e.match(path)
		if !ok {
			continue
		}
		h, writes := e.handler(req.Op)
		if h == nil {
			return action{}, errUnsupported
		}
		do := func(c *call) (*answer, error) { return h(c, at) }
		act := guard.Reads(do)
		if writes {
			act = guard.Writes(do)
		}
		if e.note != nil {
			act = act.Noting(e.note(req, at))
		}
		if e.exists != nil {
			act = act.Existing(func(_ context.Context, tx Tx) (bool, error) { return e.exists(tx, at) })
		}
		if e.prepare != nil && req.Op == policy.OpUpdate {
			act = act.Preparing(func(ctx context.Context) (any, error) { return e.prepare(ctx, req) })
		}
		if e.open || e.openIf != nil && e.openIf(req) {
			act = act.Open()
		}
		if e.private {
			act = act.Private()
		}
		if e.sudo {
			act = act.Sudo()
		}
		return act, nil
	}
	return action{}, errNoSuchPath
}

func (e *endpoint) handler(op policy.Op) (h handler, writes bool) {
	switch op {
	case policy.OpRead:
		return e.read, false
	case policy.OpList:
		return e.list, false
	case policy.OpUpdate:
		return e.update, !e.looks
	case policy.OpPatch:
		return e.patch, true
	case policy.OpDelete:
		return e.remove, true
	}
	return nil, false
}

func (e *endpoint) match(path string) (at []string, ok bool) {
	pattern := e.path
	for {
		var want, have string
		var more bool
		want, pattern, more = strings.Cut(pattern, "/")
		if strings.HasSuffix(want, "...}") {
			return append(at, path), true
		}
		var left bool
		have, path, left = strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(want, "{"):
			if have == "" {
				return nil, false
			}
			at = append(at, have)
		case want != have:
			return nil, false
		}
		switch {
		case !more && !left:
			return at, true
		case !more:
			return nil, false
		case !left && strings.HasSuffix(pattern, "...}") && !strings.Contains(pattern, "/"):
			return append(at, ""), true
		case !left:
			return nil, false
		}
	}
}

// body reads what a request sent into a T, and says which of the names in it T does
// not know, as the warning that both servers give.
func body[T any](c *call) (v T, warnings []string, err error) { return bodyOf[T](c.Request()) }

func bodyOf[T any](req *guard.Request) (v T, warnings []string, err error) {
	if len(req.Body) == 0 {
		return v, nil, nil
	}
	if err := json.Unmarshal(req.Body, &v); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			kind, _, _ := strings.Cut(wrong.Value, " ")                      // "number 12" would repeat the number
			field := wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:] // without our own names for what holds it
			return v, nil, bad("error converting input for field %q: '' expected type '%s', got unconvertible type '%s'", field, wrong.Type.Kind(), kind)
		}
		return v, nil, bad("Field validation failed: %s", err)
	}
	known := names(reflect.TypeFor[T]())
	var strange []string
	for name := range req.Params {
		if !slices.Contains(known, name) {
			strange = append(strange, cut(name, 64))
		}
	}
	if len(strange) > 0 {
		slices.Sort(strange)
		warnings = append(warnings, fmt.Sprintf("Endpoint ignored these unrecognized parameters: %v", strange))
	}
	return v, warnings, nil
}

var known sync.Map // reflect.Type → []string

// names are the JSON names of a struct's fields.
func names(t reflect.Type) []string {
	if n, ok := known.Load(t); ok {
		return n.([]string)
	}
	var all []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			all = append(all, names(f.Type)...)
			continue
		}
		all = append(all, name)
	}
	known.Store(t, all)
	return all
}

// sent says whether the request has a parameter.
func sent(c *call, name string) bool {
	_, ok := c.Request().Params[name]
	return ok
}

// keys answers a list: 404 when there is nothing, never an empty one.
func keys(names []string) (*answer, error) {
	if len(names) == 0 {
		return nil, errNothing
	}
	a := answered(wire.Keys{Keys: names})
	a.Facts = &audit.Data{Count: int64(len(names))}
	return a, nil
}

// notNull is a list that is [] in JSON when it is empty.
func notNull(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// children are the names directly below a folder, "" or "a/b/", among sorted
// paths; folders end in a slash.
func children(paths []string, folder string) []string {
	var out []string
	for _, p := range paths {
		rest, ok := strings.CutPrefix(p, folder)
		if !ok || rest == "" {
			continue
		}
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			rest = rest[:i+1]
		}
		if len(out) == 0 || out[len(out)-1] != rest {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
