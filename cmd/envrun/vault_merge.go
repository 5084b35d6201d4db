package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

// mergeFlags are those of vault merge.
type mergeFlags struct {
	ours, theirs, adopt bool
	take                []string
}

func newVaultMerge(t *tool) *cobra.Command {
	var f mergeFlags
	cmd := &cobra.Command{
		Use: "merge", Short: "Resolve what git could not merge in the vault",
		Long: `After a git merge, rebase, cherry-pick, revert or stash pop that stopped at files
of the vault: merges each secret field by field, in a version above both, and the
seals, and marks the files as resolved. It goes by what git's index has of both
sides, so that it does not matter what stands in the files meanwhile. It commits
nothing, and ends with the git command that goes on.

A field that both sides changed differently is for you to decide: you are asked,
with who changed it and when, and may look at both values. Without a terminal say
which side to take: --ours or --theirs for all of them, --take for one. Ours is
the branch that git is on. In a rebase that is the one you rebase onto, and theirs
is your own commit.

It also repairs what a web editor took one side of, where the seal has the other.
Exits 1 if something is left for you.`,
		Example: `  git merge main; envrun vault merge
  envrun vault merge --theirs
  envrun vault merge --take app/API_KEY=ours --take shared/stripe=theirs
  envrun vault merge --take prod:app/API_KEY=ours --yes=prod`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runVaultMerge(cmd.Context(), t, f) },
	}
	cmd.Flags().BoolVar(&f.ours, "ours", false, "where both changed one thing, take ours")
	cmd.Flags().BoolVar(&f.theirs, "theirs", false, "where both changed one thing, take theirs")
	cmd.Flags().StringArrayVar(&f.take, "take", nil, "take one side: [ENV:]PATH[/FIELD]=ours|theirs (may be repeated)")
	cmd.Flags().BoolVar(&f.adopt, "adopt", false, "take over what is under a retired key: see envrun vault adopt")
	return cmd
}

// A taking is one --take.
type taking struct {
	text string
	env  vault.Env // empty for all
	what string    // "PATH" or "PATH/FIELD"
	side engine.Side
	used bool
}

func parseTake(text string) (*taking, error) {
	bad := func() (*taking, error) {
		return nil, cli.Usagef("envrun vault merge", "--take %q is not [ENV:]PATH[/FIELD]=ours or =theirs", text)
	}
	x := taking{text: text}
	what, side, ok := strings.Cut(text, "=")
	switch {
	case !ok:
		return bad()
	case side == engine.Ours.String():
		x.side = engine.Ours
	case side == engine.Theirs.String():
		x.side = engine.Theirs
	default:
		return bad()
	}
	x.what = what
	if env, rest, ok := strings.Cut(what, ":"); ok {
		parsed, err := vault.ParseEnv(env)
		if err != nil {
			return bad()
		}
		x.env, x.what = parsed, rest
	}
	if x.what == "" {
		return bad()
	}
	return &x, nil
}

// A merging is one vault merge under way: how conflicts are decided, and what
// became of everything.
type merging struct {
	*tool
	ctx   context.Context
	flags mergeFlags
	all   engine.Side // --ours, --theirs
	takes []*taking
	envs  map[vault.Env]project.Env
	under filevault.UnderWay
	dir   string // the vault's, as it is found from here

	allowed map[vault.Env]error // what was answered for the environments that were asked about
	asked   bool
	stopped error // a person wants no more of it

	facts     mergeFacts
	undecided []engine.Conflict
	failures  []error
	unmarked  error // what was merged is not in git's index
}

func runVaultMerge(ctx context.Context, t *tool, f mergeFlags) error {
	if t.flags.env != "" {
		return cli.Usagef("envrun vault merge", "a merge is of all environments, without -e; to decide for one of them: --take ENV:PATH=ours")
	}
	m := &merging{
		tool: t, ctx: ctx, flags: f, envs: map[vault.Env]project.Env{}, allowed: map[vault.Env]error{},
		facts: mergeFacts{Envs: []mergedEnvFacts{}, Left: []leftFacts{}, Added: []string{}, Next: []string{}},
	}
	switch {
	case f.ours && f.theirs:
		return cli.Usagef("envrun vault merge", "--ours and --theirs cannot both be meant")
	case f.ours:
		m.all = engine.Ours
	case f.theirs:
		m.all = engine.Theirs
	}
	for _, text := range f.take {
		x, err := parseTake(text)
		if err != nil {
			return err
		}
		m.takes = append(m.takes, x)
	}
	vaults, err := t.vaults(ctx)
	if err != nil {
		return err
	}
	for _, v := range vaults {
		if err := m.merge(v); err != nil {
			return noHistory(err)
		}
	}
	return m.report()
}

func (m *merging) merge(v placed) error {
	for _, env := range v.envs {
		m.envs[env.Name] = env
	}
	w, err := m.signer(m.ctx, v)
	if err != nil {
		return err
	}
	if m.under, err = w.UnderWay(m.ctx); err != nil {
		return err
	}
	m.dir = m.here(w.Dir())
	report, err := w.Merge(m.ctx, engine.MergeOptions{Choose: m.choose, Allow: m.allow, Adopt: m.flags.adopt})
	if err != nil {
		return err
	}
	m.collect(report)
	m.under, err = w.UnderWay(m.ctx)
	return err
}

// signer is the vault for a command that writes to any of its environments: of
// whoever brings a bare key the first grant that it opens says who they are.
func (t *tool) signer(ctx context.Context, v placed) (*filevault.Vault, error) {
	if t.Getenv("ENVRUN_KEY") == "" {
		return v.Vault, nil
	}
	for _, env := range v.envs {
		s := selectIn(nil, env, v.Vault)
		if t.signAs(ctx, &s) == nil {
			return s.file, nil
		}
	}
	return v.Vault, nil
}

// allow asks before a protected environment is shown or written, once.
func (m *merging) allow(name vault.Env) error {
	if m.stopped != nil {
		return m.stopped
	}
	if err, ok := m.allowed[name]; ok {
		return err
	}
	env, ok := m.envs[name]
	var err error
	if ok {
		err = m.tool.allow(m.ctx, env, "was changed")
	} else {
		err = &cli.HintError{Err: fmt.Errorf("%s is not in envrun.toml, which says whether it is protected", name), Code: cli.CodeConfig, Hint: fmt.Sprintf("add [env.%s] to envrun.toml, then: envrun vault merge", name)}
	}
	if errors.Is(err, cli.ErrInterrupted) {
		m.stopped = err
	}
	m.allowed[name] = err
	return err
}

// choose answers a conflict: as the flags say, else as the person does, if one
// is there.
func (m *merging) choose(c engine.Conflict) (engine.Side, error) {
	if m.stopped != nil {
		return 0, m.stopped
	}
	if side := m.taken(c); side != 0 {
		return side, nil
	}
	if m.all != 0 || !m.Interactive() {
		return m.all, nil
	}
	if err := m.allow(c.Env); err != nil {
		return 0, err
	}
	side, err := m.ask(c)
	if err != nil {
		m.stopped = err
	}
	return side, err
}

// taken is what --take says: one for the field before one for its secret.
func (m *merging) taken(c engine.Conflict) engine.Side {
	var side engine.Side
	for _, x := range m.takes {
		if x.env != "" && x.env != c.Env {
			continue
		}
		switch x.what {
		case string(c.Path) + "/" + string(c.Field):
			x.used = true
			return x.side
		case string(c.Path):
			x.used = true
			side = x.side
		}
	}
	return side
}

// ask puts a conflict to the person. Values are shown after a question of its
// own, since they stay on the screen.
func (m *merging) ask(c engine.Conflict) (engine.Side, error) {
	if !m.asked {
		m.asked = true
		m.Sayf("%s", m.whichIsOurs())
	}
	what := fmt.Sprintf("%s %s", c.Env, subject(c))
	m.Sayf("\n%s: both sides changed it", what)
	m.Sayf("  ours    %s", sideText(c, c.Ours))
	m.Sayf("  theirs  %s", sideText(c, c.Theirs))
	question, hidden := "ours, theirs or abort? ", c.What == engine.WhatField
	if hidden {
		question = "ours, theirs, show (the values) or abort? "
	}
	for {
		answer, err := m.Ask(m.ctx, question, "--take "+takeText(c, true, "ours"))
		if err != nil {
			return 0, err
		}
		switch answer = strings.ToLower(answer); {
		case answer == "ours" || answer == "o":
			return engine.Ours, nil
		case answer == "theirs" || answer == "t":
			return engine.Theirs, nil
		case answer == "abort" || answer == "a":
			return 0, &cli.HintError{Err: fmt.Errorf("aborted: nothing of %s was changed", c.Env), Code: cli.CodeFailed, Hint: "to go on: envrun vault merge"}
		case hidden && (answer == "show" || answer == "s"):
			ok, err := m.Confirm(m.ctx, fmt.Sprintf("Show both values of %s on this screen?", what), "")
			if err != nil {
				return 0, err
			}
			if ok {
				m.reveal("ours", c.Ours)
				m.reveal("theirs", c.Theirs)
			}
		}
	}
}

func (m *merging) reveal(side string, c engine.Choice) {
	if c.Absent {
		m.Sayf("  %s: removed", side)
		return
	}
	m.Sayf("  %s:", side)
	for line := range strings.SplitSeq(string(c.Value.Reveal()), "\n") {
		m.Sayf("    %s", line)
	}
}

// whichIsOurs says what the two words mean now.
func (m *merging) whichIsOurs() string {
	switch m.under.Operation {
	case filevault.GitRebase:
		return "In a rebase, ours is the branch that you rebase onto, and theirs is your own commit."
	case filevault.GitMerge:
		return "Ours is the branch that you are on, and theirs the one that is merged into it."
	case filevault.GitCherryPick, filevault.GitAm:
		return "Ours is the branch that you are on, and theirs the commit that is brought to it."
	case filevault.GitRevert:
		return "Ours is the branch that you are on, and theirs what was before the commit that is reverted."
	}
	return "Ours is the branch that you are on, and theirs what was brought to it."
}

// subject is what a conflict is about: "app API_KEY", "the note of app".
func subject(c engine.Conflict) string {
	switch c.What {
	case engine.WhatSecret:
		return string(c.Path)
	case engine.WhatField:
		return fmt.Sprintf("%s %s", c.Path, c.Field)
	case engine.WhatRotate:
		return fmt.Sprintf("when to rotate %s", c.Path)
	case engine.WhatHeader:
		return fmt.Sprintf("a header of %s, of a newer envrun", c.Path)
	}
	return fmt.Sprintf("the %s of %s", c.What, c.Path)
}

func sideText(c engine.Conflict, side engine.Choice) string {
	if side.By == "" {
		return "the file is gone"
	}
	text := fmt.Sprintf("version %d by %s, %s: ", side.Version, side.By, side.At.Format("2006-01-02 15:04"))
	switch {
	case side.Absent && c.What == engine.WhatSecret:
		return text + "deleted"
	case side.Absent:
		return text + "removed"
	case c.What == engine.WhatSecret:
		return text + "changed"
	case c.What == engine.WhatField:
		return text + side.Value.String()
	}
	return text + side.Text
}

// takeText is a --take for a conflict.
func takeText(c engine.Conflict, withEnv bool, side string) string {
	what := string(c.Path)
	if withEnv {
		what = string(c.Env) + ":" + what
	}
	if c.What == engine.WhatField {
		what += "/" + string(c.Field)
	}
	return what + "=" + side
}

// mergeFacts are what vault merge prints.
type mergeFacts struct {
	Done     bool             `json:"done"` // nothing is left for a person
	Envs     []mergedEnvFacts `json:"envs"`
	Left     []leftFacts      `json:"left"`
	Added    []string         `json:"added"`               // files that git has as resolved now
	UnderWay string           `json:"under_way,omitempty"` // merge, rebase, cherry-pick, revert, am
	Next     []string         `json:"next"`                // commands
}

type mergedEnvFacts struct {
	Env     vault.Env     `json:"env"`
	Secrets []mergedFacts `json:"secrets"`
	Adopted []vault.Path  `json:"adopted,omitempty"` // were under a retired key
	Seal    string        `json:"seal,omitempty"`    // taken, written, left; empty if it was not in conflict
}

type mergedFacts struct {
	Path      vault.Path      `json:"path"`
	Outcome   string          `json:"outcome"` // merged, ours, theirs, left
	Version   uint64          `json:"version,omitempty"`
	Deleted   bool            `json:"deleted,omitempty"`
	Authors   []string        `json:"authors,omitempty"`
	Why       string          `json:"why,omitempty"`
	SetBack   uint64          `json:"set_back,omitempty"` // the version that the other side went back to, which counts for nothing
	Adopted   bool            `json:"adopted,omitempty"`  // a side was under a retired key
	Undecided []conflictFacts `json:"undecided,omitempty"`
}

type conflictFacts struct {
	What   string          `json:"what"` // secret, field, note, tags, rotate, header
	Field  vault.FieldName `json:"field,omitempty"`
	Ours   choiceFacts     `json:"ours"`
	Theirs choiceFacts     `json:"theirs"`
	Take   []string        `json:"take"` // what --take can say about it
}

type choiceFacts struct {
	Version uint64     `json:"version,omitempty"`
	By      string     `json:"by,omitempty"`
	At      *time.Time `json:"at,omitempty"`
	Removed bool       `json:"removed,omitempty"`
	Text    string     `json:"text,omitempty"`
}

type leftFacts struct {
	Error string   `json:"error"`
	Code  string   `json:"code"`
	Hints []string `json:"hints,omitempty"`
}

// collect takes in what became of one vault.
func (m *merging) collect(r filevault.MergeReport) {
	for _, e := range r.Envs {
		facts := mergedEnvFacts{Env: e.Env, Secrets: []mergedFacts{}, Seal: string(e.Seal), Adopted: e.Adopted}
		if e.Err != nil && !errors.Is(e.Err, m.stopped) {
			m.failures = append(m.failures, &leftError{e.Err})
		}
		for _, rec := range e.Records {
			facts.Secrets = append(facts.Secrets, m.merged(rec))
			if rec.Err == nil {
				continue
			}
			if un, ok := errors.AsType[*engine.UndecidedError](rec.Err); ok {
				m.undecided = append(m.undecided, un.Conflicts...)
			} else {
				m.failures = append(m.failures, &leftError{rec.Err})
			}
		}
		// A seal that waits for a secret is not one thing more to decide.
		if e.SealErr != nil && !slices.ContainsFunc(e.Records, func(r engine.Merged) bool { return r.Err != nil }) {
			m.failures = append(m.failures, &leftError{e.SealErr})
		}
		m.facts.Envs = append(m.facts.Envs, facts)
	}
	for _, err := range r.Left {
		m.failures = append(m.failures, &leftError{err})
	}
	m.facts.Added = append(m.facts.Added, r.Added...)
	if r.IndexErr != nil {
		m.unmarked = &cli.HintError{Err: fmt.Errorf("what was merged could not be marked as resolved: %w", r.IndexErr), Code: cli.CodeIO}
	}
}

func (m *merging) merged(r engine.Merged) mergedFacts {
	f := mergedFacts{Path: r.Path, Outcome: "merged", Version: r.Version, Deleted: r.Deleted, Authors: r.Authors, Why: r.Why, SetBack: r.SetBack, Adopted: r.Adopted}
	switch {
	case r.Err != nil:
		f = mergedFacts{Path: r.Path, Outcome: "left", Authors: r.Authors}
		if un, ok := errors.AsType[*engine.UndecidedError](r.Err); ok {
			for _, c := range un.Conflicts {
				f.Undecided = append(f.Undecided, conflictOf(c))
			}
		}
	case r.Side != 0:
		f.Outcome = r.Side.String()
	}
	return f
}

func conflictOf(c engine.Conflict) conflictFacts {
	of := func(side engine.Choice) choiceFacts {
		f := choiceFacts{Version: side.Version, By: side.By, Removed: side.Absent, Text: side.Text}
		if !side.At.IsZero() {
			f.At = &side.At
		}
		return f
	}
	return conflictFacts{string(c.What), c.Field, of(c.Ours), of(c.Theirs), []string{takeText(c, true, "ours"), takeText(c, true, "theirs")}}
}

// report prints all of it. What is left comes last, where it is seen.
func (m *merging) report() error {
	if len(m.undecided) > 0 {
		m.failures = append(m.failures, m.undecidedError())
	}
	m.facts.Done = len(m.failures) == 0 && m.stopped == nil
	m.facts.UnderWay = string(m.under.Operation)
	m.next()
	if m.unmarked != nil {
		m.failures = append(m.failures, m.unmarked)
	}
	if m.json() {
		for _, err := range m.failures {
			r := m.explain(err)
			m.facts.Left = append(m.facts.Left, leftFacts{r.Message, r.Code, r.Hints})
		}
		if err := cli.WriteJSON(m.Out, m.facts); err != nil {
			return err
		}
	} else if err := m.print(); err != nil {
		return err
	}
	switch {
	case m.stopped != nil:
		return m.stopped
	case len(m.failures) > 0:
		return cli.ErrShown
	}
	return nil
}

func (m *merging) json() bool { return m.tool.flags.json }

func (m *merging) print() error {
	table := cli.NewTable(m.Streams)
	nothing := true
	for _, e := range m.facts.Envs {
		for _, s := range e.Secrets {
			nothing = false
			table.Row(fmt.Sprintf("%s %s", e.Env, s.Path), s.Outcome, s.say())
		}
		for _, path := range e.Adopted {
			if !slices.ContainsFunc(e.Secrets, func(s mergedFacts) bool { return s.Path == path }) {
				table.Row(fmt.Sprintf("%s %s", e.Env, path), "adopted", "holders of a retired key know its values")
			}
			nothing = false
		}
		if e.Seal != "" {
			nothing = false
			table.Row(fmt.Sprintf("%s seal", e.Env), e.Seal, map[string]string{
				"taken": "one side's knows all that the other's does", "written": "a new one, over all that is there now", "left": "until the rest is decided",
			}[e.Seal])
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, err := range m.failures {
		m.fail(err)
	}
	for _, e := range m.facts.Envs {
		for _, s := range e.Secrets {
			if s.SetBack > 0 {
				m.Notef("%s %s: the other side took a change back, to version %d, which a merge does not follow; if it was meant: envrun rollback -e %s %s --to %d", e.Env, s.Path, s.SetBack, e.Env, s.Path, s.SetBack)
			}
		}
	}
	for _, x := range m.takes {
		if !x.used {
			m.Notef("--take %s: nothing of that name was in conflict", x.text)
		}
	}
	if nothing && m.facts.Done {
		m.Notef("nothing of the vault is in conflict")
	}
	for _, next := range m.facts.Next {
		m.Sayf("next: %s", next)
	}
	return nil
}

// say is what became of a secret, in words.
func (f mergedFacts) say() string {
	authors := strings.Join(f.Authors, " and ")
	if f.Outcome == "left" {
		if authors != "" {
			return "by " + authors
		}
		return "see below"
	}
	text := fmt.Sprintf("version %d", f.Version)
	if f.Deleted {
		text = "deleted in " + text
	}
	if authors != "" {
		text += " from " + authors
	}
	if f.Why != "" {
		text += ": " + f.Why
	}
	if f.Adopted {
		text += "; holders of a retired key know its values"
	}
	return text
}

// next are the commands that go on from here.
func (m *merging) next() {
	add := func(command string) { m.facts.Next = append(m.facts.Next, command) }
	if !m.facts.Done {
		return
	}
	if m.unmarked != nil {
		add("git add -- " + cli.Quote(m.dir))
	}
	if n := len(m.under.Others); n > 0 {
		add(fmt.Sprintf("git status   # %s outside of the vault in conflict", cli.Count(n, "file")))
	}
	switch op := m.under.Operation; op {
	case filevault.GitNone:
		if len(m.facts.Added) > 0 || m.unmarked != nil {
			add("git commit")
		}
	case filevault.GitMerge:
		add("git commit")
	default:
		add(fmt.Sprintf("git %s --continue", op))
	}
}

// undecidedError is what nobody was there to decide, with the commands that do.
func (m *merging) undecidedError() error {
	var lines []error
	for _, c := range m.undecided {
		lines = append(lines, errors.New(c.String()))
	}
	if len(lines) == 1 {
		lines[0] = fmt.Errorf("both sides changed %w", lines[0])
	} else {
		lines = slices.Insert(lines, 0, errors.New("both sides changed"))
	}
	return &undecidedError{cli.Several(lines), m}
}

type undecidedError struct {
	error
	m *merging
}

func (e *undecidedError) Unwrap() error { return e.error }

// explain adds the commands.
func (e *undecidedError) explain(r *cli.Report) {
	r.Code = cli.CodeConflict
	several := slices.ContainsFunc(e.m.undecided, func(c engine.Conflict) bool { return c.Env != e.m.undecided[0].Env })
	var takes, yes []string
	for _, c := range e.m.undecided {
		take := "--take " + cli.Quote(takeText(c, several, "ours"))
		if !slices.Contains(takes, take) {
			takes = append(takes, take)
		}
		if env := string(c.Env); e.m.envs[c.Env].Protected && !e.m.yes(c.Env) && !slices.Contains(yes, env) {
			yes = append(yes, env)
		}
	}
	rest := ""
	for _, x := range e.m.takes {
		rest += " --take " + cli.Quote(x.text)
	}
	if e.m.flags.adopt {
		rest += " --adopt"
	}
	if len(yes) > 0 {
		rest += " --yes=" + strings.Join(yes, ",")
	}
	r.AddHint("to take one side of all: envrun vault merge --ours%s (or --theirs)", rest)
	r.AddHint("or =ours or =theirs for each: envrun vault merge %s%s", strings.Join(takes, " "), rest)
	r.AddHint("or on a terminal, where both values can be shown: envrun vault merge")
}

// leftError is something that a merge leaves to a person.
type leftError struct{ error }

func (e *leftError) Unwrap() error { return e.error }
