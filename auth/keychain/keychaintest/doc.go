// Package keychaintest is the keychains that tests meet: folders that are some, homes
// and session buses of their own, GNOME Keyring as it is installed, and a Secret Service
// that misbehaves as it is told. But for the folders it works on Linux; each suite says
// what it skips where a program is not installed.
package keychaintest
