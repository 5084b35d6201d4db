package agekey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

const pemBegin, pemEnd = "-----BEGIN ", "-----END "

// opensshType is the PEM type of the private keys that ssh-keygen writes.
const opensshType = "OPENSSH PRIVATE KEY"

// maxSSHRounds is how often bcrypt may be repeated for a passphrase, as
// golang.org/x/crypto/ssh has it; ssh-keygen's default is 16.
const maxSSHRounds = 1 << 11

// isSSH reports whether a key's text is an SSH key.
func (k key) isSSH() bool { return strings.HasPrefix(k.text, pemBegin) }

// parsePEM reads a block "-----BEGIN …" to "-----END …" of lines without blanks
// around them. With a passphrase nil an encrypted key is ErrProtected; a wrong
// one is ErrPassphrase; what else is wrong is a *ParseError.
//
// Of SSH keys only ssh-ed25519 is taken: its recipients are what
// ParseRecipient takes.
func parsePEM(text string, passphrase []byte) (key, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return key{}, &ParseError{Reason: "not a valid SSH key: damaged or cut short"}
	}
	defer clear(block.Bytes)
	switch {
	case block.Type == opensshType:
		return parseOpenSSH(block, passphrase)
	case block.Type == "PRIVATE KEY", strings.HasSuffix(block.Type, " PRIVATE KEY"):
		return key{}, &ParseError{SSH: SSHKind, Reason: "is a key in the old PEM form; of SSH keys only ssh-ed25519, as ssh-keygen writes it, can open anything"}
	}
	return key{}, &ParseError{Reason: "begins a block that is no identity"}
}

func parseOpenSSH(block *pem.Block, passphrase []byte) (key, error) {
	bad := &ParseError{Reason: "not a valid SSH key: damaged or cut short"}
	// What is in clear, as OpenSSH's PROTOCOL.key has it.
	var head struct {
		Cipher     string
		KDF        string
		KDFOptions []byte
		Keys       uint32
		Public     []byte
		Private    []byte
		Rest       []byte `ssh:"rest"`
	}
	body, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok || ssh.Unmarshal(body, &head) != nil || head.Keys != 1 {
		return key{}, bad
	}
	var public struct {
		Kind string
		Rest []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(head.Public, &public) != nil {
		return key{}, bad
	}
	if public.Kind != ssh.KeyAlgoED25519 {
		return key{}, &ParseError{SSH: SSHKind, Reason: sshKindReason(public.Kind)}
	}
	protected := head.Cipher != "none"
	if protected {
		var kdf struct {
			Salt   []byte
			Rounds uint32
		}
		if head.Cipher != "aes256-ctr" && head.Cipher != "aes256-cbc" || head.KDF != "bcrypt" || ssh.Unmarshal(head.KDFOptions, &kdf) != nil {
			return key{}, &ParseError{SSH: SSHCipher, Reason: "is an SSH key encrypted with a cipher that cannot be read here; aes256-ctr, which ssh-keygen uses by itself, can"}
		}
		if kdf.Rounds > maxSSHRounds {
			return key{}, &ParseError{SSH: SSHCipher, Reason: "is an SSH key whose passphrase takes too many rounds of bcrypt"}
		}
		if passphrase == nil {
			return key{}, ErrProtected
		}
	}

	text := pem.EncodeToMemory(block)
	defer clear(text)
	var raw any
	var err error
	if protected {
		raw, err = ssh.ParseRawPrivateKeyWithPassphrase(text, passphrase)
	} else {
		raw, err = ssh.ParseRawPrivateKey(text)
	}
	if errors.Is(err, x509.IncorrectPasswordError) {
		return key{}, ErrPassphrase
	}
	private, ok := raw.(*ed25519.PrivateKey)
	if err != nil || !ok {
		return key{}, bad
	}
	defer clear(*private)
	// The file says the public half twice more. If they differed, what is sealed
	// to the one that is shown would not open.
	signer, err := ssh.NewSignerFromKey(*private)
	if err != nil || !bytes.Equal(signer.PublicKey().Marshal(), head.Public) || !ed25519.NewKeyFromSeed(private.Seed()).Equal(*private) {
		return key{}, bad
	}
	identity, err := agessh.NewEd25519Identity(*private)
	if err != nil {
		return key{}, bad
	}
	if protected {
		open, err := ssh.MarshalPrivateKey(*private, "")
		if err != nil {
			return key{}, bad
		}
		defer clear(open.Bytes)
		text = pem.EncodeToMemory(open)
	}
	return key{
		text:      strings.TrimSpace(string(text)),
		identity:  identity,
		recipient: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))),
	}, nil
}

// sshKindReason says why a kind of SSH key is of no use. It names those that
// ssh-keygen makes; anything else may be any bytes.
func sshKindReason(kind string) string {
	const only = "; of SSH keys only ssh-ed25519 can open anything"
	switch kind {
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return "is an SSH key in a security token (" + kind + "), which signs and cannot decrypt" + only
	case ssh.KeyAlgoRSA, "ssh-dss", ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return "is an SSH key of kind " + kind + only
	}
	return "is an SSH key of another kind" + only
}

// CanonicalRecipient is the one text of a recipient, as Identity.Recipient has
// it: no blanks but one between words, and no comment after an SSH key.
func CanonicalRecipient(s string) string {
	words := strings.Fields(s)
	if len(words) > 2 && strings.HasPrefix(words[0], "ssh-") {
		words = words[:2]
	}
	return strings.Join(words, " ")
}
