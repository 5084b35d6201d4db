package agekey

import (
	"fmt"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/plugin"
	"filippo.io/age/tag"
)

// RecipientError says why a recipient cannot be sealed to.
type RecipientError struct {
	Plugin  string // the plugin that it would need, without "age-plugin-"; "" if that is not why
	Missing bool   // that plugin was looked for, and is not on this machine
	Reason  string // lower case, without a full stop
}

func (e *RecipientError) Error() string { return e.Reason }

// ParseRecipient reads what can be sealed to without starting another program:
// age1pq1… (hybrid), age1… (X25519), age1tag1… and age1tagpq1… (hardware keys)
// and ssh-ed25519. The error is a *RecipientError; it does not quote s, which
// may be a secret pasted in the wrong place.
func ParseRecipient(s string) (age.Recipient, error) {
	s = strings.TrimSpace(s)
	cut := func(kind string) error {
		return &RecipientError{Reason: "not a valid " + kind + " recipient: mistyped or cut short"}
	}
	switch {
	case strings.HasPrefix(s, "AGE-"), strings.HasPrefix(s, pemBegin):
		return nil, &RecipientError{Reason: "is an identity, which is secret; a recipient starts with age1 or ssh-ed25519"}
	case strings.ContainsAny(s, "\r\n"):
		return nil, &RecipientError{Reason: "is more than one line"}
	case strings.HasPrefix(s, "age1pq1"):
		r, err := age.ParseHybridRecipient(s)
		if err != nil {
			return nil, cut("age1pq1")
		}
		return r, nil
	case strings.HasPrefix(s, "age1tag1"), strings.HasPrefix(s, "age1tagpq1"):
		r, err := tag.ParseRecipient(s)
		if err != nil {
			return nil, cut("age1tag")
		}
		return r, nil
	case strings.HasPrefix(s, "age1"):
		if r, err := age.ParseX25519Recipient(s); err == nil {
			return r, nil
		}
		if name, _, err := plugin.ParseRecipient(s); err == nil {
			return nil, &RecipientError{Plugin: name, Reason: "needs the plugin age-plugin-" + name}
		}
		return nil, cut("age1")
	case strings.HasPrefix(s, "ssh-ed25519 "):
		r, err := agessh.ParseRecipient(s)
		if err != nil {
			return nil, cut("ssh-ed25519")
		}
		return r, nil
	case strings.HasPrefix(s, "ssh-"), strings.HasPrefix(s, "ecdsa-"), strings.HasPrefix(s, "sk-"):
		kind, _, _ := strings.Cut(s, " ")
		return nil, &RecipientError{Reason: fmt.Sprintf("SSH keys of kind %.30q cannot be sealed to, only ssh-ed25519", kind)}
	}
	return nil, &RecipientError{Reason: "is no recipient: one starts with age1 or ssh-ed25519"}
}
