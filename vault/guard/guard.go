// Package guard is the only door of the team server: who asks is found, policies
// decide, the handler is called, the intent and the outcome are recorded, and only
// then is anything durable or answered (design §7, spec server-api §3).
//
// That order is structure, not habit. A handler is a func inside an Action, which
// nobody can call but a Guard; what it is handed, a Call, can be made by
// nobody but a Guard, which makes one after the decision. A handler therefore has no
// way to be reached undecided, and no transaction of its own to act in. A new
// endpoint is a new Action, and comes with the decision and both entries.
//
// A request that changes something is served in one write transaction: token,
// decision, change, intent and outcome stand or fall together. When the handler
// fails, the transaction is undone and the two entries are written by themselves.
// A request that only reads is decided and read in one snapshot; its entries are
// written, together with those of others, before its answer goes out. If the log
// refuses an entry, nothing was done and the answer is ErrUnrecorded.
//
// Devices, which are copies of the log elsewhere, are not written to in a
// transaction: they may be slow, and there is one writer at a time. They have the
// intent of a change before it is begun, and its outcome before the answer goes
// out; of anything else both before the answer. If a required one does not take an
// entry, the answer is a DeviceError.
//
// It refuses to know HTTP, paths or formats: a Route names the Action of a request,
// and the server makes answers of what comes back.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"envrun/auth/token"
	"envrun/vault/audit"
	"envrun/vault/policy"
)

// Why a request was not served. None says more to the outside than it must.
var (
	ErrDenied     = errors.New("permission denied") // the policies do not allow it
	ErrNoToken    = errors.New("missing client token")
	ErrBadToken   = errors.New("invalid token")                          // unknown, expired, used up, or from where it may not be used
	ErrUnrecorded = errors.New("the audit log did not take the entry")   // nothing was done
	ErrPanic      = errors.New("internal error: the handler panicked")   // nothing was done
	ErrEmpty      = errors.New("internal error: no answer was produced") // nothing was done
)

// A DB gives transactions. T is what a handler does its work on.
type DB[T any] interface {
	// Read runs f on a snapshot that does not change.
	Read(ctx context.Context, f func(T) error) error
	// ReadKept is Read for an f that may be run several times, of which the last
	// counts: a DB that has rows in memory may try with those first.
	ReadKept(ctx context.Context, f func(T) error) error
	// Write runs f on what all writes before it left, and makes all that f did
	// durable, or none of it if f fails, before it returns.
	Write(ctx context.Context, f func(T) error) error
}

// A Log takes entries within a transaction. An entry is in the log when, and only
// when, the transaction is durable.
type Log[T any] interface {
	Append(ctx context.Context, tx T, lines ...audit.Line) error
}

// Devices take entries to where a team reads them, besides the log: vault/audit/device.
type Devices interface {
	// Write returns when each device that is required has the lines. Its error names
	// the one that has not, and why.
	Write(ctx context.Context, lines ...audit.Line) error
}

// filling is Devices that know when their room runs out.
type filling interface {
	// Full is not nil while nothing should be changed because of it, and says why.
	Full() error
}

// A DeviceError says that a required device did not take an entry.
type DeviceError struct {
	Err  error // names the device, and why
	Done bool  // of a change: it was made, and is in the log; the device had its intent and not its outcome
}

func (e *DeviceError) Error() string {
	if e.Done {
		return e.Err.Error() + "; the change was made"
	}
	return e.Err.Error()
}

func (e *DeviceError) Unwrap() error { return e.Err }

// Policies are where the texts of policies lie.
type Policies[T any] interface {
	// Generation changes whenever a policy does. One that was seen before never
	// comes back with other policies.
	Generation(tx T) (uint64, error)
	// Policy returns a policy by its name, nil if there is none.
	Policy(tx T, name string) (*policy.Policy, error)
}

// Identities are who the tokens belong to.
type Identities[T any] interface {
	// Identity is what an entity is and gives, nil if there is none of that id. It is
	// kept as policies are: Generation changes whenever one does.
	Identity(tx T, id string) (*Identity, error)
}

// An Identity is what an entity gives its tokens beside their own policies.
type Identity struct {
	Policies []string
	Facts    policy.Facts // for the templates of all policies
	Disabled bool         // its tokens are not good
}

// A Request is what a client asks, as far as it has to be known for deciding and
// recording.
type Request struct {
	ID     string
	Op     policy.Op      // OpUpdate for every write; where there is nothing yet, the guard makes it OpCreate
	Path   string         // below /v1/; of OpList with its final slash
	Params map[string]any // body and query, as policy.Request wants them
	Body   []byte         // the same as JSON, as it was sent; nil if there is none
	Token  string         // as sent; "" if none was
	Wrap   time.Duration  // how long the answer is to stay wrapped; 0: not
	Last   string         // Last-Event-ID: the last of a stream of events that the client has
	Match  string         // If-None-Match: what of the answer the client has already; "" if it says nothing
	Addr   netip.AddrPort // of the client
	Agent  string         // User-Agent
	Good   bool           // is Serve's to set: a good token came
}

// An Answer is what a handler gives back: a status and a body that the server
// writes. The other fields are what may be recorded of it.
type Answer struct {
	Status int
	Body   any

	Facts *audit.Data
	Auth  *audit.Auth     // of a token that was made or renewed
	Wrap  *audit.WrapInfo // of an answer that was wrapped

	// Known is the guard's to set: a good token asked.
	Known bool

	// After, if not nil, is called when all that the request did is durable, before
	// the answer goes out.
	After func()
}

// A Handler does what was asked. An error undoes it.
type Handler[T any] func(*Call[T]) (*Answer, error)

// An Action is one thing that can be asked for. Only a Guard can do it. The zero
// Action is none.
type Action[T any] struct {
	mount   Mount
	facts   *audit.Data
	writes  bool
	open    bool
	sudo    bool
	private bool
	exists  func(context.Context, T) (bool, error)
	prepare func(context.Context) (any, error)
	do      Handler[T]
}

// A Mount is where an action was found: for the record.
type Mount struct {
	Path, Type, Accessor string
}

// Reads makes an action that changes nothing.
func Reads[T any](do Handler[T]) Action[T] { return Action[T]{do: do} }

// Writes makes an action that may change something.
func Writes[T any](do Handler[T]) Action[T] { return Action[T]{do: do, writes: true} }

// At says where the action was found.
func (a Action[T]) At(m Mount) Action[T] {
	a.mount = m
	return a
}

// Noting says what of the request is recorded.
func (a Action[T]) Noting(d audit.Data) Action[T] {
	a.facts = &d
	return a
}

// Existing makes a write a create where the thing is not there yet.
func (a Action[T]) Existing(exists func(context.Context, T) (bool, error)) Action[T] {
	a.exists = exists
	return a
}

// Open lets the action be asked for without a token: sign-in, and what a wrapping
// token is good for. No policy is looked at; the entries are written as for any
// other. A token that is sent is looked up, and is in the call if it is good.
func (a Action[T]) Open() Action[T] {
	a.open = true
	return a
}

// Sudo asks for the sudo capability where the path alone would not.
func (a Action[T]) Sudo() Action[T] {
	a.sudo = true
	return a
}

// Preparing lets an action do first, once and in no transaction, what may take its
// time: asking another server. What comes of it is Call.Prepared. An error is
// answered and recorded as one of the handler, which is not called then.
func (a Action[T]) Preparing(f func(context.Context) (any, error)) Action[T] {
	a.prepare = f
	return a
}

// Private lets every good token ask, whatever its policies say: for actions whose
// answer is itself what the policies of the token give.
func (a Action[T]) Private() Action[T] {
	a.private = true
	return a
}

// A Call is a request that was allowed, within its transaction.
type Call[T any] struct {
	ctx   context.Context
	tx    T
	req   *Request
	op    policy.Op
	token *token.Token
	acl   *policy.ACL
	aclOf func(T, *token.Token) (*policy.ACL, error)
	look  func(context.Context) (*policy.ACL, error)
	now   time.Time
	also  []policy.Decision
	ready any
}

// Prepared is what the action's preparing made, nil without one. Since then what
// the request is about may have changed: the handler compares.
func (c *Call[T]) Prepared() any { return c.ready }

// Context ends when the client has gone or the time for the request is over.
func (c *Call[T]) Context() context.Context { return c.ctx }

// Tx is the transaction in which all of the request happens.
func (c *Call[T]) Tx() T { return c.tx }

// Request is what was asked.
func (c *Call[T]) Request() *Request { return c.req }

// Op is the operation that was decided on.
func (c *Call[T]) Op() policy.Op { return c.op }

// Token is who asks; nil if the action is open and no good token came.
func (c *Call[T]) Token() *token.Token { return c.token }

// ACL is what the token may do; without a token it refuses everything.
func (c *Call[T]) ACL() *policy.ACL { return c.acl }

// May decides on one more thing that is done within the request, as it would be
// if it were asked for by itself: with the same wrapping and no parameters. What it
// decides is in the record of the request. It is for actions that are Private,
// whose answer is put together of what the policies give.
func (c *Call[T]) May(op policy.Op, path string) bool { return c.MayWith(op, path, nil) }

// MayWith is May for what has parameters.
func (c *Call[T]) MayWith(op policy.Op, path string, params map[string]any) bool {
	d := c.acl.Decide(policy.Request{Path: path, Op: op, Params: params, WrapTTL: c.req.Wrap, Now: c.now})
	c.also = append(c.also, d)
	return d.Allowed
}

// Look says what the token may do by now: for an answer that goes on after the
// transaction has ended. ErrBadToken if it may do nothing any more.
func (c *Call[T]) Look(ctx context.Context) (*policy.ACL, error) { return c.look(ctx) }

// ACLOf is what another token may do.
func (c *Call[T]) ACLOf(t *token.Token) (*policy.ACL, error) { return c.aclOf(c.tx, t) }

// A Config is what a Guard is made of. All of it but Devices and Identities is required.
type Config[T token.Store] struct {
	DB       DB[T]
	Tokens   *token.Tokens
	Policies Policies[T]
	// Identities are asked for tokens of an entity. nil: there are none.
	Identities Identities[T]
	Log        Log[T]
	Devices    Devices       // nil: the log is all there is
	Hasher     *audit.Hasher // of tokens and accessors in entries

	// Route finds the action of a request. It is called before the decision, with
	// nothing decided, and reads at most where things are mounted; an error of
	// it is answered, if the policies allow the request, instead of an action's.
	Route func(ctx context.Context, tx T, req *Request) (Action[T], error)
	// Wrap puts an answer aside and returns the one that stands for it.
	Wrap func(c *Call[T], a *Answer) (*Answer, error)
	// Heads are what a transaction that changed something left of the stores that it
	// changed, for the outcome. nil: nothing is said.
	Heads func(tx T) []audit.StoreHead
	// Status is the HTTP status of an error, for the outcome.
	Status func(error) int
	// Words is what an outcome says of an error: never a part of the request.
	Words func(error) string
	Now   func() time.Time
}

// A Guard serves requests. It may be used by several goroutines.
type Guard[T token.Store] struct {
	Config[T]
	acls     acls
	recorder recorder[T]
}

// New makes a guard.
func New[T token.Store](c Config[T]) *Guard[T] {
	return &Guard[T]{Config: c, recorder: recorder[T]{db: c.DB, log: c.Log}}
}

// A turn is one request on its way, within one transaction.
type turn[T any] struct {
	action   Action[T]
	missing  error // of Route
	token    *token.Token
	acl      *policy.ACL
	op       policy.Op
	decided  bool
	decision policy.Decision
	also     []policy.Decision // of Call.May
	refused  error
	ready    any     // what was prepared
	hashed   *hashed // nil until an entry needs it
}

// undone carries a handler's error out of a transaction that it undoes.
type undone struct{ error }

func (u undone) Unwrap() error { return u.error }

// Serve decides, records and does one request.
func (g *Guard[T]) Serve(ctx context.Context, req *Request) (*Answer, error) {
	began := g.Now()
	var (
		t      turn[T]
		answer *Answer
		failed error
		done   bool
	)
	err := g.DB.ReadKept(ctx, func(tx T) error {
		// A database may run a transaction more than once.
		answer, failed, done = nil, nil, false
		var err error
		if t, err = g.decide(ctx, tx, req); err != nil {
			return err
		}
		if t.refused != nil {
			failed, done = t.refused, true
		} else if !t.changes(req) && !t.prepares() {
			answer, failed = g.do(ctx, tx, req, &t)
			done = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	req.Good = t.token != nil
	changes := !done && t.changes(req)
	prepared := done || !t.prepares()
	if d, ok := g.Devices.(filling); ok && changes {
		// The refusal is recorded: that much room is left.
		if err := d.Full(); err != nil {
			failed, changes = &DeviceError{Err: err}, false
		}
	}
	if !prepared && failed == nil {
		if t.ready, failed = g.prepare(ctx, t.action); failed != nil {
			changes = false
		} else if !changes {
			if answer, failed, err = g.read(ctx, req, &t); err != nil {
				return nil, err
			}
		}
	}
	if changes {
		if err := g.send(ctx, g.intent(req, &t, began).Line()); err != nil {
			return nil, errors.Join(ErrUnrecorded, &DeviceError{Err: err})
		}
		answer, failed, err = g.change(ctx, req, &t, began)
		if failed == nil || err != nil {
			return answer, err
		}
	}
	// What was only read or was undone is recorded by itself, with the use that a token counts.
	var lines [2]audit.Line
	entries := func() []audit.Line {
		lines = [2]audit.Line{g.intent(req, &t, began).Line(), g.outcome(req, &t, answer, failed).Line()}
		return lines[:]
	}
	if t.token == nil || t.token.Uses == 0 {
		err = g.recorder.record(ctx, entries()...)
	} else {
		err = g.DB.Write(ctx, func(tx T) error {
			if err := g.count(tx, req, &t); err != nil {
				return err
			}
			return g.Log.Append(ctx, tx, entries()...)
		})
	}
	if err != nil {
		return nil, errors.Join(ErrUnrecorded, err)
	}
	send := lines[:]
	if changes {
		send = lines[1:] // the devices have the intent
	}
	if err := g.send(context.WithoutCancel(ctx), send...); err != nil {
		return nil, errors.Join(ErrUnrecorded, &DeviceError{Err: err})
	}
	return answer, failed
}

// send writes entries to the devices.
func (g *Guard[T]) send(ctx context.Context, lines ...audit.Line) error {
	if g.Devices == nil {
		return nil
	}
	return g.Devices.Write(ctx, lines...)
}

// read serves a request that was prepared and changes nothing. The decision is made
// again, of the state that is read.
func (g *Guard[T]) read(ctx context.Context, req *Request, t *turn[T]) (answer *Answer, failed, err error) {
	ready := t.ready
	err = g.DB.ReadKept(ctx, func(tx T) error {
		// A database may run a transaction more than once.
		answer, failed = nil, nil
		var err error
		if *t, err = g.decide(ctx, tx, req); err != nil {
			return err
		}
		if t.ready = ready; t.refused != nil {
			failed = t.refused
			return nil
		}
		answer, failed = g.do(ctx, tx, req, t)
		return nil
	})
	return answer, failed, err
}

// change serves a request in one write transaction. The decision is made again in
// it: what was revoked since does not pass. failed is the handler's error or the
// refusal, of which nothing is recorded yet; err is all that is final.
func (g *Guard[T]) change(ctx context.Context, req *Request, t *turn[T], began time.Time) (answer *Answer, failed, err error) {
	var outcome audit.Line
	ready := t.ready
	err = g.DB.Write(ctx, func(tx T) error {
		// A database may run a transaction more than once.
		answer, failed = nil, nil
		var err error
		if *t, err = g.decide(ctx, tx, req); err != nil {
			return err
		}
		t.ready = ready
		if t.refused != nil {
			return undone{t.refused}
		}
		if err := g.use(tx, t); err != nil {
			return err
		}
		if answer, err = g.do(ctx, tx, req, t); err != nil {
			return undone{err}
		}
		if err := g.spent(tx, t); err != nil {
			return err
		}
		// Last, and both at once: whoever appends holds up the others who do.
		e := g.outcome(req, t, answer, nil)
		if g.Heads != nil {
			e.Heads = g.Heads(tx)
		}
		outcome = e.Line()
		if err := g.Log.Append(ctx, tx, g.intent(req, t, began).Line(), outcome); err != nil {
			return errors.Join(ErrUnrecorded, err)
		}
		return nil
	})
	if err == nil {
		if answer.After != nil {
			answer.After()
		}
		// The log has it: the devices must, whether or not the client still waits.
		if err := g.send(context.WithoutCancel(ctx), outcome); err != nil {
			return nil, nil, &DeviceError{Err: err, Done: true}
		}
		return answer, nil, nil
	}
	if u := (undone{}); errors.As(err, &u) {
		return nil, u.error, nil
	}
	return nil, nil, err
}

// changes says whether the request needs a transaction that writes.
func (t *turn[T]) changes(req *Request) bool {
	if t.missing != nil || t.op == policy.OpHelp {
		return t.token != nil && t.token.Uses != 0
	}
	return t.action.writes || req.Wrap > 0 || t.token != nil && t.token.Uses != 0
}

// prepares says whether the action does something first.
func (t *turn[T]) prepares() bool { return t.missing == nil && t.action.prepare != nil }

// decide finds who asks and what for, and whether it is allowed. An error is one
// of the database; a refusal is in the turn.
func (g *Guard[T]) decide(ctx context.Context, tx T, req *Request) (turn[T], error) {
	t := turn[T]{op: req.Op, acl: new(policy.ACL)}
	var bad error
	switch {
	case req.Token == "":
		bad = ErrNoToken
	default:
		tok, acl, err := g.who(tx, req)
		switch {
		case err == ErrBadToken:
			bad = err
		case err != nil:
			return t, err
		default:
			t.token, t.acl = tok, acl
		}
	}

	t.action, t.missing = g.Route(ctx, tx, req)
	if t.missing == nil && t.action.do == nil {
		t.missing = ErrEmpty
	}
	if t.missing == nil && t.action.open {
		return t, nil
	}
	if bad != nil {
		t.refused = bad
		return t, nil
	}
	if t.op == policy.OpUpdate && t.missing == nil && t.action.exists != nil {
		there, err := t.action.exists(ctx, tx)
		if err != nil {
			return t, err
		}
		if !there {
			t.op = policy.OpCreate
		}
	}
	if t.missing == nil && t.action.private {
		return t, nil
	}
	t.decided = true
	t.decision = t.acl.Decide(policy.Request{Path: req.Path, Op: t.op, Params: req.Params, WrapTTL: req.Wrap, Sudo: t.action.sudo, Now: g.Now()})
	if !t.decision.Allowed {
		t.refused = ErrDenied
	}
	return t, nil
}

// who finds the token of a request and what it may do, or ErrBadToken.
func (g *Guard[T]) who(tx T, req *Request) (*token.Token, *policy.ACL, error) {
	tok, err := g.Tokens.Lookup(tx, req.Token)
	switch {
	case errors.Is(err, token.ErrInvalid):
		return nil, nil, ErrBadToken
	case err != nil:
		return nil, nil, fmt.Errorf("looking up a token: %w", err)
	case !tok.From(req.Addr.Addr()):
		return nil, nil, ErrBadToken
	}
	acl, err := g.acl(tx, &tok)
	if err != nil {
		return nil, nil, err
	}
	return &tok, acl, nil
}

// aclOf is Call.ACLOf: a token whose entity is disabled or gone may do nothing.
func (g *Guard[T]) aclOf(tx T, t *token.Token) (*policy.ACL, error) {
	acl, err := g.acl(tx, t)
	if err == ErrBadToken {
		return new(policy.ACL), nil
	}
	return acl, err
}

// look is Call.Look.
func (g *Guard[T]) look(ctx context.Context, req *Request) (acl *policy.ACL, err error) {
	err = g.DB.Read(ctx, func(tx T) error {
		_, acl, err = g.who(tx, req)
		return err
	})
	return acl, err
}

// do calls the handler: the only place that does.
func (g *Guard[T]) do(ctx context.Context, tx T, req *Request, t *turn[T]) (answer *Answer, err error) {
	if t.missing != nil {
		return nil, t.missing
	}
	defer func() {
		// What a panic says may be a value of the request: it is not repeated.
		if r := recover(); r != nil {
			answer, err = nil, ErrPanic
		}
	}()
	c := &Call[T]{ctx: ctx, tx: tx, req: req, op: t.op, token: t.token, acl: t.acl, aclOf: g.aclOf, now: g.Now(), ready: t.ready}
	c.look = func(ctx context.Context) (*policy.ACL, error) { return g.look(ctx, req) }
	answer, err = t.action.do(c)
	if t.also = c.also; err != nil {
		return nil, err
	}
	if answer == nil {
		return nil, ErrEmpty
	}
	if req.Wrap > 0 && answer.Body != nil && answer.Status < 300 {
		if answer, err = g.Wrap(c, answer); err != nil {
			return nil, err
		}
	}
	answer.Known = t.token != nil
	return answer, nil
}

func (g *Guard[T]) prepare(ctx context.Context, a Action[T]) (ready any, err error) {
	defer func() {
		if r := recover(); r != nil {
			ready, err = nil, ErrPanic
		}
	}()
	return a.prepare(ctx)
}

// count is the use that a failed request of a token with a number of them costs.
// What was counted in the transaction that was undone is counted anew.
func (g *Guard[T]) count(tx T, req *Request, t *turn[T]) error {
	if t.token == nil || t.token.Uses == 0 {
		return nil
	}
	tok, err := g.Tokens.Lookup(tx, req.Token)
	if errors.Is(err, token.ErrInvalid) {
		return nil // revoked, or used up by another request, since
	}
	if err != nil {
		return err
	}
	t.token = &tok
	if err := g.use(tx, t); err != nil {
		return err
	}
	return g.spent(tx, t)
}

func (g *Guard[T]) use(tx T, t *turn[T]) error {
	if t.token == nil {
		return nil
	}
	return g.Tokens.Use(tx, t.token)
}

// spent revokes a token whose last use this was.
func (g *Guard[T]) spent(tx T, t *turn[T]) error {
	if t.token == nil || t.token.Uses != token.LastUse {
		return nil
	}
	return g.Tokens.Revoke(tx, t.token.ID)
}
