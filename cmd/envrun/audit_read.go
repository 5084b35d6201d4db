package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

type auditOptions struct {
	follow bool
	all    bool
	since  string
	until  string
	who    string
	path   string
	limit  int
}

func (o *auditOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	f.BoolVar(&o.all, "all", false, "also the intents, and who read this log")
	f.StringVar(&o.since, "since", "", "from a time on: 2026-11-23T04:00, 2026-11-23, or 2h, 7d ago")
	f.StringVar(&o.until, "until", "", "before a time")
	f.StringVar(&o.who, "who", "", "of one: a name, a mail, or the hash of a token or accessor")
	f.StringVar(&o.path, "path", "", "of a path and what is below it: prod/data/billing, or billing; * stands for anything")
	f.IntVarP(&o.limit, "limit", "n", 0, "the newest so many (default 50; with --since all)")
}

// How many entries are shown, and how often a log that is followed is asked.
const (
	auditLimit  = 50
	followLimit = 10
	followPause = 2 * time.Second
)

// auditLog is the log of the server of the environment that is selected.
func (t *tool) auditLog() (*remote.AuditLog, project.Env, error) {
	p, err := t.project()
	if err != nil {
		return nil, project.Env{}, err
	}
	env, err := p.Select(t.flags.env, t.Getenv("ENVRUN_ENV"))
	if err != nil {
		return nil, env, err
	}
	if !env.Remote() {
		return nil, env, &cli.HintError{
			Err:  fmt.Errorf("the vault %s is in files: nobody but git keeps a record of it, and of reading there is none", cli.Printable(env.Vault)),
			Code: cli.CodeConfig, Hint: fmt.Sprintf("who changed what: git log -- %s, and of one secret: envrun history -e %s PATH", cli.Quote(env.Vault), env.Name),
		}
	}
	state, err := t.stateDir()
	if err != nil {
		return nil, env, err
	}
	v, err := t.server(p, env)
	if err != nil {
		return nil, env, err
	}
	return v.AuditLog(audit.Memory{Dir: filepath.Join(state, "audit")}, t.now), env, nil
}

// auditTime reads --since and --until: a time, or how long ago.
func (t *tool) auditTime(flag, s string) (time.Time, error) {
	now := t.now()
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := parseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, cli.Usagef("envrun audit", "%s is a time (2026-11-23T04:00), a day (2026-11-23) or how long ago (2h, 7d), not %q", flag, s)
}

func runAudit(ctx context.Context, t *tool, o auditOptions) error {
	q := audit.Query{Who: o.who, Path: o.path, Quiet: !o.all, Limit: audit.MaxLimit}
	var err error
	if q.Since, err = t.auditTime("--since", o.since); err != nil {
		return err
	}
	if q.Until, err = t.auditTime("--until", o.until); err != nil {
		return err
	}
	switch {
	case o.limit < 0:
		return cli.Usagef("envrun audit", "--limit is how many entries, not %d", o.limit)
	case o.follow && o.until != "":
		return cli.Usagef("envrun audit", "--follow goes on without end: it takes no --until")
	}
	if !o.all {
		q.Type = audit.Outcome
	}
	log, env, err := t.auditLog()
	if err != nil {
		return err
	}
	if t.flags.env != "" {
		q.Env = env.MountName()
	}
	limit := o.limit
	if limit == 0 && q.Since.IsZero() {
		limit = auditLimit
		if o.follow {
			limit = followLimit
		}
	}
	var next int64
	var n int
	if limit > 0 {
		next, n, err = t.newestEntries(ctx, log, q, limit)
	} else {
		next, n, err = t.entriesOn(ctx, log, q)
	}
	if err != nil {
		return &auditLogError{err, env.Name}
	}
	if !o.follow {
		if n == 0 {
			t.Notef("there is no such entry")
		}
		return nil
	}
	q.From, q.Since = next, time.Time{}
	if err := t.followEntries(ctx, log, q); err != nil {
		return &auditLogError{err, env.Name}
	}
	return nil
}

// newestEntries prints the last limit entries that match, and says from where the log goes on.
func (t *tool) newestEntries(ctx context.Context, log *remote.AuditLog, q audit.Query, limit int) (next int64, n int, err error) {
	q.Newest = true
	progress := cli.NewProgress(t.Streams, "looking back through the log", t.now)
	defer progress.End()
	var found []audit.Record
	for first := true; ; first = false {
		q.Limit = min(limit-len(found), audit.MaxLimit)
		page, err := log.Read(ctx, q)
		if err != nil {
			progress.End()
			return 0, 0, errors.Join(err, t.printEntries(found)) // it may have taken long to find them
		}
		if first {
			next = page.Size
		}
		found = append(page.Records, found...)
		if page.Back == 0 || len(found) >= limit {
			progress.End()
			return next, len(found), t.printEntries(found)
		}
		q.To = page.Back
		progress.Step(int(next-q.To), int(next))
	}
}

// entriesOn prints all entries from where the query begins.
func (t *tool) entriesOn(ctx context.Context, log *remote.AuditLog, q audit.Query) (next int64, n int, err error) {
	for {
		page, err := log.Read(ctx, q)
		if err != nil {
			return 0, n, err
		}
		if err := t.printEntries(page.Records); err != nil {
			return 0, n, err
		}
		n += len(page.Records)
		if q.From = page.Next; !page.More {
			return page.Next, n, nil
		}
	}
}

// followEntries prints what comes until ctx ends. A server that does not answer for a while
// is waited for: the log is gone on with where it was.
func (t *tool) followEntries(ctx context.Context, log *remote.AuditLog, q audit.Query) error {
	gone := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followPause):
		}
		next, _, err := t.entriesOn(ctx, log, q)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && vault.KindOf(err) != vault.KindUnavailable:
			return err
		case err != nil && !gone:
			gone = true
			t.Notef("%s: no answer: %s", t.now().UTC().Format(time.TimeOnly), cli.Printable(err.Error()))
		case err == nil:
			if gone {
				t.Notef("%s: it answers again, and the log goes on where it was, at entry %d", t.now().UTC().Format(time.TimeOnly), q.From)
			}
			gone, q.From = false, next
		}
	}
}

func (t *tool) printEntries(list []audit.Record) error {
	if t.flags.json {
		for _, r := range list {
			if cli.Printable(r.Line) != r.Line {
				// Of a server that is newer, or means ill: what a terminal would act on is escaped.
				if err := cli.WriteJSONLine(t.Out, rawJSON(r.Line)); err != nil {
					return err
				}
				continue
			}
			t.Printf("%s\n", r.Line)
		}
		return t.OutErr()
	}
	table := cli.NewTable(t.Streams)
	for _, r := range list {
		e := r.Entry
		table.Row(e.Time.UTC().Format("2006-01-02 15:04:05Z"), whoOf(e), e.Request.Operation, pathOf(e), outcomeOf(e), cmp.Or(e.Request.RemoteAddress, "-"), factsOfEntry(e), "#"+strconv.FormatInt(r.Index, 10))
	}
	return table.Flush()
}

// rawJSON is JSON already.
type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// whoOf is who asked. A token that nobody gave a name is told by its policies.
func whoOf(e audit.Entry) string {
	a := e.Auth
	who := cmp.Or(a.DisplayName, a.EntityID)
	for _, name := range []string{"email", "mail"} {
		if mail := a.Metadata[name]; mail != "" && mail != who {
			return strings.TrimSpace(who + " <" + mail + ">")
		}
	}
	switch {
	case who == "" && !e.Request.ClientToken.IsZero():
		return "an unknown token"
	case who == "":
		return "nobody"
	case who == "token" && len(a.Policies) > 0:
		return "token (" + strings.Join(slices.DeleteFunc(slices.Clone(a.Policies), func(s string) bool { return s == "default" && len(a.Policies) > 1 }), ", ") + ")"
	}
	return who
}

func pathOf(e audit.Entry) string { return cmp.Or(e.Request.Path, "-") }

func outcomeOf(e audit.Entry) string {
	switch {
	case e.Type == audit.Intent && (e.Auth.PolicyResults == nil || e.Auth.PolicyResults.Allowed) && e.Error == "":
		return "asked"
	case e.Status == 403 || e.Type == audit.Intent:
		return "DENIED"
	case e.Status == 404:
		return "not there"
	case e.Status >= 500:
		return fmt.Sprintf("FAILED %d", e.Status)
	case e.Status >= 400:
		return fmt.Sprintf("refused %d", e.Status)
	}
	return "ok"
}

// factsOfEntry is what else a person wants to know: what was read or changed, and why.
func factsOfEntry(e audit.Entry) string {
	var facts []string
	add := func(format string, s string) {
		if s = fmt.Sprintf(format, s); !slices.Contains(facts, s) {
			facts = append(facts, s)
		}
	}
	all := []*audit.Data{e.Request.Data}
	if e.Response != nil {
		all = append(all, e.Response.Data)
		if e.Response.WrapInfo != nil {
			add("%s", "wrapped")
		}
	}
	for _, d := range all {
		if d == nil {
			continue
		}
		for _, f := range []struct{ format, s string }{
			{"reason: %s", d.Reason}, {"ticket %s", d.Ticket}, {"request %s", d.AccessRequest}, {"grant %s", d.GrantID},
			{"policy %s", d.Policy}, {"policies %s", strings.Join(d.Policies, " ")}, {"entity %s", d.Entity}, {"group %s", d.Group}, {"role %s", d.Role},
			{"mount %s", d.MountPoint}, {"user %s", d.DatabaseUser}, {"lease %s", d.LeaseID}, {"fields %s", strings.Join(d.Keys, " ")},
		} {
			if f.s != "" {
				add(f.format, f.s)
			}
		}
		if d.Version > 0 {
			add("version %s", strconv.FormatUint(d.Version, 10))
		}
		if d.Count > 0 {
			add("%s listed", strconv.FormatInt(d.Count, 10))
		}
	}
	if e.Error != "" && !(e.Status == 403 && e.Error == "permission denied") {
		add("%s", e.Error)
	}
	return cmp.Or(strings.Join(facts, ", "), "-")
}

func newAuditExport(t *tool) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Write the audit log of a server to a file that verify checks",
		Long: `Writes all entries of the log, or those from --since on, as a file that
envrun audit verify checks offline, here or elsewhere: none of them can have been
left out, changed, added or moved. "-" is stdout. The file appears when it is whole.`,
		Example: `  envrun audit export audit.jsonl
  envrun audit export --since 2026-11-01 november.jsonl`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAuditExport(cmd.Context(), t, since, args[0])
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "from a time on: 2026-11-23T04:00, 2026-11-23, or 2h, 7d ago")
	return cmd
}

func runAuditExport(ctx context.Context, t *tool, since, file string) error {
	from, err := t.auditTime("--since", since)
	if err != nil {
		return err
	}
	log, env, err := t.auditLog()
	if err != nil {
		return err
	}
	var out io.Writer = t.Out
	var f *os.File
	if file != "-" {
		if _, err := os.Lstat(file); err == nil {
			return &cli.HintError{Err: fmt.Errorf("%s is there already, and is not overwritten", file), Code: cli.CodeConflict, Hint: "envrun audit export ANOTHER-FILE"}
		}
		if f, err = os.CreateTemp(filepath.Dir(file), ".envrun-audit-*"); err != nil { // mode 0600
			return err
		}
		defer os.Remove(f.Name())
		out = f
	}
	progress := cli.NewProgress(t.Streams, "exporting", t.now)
	rep, err := log.Export(ctx, out, from, func(done, of int64) { progress.Step(int(done), int(of)) })
	progress.End()
	if f != nil {
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
		if err == nil {
			err = os.Rename(f.Name(), file)
		}
	}
	if err != nil {
		return &auditLogError{err, env.Name}
	}
	if file == "-" {
		file = "FILE"
	}
	t.Notef("%s of %s; to check it elsewhere: envrun audit verify %s --key %s", entries(rep.Size-rep.From), rep.Origin, cli.Quote(file), cli.Quote(rep.Key))
	return nil
}

func newAuditProof(t *tool) *cobra.Command {
	return &cobra.Command{
		Use: "proof NUMBER|REQUEST-ID", Short: "Show an entry of the audit log with the proof that it is there",
		Long: `Shows an entry by its number, or both entries of a request by its id, and checks
the proof that the log which the server signed holds it. With --json the proof is
printed, a line for each entry: kept in a file, envrun audit verify checks it offline,
here or elsewhere.`,
		Example: `  envrun audit proof 1234
  envrun audit proof --json 25fb2317-73d2-4b89-baa1-f632e0c2a10c > proof.json
  envrun audit verify proof.json`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runAuditProof(cmd.Context(), t, args[0]) },
	}
}

func runAuditProof(ctx context.Context, t *tool, of string) error {
	log, env, err := t.auditLog()
	if err != nil {
		return err
	}
	var numbers []int64
	if n, err := strconv.ParseInt(strings.TrimPrefix(of, "#"), 10, 64); err == nil && n >= 0 {
		numbers = []int64{n}
	} else {
		q := audit.Query{ID: of, Newest: true, Limit: 2}
		for len(numbers) == 0 {
			page, err := log.Read(ctx, q)
			if err != nil {
				return &auditLogError{err, env.Name}
			}
			for _, r := range page.Records {
				numbers = append(numbers, r.Index)
			}
			if q.To = page.Back; page.Back == 0 {
				break
			}
		}
		if len(numbers) == 0 {
			return &cli.HintError{Err: fmt.Errorf("the audit log holds no request %q", of), Code: cli.CodeMissing, Hint: "which there are: envrun audit --json"}
		}
	}
	for _, n := range numbers {
		p, proved, err := log.Proof(ctx, n)
		if err != nil {
			return &auditLogError{err, env.Name}
		}
		if t.flags.json {
			text, err := p.Text()
			if err == nil {
				err = cli.WriteJSONLine(t.Out, rawJSON(text))
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := t.printProved(proved); err != nil {
			return err
		}
	}
	return t.OutErr()
}

func (t *tool) printProved(p audit.Proved) error {
	if err := t.printEntries([]audit.Record{{Index: p.Index, Line: p.Line, Entry: p.Entry}}); err != nil {
		return err
	}
	t.Notef("entry %d is in the log %s as it was signed with %s", p.Index, cli.Printable(p.Origin), entries(p.Size))
	return nil
}

func newAuditForget(t *tool) *cobra.Command {
	return &cobra.Command{
		Use: "forget", Short: "Forget what this machine has seen of a server's audit log",
		Long: `Drops the public key and the last checkpoint of the audit log that this machine has
seen of the server: for one that was set up anew, or restored from a backup, as whoever
looks after it says. The log that it shows next is believed.`,
		Example: "  envrun audit forget -e prod",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runAuditForget(cmd.Context(), t) },
	}
}

func runAuditForget(ctx context.Context, t *tool) error {
	log, _, err := t.auditLog()
	if err != nil {
		return err
	}
	last, known, err := log.Memory.Last(log.Name())
	if err == nil && !known {
		t.Notef("this machine has seen nothing of the log of %s", log.Name())
		return nil
	}
	what := fmt.Sprintf("what it has seen of the log of %s, which cannot be read", log.Name())
	if err == nil {
		what = fmt.Sprintf("the %s of %s that it saw at %s", entries(last.Size), cli.Printable(last.Origin), last.At.UTC().Format(time.RFC3339))
	}
	if t.flags.yes == "" {
		ok, err := t.Confirm(ctx, "This machine forgets "+what+". A history that was rewritten is not noticed here any more. Forget it?", "--yes")
		if err != nil {
			return err
		}
		if !ok {
			return cli.ErrShown
		}
	}
	if _, err := log.Memory.Forget(log.Name()); err != nil {
		return err
	}
	t.Notef("forgotten: %s", what)
	return nil
}

// auditLogError is about the log of a server.
type auditLogError struct {
	error
	env vault.Env
}

func (e *auditLogError) Unwrap() error { return e.error }

func explainAuditLog(err error, r *cli.Report) bool {
	var e *auditLogError
	if !errors.As(err, &e) {
		return false
	}
	var s *remote.ServerError
	switch kind := vault.KindOf(e); {
	case errors.As(err, &s) && s.Trouble == remote.NoLog:
		r.Code = cli.CodeConfig
		r.AddHint("where Vault and OpenBao write theirs: VAULT_ADDR=%s vault audit list -detailed", cli.Quote(s.Address))
	case errors.As(err, &s) && s.Trouble == remote.Forbidden:
		r.Code = cli.CodeAuth
		r.AddHint(`the policy it takes: path "sys/audit-log/*" { capabilities = ["read"] }`)
		r.AddHint("who you are there, and what you may reach: envrun whoami --verify")
	case kind == vault.KindTampered || kind == vault.KindMalformed && s == nil:
		r.Code = cli.CodeTampered
		for _, hint := range suspicions(e.env) {
			r.AddHint("%s", hint)
		}
	case kind == vault.KindNotFound:
		r.Code = cli.CodeMissing
		r.AddHint("which there are: envrun audit -e %s", e.env)
	default:
		return false
	}
	return true
}

// suspicions are what to do about a server that denies its past.
func suspicions(env vault.Env) []string {
	return []string{
		"ask whoever looks after the server before you believe what it says; its own check is envrund verify",
		fmt.Sprintf("if it was restored from a backup or set up anew, and they say so: envrun audit forget -e %s", env),
	}
}

// suspect says that a server denies its past: once, and nothing is stopped by it.
func (t *tool) suspect(env vault.Env, err error) {
	hints := suspicions(env)
	text := "warning: " + cli.Printable(err.Error()) + "; " + strings.Join(hints, "; ")
	t.shown.mu.Lock()
	said := slices.Contains(t.shown.said, text)
	t.shown.said = append(t.shown.said, text)
	t.shown.mu.Unlock()
	if said {
		return
	}
	if t.notice != nil {
		t.notice(text)
		return
	}
	t.Notef("warning: %s", cli.Printable(err.Error()))
	for _, hint := range hints {
		t.Sayf("hint: %s", hint)
	}
}
