package main

import (
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
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Check the audit log of a team server",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	var o auditVerifyOptions
	verify := &cobra.Command{
		Use: "verify FILE", Short: "Check an exported audit log, offline",
		Long: `Checks that a file which was exported from the audit log of a team server holds the
entries that the server signed, in their order: that none was changed, left out,
added or moved. Nobody is asked; "-" is stdin.

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
	rep, err := audit.Memory{Dir: filepath.Join(state, "audit")}.Verify(in, o.key, t.now())
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
