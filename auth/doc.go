// Package auth is the folder of who somebody is: the age identity of a person
// or a pipeline (agekey) and the operating system's stores of secrets
// (keychain). Sign-in to servers and tokens will live beside them.
//
// It refuses to know vaults: nothing below auth imports vault. What a vault
// needs of an identity it gets handed by cmd, as a value or a function.
package auth
