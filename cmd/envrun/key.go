package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"envrun/auth/agekey"
	"envrun/auth/keychain"
	"envrun/cmd/internal/cli"

	"github.com/spf13/cobra"
)

func newKey(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Your identity: what opens the vaults you are a member of",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	stores := strings.Join(append(keychain.Names(), agekey.StoreFile), ", ")
	var member, store string
	make := &cobra.Command{
		Use: "new", Short: "Make an identity (post-quantum hybrid), if you have none",
		Long: `Makes an age identity, hybrid ML-KEM-768 and X25519, and keeps it in the best
store of this machine: the desktop's keychain, pass, else a file of mode 0600.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := t.home()
			if err != nil {
				return err
			}
			return t.createIdentity(cmd.Context(), home, member, store)
		},
	}
	imp := &cobra.Command{
		Use: "import FILE", Short: "Take an identity from a file, - for stdin",
		Long: `Takes your identity from FILE: the lines AGE-SECRET-KEY-… or AGE-PLUGIN-… of age,
or an SSH private key of kind ssh-ed25519. If it has a passphrase, you are asked
for it, or it is read from the file that ENVRUN_PASSPHRASE_FILE names.

What is kept is a copy, without that passphrase: FILE stays as it is. It takes the
SSH key itself, since ssh-agent signs and cannot decrypt. RSA, ECDSA, keys in
security tokens (sk-…) and old PEM files cannot be used. An SSH key is not
post-quantum: whoever may have a key of their own makes it with envrun key new.`,
		Example: "  envrun key import ~/.ssh/id_ed25519\n  envrun key import /media/usb/identity",
		Args:    cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runKeyImport(cmd.Context(), t, args[0], member, store)
		},
	}
	for _, c := range []*cobra.Command{make, imp} {
		c.Flags().StringVar(&member, "member", "", "your name among the members (default: user@host)")
		c.Flags().StringVar(&store, "store", "", "where it is kept: "+stores)
	}
	show := &cobra.Command{
		Use: "show", Short: "Show your identity's public half and where it is kept",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runKeyShow(t) },
	}
	var ci ciOptions
	export := &cobra.Command{
		Use: "export", Short: "Print your identity, or make the key of a pipeline: the secret itself",
		Long: `Prints your identity as age and envrun read it. Whoever has it can open every
vault you are a member of.

With --ci ENV it makes a new identity for a pipeline instead, grants it that one
environment, and prints the line that goes into the pipeline's secret variable
ENVRUN_KEY. The line names the vault, the environment and the fingerprint of its key,
so that the pipeline trusts no other. It is printed once and kept nowhere; with
--replace a new one takes its place. envrun member rm takes it away.`,
		Example: `  envrun key export > /media/usb/identity
  envrun key export --ci prod --member ci-github --yes=prod`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ci.env != "" {
				return runKeyExportCI(cmd.Context(), t, ci)
			}
			return runKeyExport(cmd.Context(), t)
		},
	}
	export.Flags().StringVar(&ci.env, "ci", "", "make the key of a pipeline for this `ENV`")
	export.Flags().StringVar(&ci.member, "member", "ci", "with --ci: the pipeline's name among the members")
	export.Flags().BoolVar(&ci.replace, "replace", false, "with --ci: replace the key that this name has")
	_ = export.RegisterFlagCompletionFunc("ci", t.completeEnvs)
	move := &cobra.Command{
		Use: "move STORE", Short: "Keep your identity elsewhere: " + stores,
		Long: `Writes your identity to another store, reads it back, and only then deletes it
from the old one. The kernel's keyring forgets at reboot: choose it only with a
copy elsewhere.`,
		Args:      cli.ExactArgs(1),
		ValidArgs: append(keychain.Names(), agekey.StoreFile),
		RunE:      func(cmd *cobra.Command, args []string) error { return runKeyMove(cmd.Context(), t, args[0]) },
	}
	protect := &cobra.Command{
		Use: "protect", Short: "Put a passphrase on an identity that is kept in a file",
		Long: `Encrypts the identity file with a passphrase (age, scrypt). Where the kernel's
keyring can be used, an unlocked copy stays there for 8 hours, so that you are
not asked each time; envrun key lock forgets it.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runKeyProtect(cmd.Context(), t) },
	}
	unprotect := &cobra.Command{
		Use: "unprotect", Short: "Take the passphrase off",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.withHome(func(h *agekey.Home) error { return h.Unprotect(cmd.Context()) }, "the identity file has no passphrase now")
		},
	}
	lock := &cobra.Command{
		Use: "lock", Short: "Forget the unlocked copy of a protected identity",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.withHome(func(h *agekey.Home) error { return h.Lock(cmd.Context()) }, "locked: the passphrase is needed next time")
		},
	}
	cmd.AddCommand(show, make, imp, export, move, protect, unprotect, lock)
	return cmd
}

func (t *tool) withHome(f func(*agekey.Home) error, done string) error {
	home, err := t.home()
	if err != nil {
		return err
	}
	if err := f(home); err != nil {
		return err
	}
	t.Notef("%s", done)
	return nil
}

type keyFacts struct {
	Member      string     `json:"member"`
	Recipient   string     `json:"recipient"`
	Store       string     `json:"store"`
	File        string     `json:"file,omitempty"`
	Protected   bool       `json:"protected"`
	PostQuantum bool       `json:"post_quantum"`
	Created     *time.Time `json:"created,omitempty"`
}

func runKeyShow(t *tool) error {
	if text := t.Getenv("ENVRUN_KEY"); text != "" {
		me, err := t.me()
		if err != nil {
			return err
		}
		id, err := me.identity(context.Background())
		if err != nil {
			return err
		}
		return t.printKey(keyFacts{Recipient: id.Recipient(), Store: "ENVRUN_KEY", PostQuantum: id.PostQuantum()})
	}
	home, err := t.home()
	if err != nil {
		return err
	}
	f, err := home.Facts()
	if err != nil {
		return err
	}
	facts := keyFacts{Member: f.Member, Recipient: f.Recipient, Store: f.Store, Protected: f.Protected, PostQuantum: agekey.PostQuantum(f.Recipient)}
	if f.Store == agekey.StoreFile {
		facts.File = home.File()
	}
	if !f.Created.IsZero() {
		facts.Created = &f.Created
	}
	return t.printKey(facts)
}

func (t *tool) printKey(f keyFacts) error {
	if t.flags.json {
		return cli.WriteJSON(t.Out, f)
	}
	where := f.Store
	if f.File != "" {
		where = f.File
		if f.Protected {
			where += ", with a passphrase"
		} else {
			where += ", without a passphrase: whoever can read it can open your vaults"
		}
	}
	quantum := "yes"
	switch {
	case f.Recipient == "":
		quantum = "not known: only its plugin knows its public half"
	case !f.PostQuantum:
		quantum = "no, it is classic: if you may have another, envrun key new makes one where there is none yet (ENVRUN_CONFIG_DIR=FOLDER beside this one)"
	}
	table := cli.NewTable(t.Streams)
	if f.Member != "" {
		table.Row("member", f.Member)
	}
	table.Row("kept in", where)
	if f.Created != nil {
		table.Row("made", f.Created.Format(time.DateOnly))
	}
	table.Row("post-quantum", quantum)
	table.Row("recipient", f.Recipient)
	return table.Flush()
}

func runKeyImport(ctx context.Context, t *tool, file, member, store string) error {
	var in io.Reader = t.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return err
	}
	defer clear(text)
	id, err := agekey.Parse(string(text))
	locked := errors.Is(err, agekey.ErrProtected)
	if locked {
		var passphrase []byte
		if passphrase, err = t.passphrase(ctx, "Passphrase of "+shown(file)+" (not shown): "); err != nil {
			return err
		}
		id, err = agekey.ParseProtected(string(text), passphrase)
		clear(passphrase)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", shown(file), err)
	}
	home, err := t.home()
	if err != nil {
		return err
	}
	if member == "" {
		member = defaultMember()
	}
	facts, err := home.Import(ctx, id, member, store)
	if err != nil {
		return err
	}
	t.Notef("took the identity of %s, kept in %s", facts.Member, storeText(facts, home))
	if file != "-" {
		t.Sayf("      it is a copy: %s stays as it is", shown(file))
	}
	if locked && facts.Store == agekey.StoreFile {
		t.Sayf("      the copy has no passphrase; to give it one: envrun key protect")
	}
	if id.Recipient() != "" && !id.PostQuantum() {
		t.Sayf("      it is classic, not post-quantum: if you may have another, envrun key new makes one (ENVRUN_CONFIG_DIR=FOLDER beside this one)")
	}
	return nil
}

func runKeyExport(ctx context.Context, t *tool) error {
	if t.Getenv("ENVRUN_KEY") != "" {
		return &cli.HintError{Err: errors.New("the identity in use is the one in ENVRUN_KEY, which you have already"), Code: cli.CodeUsage, Hint: "to export your own: unset ENVRUN_KEY"}
	}
	home, err := t.home()
	if err != nil {
		return err
	}
	facts, err := home.Facts()
	if err != nil {
		return err
	}
	id, err := home.Load(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(t.Out, id.ExportText(facts))
	return err
}

// ciOptions are the flags of key export for a pipeline.
type ciOptions struct {
	env, member string
	replace     bool
}

func runKeyExportCI(ctx context.Context, t *tool, o ciOptions) error {
	if t.flags.env != "" && t.flags.env != o.env {
		return cli.Usagef("envrun key export", "--ci names %s and -e %s", o.env, t.flags.env)
	}
	t.flags.env = o.env
	s, err := t.openFileToWrite(ctx)
	if err != nil {
		return err
	}
	if err := t.allow(ctx, s.env, "was granted"); err != nil {
		return err
	}
	key, err := s.file.NewCIKey(ctx, s.env.Name, o.member, o.replace)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(t.Out, key.Reveal()+"\n"); err != nil {
		return fmt.Errorf("printing the key, which is kept nowhere (again with --replace): %w", err)
	}
	t.Notef("%s can open %s now; put the line into the pipeline's secret variable ENVRUN_KEY: it is not shown again", o.member, s.env.Name)
	t.sayCommit(s.file, fmt.Sprintf("%s: a key for %s", s.env.Name, o.member))
	return nil
}

func runKeyMove(ctx context.Context, t *tool, store string) error {
	home, err := t.home()
	if err != nil {
		return err
	}
	if keychain.Volatile(store) && t.flags.yes == "" {
		need := "envrun key move " + store + " --yes"
		ok, err := t.Confirm(ctx, "The kernel's keyring forgets at reboot, and your identity with it. Do you have a copy?", need)
		if err != nil {
			return err
		}
		if !ok {
			return cli.ErrDeclined
		}
	}
	facts, err := home.Move(ctx, store)
	if err != nil {
		return err
	}
	t.Notef("the identity is kept in %s now", storeText(facts, home))
	return nil
}

func runKeyProtect(ctx context.Context, t *tool) error {
	home, err := t.home()
	if err != nil {
		return err
	}
	facts, err := home.Facts()
	if err != nil {
		return err
	}
	if facts.Protected {
		return &cli.HintError{Err: errors.New("the identity has a passphrase already"), Code: cli.CodeConflict, Hint: "to change it: envrun key unprotect, then envrun key protect"}
	}
	if facts.Store != agekey.StoreFile {
		return agekey.ErrFileOnly
	}
	first, err := t.passphrase(ctx, "New passphrase for your identity (not shown): ")
	if err != nil {
		return err
	}
	if len(first) == 0 {
		return &cli.HintError{Err: errors.New("an empty passphrase protects nothing"), Code: cli.CodeUsage, Hint: "envrun key protect"}
	}
	if t.Getenv("ENVRUN_PASSPHRASE_FILE") == "" {
		again, err := t.passphrase(ctx, "The same again: ")
		if err != nil {
			return err
		}
		if !bytes.Equal(first, again) {
			return &cli.HintError{Err: errors.New("the two passphrases differ: nothing was changed"), Code: cli.CodeFailed, Hint: "envrun key protect"}
		}
		clear(again)
	}
	if err := home.Protect(ctx, first); err != nil {
		return err
	}
	t.Notef("%s is encrypted with the passphrase now; lose it, and only the recovery identity opens your vaults", home.File())
	return nil
}
