package keychain

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

func backendOf(name string, o Options) backend {
	if name != WinCred {
		panic("keychain: no backend for " + name) // Names and this switch must agree
	}
	return native{
		service: o.service(),
		readyTo: func(context.Context, bool) error { return nil }, // a local call
		explain: func(err error) error {
			var code syscall.Errno
			_ = errors.As(err, &code)
			return explainWinCred(uint32(code), err)
		},
		limit: func(string) int { return winCredLimit },
	}
}

// The numbers in explain.go, which every system can test, are those of Windows.
var _ = [1]struct{}{}[errNoSuchLogonSession-uint32(windows.ERROR_NO_SUCH_LOGON_SESSION)]
