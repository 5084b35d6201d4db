package run

import (
	"bytes"
	"io"

	"envrun/vault"
)

// minMasked is the shortest line that GitHub is asked to mask. Shorter ones, the
// braces of a JSON value above all, would be masked all over a log and hide
// nothing.
const minMasked = 8

// AddMasks writes the lines that make a GitHub Actions runner mask values in the
// log of the job from then on (runner T9): one for each line of each value, since
// the runner masks line by line. The runner reads them from standard output or
// standard error of a step and does not show them. To anything but that runner they
// are the values in plain text, so the caller must be sure that it is there.
func AddMasks(w io.Writer, values []vault.Value) error {
	var lines bytes.Buffer
	for _, v := range values {
		for line := range bytes.FieldsFuncSeq(v.Reveal(), func(r rune) bool { return r == '\n' || r == '\r' }) {
			line = bytes.TrimSpace(line)
			if len(line) < minMasked {
				continue
			}
			lines.WriteString("::add-mask::")
			lines.Write(bytes.ReplaceAll(line, []byte("%"), []byte("%25")))
			lines.WriteByte('\n')
		}
	}
	_, err := w.Write(lines.Bytes())
	return err
}
