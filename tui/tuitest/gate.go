package tuitest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/tui/screen"
	"envrun/vault"
)

// A Gate is who can open what in a World, in memory: it decides as a file vault
// does, by the driver's clock. alice, who works here, is in dev and prod together
// with others; preview she has no key of.
type Gate struct {
	World *World
	You   string
	Key   screen.KeyKind

	// FailWith, if it is set, is asked before each call, by the name of the method
	// and the environment; its error is the call's.
	FailWith func(call string, env vault.Env) error

	Sessioned screen.Session // what Session says beside what is known here
	Calls     []string       // of what changes something, in order

	t    testing.TB
	envs map[vault.Env]*gated
}

type gated struct {
	key     screen.Key
	known   uint32 // the generation that this machine knows
	members []screen.Member
	asked   []screen.Request // with their codes
	exposed []screen.Exposed
	shut    screen.Standing // in the place of what would be said; of Shut 0 nothing
	care    screen.Care
	inPart  string
}

// NewGate makes one, and gives it to the world.
func NewGate(t testing.TB, w *World) *Gate {
	g := &Gate{World: w, t: t, You: "alice@laptop", Key: Recipient("alice"), envs: map[vault.Env]*gated{}}
	since := Start.AddDate(0, -9, 0)
	for _, e := range []struct {
		env     vault.Env
		members []string
	}{{Dev, []string{"alice@laptop", "bob@desktop", "carol@desk"}}, {Prod, []string{"alice@laptop", "carol@desk", "ci-github"}}, {Empty, []string{"carol@desk"}}} {
		x := &gated{key: screen.Key{Gen: 1, Fingerprint: print(e.env, 1), By: "carol@desk", At: since, Why: "vault made"}, known: 1}
		for _, m := range e.members {
			who, _, _ := strings.Cut(m, "@")
			x.members = append(x.members, screen.Member{Name: m, Key: Recipient(who), By: "carol@desk", Since: since, Pipeline: m == "ci-github"})
		}
		x.care = screen.Care{Vault: "v_5f3c1d9a7b20e4c8", Dir: ".envrun/vault", SealSeq: 12, SealBy: "carol@desk", SealAt: Start.AddDate(0, 0, -2)}
		g.envs[e.env] = x
	}
	g.envs[Empty].known = 0
	w.Config.Gate = g
	return g
}

// Recipient is a public key of somebody, post-quantum unless the name says "classic".
func Recipient(who string) screen.KeyKind {
	if strings.Contains(who, "classic") {
		return screen.KeyKind{Name: "classic", Recipient: "age1" + who + strings.Repeat("q", 50)}
	}
	return screen.KeyKind{Name: "post-quantum", PostQuantum: true, Recipient: "age1pq1" + who + strings.Repeat("z", 1900) + "end"}
}

func print(env vault.Env, gen uint32) string {
	return fmt.Sprintf("7QMX-2K4D-9TRW-%s%02d", strings.ToUpper(string(env[len(env)-2:])), gen)
}

func (g *Gate) now() time.Time {
	if g.World.now == nil {
		return Start
	}
	return g.World.now()
}

func (g *Gate) ask(call string, env vault.Env) (*gated, error) {
	if g.FailWith != nil {
		if err := g.FailWith(call, env); err != nil {
			return nil, err
		}
	}
	if env == "" {
		return nil, nil
	}
	x := g.envs[env]
	if x == nil {
		return nil, &vault.Error{Kind: vault.KindNoEnv, Env: env}
	}
	return x, nil
}

func (g *Gate) env(env vault.Env) *gated {
	g.t.Helper()
	x := g.envs[env]
	if x == nil {
		g.t.Fatalf("the gate has no environment %s", env)
	}
	return x
}

// Ask writes the request of somebody else, and returns its check code.
func (g *Gate) Ask(env vault.Env, q screen.Request) string {
	x := g.env(env)
	q.Env = env
	if q.At.IsZero() {
		q.At = g.now().Add(-3 * time.Minute)
	}
	if q.Key.Name == "" {
		who, _, _ := strings.Cut(q.Who, "@")
		q.Key = Recipient(who)
	}
	q.ID = ID(env, q.Who)
	if q.Policy == "" {
		q.Claimed, q.File = true, ".envrun/vault/requests/"+q.ID+".req"
		q.Coded = true
		q.Code = code(q)
	}
	q.Rev = q.Reason + "|" + q.Key.Recipient
	for i, m := range x.members {
		q.Replaces = q.Replaces || m.Name == q.Who && x.members[i].Key.Recipient != q.Key.Recipient
	}
	x.asked = slices.DeleteFunc(x.asked, func(was screen.Request) bool { return was.ID == q.ID })
	x.asked = append(x.asked, q)
	return q.Code
}

// code is the check code of a request: another one when it says something else.
func code(q screen.Request) string {
	n := uint64(14695981039346656037)
	for _, b := range []byte(string(q.Env) + q.Who + q.Reason + q.Key.Recipient) {
		n = (n ^ uint64(b)) * 1099511628211
	}
	s := fmt.Sprintf("%012X", n&0xffffffffffff)
	return s[:4] + "-" + s[4:8] + "-" + s[8:]
}

// Shut has an environment said to be closed in a given way.
func (g *Gate) Shut(env vault.Env, s screen.Standing) {
	s.Env = env
	g.env(env).shut = s
}

// Member puts a member in, or in the place of the one of that name.
func (g *Gate) Member(env vault.Env, m screen.Member) {
	x := g.env(env)
	x.members = slices.DeleteFunc(x.members, func(was screen.Member) bool { return was.Name == m.Name })
	x.members = append(x.members, m)
	slices.SortFunc(x.members, func(a, b screen.Member) int { return cmp.Compare(a.Name, b.Name) })
}

// Nobody leaves an environment without members.
func (g *Gate) Nobody(env vault.Env) { g.env(env).members = nil }

// Expose says that somebody who left could read a field.
func (g *Gate) Expose(env vault.Env, path vault.Path, field vault.FieldName, who ...string) {
	x := g.env(env)
	x.exposed = append(x.exposed, screen.Exposed{Path: path, Field: field, Who: who, At: g.now().AddDate(0, 0, -3)})
}

// InPart says that a rotation came only in part; Care changes what Care says.
func (g *Gate) InPart(env vault.Env, text string) { g.env(env).inPart = text }

// Care changes what is said of what is stored of an environment.
func (g *Gate) ChangeCare(env vault.Env, change func(*screen.Care)) { change(&g.env(env).care) }

// ID is what a request of somebody is known by.
func ID(env vault.Env, who string) string { return string(env) + "/" + who }

// Codes are the check codes of all requests of others: none may be on the screen.
func (g *Gate) Codes() []string {
	var all []string
	for _, x := range g.envs {
		for _, q := range x.asked {
			if q.Who != g.You && q.Code != "" {
				all = append(all, q.Code, strings.ReplaceAll(q.Code, "-", ""))
			}
		}
	}
	return all
}

// Members are the names of who can open an environment.
func (g *Gate) MemberNames(env vault.Env) []string {
	var names []string
	for _, m := range g.env(env).members {
		names = append(names, m.Name)
	}
	return names
}

// Session implements screen.Access.
func (g *Gate) Session(ctx context.Context) (screen.Session, error) {
	if _, err := g.ask("Session", ""); err != nil {
		return screen.Session{}, err
	}
	s := g.Sessioned
	if s.Problem == nil {
		s.Member, s.Key = cmp.Or(s.Member, g.You), g.Key
		if s.Kept == "" {
			s.Kept, s.Guarded = "the desktop's keychain", true
		}
	}
	s.State = cmp.Or(s.State, "/home/alice/.local/state/envrun")
	for _, e := range g.World.Config.Envs {
		x := g.envs[e.Name]
		is, err := g.Standing(ctx, e.Name)
		if err != nil {
			return s, err
		}
		is.Key = x.key
		s.Envs = append(s.Envs, screen.SessionEnv{Standing: is, Pinned: x.known})
	}
	return s, nil
}

// in is the member that works here.
func (g *Gate) in(x *gated) (screen.Member, bool) {
	for _, m := range x.members {
		if m.Name == g.You && m.Problem == "" {
			return m, true
		}
	}
	return screen.Member{}, false
}

// Standing implements screen.Access.
func (g *Gate) Standing(_ context.Context, env vault.Env) (screen.Standing, error) {
	x, err := g.ask("Standing", env)
	if err != nil {
		return screen.Standing{}, err
	}
	s := screen.Standing{Env: env, Member: g.You, Names: g.secrets(env), Key: x.key}
	for _, m := range x.members {
		if m.Problem == "" && !m.Pending && !m.Pipeline && m.Name != g.You {
			s.Deciders = append(s.Deciders, m.Name)
		}
	}
	for _, q := range x.asked {
		if q.Who == g.You {
			own := g.own(q)
			s.Asked = &own
		}
	}
	m, in := g.in(x)
	switch {
	case g.Sessioned.Problem != nil:
		s.Shut, s.Claimed, s.Member, s.Err = screen.NoIdentity, true, "", g.Sessioned.Problem
	case x.shut.Shut != screen.NotShut:
		c := x.shut
		c.Deciders, c.Claimed, c.Names, c.Asked = cmpSlice(c.Deciders, s.Deciders), true, cmp.Or(c.Names, s.Names), s.Asked
		c.Member = cmp.Or(c.Member, s.Member)
		if c.Key.Gen == 0 {
			c.Key = x.key
		}
		return c, nil
	case !in:
		s.Shut, s.Claimed, s.Err = screen.NoKey, true, denied(env)
	case !m.Until.IsZero() && !m.Until.After(g.now()):
		s.Shut, s.Claimed, s.Until, s.Err = screen.Ended, true, m.Until, denied(env)
	default:
		s.Until = m.Until
	}
	return s, nil
}

func cmpSlice[T any](a, b []T) []T {
	if len(a) > 0 {
		return a
	}
	return b
}

func denied(env vault.Env) error {
	return &vault.Error{Kind: vault.KindDenied, Op: "opening", Env: env, Detail: "you have no grant of its key"}
}

// secrets counts the secrets of an environment.
func (g *Gate) secrets(env vault.Env) int {
	n := 0
	for _, err := range g.World.Vault.List(context.Background(), env, "") {
		if err == nil {
			n++
		}
	}
	return n
}

// own is a request of one's own: with its code, and how it is sent.
func (g *Gate) own(q screen.Request) screen.Request {
	q.Mine, q.Off = true, "it is your own"
	q.Steps = []screen.Step{
		{Text: "to send it, on a branch", Command: "git switch -c access-" + string(q.Env) + "-alice-laptop"},
		{Text: "then", Command: "git add " + q.File + " && git commit -m 'alice@laptop asks for access to " + string(q.Env) + "'"},
		{Text: "then", Command: "git push -u origin access-" + string(q.Env) + "-alice-laptop"},
		{Text: "they type", Command: "envrun access approve alice@laptop -e " + string(q.Env)},
	}
	return q
}

// Requests implements screen.Access.
func (g *Gate) Requests(context.Context) ([]screen.Request, error) {
	if _, err := g.ask("Requests", ""); err != nil {
		return nil, err
	}
	return g.requests(), nil
}

func (g *Gate) requests() []screen.Request {
	var all []screen.Request
	for env, x := range g.envs {
		_, in := g.in(x)
		for _, q := range x.asked {
			switch {
			case q.Who == g.You:
				q = g.own(q)
			case !in:
				q.Others, q.Off = true, "you hold no key of "+string(env)
			case q.Key.Plugin != "":
				q.Off = "it takes age-plugin-" + q.Key.Plugin + ": envrun access approve " + q.Who + " -e " + string(env) + " --plugin " + q.Key.Plugin
			}
			if !q.Mine {
				q.Code = ""
			}
			all = append(all, q)
		}
	}
	slices.SortFunc(all, func(a, b screen.Request) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Asking implements screen.Access.
func (g *Gate) Asking(context.Context) ([]screen.Request, error) {
	if _, err := g.ask("Asking", ""); err != nil {
		return nil, err
	}
	all := g.requests()
	for i, q := range all {
		all[i] = screen.Request{ID: q.ID, Env: q.Env, Who: q.Who, Mine: q.Mine, Others: q.Others}
	}
	return all, nil
}

// Members implements screen.Access.
func (g *Gate) Members(_ context.Context, env vault.Env) (screen.Members, error) {
	x, err := g.ask("Members", env)
	if err != nil {
		return screen.Members{}, err
	}
	m := screen.Members{Key: x.key, List: slices.Clone(x.members)}
	for i := range m.List {
		m.List[i].You = m.List[i].Name == g.You
	}
	if _, in := g.in(x); !in {
		m.Closed = denied(env)
	}
	return m, nil
}

// Exposed implements screen.Access.
func (g *Gate) Exposed(_ context.Context, env vault.Env) ([]screen.Exposed, error) {
	x, err := g.ask("Exposed", env)
	if err != nil {
		return nil, err
	}
	return slices.Clone(x.exposed), nil
}

// Care implements screen.Access.
func (g *Gate) Care(_ context.Context, env vault.Env) (screen.Care, error) {
	x, err := g.ask("Care", env)
	if err != nil {
		return screen.Care{}, err
	}
	c := x.care
	c.Key, c.Pinned, c.Members, c.Secrets, c.Exposed, c.InPart = x.key, x.known, len(x.members), g.secrets(env), len(x.exposed), x.inPart
	for _, m := range x.members {
		if !m.Key.PostQuantum {
			c.Classic++
		}
	}
	for _, q := range x.asked {
		if q.Who != g.You {
			c.Asking = append(c.Asking, q.Who)
		}
	}
	if _, in := g.in(x); !in {
		c.Closed = denied(env)
	}
	return c, nil
}

// Granting implements screen.Gate.
func (g *Gate) Granting(env vault.Env) screen.Granting { return granting{g, env} }

// Until implements screen.Typed.
func (g *Gate) Until(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	if n, ok := strings.CutSuffix(text, "d"); ok {
		if d, err := time.ParseDuration(n + "h"); err == nil {
			return g.now().Add(24 * d), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil {
		return g.now().Add(d), nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Second), nil
	}
	return time.Time{}, errors.New("a day (2026-12-31), a time, or a duration (8h, 7d)")
}

// Recipient implements screen.Typed.
func (g *Gate) Recipient(text string) (screen.KeyKind, error) {
	text = strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(text, "age1pq1"):
		return screen.KeyKind{Name: "post-quantum", PostQuantum: true, Recipient: text}, nil
	case strings.HasPrefix(text, "age1"):
		return screen.KeyKind{Name: "classic", Recipient: text}, nil
	}
	return screen.KeyKind{}, errors.New("this is no public key: one begins with age1 or ssh-ed25519")
}

// granting is a gate to one environment.
type granting struct {
	g   *Gate
	env vault.Env
}

func (w granting) begin(call string, args ...string) (*gated, error) {
	x, err := w.g.ask(call, w.env)
	if err != nil {
		return nil, err
	}
	w.g.Calls = append(w.g.Calls, strings.Join(append([]string{call, string(w.env)}, args...), " "))
	return x, nil
}

func (w granting) share(message string) []screen.Step {
	return []screen.Step{{Text: "to share it", Command: "git add .envrun/vault && git commit -m '" + string(w.env) + ": " + message + "' && git push"}}
}

// Ask implements screen.Granting.
func (w granting) Ask(_ context.Context, reason, ticket string) (screen.Request, error) {
	x, err := w.begin("Ask")
	if err != nil {
		return screen.Request{}, err
	}
	if _, in := w.g.in(x); in {
		return screen.Request{}, &vault.Error{Kind: vault.KindExists, Env: w.env, Detail: w.g.You + " has a grant already"}
	}
	w.g.Ask(w.env, screen.Request{Who: w.g.You, Reason: reason, Ticket: ticket, At: w.g.now(), Key: w.g.Key})
	return w.g.own(x.asked[len(x.asked)-1]), nil
}

// find is the request that was shown, if it is still the same.
func (w granting) find(x *gated, id, rev string) (screen.Request, error) {
	i := slices.IndexFunc(x.asked, func(q screen.Request) bool { return q.ID == id })
	switch {
	case i < 0:
		return screen.Request{}, &vault.Error{Kind: vault.KindNotFound, Env: w.env, Detail: "nobody asks for access"}
	case x.asked[i].Rev != rev:
		return screen.Request{}, &vault.Error{Kind: vault.KindConflict, Env: w.env, Detail: "the request has changed"}
	}
	return x.asked[i], nil
}

// Approve implements screen.Granting.
func (w granting) Approve(_ context.Context, a screen.Approval) (screen.Outcome, error) {
	x, err := w.begin("Approve", a.ID)
	if err != nil {
		return screen.Outcome{}, err
	}
	q, err := w.find(x, a.ID, a.Rev)
	if err != nil {
		return screen.Outcome{}, err
	}
	plain := func(s string) string { return strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(s)) }
	if q.Coded && plain(a.Code) != plain(q.Code) {
		return screen.Outcome{}, &vault.Error{Kind: vault.KindDenied, Op: "approving", Env: w.env, Detail: "the check code is not that of the request: another key stands in it, or somebody changed it"}
	}
	if q.Replaces && !a.Replace {
		return screen.Outcome{}, &vault.Error{Kind: vault.KindExists, Env: w.env, Err: screen.ErrOtherKey}
	}
	w.g.Member(w.env, screen.Member{Name: q.Who, Key: q.Key, By: w.g.You, Since: w.g.now(), Until: a.Until})
	x.asked = slices.DeleteFunc(x.asked, func(o screen.Request) bool { return o.ID == a.ID })
	return screen.Outcome{Member: q.Who, Until: a.Until, Key: x.key, Steps: w.share("let " + q.Who + " in")}, nil
}

// Deny implements screen.Granting.
func (w granting) Deny(_ context.Context, id, rev, reason string) (screen.Outcome, error) {
	x, err := w.begin("Deny", id, reason)
	if err != nil {
		return screen.Outcome{}, err
	}
	q, err := w.find(x, id, rev)
	if err != nil {
		return screen.Outcome{}, err
	}
	x.asked = slices.DeleteFunc(x.asked, func(o screen.Request) bool { return o.ID == id })
	return screen.Outcome{Steps: w.share("deny " + q.Who)}, nil
}

// Add implements screen.Granting.
func (w granting) Add(_ context.Context, m screen.NewMember) (screen.Outcome, error) {
	x, err := w.begin("Add", m.Name)
	if err != nil {
		return screen.Outcome{}, err
	}
	kind, err := w.g.Recipient(m.Recipient)
	for _, was := range x.members {
		if was.Name != m.Name {
			continue
		}
		switch {
		case was.Pending && m.Recipient == "":
			kind, err = was.Key, nil
		case was.Key.Recipient == m.Recipient:
			return screen.Outcome{}, &vault.Error{Kind: vault.KindExists, Env: w.env, Detail: m.Name + " has access already, with this key"}
		case !m.Replace:
			return screen.Outcome{}, &vault.Error{Kind: vault.KindExists, Env: w.env, Err: screen.ErrOtherKey}
		}
	}
	if err != nil {
		return screen.Outcome{}, err
	}
	w.g.Member(w.env, screen.Member{Name: m.Name, Key: kind, By: w.g.You, Since: w.g.now(), Until: m.Until})
	return screen.Outcome{Member: m.Name, Until: m.Until, Key: x.key, Steps: w.share("let " + m.Name + " in")}, nil
}

// rotate makes a new key without some members.
func (w granting) rotate(x *gated, gone []string, step func(done, total int)) screen.Outcome {
	n := w.g.secrets(w.env)
	for i := range n {
		if step != nil {
			step(i+1, n)
		}
	}
	x.key = screen.Key{Gen: x.key.Gen + 1, Fingerprint: print(w.env, x.key.Gen+1), By: w.g.You, At: w.g.now(), Why: "removed " + strings.Join(gone, ", ")}
	x.known = x.key.Gen
	out := screen.Outcome{Rotated: true, Removed: gone, Key: x.key, Secrets: n, Steps: w.share("new key")}
	if len(gone) == 0 {
		x.key.Why = ""
		out.Key.Why = ""
	}
	x.members = slices.DeleteFunc(x.members, func(m screen.Member) bool { return slices.Contains(gone, m.Name) })
	for _, m := range x.members {
		out.Holders = append(out.Holders, m.Name)
	}
	if len(gone) > 0 {
		for info, err := range w.g.World.Vault.List(context.Background(), w.env, "") {
			for _, f := range info.Fields {
				if err == nil {
					out.Exposed = append(out.Exposed, screen.Exposed{Path: info.Path, Field: f.Name, Who: gone, At: w.g.now()})
				}
			}
		}
		x.exposed = append(x.exposed, out.Exposed...)
	}
	return out
}

// Remove implements screen.Granting.
func (w granting) Remove(_ context.Context, members []string, step func(done, total int)) (screen.Outcome, error) {
	x, err := w.begin("Remove", members...)
	if err != nil {
		return screen.Outcome{}, err
	}
	if len(members) == len(x.members) {
		return screen.Outcome{}, &vault.Error{Kind: vault.KindInvalid, Env: w.env, Detail: "nobody would be left whose access has no end, and who could let others in"}
	}
	return w.rotate(x, members, step), nil
}

// Rotate implements screen.Granting.
func (w granting) Rotate(_ context.Context, step func(done, total int)) (screen.Outcome, error) {
	x, err := w.begin("Rotate")
	if err != nil {
		return screen.Outcome{}, err
	}
	if x.inPart != "" {
		x.inPart = ""
		return screen.Outcome{Key: x.key, Steps: w.share("finish the new key")}, nil
	}
	return w.rotate(x, nil, step), nil
}

// Sweep implements screen.Granting.
func (w granting) Sweep(_ context.Context, members []string, step func(done, total int)) (screen.Outcome, error) {
	x, err := w.begin("Sweep", members...)
	if err != nil {
		return screen.Outcome{}, err
	}
	for _, name := range members {
		over := func(m screen.Member) bool {
			return m.Name == name && !m.Until.IsZero() && !m.Until.After(w.g.now())
		}
		if !slices.ContainsFunc(x.members, over) {
			return screen.Outcome{}, &vault.Error{Kind: vault.KindConflict, Env: w.env, Detail: "the time of " + name + " is not over"}
		}
	}
	return w.rotate(x, members, step), nil
}

// Seal implements screen.Granting.
func (w granting) Seal(context.Context) (screen.Outcome, error) {
	x, err := w.begin("Seal")
	if err != nil {
		return screen.Outcome{}, err
	}
	x.care.Unsealed, x.care.SealSeq, x.care.SealBy, x.care.SealAt = 0, x.care.SealSeq+1, w.g.You, w.g.now()
	return screen.Outcome{Steps: w.share("seal")}, nil
}

// Trust implements screen.Granting.
func (w granting) Trust(_ context.Context, fingerprint string) error {
	x, err := w.begin("Trust", fingerprint)
	if err != nil {
		return err
	}
	if !strings.EqualFold(fingerprint, x.key.Fingerprint) {
		return &vault.Error{Kind: vault.KindDenied, Env: w.env, Detail: "the key has another fingerprint"}
	}
	x.known, x.shut = x.key.Gen, screen.Standing{}
	return nil
}
