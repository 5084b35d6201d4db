// Command start is a program that links every keychain, for TestStart: what it
// prints it prints from main, so it got there.
package main

import (
	"fmt"
	"os"

	"envrun/auth/keychain"
	"envrun/auth/keychain/guard"
)

func main() {
	guard.Restore()
	for _, name := range []string{"DBUS_SESSION_BUS_ADDRESS", "DISABLE_KWALLET"} {
		if value, ok := os.LookupEnv(name); ok {
			fmt.Printf("%s=%s\n", name, value)
		} else {
			fmt.Printf("%s is not set\n", name)
		}
	}
	fmt.Println(keychain.Names())
}
