package server

import (
	"context"
	"strings"

	"envrun/vault"
	"envrun/vault/kv"
)

// Verified is what Verify looked at, and what is wrong with it.
type Verified struct {
	Mounts   int
	Entries  int64 // of the audit log
	Findings []vault.Finding
}

// Verify opens everything that the server keeps and compares it with what is
// committed to: its own records, every mount, the audit log from its first entry.
// So it finds what was removed or put back in the database, which a request does
// not see. What it cannot find is a whole mount put back to an earlier state with
// all of its rows. The server is unsealed. An error means that the check did not
// come to its end.
func (s *Server) Verify(ctx context.Context) (Verified, error) {
	o := s.open.Load()
	if o == nil {
		return Verified{}, errSealed
	}
	var v Verified
	err := s.DB.Read(ctx, func(tx Tx) error {
		found, err := o.ring.VerifySealed(tx)
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
			found, err := o.kv.of(m).Verify(tx, kv.Head{})
			if err != nil {
				return err
			}
			for _, f := range found {
				f.Env = vault.Env(strings.TrimSuffix(path, "/"))
				v.Findings = append(v.Findings, f)
			}
		}
		v.Entries, err = o.log.Check(tx)
		if vault.KindOf(err) == vault.KindTampered {
			v.Findings = append(v.Findings, vault.Finding{Err: err})
			err = nil
		}
		return err
	})
	return v, err
}
