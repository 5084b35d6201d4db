// Command bare links the library without the guard, for TestStart: it shows
// that what the test watches for would be seen.
package main

import (
	"fmt"

	"github.com/99designs/keyring"
)

func main() { fmt.Println(keyring.AvailableBackends()) }
