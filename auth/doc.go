// Package auth is the folder of who somebody is: the age identity of a person
// or a pipeline (agekey) and the operating system's stores of secrets
// (keychain), and, of the team server, its tokens (token) and the identity tokens that
// it takes from providers (oidc). How a person gets such a token is oidc/login's, with
// the browser of whoever sits here (browser). Of its own it has the type of what is
// kept from everybody (Secret), what a text is that shows as what it is (Plain), and what
// the environment of a program is that needs nothing of all this (ForOthers).
//
// It refuses to know vaults: nothing below auth imports vault. What a vault
// needs of an identity it gets handed by cmd, as a value or a function.
package auth
