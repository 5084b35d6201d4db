package guard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/token"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/policy"
)

// tx is a transaction on maps: what a write did is thrown away when it fails.
type tx struct {
	tokens   map[token.ID]token.Row
	policies map[string]string
	values   map[string]string
	log      []audit.Entry
	gen      uint64
	writes   bool
}

func (t *tx) TokenRow(id token.ID) (token.Row, bool, error) {
	r, ok := t.tokens[id]
	return r, ok, nil
}

func (t *tx) TokenRowByAccessor(a string) (token.Row, bool, error) {
	for _, r := range t.tokens {
		if r.Accessor == a {
			return r, true, nil
		}
	}
	return token.Row{}, false, nil
}

var errReadOnly = errors.New("a write in a read")

func (t *tx) PutTokenRow(r token.Row) error {
	if !t.writes {
		return errReadOnly
	}
	t.tokens[r.ID] = r
	return nil
}

func (t *tx) DeleteTokenRow(id token.ID) error {
	if !t.writes {
		return errReadOnly
	}
	delete(t.tokens, id)
	return nil
}

func (t *tx) TokenChildren(id token.ID) ([]token.ID, error) {
	var ids []token.ID
	for _, r := range t.tokens {
		if r.Parent == id {
			ids = append(ids, r.ID)
		}
	}
	return ids, nil
}

func (t *tx) TokensOfMount(string, int) ([]token.ID, error) { return nil, nil }

func (t *tx) TokenAccessors() ([]string, error) { return nil, nil }

func (t *tx) TokensExpired(time.Time, int) ([]token.ID, error) { return nil, nil }

func (t *tx) clone() *tx {
	return &tx{tokens: maps.Clone(t.tokens), policies: maps.Clone(t.policies), values: maps.Clone(t.values), log: t.log[:len(t.log):len(t.log)], gen: t.gen}
}

type db struct {
	now  *tx
	busy bool // in a transaction
}

func (d *db) Read(_ context.Context, f func(*tx) error) error {
	d.busy = true
	defer func() { d.busy = false }()
	return f(d.now.clone())
}

func (d *db) ReadKept(ctx context.Context, f func(*tx) error) error { return d.Read(ctx, f) }

func (d *db) Write(_ context.Context, f func(*tx) error) error {
	d.busy = true
	defer func() { d.busy = false }()
	next := d.now.clone()
	next.writes = true
	if err := f(next); err != nil {
		return err
	}
	d.now = next
	return nil
}

// log writes into the transaction, and refuses when told to.
type log struct{ fail error }

func (l *log) Append(_ context.Context, t *tx, lines ...audit.Line) error {
	if l.fail != nil {
		return l.fail
	}
	if !t.writes {
		return errReadOnly
	}
	for _, line := range lines {
		t.log = append(t.log, line.Entry())
	}
	return nil
}

// devices keep what they are sent, and refuse the entry of a type when told to.
type devices struct {
	lines []string
	fail  audit.Type
	full  error
}

func (d *devices) Full() error { return d.full }

var errFull = errors.New("audit device main: no space left")

func (d *devices) Write(ctx context.Context, lines ...audit.Line) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, l := range lines {
		if l.Entry().Type == d.fail {
			return errFull
		}
		d.lines = append(d.lines, l.String())
	}
	return nil
}

type texts struct{}

func (texts) Generation(t *tx) (uint64, error) { return t.gen, nil }

func (texts) Policy(t *tx, name string) (*policy.Policy, error) {
	text, ok := t.policies[name]
	if !ok {
		return nil, nil
	}
	return policy.Parse(name, text)
}

// world is a guard over values by path: read gives one, update writes one, delete
// removes one, "bad/…" fails half-way and "panic/…" panics.
type world struct {
	*testing.T
	*guard.Guard[*tx]
	db     *db
	log    *log
	now    time.Time
	calls  int
	tokens *token.Tokens

	prepared  int    // reads
	meanwhile func() // what happens while one is
}

var errBad = errors.New("half-way")

func newWorld(t *testing.T) *world {
	w := &world{T: t, db: &db{now: &tx{tokens: map[token.ID]token.Row{}, policies: map[string]string{}, values: map[string]string{}}}, log: &log{}, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	var err error
	if w.tokens, err = token.New(bytes.Repeat([]byte{1}, 32)); err != nil {
		t.Fatal(err)
	}
	w.tokens.Now = func() time.Time { return w.now }
	w.Guard = guard.New(guard.Config[*tx]{
		DB: w.db, Tokens: w.tokens, Policies: texts{}, Log: w.log, Hasher: audit.NewHasher(bytes.Repeat([]byte{2}, 32)),
		Route: w.route,
		Wrap: func(c *guard.Call[*tx], a *guard.Answer) (*guard.Answer, error) {
			c.Tx().values["wrapped"] = a.Body.(string)
			return &guard.Answer{Status: 200, Body: "wrapped"}, nil
		},
		Status: func(error) int { return 400 }, Words: error.Error, Now: w.tokens.Now,
	})
	return w
}

func (w *world) route(_ context.Context, _ *tx, req *guard.Request) (guard.Action[*tx], error) {
	path := req.Path
	var a guard.Action[*tx]
	switch {
	case path == "nowhere":
		return a, errors.New("no such path")
	case path == "open":
		return guard.Reads(func(*guard.Call[*tx]) (*guard.Answer, error) {
			w.calls++
			return &guard.Answer{Status: 200, Body: "hello"}, nil
		}).Open(), nil
	case strings.HasPrefix(path, "prepared"):
		return guard.Writes(func(c *guard.Call[*tx]) (*guard.Answer, error) {
			w.calls++
			c.Tx().values[path] = c.Prepared().(string)
			return &guard.Answer{Status: 204}, nil
		}).Preparing(func(context.Context) (any, error) {
			if w.db.busy {
				w.Error("prepared within a transaction")
			}
			switch path {
			case "prepared/bad":
				return nil, errBad
			case "prepared/panic":
				panic("a value")
			}
			return "made before", nil
		}).Open(), nil
	case strings.HasPrefix(path, "looked"):
		return guard.Reads(func(c *guard.Call[*tx]) (*guard.Answer, error) {
			w.calls++
			if path == "looked/write" {
				return nil, c.Tx().PutTokenRow(token.Row{})
			}
			return &guard.Answer{Status: 200, Body: c.Prepared()}, nil
		}).Preparing(func(context.Context) (any, error) {
			if w.db.busy {
				w.Error("prepared within a transaction")
			}
			w.prepared++
			if w.meanwhile != nil {
				w.meanwhile()
			}
			if path == "looked/bad" {
				return nil, errBad
			}
			return "looked up before", nil
		}), nil
	case req.Op == policy.OpRead:
		a = guard.Reads(func(c *guard.Call[*tx]) (*guard.Answer, error) {
			w.calls++
			return &guard.Answer{Status: 200, Body: c.Tx().values[path]}, nil
		})
	default:
		a = guard.Writes(func(c *guard.Call[*tx]) (*guard.Answer, error) {
			w.calls++
			c.Tx().values[path] = "written"
			switch {
			case path == "bad":
				return nil, errBad
			case path == "panic":
				panic("a value")
			case path == "nil":
				return nil, nil
			}
			return &guard.Answer{Status: 204}, nil
		}).Existing(func(_ context.Context, t *tx) (bool, error) {
			_, ok := t.values[path]
			return ok, nil
		})
	}
	return a, nil
}

func (w *world) token(spec token.Spec) string {
	w.Helper()
	var text string
	err := w.db.Write(w.Context(), func(t *tx) error {
		var err error
		text, _, _, err = w.tokens.Create(t, spec)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return text
}

func (w *world) policy(name, text string) {
	w.db.now = w.db.now.clone()
	w.db.now.policies[name] = text
	w.db.now.gen++
}

func (w *world) ask(text string, op policy.Op, path string) (*guard.Answer, error) {
	return w.Serve(w.Context(), &guard.Request{ID: path, Op: op, Path: path, Token: text, Addr: netip.MustParseAddrPort("10.0.0.1:1234")})
}

// pair is the last two entries, which must be those of one request.
func (w *world) pair(before int) (intent, outcome audit.Entry) {
	w.Helper()
	if n := len(w.db.now.log) - before; n != 2 {
		w.Fatalf("%d entries, want 2", n)
	}
	intent, outcome = w.db.now.log[before], w.db.now.log[before+1]
	if intent.Type != audit.Intent || outcome.Type != audit.Outcome || intent.Request.ID != outcome.Request.ID {
		w.Fatalf("entries are %v and %v", intent.Type, outcome.Type)
	}
	return intent, outcome
}

func TestServe(t *testing.T) {
	w := newWorld(t)
	w.policy("dev", `path "a" { capabilities = ["read", "create"] } path "bad" { capabilities = ["create"] } path "nowhere" { capabilities = ["read"] } path "panic" { capabilities = ["create"] } path "nil" { capabilities = ["create"] }`)
	dev := w.token(token.Spec{Policies: []string{"dev"}})
	bound := w.token(token.Spec{Policies: []string{"dev"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}})
	for _, c := range []struct {
		name   string
		token  string
		op     policy.Op
		path   string
		err    error
		called bool
		change bool
	}{
		{"no token", "", policy.OpRead, "a", guard.ErrNoToken, false, false},
		{"unknown token", "x", policy.OpRead, "a", guard.ErrBadToken, false, false},
		{"from elsewhere", bound, policy.OpRead, "a", guard.ErrBadToken, false, false},
		{"no rule", dev, policy.OpRead, "b", guard.ErrDenied, false, false},
		{"no rule for what is not there", dev, policy.OpRead, "nothing", guard.ErrDenied, false, false},
		{"read", dev, policy.OpRead, "a", nil, true, false},
		{"create", dev, policy.OpUpdate, "a", nil, true, true},
		{"update after it", dev, policy.OpUpdate, "a", guard.ErrDenied, false, false},
		{"delete", dev, policy.OpDelete, "a", guard.ErrDenied, false, false},
		{"fails half-way", dev, policy.OpUpdate, "bad", errBad, true, false},
		{"panics", dev, policy.OpUpdate, "panic", guard.ErrPanic, true, false},
		{"answers nothing", dev, policy.OpUpdate, "nil", guard.ErrEmpty, true, false},
		{"open", "", policy.OpRead, "open", nil, true, false},
		{"prepared", "", policy.OpUpdate, "prepared", nil, true, true},
		{"cannot be prepared", "", policy.OpUpdate, "prepared/bad", errBad, false, false},
		{"panics while it is prepared", "", policy.OpUpdate, "prepared/panic", guard.ErrPanic, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls, log, values := w.calls, len(w.db.now.log), maps.Clone(w.db.now.values)
			_, err := w.ask(c.token, c.op, c.path)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if called := w.calls > calls; called != c.called {
				t.Errorf("called %v", called)
			}
			if changed := !maps.Equal(values, w.db.now.values); changed != c.change {
				t.Errorf("changed %v", changed)
			}
			_, out := w.pair(log)
			if (out.Error != "") != (c.err != nil) {
				t.Errorf("the outcome says %q", out.Error)
			}
			if bytes.Contains([]byte(out.Line().String()), []byte("a value")) {
				t.Error("what a panic said is recorded")
			}
		})
	}
	if _, err := w.ask(dev, policy.OpRead, "nowhere"); err == nil || err.Error() != "no such path" {
		t.Errorf("an unknown path that the policies allow: %v", err)
	}
}

// What only reads may be prepared too: only for who may ask, once, and what was revoked
// meanwhile does not pass. It cannot write.
func TestPreparedRead(t *testing.T) {
	w := newWorld(t)
	const may = `path "looked*" { capabilities = ["update"] }`
	w.policy("look", may)
	w.policy("other", `path "looked*" { capabilities = ["read", "create"] }`)
	looker := w.token(token.Spec{Policies: []string{"look"}})
	other := w.token(token.Spec{Policies: []string{"other"}})
	for _, c := range []struct {
		name, token, path string
		meanwhile         func()
		err               error
		prepared, calls   int
	}{
		{"may", looker, "looked", nil, nil, 1, 1},
		{"may not", other, "looked", nil, guard.ErrDenied, 0, 0},
		{"nobody", "", "looked", nil, guard.ErrNoToken, 0, 0},
		{"cannot be prepared", looker, "looked/bad", nil, errBad, 1, 0},
		{"writes", looker, "looked/write", nil, errReadOnly, 1, 1},
		{"revoked meanwhile", looker, "looked", func() { w.policy("look", `path "x" { capabilities = ["read"] }`) }, guard.ErrDenied, 1, 0},
	} {
		w.policy("look", may)
		w.prepared, w.calls, w.meanwhile = 0, 0, c.meanwhile
		before := len(w.db.now.log)
		a, err := w.ask(c.token, policy.OpUpdate, c.path)
		if !errors.Is(err, c.err) || w.prepared != c.prepared || w.calls != c.calls || (a != nil) != (c.err == nil) {
			t.Errorf("%s: %v, prepared %d times, called %d", c.name, err, w.prepared, w.calls)
		}
		if a != nil && a.Body != "looked up before" {
			t.Errorf("%s: %v", c.name, a.Body)
		}
		if _, out := w.pair(before); (out.Error != "") != (c.err != nil) {
			t.Errorf("%s: the outcome says %q", c.name, out.Error)
		}
	}
	// With a number of uses each costs one, also one that cannot be prepared.
	w.policy("look", may)
	w.meanwhile = nil
	counted := w.token(token.Spec{Policies: []string{"look"}, Uses: 2})
	for i, c := range []struct {
		path string
		err  error
	}{{"looked", nil}, {"looked/bad", errBad}, {"looked", guard.ErrBadToken}} {
		if _, err := w.ask(counted, policy.OpUpdate, c.path); !errors.Is(err, c.err) {
			t.Errorf("use %d: %v", i+1, err)
		}
	}
}

// When the log takes nothing, nothing happens and nothing is answered.
func TestUnrecorded(t *testing.T) {
	w := newWorld(t)
	root := w.token(token.Spec{Policies: []string{"root"}})
	counted := w.token(token.Spec{Policies: []string{"root"}, Uses: 3})
	w.log.fail = errors.New("no space left")
	before := w.db.now
	for _, text := range []string{root, counted, "", "x"} {
		for _, op := range []policy.Op{policy.OpRead, policy.OpUpdate, policy.OpDelete, policy.OpList} {
			for _, path := range []string{"a", "bad", "open", "nowhere"} {
				a, err := w.ask(text, op, path)
				if a != nil || !errors.Is(err, guard.ErrUnrecorded) {
					t.Errorf("%v %s: answered %v, %v", op, path, a, err)
				}
			}
		}
	}
	if w.db.now != before {
		t.Error("something was written")
	}
}

func TestUses(t *testing.T) {
	w := newWorld(t)
	w.policy("dev", `path "a" { capabilities = ["read"] } path "bad" { capabilities = ["create"] }`)
	for name, ask := range map[string]func(string) error{
		"read":   func(text string) error { _, err := w.ask(text, policy.OpRead, "a"); return err },
		"denied": func(text string) error { _, err := w.ask(text, policy.OpRead, "b"); return err },
		"failed": func(text string) error { _, err := w.ask(text, policy.OpUpdate, "bad"); return err },
	} {
		text := w.token(token.Spec{Policies: []string{"dev"}, Uses: 3})
		n := 0
		for ; n < 10 && !errors.Is(ask(text), guard.ErrBadToken); n++ {
		}
		if n != 3 {
			t.Errorf("%s: good for %d uses, want 3", name, n)
		}
	}
}

// A policy that changed decides the next request, also where what it came to was kept.
func TestPoliciesChange(t *testing.T) {
	w := newWorld(t)
	dev := w.token(token.Spec{Policies: []string{"dev"}})
	allowed := func() bool {
		_, err := w.ask(dev, policy.OpRead, "a")
		return err == nil
	}
	for range 3 {
		if allowed() {
			t.Fatal("allowed without a policy")
		}
		w.policy("dev", `path "a" { capabilities = ["read"] }`)
		if first, again := allowed(), allowed(); !first || !again {
			t.Fatal("denied with it")
		}
		w.policy("dev", `path "b" { capabilities = ["read"] }`)
	}
}

func TestWrap(t *testing.T) {
	w := newWorld(t)
	root := w.token(token.Spec{Policies: []string{"root"}})
	w.db.now.values["a"] = "secret"
	a, err := w.Serve(t.Context(), &guard.Request{Op: policy.OpRead, Path: "a", Token: root, Wrap: time.Minute})
	if err != nil || a.Body != "wrapped" || w.db.now.values["wrapped"] != "secret" {
		t.Errorf("%v, %v", a, err)
	}
}

// The devices get the lines of the log, in its order.
func TestDevices(t *testing.T) {
	w := newWorld(t)
	d := &devices{}
	w.Devices = d
	root := w.token(token.Spec{Policies: []string{"root"}})
	for _, op := range []policy.Op{policy.OpRead, policy.OpUpdate, policy.OpDelete} {
		for _, text := range []string{root, "x", ""} {
			for _, path := range []string{"a", "bad", "panic", "open", "nowhere"} {
				_, _ = w.ask(text, op, path)
			}
		}
	}
	var want []string
	for _, e := range w.db.now.log {
		want = append(want, e.Line().String())
	}
	if len(want) != 2*3*3*5 || !slices.Equal(d.lines, want) {
		t.Errorf("the devices have %d lines, the log has %d, and they differ", len(d.lines), len(want))
	}
}

// A device that does not take the intent refuses the request before anything is
// done; one that does not take the outcome refuses the answer, and says of a change that it was made.
func TestDeviceThatRefuses(t *testing.T) {
	for _, c := range []struct {
		fail    audit.Type
		op      policy.Op
		path    string
		changed bool
		called  bool
	}{
		{audit.Intent, policy.OpUpdate, "a", false, false},
		{audit.Outcome, policy.OpUpdate, "a", true, true},
		{audit.Intent, policy.OpRead, "a", false, true},
		{audit.Outcome, policy.OpRead, "a", false, true},
		{audit.Outcome, policy.OpUpdate, "bad", false, true},
		{audit.Intent, policy.OpRead, "nowhere", false, false},
	} {
		w := newWorld(t)
		w.Devices = &devices{fail: c.fail}
		root := w.token(token.Spec{Policies: []string{"root"}})
		before := maps.Clone(w.db.now.values)
		a, err := w.ask(root, c.op, c.path)
		var de *guard.DeviceError
		if a != nil || !errors.As(err, &de) || !errors.Is(err, errFull) || de.Done != c.changed {
			t.Errorf("%v: answered %v, %v", c, a, err)
		}
		if changed := !maps.Equal(before, w.db.now.values); changed != c.changed || errors.Is(err, guard.ErrUnrecorded) == c.changed {
			t.Errorf("%v: changed %v, %v", c, changed, err)
		}
		if called := w.calls > 0; called != c.called {
			t.Errorf("%v: called %v", c, called)
		}
	}
}

// While their room runs out nothing is changed, which is recorded, and what is read is answered.
func TestDevicesAreFull(t *testing.T) {
	w := newWorld(t)
	d := &devices{full: errFull}
	w.Devices = d
	root := w.token(token.Spec{Policies: []string{"root"}})
	before, log := maps.Clone(w.db.now.values), len(w.db.now.log)
	a, err := w.ask(root, policy.OpUpdate, "a")
	var de *guard.DeviceError
	if a != nil || !errors.As(err, &de) || de.Done || !errors.Is(err, errFull) || w.calls != 0 || !maps.Equal(before, w.db.now.values) {
		t.Errorf("answered %v, %v", a, err)
	}
	if _, out := w.pair(log); out.Error == "" || len(d.lines) != 2 {
		t.Errorf("%d lines, the outcome says %q", len(d.lines), out.Error)
	}
	if a, err := w.ask(root, policy.OpRead, "a"); a == nil || err != nil {
		t.Errorf("a read: %v", err)
	}
	d.full = nil
	if _, err := w.ask(root, policy.OpUpdate, "a"); err != nil || maps.Equal(before, w.db.now.values) {
		t.Errorf("with room again: %v", err)
	}
}

// Whatever is asked, in any order: two entries for each request, the handler is
// called only for what the policies allow, and a change is there if and only if its
// outcome says so.
func TestProperties(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c", "bad", "panic", "open", "nowhere"}
	caps := []string{"create", "read", "update", "delete", "deny"}
	ops := []policy.Op{policy.OpRead, policy.OpUpdate, policy.OpDelete, policy.OpPatch, policy.OpList}
	var tokens []string
	for i := range 6 {
		tokens = append(tokens, w.token(token.Spec{Policies: []string{fmt.Sprint("p", i%3)}, Uses: 40 * (i % 2)}))
	}
	tokens = append(tokens, "", "unknown")
	for range 2000 {
		if r.IntN(20) == 0 {
			text := ""
			for _, n := range names {
				text += fmt.Sprintf("path %q { capabilities = [%q, %q] }\n", n, caps[r.IntN(len(caps))], caps[r.IntN(len(caps))])
			}
			w.policy(fmt.Sprint("p", r.IntN(3)), text)
		}
		w.log.fail = nil
		if r.IntN(10) == 0 {
			w.log.fail = errors.New("full")
		}
		before, calls := w.db.now, w.calls
		_, err := w.ask(tokens[r.IntN(len(tokens))], ops[r.IntN(len(ops))], names[r.IntN(len(names))])
		if w.log.fail != nil {
			if err == nil || w.db.now != before {
				t.Fatalf("answered or changed without an entry: %v", err)
			}
			continue
		}
		intent, outcome := w.pair(len(before.log))
		changed := !maps.Equal(before.values, w.db.now.values)
		if (err == nil) != (outcome.Error == "") {
			t.Fatalf("answered %v, recorded %q", err, outcome.Error)
		}
		if changed && err != nil {
			t.Fatalf("a change of a request that failed: %v", err)
		}
		allowed := intent.Request.Path == "open"
		if p := intent.Auth.PolicyResults; p != nil {
			allowed = p.Allowed
			if allowed != (len(p.GrantingPolicies) > 0) {
				t.Fatal("allowed by no policy")
			}
		}
		if w.calls > calls && !allowed {
			t.Fatal("a handler was called for what was not allowed")
		}
	}
}
