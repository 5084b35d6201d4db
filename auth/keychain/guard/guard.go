// Package guard keeps github.com/99designs/keyring from doing I/O while the
// program starts.
//
// On Linux that library connects to the session bus in two of its init
// functions. With a bus that accepts and stays silent the process would never
// reach main, not even for --version; with no bus at all it executes
// dbus-launch, which starts a daemon and exports its address to us. So guard
// puts an address that cannot be reached in place of the real one before that
// happens, and Restore puts everything back.
//
// This works through the order in which Go initialises packages: sorted by
// import path, each as soon as its imports are ready. guard imports nothing
// but os, and "envrun/auth/keychain/guard" sorts before "github.com/…".
// TestStart builds a program and proves it.
//
// It refuses to be more than that: whatever it imported would run before it,
// and anything heavier could come after the library it guards against. The
// change of the environment below is the one side effect that envrun allows
// itself during initialisation.
package guard

import "os"

// unreachable is an address at which nobody can ever listen: /dev/null is no
// folder. It must not be empty, since an empty address means autolaunch.
const unreachable = "unix:path=/dev/null/envrun"

// hidden are the variables that the library looks at, and what we tell it.
var hidden = [...]variable{
	{name: "DBUS_SESSION_BUS_ADDRESS", value: unreachable},
	{name: "DISABLE_KWALLET", value: "1"},
}

type variable struct {
	name, value string
	was         string
	wasSet      bool
}

var active = hide()

func hide() bool {
	for i := range hidden {
		v := &hidden[i]
		v.was, v.wasSet = os.LookupEnv(v.name)
		_ = os.Setenv(v.name, v.value) // fails only for names that are none
	}
	return true
}

// Restore gives the environment back as it was found: a variable that was not
// set is unset again. Only the first call does something. Package keychain
// calls it at the end of its own initialisation and main calls it as its first
// statement, so that no child process inherits what we told the library. Not
// for use by several goroutines.
func Restore() {
	if !active {
		return
	}
	active = false
	for _, v := range hidden {
		if v.wasSet {
			_ = os.Setenv(v.name, v.was)
		} else {
			_ = os.Unsetenv(v.name)
		}
	}
}
