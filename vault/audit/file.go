package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
)

// An export is lines of JSON: what it is, the entries as they are in the log,
// and the signed checkpoint that they lead to:
//
//	{"envrun_audit":1,"from":2,"log":"envrun.example.dev/audit","nodes":["…"]}
//	{"auth":…,"type":"request"}
//	{"auth":…,"type":"response"}
//	{"checkpoint":"envrun.example.dev/audit\n4\n…\n\n— envrun.example.dev/audit …\n"}
//
// nodes are the roots of the complete trees before the first entry, the largest
// first, and none when it begins with entry 0. They need not be trusted: with
// other nodes the entries do not lead to the root that was signed.
type top struct {
	Format int         `json:"envrun_audit"`
	From   int64       `json:"from"`
	Log    string      `json:"log"`
	Nodes  []tlog.Hash `json:"nodes,omitempty"`
}

type bottom struct {
	Checkpoint string `json:"checkpoint"`
}

const exportFormat = 1

// maxTop bounds the first and the last line: 63 nodes and a long name.
const maxTop = 8 << 10

// An Exporter writes an export whose entries come from somewhere that need not be
// trusted: they lead to the checkpoint, or there is no export.
type Exporter struct {
	w    *bufio.Writer
	tree Head
	to   Checkpoint
	note []byte
}

// NewExporter begins an export of the entries from from up to a checkpoint, whose
// signature is the caller's to have checked. nodes are what Edge gives.
func NewExporter(w io.Writer, from int64, nodes []tlog.Hash, to Checkpoint, note []byte) (*Exporter, error) {
	x := &Exporter{bufio.NewWriter(w), Head{Size: from, Edge: nodes}, to, note}
	if err := x.tree.check(); err != nil {
		return nil, err
	}
	return x, x.put(top{Format: exportFormat, From: from, Log: to.Origin, Nodes: nodes})
}

func (x *Exporter) put(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = x.w.Write(append(line, '\n'))
	}
	return err
}

// Next is the number of the entry that Add takes next.
func (x *Exporter) Next() int64 { return x.tree.Size }

// Add writes the next entry.
func (x *Exporter) Add(line string) error {
	if _, err := parseKnown([]byte(line)); err != nil {
		return fmt.Errorf("entry %d: %w", x.tree.Size, err)
	}
	x.tree, _ = x.tree.append(tlog.RecordHash([]byte(line)))
	x.w.WriteString(line) // an error stays with w
	return x.w.WriteByte('\n')
}

// End writes the checkpoint behind the last entry. KindTampered, and no end, if they
// do not lead to it.
func (x *Exporter) End() error {
	if x.tree.Size != x.to.Size || x.tree.root() != x.to.Root {
		return tampered("its entries are not those that were signed")
	}
	if err := x.put(bottom{string(x.note)}); err != nil {
		return err
	}
	return x.w.Flush()
}

// Export writes the entries from from up to the checkpoint, which Log.Checkpoint gave, as a file that
// Verify checks. It reads in pieces, and an entry that is not the one that was
// appended ends it with KindTampered.
func (l *Log) Export(r Reader, w io.Writer, from int64, checkpoint []byte) error {
	c, err := openCheckpoint(checkpoint, l.verifier(), bad("exporting the audit log"))
	if err != nil {
		return err
	}
	if err := within(r, from, c.Size); err != nil {
		return err
	}
	nodes, err := edge(r, from)
	if err != nil {
		return err
	}
	x, err := NewExporter(w, from, nodes, c, checkpoint)
	if err != nil {
		return err
	}
	for x.Next() < c.Size {
		rows, err := rowsOf(r, x.Next(), int(min(chunk, c.Size-x.Next())))
		if err != nil {
			return err
		}
		for _, row := range rows {
			if _, err := record(row); err != nil {
				return err
			}
			if err := x.Add(row.Line); err != nil {
				return err
			}
		}
	}
	return x.End()
}

// A Report is what Verify found in a file that is what it says.
type Report struct {
	Checkpoint
	Signed      []byte    // the checkpoint as a note
	Key         string    // the public key that it is signed with
	From        int64     // the number of the first entry; Checkpoint.Size is that behind the last
	First, Last time.Time // of the entries; zero if there are none
	Seen        Standing  // how it stands to a checkpoint that was known before
	SeenSize    int64     // of how many entries that checkpoint was
}

// A Standing is how a verified file stands to what was known of the log.
type Standing int

const (
	Unknown   Standing = iota // nothing was known
	Contains                  // it has everything up to the known checkpoint, unchanged
	Older                     // it ends before the known checkpoint: an older export, or the newest entries were cut off
	Elsewhere                 // it begins behind the known checkpoint, and cannot say whether that is its beginning
)

// Verify checks an export with the public key of its log: every entry is of
// its form, and they are those that were signed, in their order, none of them
// left out, added or changed. seen is a checkpoint that is known of the same log, or
// nil. KindMalformed with the line that is at fault if the file is not of its form,
// KindTampered if it is not what was signed or denies what was seen.
func Verify(r io.Reader, key string, seen *Checkpoint) (Report, error) {
	in, t, err := begin(r)
	if err != nil {
		return Report{}, err
	}
	return in.verify(t, key, seen)
}

// begin reads the first line of an export. Nothing of it is checked.
func begin(r io.Reader) (*lines, top, error) {
	in := &lines{r: bufio.NewReader(r)}
	t, err := in.top()
	return in, t, err
}

// verify reads what follows the first line.
func (in *lines) verify(t top, key string, seen *Checkpoint) (Report, error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return Report{}, &vault.Error{Kind: vault.KindInvalid, Op: "verifying", Detail: "the public key is not of its form"}
	}
	if t.Log != v.Name() {
		return Report{}, in.fail(vault.KindTampered, fmt.Sprintf("it is of the log %q, and the key is that of %q", t.Log, v.Name()))
	}
	rep := Report{From: t.From, Key: key}
	tree := Head{Size: t.From, Edge: t.Nodes}
	denied := func() error {
		if seen != nil && tree.Size == seen.Size && tree.root() != seen.Root {
			return in.fail(vault.KindTampered, fmt.Sprintf("its history was rewritten: the first %d entries are not those that were seen before", seen.Size))
		}
		return nil
	}
	var end *bottom
	for end == nil {
		if err := denied(); err != nil {
			return Report{}, err
		}
		line, err := in.next(MaxLine)
		if err == io.EOF {
			return Report{}, in.fail(vault.KindMalformed, "it ends without its checkpoint: it was cut off")
		}
		if err != nil {
			return Report{}, err
		}
		if bytes.HasPrefix(line, []byte(`{"checkpoint":`)) {
			if end = checkpointLine(line); end == nil {
				return Report{}, in.fail(vault.KindMalformed, "the checkpoint is not of its form")
			}
			break
		}
		e, err := parseKnown(line)
		if err != nil {
			return Report{}, in.fail(vault.KindMalformed, detail(err))
		}
		if tree.Size == t.From {
			rep.First = e.Time
		}
		rep.Last = e.Time
		tree, _ = tree.append(tlog.RecordHash(line))
	}
	rep.Signed = []byte(end.Checkpoint)
	if rep.Checkpoint, err = openCheckpoint(rep.Signed, v, func(kind vault.Kind, detail string) (Checkpoint, error) {
		return Checkpoint{}, in.fail(kind, "the checkpoint: "+detail)
	}); err != nil {
		return Report{}, err
	}
	if _, err := in.next(1); err != io.EOF {
		return Report{}, in.fail(vault.KindMalformed, "something follows the checkpoint")
	}
	in.line = 0 // from here on it is about the whole
	switch {
	case tree.Size < rep.Size:
		return Report{}, in.fail(vault.KindTampered, fmt.Sprintf("%d entries were signed, and there are %d: some are missing", rep.Size-t.From, tree.Size-t.From))
	case tree.Size > rep.Size:
		return Report{}, in.fail(vault.KindTampered, fmt.Sprintf("%d entries were signed, and there are %d: some were added", rep.Size-t.From, tree.Size-t.From))
	case tree.root() != rep.Root:
		return Report{}, in.fail(vault.KindTampered, "the entries are not those that were signed: at least one was changed, moved or replaced")
	}
	if seen != nil {
		rep.SeenSize = seen.Size
	}
	switch {
	case seen == nil:
	case seen.Size > rep.Size:
		rep.Seen = Older
	case seen.Size < t.From:
		rep.Seen = Elsewhere
	default:
		rep.Seen = Contains
	}
	return rep, nil
}

func checkpointLine(line []byte) *bottom {
	var b bottom
	if json.Unmarshal(line, &b) != nil || b.Checkpoint == "" {
		return nil
	}
	if again, err := json.Marshal(b); err != nil || string(again) != string(line) {
		return nil
	}
	return &b
}

func detail(err error) string {
	var ve *vault.Error
	if errors.As(err, &ve) {
		return ve.Detail
	}
	return err.Error()
}

// lines reads the lines of an export.
type lines struct {
	r    *bufio.Reader
	line int
	buf  []byte
}

func (l *lines) fail(kind vault.Kind, why string) error {
	return &vault.Error{Kind: kind, Line: l.line, Detail: why}
}

// next is the next line without its newline, io.EOF behind the last one. It is
// good until the next call.
func (l *lines) next(max int) ([]byte, error) {
	l.line++
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.buf = append(l.buf, part...)
		switch {
		case len(l.buf) > max+1 && max > 0:
			return nil, l.fail(vault.KindMalformed, fmt.Sprintf("the line is longer than %d bytes", max))
		case err == nil:
			return l.buf[:len(l.buf)-1], nil
		case err == io.EOF && len(l.buf) == 0:
			return nil, io.EOF
		case err == io.EOF:
			return nil, l.fail(vault.KindMalformed, "the line does not end: the file was cut off")
		case err != bufio.ErrBufferFull:
			return nil, &vault.Error{Kind: vault.KindOther, Op: "reading", Err: err}
		}
	}
}

func (l *lines) top() (top, error) {
	var t top
	line, err := l.next(maxTop)
	if err == io.EOF {
		return t, l.fail(vault.KindMalformed, "the file is empty")
	}
	if err != nil {
		return t, err
	}
	if json.Unmarshal(line, &t) != nil || t.Format == 0 {
		return t, l.fail(vault.KindMalformed, "it is not an export of an audit log")
	}
	if t.Format != exportFormat {
		return t, l.fail(vault.KindVersion, fmt.Sprintf("the export is of format %d, and this version knows %d", t.Format, exportFormat))
	}
	if again, err := json.Marshal(t); err != nil || !slices.Equal(again, line) || (Head{Size: t.From, Edge: t.Nodes}).check() != nil {
		return t, l.fail(vault.KindMalformed, "its first line is not of its form")
	}
	return t, nil
}
