package audit

import "strings"

// StoreHeads calls f with what every entry says of what is stored, in order: the
// number of the entry, and its head. KindTampered if a row is not the one that was
// appended, else the errors of r and of f.
func StoreHeads(r Reader, f func(entry int64, h StoreHead) error) error {
	head, err := r.AuditHead()
	if err != nil {
		return err
	}
	for from := int64(0); from < head.Size; {
		rows, err := r.AuditRows(from, chunk)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return tampered("entry %d is missing", from)
		}
		for _, row := range rows {
			if row.Index != from {
				return tampered("entry %d is missing", from)
			}
			from++
			// No string in a line has a bare quote: this is the key, or the line has none.
			if !strings.Contains(row.Line, `,"heads":[{"changes":`) {
				continue
			}
			e, err := parseKnown([]byte(row.Line))
			if err != nil {
				return tampered("entry %d is not of its form", row.Index)
			}
			for _, h := range e.Heads {
				if err := f(row.Index, h); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
