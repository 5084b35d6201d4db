package keychain

import (
	"context"
	"errors"
	"os/exec"
)

func backendOf(name string, o Options) backend {
	switch name {
	case MacOS:
		return newMacOS(o)
	case Pass:
		return newPass(o)
	}
	panic("keychain: no backend for " + name) // Names and this switch must agree
}

// newMacOS goes through /usr/bin/security, so the item trusts that program and
// with it every process of the user; in exchange an upgrade of ours brings no
// prompt.
func newMacOS(o Options) backend {
	return native{
		service: o.service(),
		readyTo: func(context.Context, bool) error { return nil }, // the call itself is bounded
		explain: func(err error) error { return explainMacOS(err, o.Session().SSH) },
		limit:   func(key string) int { return macOSLimit(o.service(), key) },
	}
}

func explainMacOS(err error, ssh bool) error {
	var exit *exec.ExitError
	code := -1
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	return explainSecurity(code, err, ssh)
}
