// Command start is a program that links every keychain, for TestStart: what it
// prints it prints from main, so it got there.
package main

import (
	"fmt"
	"os"

	"envrun/auth/keychain"
)

func main() {
	if value, ok := os.LookupEnv("DBUS_SESSION_BUS_ADDRESS"); ok {
		fmt.Println(value)
	} else {
		fmt.Println("no address")
	}
	fmt.Println(keychain.Names())
}
