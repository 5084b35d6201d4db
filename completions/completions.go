// Package completions embeds the completion scripts, which `make generate`
// writes from the commands themselves; a test says that they are current.
//
// It refuses to hold anything written by hand.
package completions

import "embed"

//go:embed envrun.bash envrun.zsh envrun.fish envrun.ps1
var scripts embed.FS

// Shells are the shells there is a script for.
var Shells = []string{"bash", "zsh", "fish", "powershell"}

// Script returns the script for one of Shells; nil for another.
func Script(shell string) []byte {
	if shell == "powershell" {
		shell = "ps1"
	}
	text, err := scripts.ReadFile("envrun." + shell)
	if err != nil {
		return nil
	}
	return text
}
