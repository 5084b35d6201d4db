package cache

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"envrun/vault"
	"envrun/vault/seal"
)

// Place says what a cache is of.
type Place struct {
	Server    string    `json:"server"` // its address
	Namespace string    `json:"namespace,omitempty"`
	Mount     string    `json:"mount"`
	Project   string    `json:"project"` // its name, or where it is if it has none
	Env       vault.Env `json:"env"`
}

// Facts are what is known of a cache without opening it.
type Facts struct {
	Place
	Subject string    `json:"subject"` // names a token, and says nothing of it
	Fetched time.Time `json:"fetched"` // by the server's clock
	Expires time.Time `json:"expires"` // likewise
	Newest  time.Time `json:"newest"`  // of the server's times that were known when it was written
	Key     string    `json:"key"`     // what opens it: "identity", or "keychain:" and where
}

var (
	// ErrNone says that nothing is kept.
	ErrNone = errors.New("nothing of it is kept here")
	// ErrOff says that nothing may be kept, by the project or by the server.
	ErrOff = errors.New("nothing of it may be kept")
	// ErrClock says that the clock is behind a time that has passed.
	ErrClock = errors.New("the clock of this machine was set back: how old the cache is cannot be said")
	// ErrNoKey says that there is nothing to encrypt a cache for.
	ErrNoKey = errors.New("there is no keychain and no identity to encrypt a cache for")
	// ErrWorkTree says that the folder of caches is in a repository or a project.
	ErrWorkTree = errors.New("the folder for caches is in a work tree")
)

// ExpiredError says that what was kept has ended, and is gone now.
type ExpiredError struct{ At time.Time }

func (e *ExpiredError) Error() string {
	return "what was kept has expired at " + e.At.Local().Format(time.DateTime)
}

// UnusableError says why there is no answer: the server is away, and the cache is
// of no use.
type UnusableError struct {
	Away error // nil if the server was not to be asked
	Why  error
}

func (e *UnusableError) Error() string {
	if e.Away == nil {
		return "the cache is of no use: " + e.Why.Error()
	}
	return e.Away.Error() + "; and the cache is of no use: " + e.Why.Error()
}

func (e *UnusableError) Unwrap() []error {
	if e.Away == nil {
		return []error{e.Why}
	}
	return []error{e.Away, e.Why}
}

// subject is whose caches they are: a token, as a key that names things.
type subject struct{ key seal.Key }

// mark is a name for some words that only the holder of the token can make.
func (s subject) mark(words ...string) string {
	text, _ := json.Marshal(words) // texts always can be
	return hex.EncodeToString(s.key.MAC(seal.SubjectMAC, text)[:16])
}

func (s subject) String() string { return s.mark("subject")[:16] }

// name is the name of the files of a place.
func (s subject) name(p Place) string {
	return s.mark("name", p.Server, p.Namespace, p.Mount, p.Project, string(p.Env))
}

// there and absent name a path in one of the two lists of a state.
func (s subject) there(path vault.Path) string  { return s.mark("there", string(path)) }
func (s subject) absent(path vault.Path) string { return s.mark("absent", string(path)) }

// stamp names a state of what was read: paths, versions and what is not there. Two
// secrets of one version are told apart by when they were written, since a mount
// that was made anew counts from 1 again.
func (s subject) stamp(a answer) string {
	words := []string{"stamp"}
	for _, secret := range a.secrets {
		words = append(words, string(secret.Path), fmt.Sprint(secret.Version, secret.At.UnixNano(), withheld(secret)))
	}
	for _, path := range a.absent {
		words = append(words, "absent", string(path))
	}
	return s.mark(words...)
}
