package session

import (
	"fmt"
	"strings"
)

// AmbiguousError says that several sessions fit, and which.
type AmbiguousError struct {
	Wanted   string // as it was given; may be empty
	Accounts []Account
}

func (e *AmbiguousError) Error() string {
	names := make([]string, 0, len(e.Accounts))
	for _, a := range e.Accounts {
		names = append(names, a.Name())
	}
	which := "this server"
	if e.Wanted != "" {
		which = fmt.Sprintf("%q", e.Wanted)
	}
	return fmt.Sprintf("%d sessions fit %s: %s", len(e.Accounts), which, strings.Join(names, ", "))
}

// UnknownError says that no session fits. It is ErrNoAccount.
type UnknownError struct {
	Wanted string    // as it was given; may be empty
	Others []Account // of the same server
}

func (e *UnknownError) Error() string {
	if e.Wanted == "" {
		return ErrNoAccount.Error()
	}
	return fmt.Sprintf("there is no session %q", e.Wanted)
}

func (e *UnknownError) Is(target error) bool { return target == ErrNoAccount }

// Name is an account for people, told apart from others by the beginning of its ID.
func (a Account) Name() string {
	name := a.Label
	if name == "" {
		name = a.Subject
	}
	if name == "" {
		name = a.Method
	}
	if a.Role != "" {
		name += " as " + a.Role
	}
	return clean(name) + " (" + a.ID[:min(8, len(a.ID))] + ")"
}

// Pick chooses the session for a server, namespace, mount and role; an empty mount
// or role fits any. wanted, if not empty, is what somebody asked for: the label,
// the subject, the ID or at least six digits of its beginning. It takes the one that
// fits; if several do, it takes none: *AmbiguousError. *UnknownError if none does.
// There is no current account.
func Pick(accounts []Account, server, namespace, mount, role, wanted string) (Account, error) {
	var there, fit []Account
	for _, a := range accounts {
		if a.Server != server || a.Namespace != namespace {
			continue
		}
		there = append(there, a)
		if (mount == "" || a.Mount == mount) && (role == "" || a.Role == role) && (wanted == "" || a.Is(wanted)) {
			fit = append(fit, a)
		}
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		return Account{}, &UnknownError{Wanted: wanted, Others: there}
	}
	return Account{}, &AmbiguousError{Wanted: wanted, Accounts: fit}
}

// Is reports whether it is the one that somebody asked for, as Pick has it.
func (a Account) Is(wanted string) bool {
	return wanted == a.Subject || wanted == a.ID || strings.EqualFold(wanted, a.Label) ||
		len(wanted) >= 6 && strings.HasPrefix(a.ID, strings.ToLower(wanted))
}
