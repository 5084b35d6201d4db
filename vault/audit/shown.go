package audit

import (
	"encoding/base64"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
)

// The headers in which a client and a server speak of the log beside what is asked: the client
// says of how many entries it has seen a checkpoint, 0 for none, and the server
// shows (Shown) its last one. So nobody has to ask twice to hold it to its past.
const (
	SeenHeader  = "X-Envrun-Seen"
	ShownHeader = "X-Envrun-Checkpoint"
)

// Shown is a checkpoint as a server shows it beside an answer.
type Shown struct {
	Key    string         // the public key that it is signed with
	Note   []byte         // the checkpoint
	Growth tlog.TreeProof // that its log has as its beginning the one that the client has seen
}

// maxShown is more than a key, a note and the longest proof take.
const maxShown = 8 << 10

// Header is s as the text of a header.
func (s Shown) Header() string {
	text := s.Key + " " + base64.StdEncoding.EncodeToString(s.Note)
	if len(s.Growth) == 0 {
		return text // without a space at its end, which HTTP takes away
	}
	var proof []byte
	for _, h := range s.Growth {
		proof = append(proof, h[:]...)
	}
	return text + " " + base64.StdEncoding.EncodeToString(proof)
}

// ParseShown reads what Header wrote. Nothing of it is checked. KindMalformed if it
// is not of its form.
func ParseShown(text string) (Shown, error) {
	bad := &vault.Error{Kind: vault.KindMalformed, Op: "reading a checkpoint", Detail: "the header is not of its form"}
	if len(text) > maxShown {
		return Shown{}, bad
	}
	key, rest, _ := strings.Cut(text, " ")
	signed, grown, _ := strings.Cut(rest, " ")
	note, err := base64.StdEncoding.DecodeString(signed)
	proof, err2 := base64.StdEncoding.DecodeString(grown)
	s := Shown{Key: key, Note: note}
	if err != nil || err2 != nil || len(proof)%tlog.HashSize != 0 || len(note) == 0 {
		return Shown{}, bad
	}
	for ; len(proof) > 0; proof = proof[tlog.HashSize:] {
		s.Growth = append(s.Growth, tlog.Hash(proof[:tlog.HashSize]))
	}
	return s, nil
}
