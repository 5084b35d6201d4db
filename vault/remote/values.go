package remote

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/wire"
)

// binary begins the text of a value that is not text. It is a data URL (RFC 2397),
// so that whoever meets it in another tool sees what it is; the parameter says that
// it is ours, since a value may be somebody's own data URL.
const binary = "data:application/octet-stream;by=envrun;base64,"

// maxPiece is how much base64 one JSON string of a value holds. Vault refuses
// strings above 1 MiB.
const maxPiece = 512 << 10

// encodeValue is a value as the server keeps it.
func encodeValue(v vault.Value) (json.RawMessage, error) {
	b := v.Reveal()
	if utf8.Valid(b) && !bytes.HasPrefix(b, []byte(binary)) {
		return marshalText(string(b))
	}
	text := base64.StdEncoding.EncodeToString(b)
	if len(text) <= maxPiece {
		return marshalText(binary + text)
	}
	var pieces []string
	for piece := range slices.Chunk([]byte(text), maxPiece) {
		pieces = append(pieces, string(piece))
	}
	pieces[0] = binary + pieces[0]
	return json.Marshal(pieces)
}

// marshalText is json.Marshal without what HTML would want.
func marshalText(s string) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decodeValue is the value that the server keeps as this JSON: a text as it is,
// ours undone, and all else as its JSON.
func decodeValue(raw json.RawMessage) vault.Value {
	var text string
	if json.Unmarshal(raw, &text) == nil && len(raw) > 0 && raw[0] == '"' {
		if b, ok := fromBinary(text); ok {
			return vault.NewValue(b)
		}
		return vault.NewValueString(text)
	}
	var pieces []string
	if len(raw) > 0 && raw[0] == '[' && json.Unmarshal(raw, &pieces) == nil && len(pieces) > 1 {
		if b, ok := fromBinary(strings.Join(pieces, "")); ok {
			return vault.NewValue(b)
		}
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return vault.NewValue(bytes.Clone(raw))
	}
	return vault.NewValue(b.Bytes())
}

func fromBinary(text string) ([]byte, bool) {
	text, ok := strings.CutPrefix(text, binary)
	if !ok {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	return b, err == nil
}

// Names of custom metadata.
const (
	noteKey   = "note"
	rotateKey = "rotate"
	tagsKey   = "tags"
	sinceKey  = "envrun-since"
)

// maxCustom is how many bytes of text one name of custom metadata holds, and
// maxCustomParts on how many names one text goes on at most.
const (
	maxCustom      = 512
	maxCustomParts = 8
)

// partName is the name under which the nth part of a text stands, from 0.
func partName(name string, n int) string {
	if n == 0 {
		return name
	}
	return name + "-" + strconv.Itoa(n+1)
}

// joinParts is a text of custom metadata, put together from its parts.
func joinParts(c wire.Custom, name string) string {
	var b strings.Builder
	for n := range maxCustomParts {
		part, ok := c[partName(name, n)]
		if !ok {
			break
		}
		b.WriteString(part)
	}
	return b.String()
}

// patchParts adds to a merge patch what makes name hold text instead of what c
// holds: nil for a part that is to go. It reports whether text has room.
func patchParts(patch map[string]any, c wire.Custom, name, text string) bool {
	n := 0
	for ; text != ""; n++ {
		if n == maxCustomParts {
			return false
		}
		cut := min(len(text), maxCustom)
		for cut < len(text) && !utf8.RuneStart(text[cut]) {
			cut--
		}
		if c[partName(name, n)] != text[:cut] {
			patch[partName(name, n)] = text[:cut]
		}
		text = text[cut:]
	}
	for ; n < maxCustomParts; n++ {
		if _, ok := c[partName(name, n)]; ok {
			patch[partName(name, n)] = nil
		}
	}
	return true
}

// describe fills in what custom metadata say. What envrun would not have written
// is somebody else's, and left alone.
func describe(info *vault.Info, c wire.Custom) {
	if note := joinParts(c, noteKey); record.CheckNote(note) == nil {
		info.Note = note
	}
	if rotate := c[rotateKey]; record.CheckRotate(rotate) == nil {
		info.Rotate = rotate
	}
	if tags := strings.Fields(joinParts(c, tagsKey)); len(tags) > 0 && record.CheckTags(tags) == nil {
		info.Tags = tags
	}
}

// writeSince is the text that says of the sorted fields of a version in which
// version each last changed: "7:1*3,7" for four fields in version 7.
func writeSince(version uint64, fields []vault.FieldInfo) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", version)
	for i := 0; i < len(fields); {
		n := 1
		for i+n < len(fields) && fields[i+n].Since == fields[i].Since {
			n++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", fields[i].Since)
		if n > 1 {
			fmt.Fprintf(&b, "*%d", n)
		}
		i += n
	}
	return b.String()
}

// readSince reads what writeSince wrote for this version and as many fields, and
// reports whether it did.
func readSince(text string, version uint64, n int) ([]uint64, bool) {
	of, list, ok := strings.Cut(text, ":")
	if !ok || of != strconv.FormatUint(version, 10) {
		return nil, false
	}
	var all []uint64
	for entry := range strings.SplitSeq(list, ",") {
		if entry == "" && n == 0 {
			break
		}
		number, times, repeated := strings.Cut(entry, "*")
		since, err := strconv.ParseUint(number, 10, 64)
		if err != nil || since == 0 || since > version {
			return nil, false
		}
		count := 1
		if repeated {
			if count, err = strconv.Atoi(times); err != nil || count < 1 || count > n {
				return nil, false
			}
		}
		for range count {
			all = append(all, since)
		}
	}
	return all, len(all) == n
}

// fieldsOf are the fields with these names in a version, sorted, each since the
// version that it is known from. A name that envrun has no room for is an error.
func fieldsOf(names []string, version uint64, c wire.Custom) ([]vault.FieldInfo, error) {
	slices.Sort(names)
	var fields []vault.FieldInfo
	for _, name := range names {
		f, err := vault.ParseFieldName(name)
		if err != nil {
			return nil, &vault.Error{Kind: vault.KindUnsupported, Detail: fmt.Sprintf("has the field %.80q, which another tool named so and envrun cannot", name)}
		}
		fields = append(fields, vault.FieldInfo{Name: f, Since: version})
	}
	if since, ok := readSince(joinParts(c, sinceKey), version, len(fields)); ok {
		for i := range fields {
			fields[i].Since = since[i]
		}
	}
	return fields, nil
}

// namesOf are the keys of a map.
func namesOf[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }
