package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/vault"
	"envrun/vault/audit"

	"github.com/spf13/cobra"
)

func newAudit(t *tool) *cobra.Command {
	var read auditOptions
	cmd := &cobra.Command{
		Use:   "audit [flags]",
		Short: "Read and check the audit log of a team server",
		Long: `Shows who did what on the server that an environment is on, and what came of it: the
newest entries, one line for each request, in UTC. With -e only what was about that
environment. It takes a policy that lets you read sys/audit-log/.

Each entry that is shown is proven to be in the log which the server signed, and that
log to go on from what this machine saw of it before: a server whose history was
rewritten or set back is refused. That nothing was left out is proven by an export.`,
		Example: `  envrun audit
  envrun audit -e prod --since 2h --path billing
  envrun audit --follow --who ann@example.dev
  envrun audit --since 7d --json | jq 'select(.status == 403)'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return group(cmd, args)
			}
			return runAudit(cmd.Context(), t, read)
		},
	}
	read.flags(cmd)
	cmd.AddCommand(newAuditExport(t), newAuditProof(t), newAuditForget(t))
	var o auditVerifyOptions
	verify := &cobra.Command{
		Use: "verify FILE", Short: "Check an exported audit log, or a proof of an entry, offline",
		Long: `Checks that a file which was exported from the audit log of a team server holds the
entries that the server signed, in their order: that none was changed, left out,
added or moved. Of what audit proof --json printed it checks that the entries are in
the log. Nobody is asked; "-" is stdin.

The first time the public key of the log is needed, from whoever runs the server:
--key. From then on this machine knows it, and remembers the end of the log that it
saw: a later file must go on from there. One that has another past is refused, and so is
one that ends before it, unless --older says that it is older. Exits 1 if anything
is wrong.`,
		Example: `  envrun audit verify audit.jsonl --key envrun.example.dev/audit+1a2b3c4d+AYw…
  envrun audit verify audit.jsonl
  envrun audit verify --json - < audit.jsonl`,
		Args: cli.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runAuditVerify(t, o, args[0]) },
	}
	verify.Flags().StringVar(&o.key, "key", "", "public key of the log (default: the one that it was first seen with)")
	verify.Flags().BoolVar(&o.older, "older", false, "the file may end before what was seen of the log")
	cmd.AddCommand(verify)
	return cmd
}

type auditVerifyOptions struct {
	key   string
	older bool
}

// auditFacts is what audit verify prints.
type auditFacts struct {
	Log     string     `json:"log"`
	From    int64      `json:"from"` // the number of the first entry
	Size    int64      `json:"size"` // of the log: the number of the last entry and one
	Entries int64      `json:"entries"`
	First   *time.Time `json:"first,omitempty"`
	Last    *time.Time `json:"last,omitempty"`
	Root    string     `json:"root"`
	Seen    string     `json:"seen"` // how it stands to what this machine has seen: "nothing", "contains", "older", "elsewhere"
	Known   int64      `json:"seen_size,omitempty"`
}

func runAuditVerify(t *tool, o auditVerifyOptions, file string) error {
	state, err := t.stateDir()
	if err != nil {
		return err
	}
	memory := audit.Memory{Dir: filepath.Join(state, "audit")}
	var in io.Reader = t.In
	name := "stdin"
	if file != "-" {
		name = file
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	begin := bufio.NewReader(in)
	if head, _ := begin.Peek(len(audit.ProofBegins)); string(head) == audit.ProofBegins {
		return t.verifyProofs(memory, begin, o.key, name)
	}
	rep, err := memory.Verify(begin, o.key, t.now())
	if err != nil {
		var ve *vault.Error
		if errors.As(err, &ve) && ve.File == "" {
			ve.File = name
		}
		return &auditError{err}
	}
	seen := map[audit.Standing]string{audit.Unknown: "nothing", audit.Contains: "contains", audit.Older: "older", audit.Elsewhere: "elsewhere"}[rep.Seen]
	if rep.Seen == audit.Older && !o.older {
		return &cli.HintError{
			Err:  fmt.Errorf("%s ends at entry %d, and this machine has seen %d entries of %s: it is an older export, or the newest entries were cut off", name, rep.Size, rep.SeenSize, rep.Origin),
			Code: cli.CodeTampered,
			Hint: "if it is meant to be older: envrun audit verify --older " + cli.Quote(file),
		}
	}
	facts := auditFacts{Log: rep.Origin, From: rep.From, Size: rep.Size, Entries: rep.Size - rep.From, Root: rep.Root.String(), Seen: seen, Known: rep.SeenSize}
	if facts.Entries > 0 {
		facts.First, facts.Last = &rep.First, &rep.Last
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, facts)
	}
	span := ""
	if facts.Entries > 0 {
		span = fmt.Sprintf(", %d to %d, %s to %s", rep.From, rep.Size-1, rep.First.Format(time.RFC3339), rep.Last.Format(time.RFC3339))
	}
	t.Printf("%s of %s%s: as they were signed\n", entries(facts.Entries), rep.Origin, span)
	switch rep.Seen {
	case audit.Unknown:
		t.Notef("this machine knows the log by this key from now on, and remembers its %s", entries(rep.Size))
	case audit.Contains:
		t.Notef("the %s that this machine had seen of it are its beginning, unchanged", entries(rep.SeenSize))
	case audit.Elsewhere:
		t.Notef("this machine has seen the first %d: whether they are still its beginning, this file does not tell; one that begins at %d or before does", rep.SeenSize, rep.SeenSize)
	case audit.Older:
		t.Notef("this machine has seen %s of it since", entries(rep.SeenSize))
	}
	return nil
}

// verifyProofs checks what audit proof --json printed, a line for each entry.
func (t *tool) verifyProofs(m audit.Memory, in io.Reader, key, name string) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		p, err := m.CheckProof(lines.Bytes(), key)
		if err != nil {
			var ve *vault.Error
			if errors.As(err, &ve) && ve.File == "" {
				ve.File, ve.Line = name, n
			}
			return &auditError{err}
		}
		if err := t.printProved(p); err != nil {
			return err
		}
	}
	return lines.Err()
}

func entries(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// auditError is about an export: no vault and no file of git.
type auditError struct{ error }

func (e *auditError) Unwrap() error { return e.error }

func explainAudit(err error, r *cli.Report) bool {
	var e *auditError
	if !errors.As(err, &e) {
		return false
	}
	switch vault.KindOf(e) {
	case vault.KindTampered:
		r.Code = cli.CodeTampered
		r.AddHint("take nothing in it for what happened; keep the file, and ask for the log from another copy")
	case vault.KindMalformed:
		r.Code = cli.CodeTampered
		r.AddHint("export it anew, and check that it arrives whole")
	case vault.KindVersion:
		r.Code = cli.CodeConfig
		r.AddHint("install a newer envrun: this one cannot read it")
	case vault.KindNoIdentity:
		r.Code = cli.CodeAuth
		r.AddHint("with the key, from whoever runs the server: envrun audit verify FILE --key KEY")
	case vault.KindInvalid:
		r.Code = cli.CodeUsage
		r.AddHint("the key is NAME+HASH+TEXT, in one piece; quote it")
	default:
		return false
	}
	return true
}
