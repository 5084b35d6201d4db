package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/keyring"
)

// Verified is what Verify looked at, and what is wrong with it.
type Verified struct {
	Mounts   int
	Tokens   int
	Entries  int64 // of the audit log
	Findings []vault.Finding
}

// Verify opens everything that the server keeps and compares it with what is
// committed to: its own records, every mount, tokens, the audit log from its first entry.
// So it finds what was removed or put back in the database, which a request does
// not see; a whole mount put back with all of its rows contradicts the log, which says
// with every change how far it has come. What it cannot find is everything put
// back together, the log too: that contradicts the checkpoints of clients. The server
// is unsealed. An error means that the check did not come to its end.
func (s *Server) Verify(ctx context.Context) (Verified, error) {
	o := s.open.Load()
	if o == nil {
		return Verified{}, errSealed
	}
	var v Verified
	err := s.DB.Read(ctx, func(tx Tx) error {
		known, found, err := headsSeen(tx)
		if err != nil {
			return err
		}
		v.Findings = append(v.Findings, found...)
		found, err = o.ring.VerifySealed(tx, known[keyring.Sys])
		if err != nil {
			return err
		}
		v.Findings = append(v.Findings, found...)
		paths, err := tx.BlobNames(kindMount)
		if err != nil {
			return err
		}
		for _, path := range paths {
			m := new(mount)
			if _, err := o.store.get(tx, kindMount, path, m); err != nil || m.Type != "kv" {
				continue // a record that cannot be read was found above
			}
			v.Mounts++
			found, err := o.kv.of(m).Verify(tx, known[m.UUID])
			if err != nil {
				return err
			}
			for _, f := range found {
				f.Env = vault.Env(strings.TrimSuffix(path, "/"))
				v.Findings = append(v.Findings, f)
			}
		}
		accessors, err := tx.TokenAccessors()
		if err != nil {
			return err
		}
		for _, accessor := range accessors {
			row, there, err := tx.TokenRowByAccessor(accessor)
			if err != nil {
				return err
			}
			v.Tokens++
			if _, err := o.tokens.Open(row); there && errors.Is(err, token.ErrTampered) {
				v.Findings = append(v.Findings, vault.Finding{Err: &vault.Error{Kind: vault.KindTampered,
					Detail: fmt.Sprintf("the token with the accessor %s is not as it was written", cut(accessor, 64))}})
			}
		}
		_, found, err = o.leases.Verify(tx)
		if err != nil {
			return err
		}
		v.Findings = append(v.Findings, found...)
		v.Entries, err = o.log.Check(tx)
		if vault.KindOf(err) == vault.KindTampered {
			v.Findings = append(v.Findings, vault.Finding{Err: err})
			err = nil
		}
		return err
	})
	return v, err
}

// headsSeen are the last heads in the audit log by the id of what they are of, and a
// finding for each time that one did not grow: then it was put back, and written on.
func headsSeen(tx Tx) (map[string]keyring.Head, []vault.Finding, error) {
	known := map[string]keyring.Head{}
	at := map[string]int64{}
	var findings []vault.Finding
	err := audit.StoreHeads(tx, func(entry int64, h audit.StoreHead) error {
		if was, ok := known[h.ID]; ok && h.Changes <= was.Changes {
			what := "the rows of the mount " + h.ID
			if h.ID == keyring.Sys {
				what = "the server's own records"
			}
			findings = append(findings, vault.Finding{Err: &vault.Error{Kind: vault.KindTampered,
				Detail: fmt.Sprintf("between the audit entries %d and %d %s were put back to an earlier state, change %d after %d, and written on", at[h.ID], entry, what, h.Changes, was.Changes)}})
		}
		known[h.ID], at[h.ID] = keyring.Head{Changes: h.Changes, Digest: h.Digest}, entry
		return nil
	})
	if vault.KindOf(err) == vault.KindTampered {
		return known, append(findings, vault.Finding{Err: err}), nil
	}
	return known, findings, err
}
